"""Open-loop probe: a small process that measures a server's latency while another program loads it.

    python -m bench.ramp.probe URL SAMPLES.jsonl         # ends with its stdin

It sends 20 requests a second, a POST and a HEAD in turn, each on an idle connection, and times each from the instant
at which it was due. A slow answer delays no later request, and a loaded generator does not delay the probe, so its
figures are the server's. Its key is that of JOBQUEUE_KEY, its files of TLS those of JOBQUEUE_CA_FILE
and so on. Once a second it reads the lag of the server's event loop.
Each measurement is one line of JSON.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO
from urllib.parse import urlsplit

import msgspec

from clients.wire.connection import Connection, NoAnswer
from clients.wire.place import place_of
from jobqueue.client import KEY_VARIABLE, address_of

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable

RATE_PER_S = 20.0
ANSWER_S_MAX = 30.0
CONNECTIONS_MAX = 200
SPIN_S = 0.0015  # before an instant the probe spins: a timer alone is up to a millisecond late
JOB = b'{"type":"echo"}'


class Measurement(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of the probe's file.

    Attributes:
        at: When it was due, as a Unix time in seconds.
        kind: `HEAD`, `POST`, or `lag`: how late the server's event loop ran.
        ms: Latency, or lag, in milliseconds; None: no answer within 30 s, or no connection.
        status: The answer's status code.
    """

    at: float
    kind: str
    ms: float | None = None
    status: int | None = None


def read_measurements(path: Path) -> list[Measurement]:
    """Read a probe's file; a last line that is not whole is left out."""
    if not path.exists():
        return []
    lines = path.read_bytes().split(b"\n")[:-1]
    return [msgspec.json.decode(line, type=Measurement) for line in lines]


class Probe:
    """Sends the requests of one run and writes their measurements.

    Args:
        url: The server's, with a port.
        out: Gets a line for each measurement.
        key: The API key of its requests; empty for none.
    """

    def __init__(self, url: str, out: TextIO, key: str = "") -> None:
        parts = urlsplit(url)
        self._place = place_of(url)
        self._prefix = parts.path.rstrip("/")
        headers = {
            "Host": parts.netloc,
            "User-Agent": "jobqueue-probe",
            **address_of(url, key=key, key_is_given=False).headers,
        }
        self._common = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self._out = out
        self._idle: list[Connection] = []
        self._open = 0
        self._job = "/livez"  # until the first accepted one
        self._under_way: set[asyncio.Task[None]] = set()

    async def run(self, stopped: asyncio.Event) -> None:
        """Send requests at their instants until `stopped` is set."""
        loop = asyncio.get_running_loop()
        began, sent = loop.time(), 0
        while not stopped.is_set():
            due = began + sent / RATE_PER_S
            with suppress(TimeoutError):
                async with asyncio.timeout_at(due - SPIN_S):
                    await stopped.wait()
            while loop.time() < due:  # noqa: ASYNC110  # an instant, not an event
                await asyncio.sleep(0)
            kind = "POST" if sent % 2 == 0 else "HEAD"
            self._start(self._measure(kind, due))
            if sent % round(RATE_PER_S) == 0:
                self._start(self._read_lag())
            sent += 1
        for task in self._under_way:
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _measure(self, kind: str, due: float) -> None:
        loop = asyncio.get_running_loop()
        at = time.time() - (loop.time() - due)
        answer = await self._exchange(self._post() if kind == "POST" else self._head(), bodiless=kind == "HEAD")
        if answer is None:
            self._write(Measurement(at=at, kind=kind))
            return
        status, location, _ = answer
        if location is not None:
            self._job = location
        elif kind == "HEAD" and status in (404, 410):
            self._job = "/livez"  # evicted meanwhile
        self._write(Measurement(at=at, kind=kind, ms=round((loop.time() - due) * 1000, 3), status=status))

    async def _read_lag(self) -> None:
        at = time.time()
        answer = await self._exchange(self._request("GET", f"{self._prefix}/v1/queues"), bodiless=False)
        if answer is None or answer[0] != 200:
            return
        lag_s = msgspec.json.decode(answer[2]).get("loop_lag_s")
        if lag_s is not None:
            self._write(Measurement(at=at, kind="lag", ms=lag_s * 1000))

    async def _exchange(self, request: bytes, *, bodiless: bool) -> tuple[int, str | None, bytes] | None:
        """Return status, Location and body; None without an answer."""
        if self._open >= CONNECTIONS_MAX:
            return None
        self._open += 1
        connection = self._idle.pop() if self._idle else Connection(self._place, lambda: None)
        try:
            async with asyncio.timeout(ANSWER_S_MAX):
                answer = await connection.exchange(request, safe=True, bodiless=bodiless)
        except (NoAnswer, TimeoutError):
            connection.close()
            return None
        finally:
            self._open -= 1
        self._idle.append(connection)
        return answer.status, answer.header(b"location"), answer.body

    def _head(self) -> bytes:
        return self._request("HEAD", self._job)

    def _post(self) -> bytes:
        fields = f"Content-Type: application/json\r\nContent-Length: {len(JOB)}\r\n"
        return self._request("POST", f"{self._prefix}/v1/jobs", fields) + JOB

    def _request(self, method: str, target: str, fields: str = "") -> bytes:
        return f"{method} {target} HTTP/1.1\r\n{self._common}{fields}\r\n".encode()

    def _write(self, measurement: Measurement) -> None:
        self._out.write(msgspec.json.encode(measurement).decode() + "\n")
        self._out.flush()


def p95_ms(measurements: Iterable[Measurement]) -> float | None:
    """Return the 95th percentile; a missing answer counts as 30 s. None: nothing was measured."""
    values = sorted(ANSWER_S_MAX * 1000 if it.ms is None else it.ms for it in measurements)
    return values[min(len(values) - 1, int(0.95 * len(values)))] if values else None


async def _main(url: str, path: Path) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()

    class Stdin(asyncio.Protocol):
        def connection_lost(self, exc: Exception | None) -> None:
            stopped.set()

    await loop.connect_read_pipe(Stdin, sys.stdin)
    with path.open("w") as out:
        await Probe(url, out, os.environ.get(KEY_VARIABLE, "")).run(stopped)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(_main(sys.argv[1], Path(sys.argv[2])))  # not uvloop: its clock counts milliseconds
