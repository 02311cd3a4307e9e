"""A server that gives the rare answers on demand: refusals, dropped connections, silence, 410."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

TERMINAL = {"succeeded", "failed", "cancelled", "expired"}


class Stub:
    """Accepts jobs and ends them after `polls_to_end` polls, unless told otherwise.

    Attributes:
        submissions: What to do with the next submissions: `accept`, `refuse`, `drop`, `hang`, or a status code.
        polls: What to do with the next polls: `answer`, `drop`, `410`, `404`, `503`, `500`.
        ends_as: The terminal state of its jobs; None: they never end.
        submitted_at, polled_at: When requests came, on `time.monotonic`'s clock.
    """

    def __init__(self) -> None:
        self.submissions: deque[str] = deque()
        self.polls: deque[str] = deque()
        self.polls_to_end = 1
        self.live_state = "queued"
        self.ends_as: str | None = "succeeded"
        self.error_code = "handler_error"
        self.started = False
        self.retry_after_s = 1
        self.poll_after_s: int | None = None
        self.submitted_at: list[float] = []
        self.polled_at: list[float] = []
        self.bodies: list[bytes] = []
        self.url = ""
        self._ids = itertools.count()
        self._polled: dict[str, int] = {}
        self._submitted: list[tuple[int, asyncio.Event]] = []
        self._leaving = asyncio.Event()
        self._runner: web.AppRunner | None = None

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Stub]:
        app = web.Application(client_max_size=1 << 26)
        app.router.add_post("/v1/jobs", self._submit)
        app.router.add_get("/v1/jobs/{id}", self._poll)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        try:
            yield self
        finally:
            await self.go_away()

    async def go_away(self) -> None:
        """Close every connection and listen no more."""
        self._leaving.set()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def submitted(self, number: int) -> None:
        """Wait until so many submissions have come."""
        event = asyncio.Event()
        self._submitted.append((number, event))
        if len(self.submitted_at) < number:
            await event.wait()

    async def _submit(self, request: web.Request) -> web.Response:
        self.submitted_at.append(time.monotonic())
        self.bodies.append(await request.read())
        for number, event in self._submitted:
            if len(self.submitted_at) >= number:
                event.set()
        order = self.submissions.popleft() if self.submissions else "accept"
        if order == "hang":
            await self._leaving.wait()
        if order in ("drop", "hang"):
            return _dropped(request)
        if order == "refuse":
            return _problem(503, "queue-full", {"Retry-After": str(self.retry_after_s)})
        if order != "accept":
            return _problem(int(order), "validation", {})
        job_id = f"job-{next(self._ids)}"
        self._polled[job_id] = 0
        headers = {"Location": f"/v1/jobs/{job_id}", "Job-State": self.live_state}
        if self.poll_after_s is not None:
            headers["Retry-After"] = str(self.poll_after_s)
        return web.json_response({"id": job_id, "state": self.live_state}, status=202, headers=headers)

    async def _poll(self, request: web.Request) -> web.Response:
        job_id = request.match_info["id"]
        order = self.polls.popleft() if self.polls else "answer"
        if request.method == "HEAD":
            self.polled_at.append(time.monotonic())
        if order == "drop":
            return _dropped(request)
        if order == "503":
            return _problem(503, "overloaded", {"Retry-After": str(self.retry_after_s)})
        if order != "answer":
            return _problem(int(order), "gone", {})
        self._polled[job_id] += 1
        if self.ends_as is None or self._polled[job_id] < self.polls_to_end:
            headers = {"Job-State": self.live_state}
            if self.poll_after_s is not None:
                headers["Retry-After"] = str(self.poll_after_s)
            return web.json_response({"id": job_id, "state": self.live_state}, status=202, headers=headers)
        error = None if self.ends_as == "succeeded" else {"code": self.error_code, "message": ""}
        started_at = "2026-01-01T00:00:00.000Z" if self.started else None
        document = {"id": job_id, "state": self.ends_as, "started_at": started_at, "error": error}
        return web.json_response(document, headers={"Job-State": self.ends_as})


def _dropped(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


def _problem(status: int, name: str, headers: dict[str, str]) -> web.Response:
    body = {"type": f"/problems/{name}", "title": name, "status": status, "detail": name}
    return web.json_response(body, status=status, headers=headers, content_type="application/problem+json")
