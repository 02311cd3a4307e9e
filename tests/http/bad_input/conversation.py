"""A conversation with the server: a row's stream is sent, and all answers are read until the connection's end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from tests.http.bad_input.row import Row, get, posted
from tests.http.serving import Answer, Serving

if TYPE_CHECKING:
    from collections.abc import Mapping

ANSWER_S = 20.0
"""Maximum wait for an answer: longer is a hang."""

BYTES_ALONE = 500
"""Bytes at each end of a stream that are sent one by one; a longer stream's middle is a single piece."""

NEXT = get("/livez", "Connection: close")

BEFORE = (get("/v1/jobs/{DONE}", method="HEAD"), posted(b'{"type":"nope"}'), get("/livez"))
"""Requests on a kept connection: of the head cache, of the fast path, of the stock path."""


class Talk(asyncio.Protocol):
    """One connection, and the answers over it, also those before a reset."""

    def __init__(self) -> None:
        self._received = bytearray()
        self._ended = False
        self._news = asyncio.Event()
        self._lost = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._wire = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        self._news.set()

    def eof_received(self) -> None:
        self._ended = True
        self._news.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended = True
        self._news.set()
        self._lost.set()

    async def send(self, stream: bytes, *, bytewise: bool = False) -> None:
        if not bytewise:
            self._wire.write(stream)
            return
        middle = max(0, len(stream) - 2 * BYTES_ALONE)
        for at in (*range(min(BYTES_ALONE, len(stream))), *range(BYTES_ALONE + middle, len(stream))):
            if self._wire.is_closing():
                return
            self._wire.write(stream[at : at + (1 + middle if at == BYTES_ALONE - 1 else 1)])
            await asyncio.sleep(0)

    def end(self) -> None:
        if not self._wire.is_closing():
            self._wire.write_eof()

    async def answer(self, *, head_only: bool = False) -> Answer | None:
        """Read one answer; None: the server has closed the connection."""
        while (at := self._received.find(b"\r\n\r\n")) < 0:
            if self._ended:
                assert not self._received, f"an answer is incomplete: {self._received!r}"
                return None
            await self._more()
        answer = Answer(bytes(self._received[: at + 4]))
        has_body = not head_only and answer.status >= 200
        end = at + 4 + (int(answer.headers.get("content-length", 0)) if has_body else 0)
        while len(self._received) < end:
            assert not self._ended, f"an answer is incomplete: {self._received!r}"
            await self._more()
        answer.rest = bytes(self._received[at + 4 : end])
        del self._received[:end]
        return answer

    async def _more(self) -> None:
        self._news.clear()
        await self._news.wait()

    async def close(self) -> None:
        self._wire.close()
        await self._lost.wait()


async def talk(
    serving: Serving, row: Row, names: Mapping[bytes, bytes], *, kept: bool, bytewise: bool, key: str = ""
) -> None:
    """Send a row's stream, and compare all answers with the row.

    Args:
        names: The placeholders' values.
        kept: On a connection that has carried other requests.
        bytewise: Byte by byte.
        key: The Authorization of those other requests, a header line; empty: they have none.

    Raises:
        AssertionError: An answer differs.
    """
    _, connection = await asyncio.get_running_loop().create_connection(Talk, "127.0.0.1", serving.port)
    try:
        async with asyncio.timeout(ANSWER_S):
            for request, status in zip(BEFORE, (200, 422, 200), strict=True) if kept else ():
                await connection.send(with_line(filled(request, names), key))
                before = await connection.answer(head_only=request.startswith(b"HEAD"))
                assert before is not None
                assert before.status == status
            await connection.send(filled(row.stream, names), bytewise=bytewise)
            if row.eof:
                connection.end()
            await _compare(connection, row, bytewise=bytewise)
    except TimeoutError:
        raise AssertionError(f"no answer, or no end of the connection, within {ANSWER_S:g} s") from None
    finally:
        await connection.close()


async def _compare(connection: Talk, row: Row, *, bytewise: bool) -> None:
    closes = row.closes or row.status is None
    for number, status in enumerate(() if row.status is None else (row.status, *row.more)):
        answer = await connection.answer(head_only=row.stream.startswith(b"HEAD"))
        assert answer is not None, f"the connection ends where {status} is expected"
        assert answer.status == status, f"{answer.status}, not {status}: {answer.rest!r}"
        if number == 0:
            _compare_problem(answer, row, bytewise=bytewise)
            if row.then:
                await connection.send(row.then, bytewise=bytewise)
        if number == len(row.more):
            closes = _closes(answer) or row.eof
            assert row.closes in (closes, None), f"Connection: {answer.headers.get('connection')}"
    if not closes:
        await connection.send(NEXT)
        answer = await connection.answer()
        assert answer is not None, "the connection ends, where the next request is expected to be answered"
        assert answer.status == 200, f"the next request got {answer.status}: {answer.rest!r}"
    last = await connection.answer()
    assert last is None, f"a further answer: {last.status} {last.rest!r}"


def _compare_problem(answer: Answer, row: Row, *, bytewise: bool) -> None:
    text = answer.rest.decode() if isinstance(answer.rest, bytes) else ""
    if answer.status >= 400 and not row.stream.startswith(b"HEAD"):
        assert answer.kind == row.problem, f"{answer.kind}: {text}"
    if row.problem == "malformed-request":
        assert not {"\n", "^"} & set(answer.problem["detail"]), "the parser's picture of the place"
    # The parser quotes what it was given last, which is a byte then.
    if not (bytewise and row.problem == "malformed-request"):
        assert row.says in text, f"{row.says!r} is not in {text}"


def _closes(answer: Answer) -> bool:
    """Whether an answer says that it is the connection's last; one in HTTP/1.0 is, unless it says otherwise."""
    told = answer.headers.get("connection", "close" if answer.version == "HTTP/1.0" else "keep-alive")
    return told.lower() == "close"


def with_line(request: bytes, line: str) -> bytes:
    return request.replace(b"\r\n", f"\r\n{line}\r\n".encode(), 1) if line else request


def filled(stream: bytes, names: Mapping[bytes, bytes]) -> bytes:
    for placeholder, value in names.items():
        stream = stream.replace(placeholder, value)
    return stream
