"""An honest client: it repeatedly submits a small job and polls it until it is terminal, and obeys Retry-After.

`python -m bench.destructive.loads.honest PORT SECONDS [TYPE ARGS [PATIENCE_S]]` prints its tally: after SECONDS, or at
SIGTERM, when its last job has ended. JOBQUEUE_KEY in the environment is the API key that it sends.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
import time
from typing import Any

import aiohttp
import uvloop

from bench.destructive.tally import Tally

PAUSE_S = 0.05
PATIENCE_S = 20.0
TTL_S = 20.0
LIVE = ("delayed", "queued", "running")


class Honest:
    """One client and its figures.

    Args:
        job: What it submits; None: an echo, half of them too large to come in one piece with their head.
        patience_s: How long it tries to get an answer, and waits for a job's end.
        headers: Of each request.
    """

    def __init__(
        self,
        url: str,
        job: dict[str, Any] | None = None,
        *,
        patience_s: float = PATIENCE_S,
        headers: dict[str, str] | None = None,
    ) -> None:
        self._url = url
        self._job = job
        self._patience_s = patience_s
        self._headers = headers or {}
        self.tally = Tally()
        self.latencies_s: list[float] = []
        self._evicted = False

    async def run(self, until: asyncio.Event) -> None:
        timeout = aiohttp.ClientTimeout(total=10)
        async with aiohttp.ClientSession(self._url, timeout=timeout, headers=self._headers) as http:
            while not until.is_set():
                await self._one_job(http)
                await asyncio.sleep(PAUSE_S)

    async def _one_job(self, http: aiohttp.ClientSession) -> None:
        args = {"a": "x" * random.choice((10, 100_000))}
        body = self._job or {"type": "echo", "args": args, "ttl_s": TTL_S}
        document, began = await self._patiently(http, "POST", "/v1/jobs", body)
        if document is None:
            self.tally.note_lost("not accepted")
            return
        self.tally.accepted += 1
        self._evicted = False
        job_id, deadline = document["id"], time.monotonic() + self._patience_s
        while document is not None and document["state"] in LIVE and time.monotonic() < deadline:
            await asyncio.sleep(PAUSE_S)
            document, _ = await self._patiently(http, "GET", f"/v1/jobs/{job_id}", None)
        if document is None and self._evicted:  # as clients are told: a bound may evict a terminal record early
            self.tally.gone += 1
            return
        if document is None or document["state"] in LIVE:
            self.tally.note_lost(f"{job_id}: {document and document['state']}")
            return
        self.tally.note_end(document["state"])
        self.tally.waits_ms.append((time.perf_counter() - began) * 1e3)

    async def _patiently(
        self, http: aiohttp.ClientSession, method: str, path: str, body: object
    ) -> tuple[dict[str, Any] | None, float]:
        """Return the answer, and when the request that brought it began."""
        deadline = time.monotonic() + self._patience_s
        while time.monotonic() < deadline:
            began = time.perf_counter()
            self.tally.requests += 1
            try:
                async with http.request(method, path, json=body) as response:
                    answer: dict[str, Any] = await response.json(content_type=None)
                    self.latencies_s.append(time.perf_counter() - began)
                    self._note(response, answer)
                    if response.status in (200, 202):
                        return answer, began
                    if response.status == 410 and answer.get("reason") == "evicted":
                        self._evicted = True
                        return None, began
                    if response.status not in (429, 503):
                        self.tally.note_lost(f"{method} {path}: {response.status} {answer}")
                        return None, began
                    retry_s = float(response.headers.get("Retry-After", 1))
            except (aiohttp.ClientError, TimeoutError, ValueError):
                self.tally.broken += 1
                self.tally.unknown += method == "POST"
                retry_s = 0.2
            await asyncio.sleep(min(1.0, retry_s))
        return None, deadline

    def _note(self, response: aiohttp.ClientResponse, answer: object) -> None:
        head = b"".join(b"\r\n%b: %b" % pair for pair in response.raw_headers)
        self.tally.note_answer(response.status, b"HTTP/1.1 " + head + b"\r\n\r\n" + json.dumps(answer).encode())


async def main(port: int, seconds: float, job: dict[str, Any] | None, patience_s: float) -> None:
    key = os.environ.get("JOBQUEUE_KEY")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    honest = Honest(f"http://127.0.0.1:{port}", job, patience_s=patience_s, headers=headers)
    over = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.call_later(seconds, over.set)
    loop.add_signal_handler(signal.SIGTERM, over.set)
    await honest.run(over)
    honest.tally.print()


if __name__ == "__main__":
    given = {"type": sys.argv[3], "args": json.loads(sys.argv[4]), "ttl_s": TTL_S} if len(sys.argv) > 3 else None
    patience_s = float(sys.argv[5]) if len(sys.argv) > 5 else PATIENCE_S
    uvloop.run(main(int(sys.argv[1]), float(sys.argv[2]), given, patience_s))
