"""A storm: clients that submit jobs and follow each to its end, and write down what they were told."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import aiohttp

from tests.faults.history import TERMINAL, History

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

UNANSWERED = (aiohttp.ClientError, ConnectionError, TimeoutError)


class Storm:
    """Clients of one server.

    Args:
        url: The server, or a proxy before it.
        clients: Number of clients, each with a connection of its own.
        type: The type of the jobs: one that witnesses its runs.
        job: Further members of each submission.
        keys: Send an Idempotency-Key with each submission, and send it again until it is answered.
        obeys: Whether clients wait as `Retry-After` says, 1 s at most; others come back at once.
        pause_s: Time between two jobs of one client.
        address: The clients' own address.
        host: The Host that they send: behind a proxy, the server's own.
    """

    _numbers = itertools.count()

    def __init__(
        self,
        url: str,
        *,
        clients: int = 20,
        type: str = "record",
        job: dict[str, Any] | None = None,
        seconds: float = 0.0,
        keys: bool = False,
        obeys: bool = True,
        pause_s: float = 0.0,
        address: str | None = None,
        host: str | None = None,
    ) -> None:
        self._url, self._clients, self._type, self._seconds = url, clients, type, seconds
        self._job, self._keys, self._obeys, self._pause_s = job or {}, keys, obeys, pause_s
        self._address = address
        self._headers = {"Host": host} if host else {}
        self.history = History()
        self.statuses: Counter[int] = Counter()
        self.unanswered = 0
        self.submit_s: list[float] = []
        self.refuse_s: list[float] = []
        self.life_s: list[float] = []
        self.first_refused_at = 0.0
        self.last_accepted_at = 0.0
        self._over = asyncio.Event()

    def stop(self) -> None:
        """Submit no more; the accepted jobs are followed to their ends."""
        self._over.set()

    @contextlib.asynccontextmanager
    async def raging(self) -> AsyncIterator[Storm]:
        """Run the clients for the time of the block, and then until each of their jobs has ended."""
        local = (self._address, 0) if self._address else None
        connector = aiohttp.TCPConnector(limit=0, local_addr=local)
        timeout = aiohttp.ClientTimeout(total=20)
        options: dict[str, Any] = {"connector": connector, "timeout": timeout, "headers": self._headers}
        async with aiohttp.ClientSession(self._url, **options) as http:
            tasks = [asyncio.create_task(self._client(http)) for _ in range(self._clients)]
            try:
                yield self
                self.stop()
                await asyncio.gather(*tasks)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def run(self, seconds: float) -> Storm:
        async with self.raging():
            await asyncio.sleep(seconds)
        return self

    async def _client(self, http: aiohttp.ClientSession) -> None:
        while not self._over.is_set():
            token = f"t{next(self._numbers)}"
            began = time.perf_counter()
            job_id = await self._submit(http, token)
            if job_id is not None and await self._follow(http, token, job_id):
                self.life_s.append(time.perf_counter() - began)
            if self._pause_s:
                await self._pause(self._pause_s)

    async def _submit(self, http: aiohttp.ClientSession, token: str) -> str | None:
        """Submit one job; return its id, or None if it was rejected or had no answer."""
        body = {"type": self._type, "args": {"token": token, "seconds": self._seconds}, **self._job}
        headers = {"Idempotency-Key": token} if self._keys else {}
        self.history.sent(token)
        while True:
            began = time.perf_counter()
            try:
                async with http.post("/v1/jobs", json=body, headers=headers) as response:
                    document = await response.json(content_type=None)
            except UNANSWERED:
                self.unanswered += 1
                if not self._keys:
                    await asyncio.sleep(0.01)
                    return None
                await asyncio.sleep(0.01)
                continue
            took = time.perf_counter() - began
            self.statuses[response.status] += 1
            if response.status in (200, 202):
                self.submit_s.append(took)
                self.last_accepted_at = time.monotonic()
                self.history.was_accepted(token, document["id"])
                self.history.saw(token, document["state"])
                return str(document["id"])
            self.refuse_s.append(took)
            self.first_refused_at = self.first_refused_at or time.monotonic()
            self.history.was_refused(token)
            if self._obeys:
                await self._pause(min(1.0, float(response.headers["Retry-After"])))
            return None

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._over.wait(), seconds)

    async def _follow(self, http: aiohttp.ClientSession, token: str, job_id: str) -> bool:
        """Wait for the end of a job; False if its server has gone."""
        failures = 0
        while failures < 50:
            try:
                async with http.get(f"/v1/jobs/{job_id}", headers={"Prefer": "wait=5"}) as response:
                    document = await response.json(content_type=None)
            except UNANSWERED:
                self.unanswered += 1
                failures += 1 if self._keys else 25
                await asyncio.sleep(0.02)
                continue
            self.statuses[response.status] += 1
            if response.status not in (200, 202):
                self.history.saw(token, f"status {response.status}")
                return False
            self.history.saw(token, document["state"])
            if document["state"] in TERMINAL:
                return True
        return False


def p99_ms(seconds: list[float]) -> float:
    return sorted(seconds)[int(len(seconds) * 0.99)] * 1000 if seconds else float("nan")
