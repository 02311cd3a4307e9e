"""The framing of a chunked body: counts its bytes and its work.

A chunk costs the parser some work at any size, and its extension may be of any length. So framing is bounded
relative to the body, and counts as work of the loop iteration.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiohttp.streams import StreamReader

PIECE_BYTES = 16 * 1024
"""A chunked body is parsed in pieces of this size, so that a rejected one costs the work of one piece at most."""

FREE_BYTES = 4096
"""Framing of this size is allowed, plus the size of the body."""

ANSWER_BYTES = 160
"""Framing, some 30 chunks, that counts as the work of one response."""

_HEAD_END = b"\r\n\r\n"
_SIZE = re.compile(rb"[0-9A-Fa-f]+")


class Framing:
    """The framing of one chunked body, counted as it is received.

    Args:
        body: The body, so far.
        data: The piece with the end of its head.
    """

    __slots__ = ("_body", "_came_bytes", "_charged_bytes")

    def __init__(self, body: StreamReader, data: bytes) -> None:
        self._body = body
        self._charged_bytes = 0
        start = _head_end(data)
        self._came_bytes = len(data) - start
        if body.is_eof() and self.excessive:  # it may include the beginning of the next request
            try:
                self._came_bytes = _chunks_bytes(data, start)
            except ValueError:  # the body holds what looks like a head
                self._came_bytes = body.total_bytes

    def add(self, size_bytes: int) -> None:
        """Count received bytes, all of this body."""
        self._came_bytes += size_bytes

    @property
    def bytes(self) -> int:
        """The framing so far, if all received bytes are parsed."""
        return self._came_bytes - self._body.total_bytes

    @property
    def excessive(self) -> bool:
        return self.bytes > FREE_BYTES + self._body.total_bytes

    def work(self) -> int:
        """Return the work since the last call, in responses."""
        answers = (self.bytes - self._charged_bytes) // ANSWER_BYTES
        self._charged_bytes += answers * ANSWER_BYTES
        return answers


def may_be_chunked(data: bytes) -> bool:
    """Whether a request with a chunked body may begin in the data."""
    # Only heads are searched: to fold the case of 255 KB of a body takes 0.7 ms.
    end = data.rfind(b"\n\r\n")
    return end >= 0 and b"chunked" in data[:end].lower()


def head_bytes_of(data: bytes) -> int:
    """Return the length of the head that data begins with."""
    return data.find(_HEAD_END) + len(_HEAD_END)


def _head_end(data: bytes) -> int:
    """Return the end of the last whole head."""
    line = data.rfind(b" HTTP/1.", 0, max(0, data.rfind(_HEAD_END)))
    return data.find(_HEAD_END, max(0, line)) + len(_HEAD_END)


def _chunks_bytes(data: bytes, at: int) -> int:
    """Return the length of a whole chunked body with its framing (RFC 9112, section 7.1).

    Raises:
        ValueError: No such body begins there.
    """
    start = at
    while True:
        end = data.index(b"\r\n", at)
        digits = _SIZE.match(data, at, end)
        if digits is None:  # `int` would take a sign as well, and go back without an end
            raise ValueError("no chunk begins there")
        size = int(digits[0], 16)
        if size == 0:
            return data.index(_HEAD_END, end) + len(_HEAD_END) - start
        at = end + 2 + size + 2
