"""A flood: batches of submissions over a few connections until so many jobs are accepted.

    python -m bench.destructive.loads.flood PORT SECONDS COUNT BATCH JOB

It ends after SECONDS even if fewer are accepted. A batch of which a part is refused, or that is refused whole, is tried
again after PAUSE_S. It follows no job: the server's own counts tell how they end.
"""

from __future__ import annotations

import asyncio
import sys
import time

import aiohttp
import msgspec
import uvloop

from bench.destructive.tally import Tally

CONNECTIONS = 4
PAUSE_S = 0.1


class Item(msgspec.Struct):
    """One answer of a batch."""

    status: int


class Items(msgspec.Struct):
    """The answer to a batch."""

    jobs: list[Item]


class Flood:
    """The connections, and their figures together."""

    def __init__(self, job: bytes, count: int, batch: int) -> None:
        self._job = job
        self._count = count
        self._batch = batch
        self._under_way = 0
        self.tally = Tally()

    async def run(self, port: int, seconds: float) -> None:
        until = time.monotonic() + seconds
        timeout = aiohttp.ClientTimeout(total=30)
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}", timeout=timeout) as http:
            await asyncio.gather(*(self._send(http, until) for _ in range(CONNECTIONS)))

    async def _send(self, http: aiohttp.ClientSession, until: float) -> None:
        headers = {"Content-Type": "application/json"}
        while time.monotonic() < until:
            wanted = min(self._batch, self._count - self.tally.accepted - self._under_way)
            if wanted <= 0:
                if self.tally.accepted >= self._count:
                    return
                await asyncio.sleep(PAUSE_S)
                continue
            body = b'{"jobs":[' + b",".join([self._job] * wanted) + b"]}"
            self._under_way += wanted
            self.tally.requests += 1
            refused = True
            try:
                async with http.post("/v1/jobs:batch", data=body, headers=headers) as response:
                    answer = await response.read()
                refused = self._note(response, answer)
            except (aiohttp.ClientError, TimeoutError):
                self.tally.broken += 1
                self.tally.unknown += wanted
            finally:
                self._under_way -= wanted
            if refused:
                await asyncio.sleep(PAUSE_S)

    def _note(self, response: aiohttp.ClientResponse, answer: bytes) -> bool:
        """Count the answer; return whether anything was refused."""
        head = b"".join(b"\r\n%b: %b" % pair for pair in response.raw_headers)
        self.tally.note_answer(response.status, b"HTTP/1.1 " + head + b"\r\n\r\n" + answer[:300])
        if response.status != 207:
            return True
        accepted = refused = 0
        for item in msgspec.json.decode(answer, type=Items).jobs:
            if item.status == 202:
                accepted += 1
            else:
                refused += 1
        self.tally.accepted += accepted
        self.tally.notes["refused in batches"] = self.tally.notes.get("refused in batches", 0.0) + refused
        return refused > 0


async def main(port: int, seconds: float, count: int, batch: int, job: str) -> None:
    flood = Flood(job.encode(), count, batch)
    await flood.run(port, seconds)
    flood.tally.print()


if __name__ == "__main__":
    port, seconds, count, batch, job = sys.argv[1:]
    uvloop.run(main(int(port), float(seconds), int(count), int(batch), job))
