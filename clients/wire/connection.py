"""One simulated client's connection: HTTP/1.1, kept alive, one exchange at a time.

Lean, because a fleet must cost less than the server it drives: answers are cut from
the bytes as they come, with no parser, stream or timer per request. It reads the subset of HTTP that a
job server sends: bodies need a Content-Length.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from typing import TYPE_CHECKING, TypeVar

from jobqueue.client import retry_after_s

if TYPE_CHECKING:
    from collections.abc import Callable

    from clients.wire.place import Place

Protocol = TypeVar("Protocol", bound=asyncio.Protocol)

SILENT_S = 30.0  # without a byte moving, either way
FRESH_S = 5.0  # a POST is not sent on a connection that has been idle for longer
HEAD_BYTES_MAX = 1 << 16
BODY_BYTES_MAX = 1 << 26


class NoAnswer(Exception):
    """The request was not answered; the text is what the report counts it under."""


class Unreachable(NoAnswer):
    """No connection could be made, and nothing was sent."""


class Answer:
    """A status code, the head as it came and in lower case, and the body."""

    __slots__ = ("body", "head", "lower", "status")

    def __init__(self, status: int, head: bytes, lower: bytes, body: bytes) -> None:
        self.status = status
        self.head = head
        self.lower = lower
        self.body = body

    def header(self, name: bytes) -> str | None:
        """Return a field's value; `name` in lower case."""
        start = self.lower.find(b"\r\n" + name + b":")
        if start < 0:
            return None
        start += len(name) + 3
        end = self.head.find(b"\r\n", start)
        return self.head[start : end if end >= 0 else None].strip().decode("latin-1")

    @property
    def retry_after_s(self) -> float | None:
        text = self.header(b"retry-after")
        return None if text is None else retry_after_s(text, self.header(b"date") or "")


class Connection:
    """Opens itself when it is needed, and again when the server has closed it.

    Args:
        on_reopened: Called each time that a safe request, sent on a connection which
            the server was just closing for idleness, has to be sent again on a new one.
    """

    def __init__(self, address: Place, on_reopened: Callable[[], None]) -> None:
        self._address = address
        self._on_reopened = on_reopened
        self._wire: _Wire | None = None

    async def exchange(self, request: bytes, *, safe: bool, bodiless: bool = False, quiet_s: float = 0.0) -> Answer:
        """Send a request and return its answer.

        Args:
            safe: It may be sent twice (GET, HEAD).
            bodiless: Its answer has no body, whatever the head says (HEAD).
            quiet_s: The wait that the server was asked for.

        Raises:
            Unreachable: It was not sent.
            NoAnswer: It was sent; but the connection broke, stayed silent, or brought something else than an answer.
        """
        wire = self._wire
        if wire is not None and (not wire.open or (not safe and time.monotonic() - wire.moved_at > FRESH_S)):
            self.close()
            wire = None
        if wire is not None:
            try:
                return await wire.ask(request, bodiless, quiet_s)
            except NoAnswer:
                if not safe or wire.received:
                    raise
                self._on_reopened()
        await self.connect()
        assert self._wire is not None
        return await self._wire.ask(request, bodiless, quiet_s)

    async def connect(self) -> None:
        """Open a new connection. Raises as `exchange`."""
        self.close()
        self._wire = await connected(_Wire, self._address)

    def close(self) -> None:
        if self._wire is not None:
            self._wire.close()
            self._wire = None

    def expire(self, now: float) -> None:
        """Abort a request without progress for too long. The fleet calls it about once a second."""
        if self._wire is not None:
            self._wire.expire(now)


class _Wire(asyncio.Protocol):
    """One connection: bytes out, answers in."""

    def __init__(self) -> None:
        self.open = False
        self.received = b""  # of the current answer
        self.moved_at = 0.0
        self._transport: asyncio.Transport
        self._waiter: asyncio.Future[Answer] | None = None
        self._bodiless = False
        self._quiet_s = 0.0
        self._unsent = 0

    async def ask(self, request: bytes, bodiless: bool, quiet_s: float) -> Answer:
        self.received = b""
        if not self.open:
            raise NoAnswer("connection dropped")
        self._waiter = asyncio.get_running_loop().create_future()
        self._bodiless = bodiless
        self._quiet_s = quiet_s
        self.moved_at = time.monotonic()
        self._transport.write(request)
        try:
            return await self._waiter
        finally:
            self._waiter = None
            self.moved_at = time.monotonic()

    def close(self) -> None:
        if self.open:
            self.open = False
            self._transport.abort()

    def expire(self, now: float) -> None:
        if self._waiter is None or not self.open:
            return
        unsent = self._transport.get_write_buffer_size()
        if unsent != self._unsent:
            self._unsent, self.moved_at = unsent, now
        elif now - self.moved_at > SILENT_S + self._quiet_s:
            self._fail(f"no answer for {SILENT_S + self._quiet_s:.0f} s")

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # TCP's always is one
        self._transport = transport
        self.open = True

    def data_received(self, data: bytes) -> None:
        if self._waiter is None or self._waiter.done():
            self.close()  # an answer to nothing, such as a 408 on an idle connection
            return
        self.received = self.received + data if self.received else data
        try:
            answer = cut(self.received, bodiless=self._bodiless)
        except ValueError as error:
            self._fail(f"not an HTTP answer: {error}")
            return
        if answer is None:
            self.moved_at = time.monotonic()
            return
        if b"\r\nconnection: close" in answer.lower:
            self.close()
        self._waiter.set_result(answer)

    def connection_lost(self, exc: Exception | None) -> None:
        self.open = False
        self._fail("connection dropped")

    def _fail(self, why: str) -> None:
        self.close()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(NoAnswer(why))


async def connected(make: Callable[[], Protocol], place: Place) -> Protocol:
    """Open a connection. Raises as `Connection.exchange`."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(SILENT_S):
            if place.socket is not None:
                _, protocol = await loop.create_unix_connection(make, place.socket)
            else:
                _, protocol = await loop.create_connection(
                    make, place.host, place.port, ssl=place.tls, server_hostname=place.name
                )
    except ConnectionRefusedError:
        raise Unreachable("connection refused") from None
    except TimeoutError:
        raise Unreachable("connecting took too long") from None
    except ssl.SSLError as error:
        raise Unreachable(f"TLS failed: {getattr(error, 'verify_message', None) or error.reason or error}") from None
    except OSError as error:
        raise Unreachable(f"connecting failed: {error.strerror or error}") from None
    return protocol


def head_end(data: bytes) -> int | None:
    """Return where the head of an answer ends, or None while it does not. Raises ValueError if it never will."""
    end = data.find(b"\r\n\r\n")
    if end >= 0:
        return end
    if len(data) > HEAD_BYTES_MAX:
        raise ValueError("an endless head")
    return None


def cut(data: bytes, *, bodiless: bool) -> Answer | None:
    """Return the answer that these bytes are, or None while some are missing. Raises ValueError if they are none."""
    end = head_end(data)
    if end is None:
        return None
    if not data.startswith(b"HTTP/1.1 "):
        raise ValueError("not HTTP/1.1")
    status = int(data[9:12])
    head = data[:end]
    lower = head.lower()
    start = end + 4
    size = 0 if bodiless or status in (204, 304) else _content_length(lower)
    if len(data) < start + size:
        return None
    if len(data) > start + size:
        raise ValueError("more bytes than it announces")
    return Answer(status, head, lower, data[start:])


def _content_length(lower: bytes) -> int:
    start = lower.find(b"\r\ncontent-length:")
    if start < 0:
        raise ValueError("no Content-Length")
    end = lower.find(b"\r\n", start + 2)
    size = int(lower[start + 17 : end if end >= 0 else None])
    if not 0 <= size <= BODY_BYTES_MAX:
        raise ValueError("a Content-Length below 0 or over 64 MiB")
    return size
