"""One keep-alive connection of the load generator: HTTP/1.1, one exchange at a time, cut from the bytes as they come.

Framing of answers only; the driver knows their meaning. No task, future, timer or parser per request: the cost of
an exchange here reduces the load that can be generated.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from bench.load.answer import content_length

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.load.scripts import Script

BODILESS = frozenset({b"204", b"304"})
HEAD = 72  # the first byte of a HEAD


class Wire(asyncio.Protocol):
    """One connection of the generator, reduced to what it needs of HTTP.

    Args:
        on_answer: Called with this wire, the three digits of the code, and the whole answer.
        on_lost: Called when the connection ends, on either side.
    """

    __slots__ = ("_bodiless", "_on_answer", "_on_lost", "_partial", "_transport", "at", "busy", "script")

    def __init__(self, on_answer: Callable[[Wire, bytes, bytes], None], on_lost: Callable[[Wire], None]) -> None:
        self._on_answer = on_answer
        self._on_lost = on_lost
        self._transport: asyncio.Transport
        self._partial = b""
        self._bodiless = False
        self.busy = False
        self.at = 0.0  # when the exchange under way was to begin, or began: the driver's
        self.script: Script  # what it asks, and what comes after an answer: the driver's

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def ask(self, request: bytes) -> None:
        """Send a request. The answer to the one before it has come."""
        self.busy = True
        self._bodiless = request[0] == HEAD
        self._transport.write(request)

    def close(self) -> None:
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._partial:
            data = self._partial + data
        end = data.find(b"\r\n\r\n")
        status = data[9:12]
        if end < 0 or not self._is_whole(data, end, status):
            self._partial = data
            return
        self._partial = b""
        self.busy = False
        self._on_answer(self, status, data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._on_lost(self)

    def _is_whole(self, data: bytes, end: int, status: bytes) -> bool:
        if self._bodiless or status in BODILESS:
            return True
        size = content_length(data, end)
        if size is None:  # an event stream: it is over once its last chunk is there
            return data.endswith(b"\r\n0\r\n\r\n")
        return len(data) >= end + 4 + size
