"""A server with rare responses on demand: rejections, dropped connections, silence, 410."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import time
from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

TERMINAL = {"succeeded", "failed", "cancelled", "expired"}


class Stub:
    """Accepts jobs and ends them after `polls_to_end` polls, unless configured otherwise.

    Attributes:
        submissions: The responses to the next submissions: `accept`, `refuse`, `drop`, `hang`, or a status code.
            Each job of a batch takes one; `whole …` applies to the batch.
        polls: The responses to the next polls: `answer`, `drop`, `410`, `404`, `503`, `500`.
        waits: The same for requests with `Prefer: wait`: `answer` at the end of the job, `cut` short, or `no` wait.
        streams: The same for event streams: `whole`, or `break`, `end` or `hang` after one event; or a status.
        ends_as: The terminal state of all jobs; None: jobs never end.
        takes_s: The run time of jobs, for long polls and streams.
        applied_s: The maximum duration of a long poll.
        submitted_at, polled_at: The times of requests, by `time.monotonic`.
        listened: The `Last-Event-ID` of each stream.
    """

    def __init__(self) -> None:
        self.submissions: deque[str] = deque()
        self.polls: deque[str] = deque()
        self.waits: deque[str] = deque()
        self.streams: deque[str] = deque()
        self.polls_to_end = 1
        self.takes_s = 0.02
        self.applied_s = 20
        self.live_state = "queued"
        self.ends_as: str | None = "succeeded"
        self.error_code = "handler_error"
        self.started = False
        self.retry_after_s = 1
        self.retry_after: str | None = None
        self.finer_retry_after_s: float | None = None
        self.problem: dict[str, object] = {}
        self.authorizations: set[str | None] = set()
        self.retries_after_s: deque[float] = deque()  # of the next rejected jobs of a batch
        self.poll_after_s: int | None = None
        self.submitted_at: list[float] = []
        self.polled_at: list[float] = []
        self.waited_at: list[float] = []
        self.listened: list[str | None] = []
        self.batches: list[int] = []
        self.asked_for: list[int] = []
        self.connections: set[object] = set()
        self.bodies: list[bytes] = []
        self.url = ""
        self._ids = itertools.count()
        self._polled: dict[str, int] = {}
        self._submitted: list[tuple[int, asyncio.Event]] = []
        self._stopping = asyncio.Event()
        self._hanging = asyncio.Event()
        self._runner: web.AppRunner | None = None

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Stub]:
        app = web.Application(client_max_size=1 << 26, middlewares=[self._note_authorization])
        app.router.add_post("/v1/jobs", self._submit)
        app.router.add_post("/v1/jobs:batch", self._submit_batch)
        app.router.add_get("/v1/jobs", self._list)
        app.router.add_get("/v1/jobs/{id}", self._poll)
        app.router.add_get("/v1/jobs/{id}/events", self._stream)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        try:
            yield self
        finally:
            await self.stop()

    async def stop(self) -> None:
        """Close the listening socket and every connection."""
        self._stopping.set()
        self._hanging.set()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def release(self) -> None:
        """Drop the hanging requests."""
        self._hanging.set()

    async def submitted(self, number: int) -> None:
        """Wait for this number of submissions in total."""
        event = asyncio.Event()
        self._submitted.append((number, event))
        if len(self.submitted_at) < number:
            await event.wait()

    @web.middleware
    async def _note_authorization(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        self.authorizations.add(request.headers.get("Authorization"))
        return await handler(request)

    async def _submit(self, request: web.Request) -> web.Response:
        self.connections.add(request.transport)
        self._count_submissions(1)
        self.bodies.append(await request.read())
        order = self.submissions.popleft() if self.submissions else "accept"
        if order == "hang":
            await self._hanging.wait()
        if order in ("drop", "hang"):
            return _dropped(request)
        if order == "refuse":
            return self._refusal("queue-full")
        if order != "accept":
            return _problem(int(order), "validation", {}, **self.problem)
        job_id = self._accept()
        headers = {"Location": f"/v1/jobs/{job_id}", "Job-State": self.live_state}
        if self.poll_after_s is not None:
            headers["Retry-After"] = str(self.poll_after_s)
        return web.json_response({"id": job_id, "state": self.live_state}, status=202, headers=headers)

    async def _submit_batch(self, request: web.Request) -> web.Response:
        jobs = (await request.json())["jobs"]
        self._count_submissions(len(jobs))
        self.batches.append(len(jobs))
        if self.submissions and self.submissions[0].startswith("whole "):
            order = self.submissions.popleft().removeprefix("whole ")
            if order.isdecimal():
                return _problem(int(order), "denied", {})
            return _dropped(request) if order == "drop" else self._refusal("draining")
        return web.json_response({"jobs": [self._outcome() for _ in jobs]}, status=207)

    def _outcome(self) -> dict[str, object]:
        order = self.submissions.popleft() if self.submissions else "accept"
        if order == "accept":
            return {"status": 202, "id": self._accept()}
        status = 503 if order == "refuse" else int(order)
        retry_after_s = self.retries_after_s.popleft() if self.retries_after_s else self.finer_retry_after_s
        return {"status": status, "problem": {"status": status, "retry_after_s": retry_after_s, **self.problem}}

    def _count_submissions(self, jobs: int) -> None:
        self.submitted_at.extend([time.monotonic()] * jobs)
        for number, event in self._submitted:
            if len(self.submitted_at) >= number:
                event.set()

    def _accept(self) -> str:
        job_id = f"job-{next(self._ids)}"
        self._polled[job_id] = 0
        return job_id

    def _refusal(self, name: str) -> web.Response:
        return _problem(
            503,
            name,
            {"Retry-After": self.retry_after or str(self.retry_after_s)},
            retry_after_s=self.finer_retry_after_s,
        )

    async def _list(self, request: web.Request) -> web.Response:
        self.polled_at.append(time.monotonic())
        ids = request.query["ids"].split(",")
        self.asked_for.append(len(ids))
        orders = [self.polls.popleft() if self.polls else "answer" for _ in ids]
        if orders[0] in ("drop", "503"):
            return _dropped(request) if orders[0] == "drop" else self._refusal("overloaded")
        if orders[0] in ("401", "403"):
            return _problem(int(orders[0]), "denied", {})
        jobs = [
            self._document(job_id) if order == "answer" else {"id": job_id, "status": int(order), "problem": {}}
            for job_id, order in zip(ids, orders, strict=True)
        ]
        return web.json_response({"jobs": jobs})

    def _document(self, job_id: str) -> dict[str, object]:
        self._polled[job_id] += 1
        if self.ends_as is None or self._polled[job_id] < self.polls_to_end:
            poll_after_ms = None if self.poll_after_s is None else 1000 * self.poll_after_s
            return {"id": job_id, "state": self.live_state, "poll_after_ms": poll_after_ms}
        error = None if self.ends_as == "succeeded" else {"code": self.error_code, "message": ""}
        started_at = "2026-01-01T00:00:00.000Z" if self.started else None
        return {"id": job_id, "state": self.ends_as, "started_at": started_at, "error": error}

    async def _poll(self, request: web.Request) -> web.Response:
        job_id = request.match_info["id"]
        self.connections.add(request.transport)
        if "Prefer" in request.headers:
            return await self._wait(request, job_id)
        if request.method == "HEAD":
            self.polled_at.append(time.monotonic())
        order = self.polls.popleft() if self.polls else "answer"
        return self._status(request, job_id, order, {})

    async def _wait(self, request: web.Request, job_id: str) -> web.Response:
        self.waited_at.append(time.monotonic())
        order = self.waits.popleft() if self.waits else "answer"
        applied = {"Preference-Applied": f"wait={self.applied_s}"}
        if order == "no":
            return self._live(job_id, {})
        if order == "cut":
            return self._live(job_id, applied)
        if order == "answer":
            await self._sleep_or_stop(self.applied_s if self.ends_as is None else min(self.applied_s, self.takes_s))
            if self.ends_as is None or self.applied_s < self.takes_s:
                self.takes_s -= self.applied_s
                return self._live(job_id, applied)
            self._polled[job_id] = self.polls_to_end
        return self._status(request, job_id, order, applied)

    def _status(self, request: web.Request, job_id: str, order: str, headers: dict[str, str]) -> web.Response:
        if order == "drop":
            return _dropped(request)
        if order == "503":
            return self._refusal("overloaded")
        if order != "answer":
            return _problem(int(order), "gone", {})
        document = self._document(job_id)
        if document["state"] not in TERMINAL:
            return self._live(job_id, headers)
        return web.json_response(document, headers={**headers, "Job-State": str(document["state"])})

    def _live(self, job_id: str, headers: dict[str, str]) -> web.Response:
        headers = {**headers, "Job-State": self.live_state}
        if self.poll_after_s is not None:
            headers["Retry-After"] = str(self.poll_after_s)
        return web.json_response({"id": job_id, "state": self.live_state}, status=202, headers=headers)

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        job_id = request.match_info["id"]
        self.listened.append(request.headers.get("Last-Event-ID"))
        order = self.streams.popleft() if self.streams else "whole"
        if order == "503":
            return self._refusal("too-many-long-polls")
        if order.isdecimal():
            return _problem(int(order), "gone", {})
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b"retry: 50\n\n" + self._event(job_id, 1, "started", "running"))
        if order == "break":
            return _dropped(request)
        if order in ("whole", "hang"):
            endless = order == "hang" or self.ends_as is None
            await self._sleep_or_stop(3600.0 if endless else self.takes_s)
            if not endless:
                await response.write(b":\n\n" + self._event(job_id, 2, self.ends_as, self.ends_as))
        return response

    def _event(self, job_id: str, number: int, name: str, state: str) -> bytes:
        error = {"code": self.error_code} if state in TERMINAL and state != "succeeded" else None
        data = json.dumps({"id": job_id, "state": state, "error": error})
        return f"id: {job_id}.{number}\nevent: {name}\ndata: {data}\n\n".encode()

    async def _sleep_or_stop(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)


def _dropped(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


def _problem(status: int, name: str, headers: dict[str, str], **members: object) -> web.Response:
    body = {"type": f"/problems/{name}", "title": name, "status": status, "detail": name, **members}
    return web.json_response(body, status=status, headers=headers, content_type="application/problem+json")
