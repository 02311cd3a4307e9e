"""A crowd: thousands of clients that ignore every hint. Each submits a job, polls it, and begins again at once.

    python -m bench.destructive.loads.crowd PORT SECONDS FIRST LAST RAMP_S PAUSE_S JOB

FIRST clients at the start grow to LAST within RAMP_S seconds. A rejected client tries again after PAUSE_S, whatever
Retry-After says, and polls as often. After SECONDS no job is submitted any more, and each accepted one is polled to its
end, for GRACE_S at most. A connection that the server closes is opened again. JOBQUEUE_KEY in
the environment is their key.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
import time
from contextlib import nullcontext

import uvloop

from bench.destructive.tally import Tally
from bench.load.driving import raise_open_files
from bench.load.scripts import id_in
from bench.load.wire import Wire

HOST = "127.0.0.1"
GRACE_S = 60.0
CONNECT_S = 10.0
ANSWER_S = 30.0
OPENING_AT_ONCE = 200


class Crowd:
    """All clients, and their figures together.

    Args:
        job: The body of each submission.
        pause_s: Between two requests of one client.
        key: The API key that all of them send.
    """

    def __init__(self, port: int, job: bytes, pause_s: float, key: str | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._port = port
        self._host = f"Host: {HOST}\r\n" + (f"Authorization: Bearer {key}\r\n" if key else "")
        kind = f"Content-Type: application/json\r\nContent-Length: {len(job)}\r\n\r\n"
        self._submit = f"POST /v1/jobs HTTP/1.1\r\n{self._host}{kind}".encode() + job
        self._pause_s = pause_s
        self._opening = asyncio.Semaphore(OPENING_AT_ONCE)
        self._over_at = self._give_up_at = 0.0
        self.tally = Tally()

    async def run(self, seconds: float, first: int, last: int, ramp_s: float) -> None:
        """Run for so long; return once every client has ended."""
        start = time.monotonic()
        self._over_at, self._give_up_at = start + seconds, start + seconds + GRACE_S
        clients: list[asyncio.Task[None]] = []
        while time.monotonic() < self._over_at:
            share = min(1.0, (time.monotonic() - start) / ramp_s) if ramp_s else 1.0
            wanted = first + round((last - first) * share)
            clients += [self._loop.create_task(self._client()) for _ in range(wanted - len(clients))]
            await asyncio.sleep(0.1)
        await asyncio.gather(*clients)
        self.tally.notes["clients"] = float(len(clients))

    async def _client(self) -> None:
        client = _Client(self._port)
        try:
            await asyncio.sleep(random.uniform(0, self._pause_s))
            while time.monotonic() < self._over_at:
                await self._one_job(client)
        finally:
            client.close()

    async def _one_job(self, client: _Client) -> None:
        answered = await self._exchange(client, self._submit, self._over_at)
        if answered is None:
            self.tally.unknown += client.sent
            return
        status, answer = answered
        if status != b"202":
            await asyncio.sleep(self._pause_s)
            return
        self.tally.accepted += 1
        job_id = id_in(answer)
        look = f"HEAD /v1/jobs/{job_id.decode()} HTTP/1.1\r\n{self._host}\r\n".encode()
        while time.monotonic() < self._give_up_at:
            await asyncio.sleep(self._pause_s)
            answered = await self._exchange(client, look, self._give_up_at)
            if answered is None or answered[0] == b"202":
                continue
            self._note_end(job_id, *answered)
            return
        self.tally.note_lost(f"{job_id.decode()}: not seen to end")

    def _note_end(self, job_id: bytes, status: bytes, answer: bytes) -> None:
        if status == b"410":
            self.tally.gone += 1
        elif status == b"200":
            _, _, after = answer.partition(b"Job-State: ")
            self.tally.note_end(after.partition(b"\r")[0].decode())
        else:
            self.tally.note_lost(f"{job_id.decode()}: HEAD answered {status.decode()}")

    async def _exchange(self, client: _Client, request: bytes, until: float) -> tuple[bytes, bytes] | None:
        """Return the answer to a request; None: the connection was not made, or broke."""
        async with self._opening if not client.connected else nullcontext():
            if not client.connected and not await client.connect():
                self.tally.broken += 1
                await asyncio.sleep(self._pause_s)
                return None
        self.tally.requests += 1
        answered = await client.ask(request, max(1.0, min(ANSWER_S, until + GRACE_S - time.monotonic())))
        if answered is None:
            self.tally.broken += 1
            await asyncio.sleep(self._pause_s)
            return None
        self.tally.note_answer(*answered)
        return answered


class _Client:
    """One client's connection. `sent`: whether its last request went out."""

    def __init__(self, port: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._port = port
        self._wire: Wire | None = None
        self._answer: asyncio.Future[tuple[bytes, bytes] | None] | None = None
        self.sent = False

    @property
    def connected(self) -> bool:
        return self._wire is not None

    async def connect(self) -> bool:
        self.sent = False
        try:
            async with asyncio.timeout(CONNECT_S):
                _, self._wire = await self._loop.create_connection(
                    lambda: Wire(self._on_answer, self._on_lost), HOST, self._port
                )
        except (OSError, TimeoutError):
            return False
        return self.connected

    async def ask(self, request: bytes, within_s: float) -> tuple[bytes, bytes] | None:
        if self._wire is None:
            return None
        self.sent = True
        self._answer = self._loop.create_future()
        self._wire.ask(request)
        try:
            async with asyncio.timeout(within_s):
                return await self._answer
        except TimeoutError:
            self.close()
            return None

    def close(self) -> None:
        if self._wire is not None:
            self._wire.close()
            self._wire = None

    def _on_answer(self, wire: Wire, status: bytes, answer: bytes) -> None:
        if b"\r\nConnection: close" in answer:
            self.close()
        if self._answer is not None and not self._answer.done():
            self._answer.set_result((status, answer))

    def _on_lost(self, wire: Wire) -> None:
        if self._wire is wire or self._wire is None:
            self._wire = None
            if self._answer is not None and not self._answer.done():
                self._answer.set_result(None)


async def main(port: int, seconds: float, first: int, last: int, ramp_s: float, pause_s: float, job: str) -> None:
    raise_open_files()
    crowd = Crowd(port, job.encode(), pause_s, os.environ.get("JOBQUEUE_KEY"))
    await crowd.run(seconds, first, last, ramp_s)
    crowd.tally.print()


if __name__ == "__main__":
    port, seconds, first, last, ramp_s, pause_s, job = sys.argv[1:]
    uvloop.run(main(int(port), float(seconds), int(first), int(last), float(ramp_s), float(pause_s), job))
