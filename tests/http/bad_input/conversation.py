"""A conversation with the server: a row's stream is sent, and all answers are read until the connection's end."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from tests.http.bad_input.row import Row, get, posted
from tests.http.serving import Answer, Serving

if TYPE_CHECKING:
    from collections.abc import Mapping

ANSWER_S = 20.0
"""Maximum wait for an answer: longer is a hang."""

BYTES_ALONE = 600
"""Bytes at each end of a stream that are sent one by one; a longer stream's middle is a single piece."""

NEXT = get("/livez", "Connection: close")

BEFORE = (get("/v1/jobs/{DONE}", method="HEAD"), posted(b'{"type":"nope"}'), get("/livez"))
"""Requests on a kept connection: of the head cache, of the fast path, of the stock path."""


class Talk:
    """One connection, and the answers over it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, stream: bytes, *, bytewise: bool) -> None:
        if not bytewise:
            self._writer.write(stream)
            return
        middle = max(0, len(stream) - 2 * BYTES_ALONE)
        for at in (*range(min(BYTES_ALONE, len(stream))), *range(BYTES_ALONE + middle, len(stream))):
            if self._writer.is_closing():
                return
            self._writer.write(stream[at : at + (1 + middle if at == BYTES_ALONE - 1 else 1)])
            await asyncio.sleep(0)

    def end(self) -> None:
        if not self._writer.is_closing():
            self._writer.write_eof()

    async def answer(self, *, head_only: bool = False) -> Answer | None:
        """Read one answer; None: the server has closed the connection."""
        try:
            raw = await self._reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as end:
            if end.partial:
                raise AssertionError(f"an answer is incomplete: {end.partial!r}") from None
            return None
        answer = Answer(raw)
        if not head_only and answer.status >= 200:
            answer.rest = await self._reader.readexactly(int(answer.headers.get("content-length", 0)))
        return answer

    async def close(self) -> None:
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()


async def talk(serving: Serving, row: Row, jobs: Mapping[bytes, bytes], *, kept: bool, bytewise: bool) -> None:
    """Send a row's stream, and compare all answers with the row.

    Args:
        jobs: Ids by placeholder.
        kept: On a connection that has carried other requests.
        bytewise: Byte by byte.

    Raises:
        AssertionError: An answer differs.
    """
    connection = Talk(*await asyncio.open_connection("127.0.0.1", serving.port))
    try:
        async with asyncio.timeout(ANSWER_S):
            for request, status in zip(BEFORE, (200, 422, 200), strict=True) if kept else ():
                await connection.send(filled(request, jobs), bytewise=False)
                before = await connection.answer(head_only=request.startswith(b"HEAD"))
                assert before is not None
                assert before.status == status
            await connection.send(filled(row.stream, jobs), bytewise=bytewise)
            if row.eof:
                connection.end()
            await _compare(connection, row)
    except TimeoutError:
        raise AssertionError(f"no answer, or no end of the connection, within {ANSWER_S:g} s") from None
    finally:
        await connection.close()


async def _compare(connection: Talk, row: Row) -> None:
    expected = () if row.status is None else (row.status, *row.more)
    for number, status in enumerate(expected):
        answer = await connection.answer(head_only=row.stream.startswith(b"HEAD"))
        assert answer is not None, f"the connection ends where {status} is expected"
        assert answer.status == status, f"{answer.status}, not {status}: {answer.rest!r}"
        if number == 0:
            _compare_first(answer, row)
    if not row.closes and row.status is not None:
        await connection.send(NEXT, bytewise=False)
        answer = await connection.answer()
        assert answer is not None, "the connection ends, where the next request is expected to be answered"
        assert answer.status == 200, f"the next request got {answer.status}: {answer.rest!r}"
    last = await connection.answer()
    assert last is None, f"a further answer: {last.status} {last.rest!r}"


def _compare_first(answer: Answer, row: Row) -> None:
    if answer.status >= 400 and not row.stream.startswith(b"HEAD"):
        assert answer.kind == row.problem, f"{answer.kind}: {answer.problem['detail']}"
        assert row.says in answer.rest.decode(), f"{row.says!r} is not in {answer.rest.decode()}"
    closes = answer.headers.get("connection") == "close"
    if row.status is not None and not row.more and answer.version == "HTTP/1.1":
        assert closes is row.closes, "Connection: close" if closes else "no Connection: close"


def filled(stream: bytes, jobs: Mapping[bytes, bytes]) -> bytes:
    for placeholder, job_id in jobs.items():
        stream = stream.replace(placeholder, job_id)
    return stream
