"""The bomb: requests as long as they may be, or longer, all at once.

    python -m bench.destructive.loads.bomb PORT SECONDS FILES MINUTES BODIES CHUNKED COMPRESSED

FILES audio files of so many MINUTES are sent to `transcode` and followed to their ends, for SECONDS at most; BODIES are
JSON documents of just the allowed size, CHUNKED are bodies of 64 MiB without a length, COMPRESSED are 20 MiB of zeros
as a few KiB of gzip, which say so or don't.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import uvloop

from bench.destructive.loads.sound import BYTES_PER_S, wav
from bench.destructive.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable

HOST = "127.0.0.1"
LIMIT_BYTES = 2**20
CHUNKED_BYTES = 64 * 2**20
ANSWER_S = 60.0
POLL_S = 1.0
OPEN = (
    b'--xyz\r\nContent-Disposition: form-data; name="job"\r\n\r\n{"type":"transcode","args":{"rate":8000}}\r\n'
    b'--xyz\r\nContent-Disposition: form-data; name="audio"; filename="a.wav"\r\n\r\n'
)
CLOSE = b"\r\n--xyz--\r\n"


class Bomb:
    """All its requests, and their figures together."""

    def __init__(self, port: int, seconds: float) -> None:
        self._port = port
        self._until = time.monotonic() + seconds
        self.tally = Tally()

    async def run(self, files: int, minutes: int, bodies: int, chunked: int, compressed: int) -> None:
        zeros = gzip.compress(bytes(20 * 2**20), 9)
        coded = (b"Content-Encoding: gzip\r\n", b"")
        parts: list[Coroutine[None, None, None]] = [
            *(self._transcode(minutes) for _ in range(files)),
            *(self._once("bodies", _post(_body_at_the_limit())) for _ in range(bodies)),
            *(self._once("chunked", _chunked()) for _ in range(chunked)),
            *(self._once("compressed", _post(zeros, coded[number % 2])) for number in range(compressed)),
        ]
        await asyncio.gather(*parts)

    async def _once(self, kind: str, request: Iterable[bytes]) -> None:
        answer = await self._exchange(request)
        name = f"{kind} {answer[9:12].decode() if answer else 'cut'}"
        self.tally.notes[name] = self.tally.notes.get(name, 0.0) + 1
        if answer[9:12] == b"202":
            self.tally.accepted += 1
            self.tally.note_end("not followed")

    async def _transcode(self, minutes: int) -> None:
        size = 44 + minutes * 60 * BYTES_PER_S
        head = b"Content-Type: multipart/form-data; boundary=xyz\r\nContent-Length: %d\r\n\r\n" % (
            len(OPEN) + size + len(CLOSE)
        )
        while time.monotonic() < self._until:
            request = (b"POST /v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\n" + head + OPEN, *wav(minutes * 60), CLOSE)
            answer = await self._exchange(request)
            name = f"files {answer[9:12].decode() if answer else 'cut'}"
            self.tally.notes[name] = self.tally.notes.get(name, 0.0) + 1
            if answer[9:12] == b"202":
                self.tally.accepted += 1
                await self._follow(json.loads(answer.partition(b"\r\n\r\n")[2])["id"])
                return
            await asyncio.sleep(POLL_S)
        self.tally.note_lost("a file was not accepted in time")

    async def _follow(self, job_id: str) -> None:
        while time.monotonic() < self._until:
            request = f"GET /v1/jobs/{job_id} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n"
            answer = await self._exchange([request.encode()])
            if answer[9:12] == b"200":
                self.tally.note_end(json.loads(answer.partition(b"\r\n\r\n")[2])["state"])
                return
            if answer[9:12] == b"410":
                self.tally.gone += 1
                return
            await asyncio.sleep(POLL_S)
        self.tally.note_lost(f"transcode {job_id}: not seen to end")

    async def _exchange(self, request: Iterable[bytes]) -> bytes:
        """Send a request; return its answer as far as it comes in one piece, or nothing."""
        self.tally.requests += 1
        writer = None
        answer = b""
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(ANSWER_S):
                reader, writer = await asyncio.open_connection(HOST, self._port)
                reading = asyncio.ensure_future(reader.read(65536))
                try:
                    for piece in request:
                        if reading.done():  # answered before the end: rejected
                            break
                        writer.write(piece)
                        with suppress(ConnectionError):
                            await writer.drain()
                    answer = await reading
                finally:
                    reading.cancel()
        if writer is not None:
            writer.transport.abort()
        if answer:
            self.tally.note_answer(answer[9:12], answer)
        else:
            self.tally.broken += 1
        return answer


def _post(body: bytes, headers: bytes = b"") -> list[bytes]:
    head = b"POST /v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    return [head + headers + b"Content-Length: %d\r\n\r\n" % len(body), body]


def _body_at_the_limit() -> bytes:
    before, after = b'{"type":"echo","args":{"a":"', b'"}}'
    return before + b"x" * (LIMIT_BYTES - len(before) - len(after)) + after


def _chunked() -> Iterable[bytes]:
    yield (
        b"POST /v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n"
    )
    chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
    for _ in range(CHUNKED_BYTES // 65536):
        yield chunk
    yield b"0\r\n\r\n"


async def main(port: int, seconds: float, sizes: list[int]) -> None:
    bomb = Bomb(port, seconds)
    await bomb.run(*sizes)
    bomb.tally.print()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), float(sys.argv[2]), [int(size) for size in sys.argv[3:]]))
