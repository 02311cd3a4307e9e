"""Clients of a deploy: each submits one job after the other, and repeats a submission until it is accepted."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import aiohttp

if TYPE_CHECKING:
    from collections.abc import Sequence

PAUSE_S = 0.02
"""Before the next job, and before a submission is repeated: short, so that a gap is the server's, not a client's."""

TERMINAL = ("succeeded", "failed", "cancelled", "expired")
LAST_S = 120.0


class Clients:
    """Submitting clients of one server.

    Attributes:
        accepted: The id of each accepted job, by its idempotency key.
        refused: Answers that were no acceptance, by problem, and tries without an answer.
        gap_s, longest_s: The longest time between two acceptances of any client; and the longest that one submission
            took, with its repetitions.
    """

    def __init__(self, url: str, count: int) -> None:
        self._url = url
        self._count = count
        self._stopping = asyncio.Event()
        self.accepted: dict[str, str] = {}
        self.refused: Counter[str] = Counter()
        self._at: list[float] = []
        self.longest_s = 0.0
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Clients:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=60)
        )
        self._tasks = [asyncio.create_task(self._submit_on()) for _ in range(self._count)]
        return self

    async def __aexit__(self, *raised: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._session.close()

    async def stop(self) -> None:
        """Let each client end its submission."""
        self._stopping.set()
        await asyncio.gather(*self._tasks)

    @property
    def gap_s(self) -> float:
        at = sorted(self._at)
        return max((later - earlier for earlier, later in pairwise(at)), default=0.0)

    async def _submit_on(self) -> None:
        while not self._stopping.is_set():
            key, began = uuid.uuid4().hex, time.monotonic()
            job_id = await self._submit(key)
            while job_id is None:
                await asyncio.sleep(PAUSE_S)
                job_id = await self._submit(key)
            self._at.append(time.monotonic())
            self.longest_s = max(self.longest_s, time.monotonic() - began)
            self.accepted[key] = job_id
            await asyncio.sleep(PAUSE_S)

    async def _submit(self, key: str) -> str | None:
        body = {"type": "work", "args": {"seconds": 0.05}}
        try:
            async with self._session.post(
                f"{self._url}/v1/jobs", json=body, headers={"Idempotency-Key": f'"{key}"'}
            ) as answer:
                document = await answer.json(content_type=None)
                if answer.status in (200, 202):
                    return str(document["id"])
                self.refused[f"{answer.status} {_kind(document)}"] += 1
        except aiohttp.ClientConnectorError:
            self.refused["no connection"] += 1
        except (aiohttp.ClientError, TimeoutError, ValueError):
            self.refused["no answer"] += 1
        return None

    async def outcomes(self) -> tuple[Counter[str], int]:
        """Wait for the end of each accepted job; return their number by state, and of jobs with more than one attempt.

        A job whose record is gone is `lost`.
        """
        states: Counter[str] = Counter()
        again = 0
        until = time.monotonic() + LAST_S
        for some in _portions(list(self.accepted.values()), 200):
            documents = await asyncio.gather(*(self._end_of(job_id, until) for job_id in some))
            for document in documents:
                states[document.get("state", "lost")] += 1
                again += document.get("attempt", 1) > 1
        return states, again

    async def _end_of(self, job_id: str, until: float) -> dict[str, Any]:
        while True:
            async with self._session.get(f"{self._url}/v1/jobs/{job_id}") as answer:
                document: dict[str, Any] = await answer.json(content_type=None)
            if answer.status in (404, 410):
                return {}
            if document.get("state") in TERMINAL or time.monotonic() > until:
                return document
            await asyncio.sleep(0.05)


def _kind(document: object) -> str:
    return str(document.get("type", "")).rpartition("/")[2] if isinstance(document, dict) else "of the proxy"


def _portions(items: Sequence[str], size: int) -> list[Sequence[str]]:
    return [items[start : start + size] for start in range(0, len(items), size)]
