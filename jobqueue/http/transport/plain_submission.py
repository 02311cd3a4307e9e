"""Plain submissions: what the fast path accepts of parsed requests with a body."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import hdrs
from aiohttp.streams import EMPTY_PAYLOAD

if TYPE_CHECKING:
    from aiohttp import StreamReader
    from multidict import CIMultiDictProxy

_CHANGING = (hdrs.EXPECT, hdrs.CONTENT_ENCODING, hdrs.TRANSFER_ENCODING)
"""Each of these headers changes the response, or the framing of the body."""


def has_plain_body(headers: CIMultiDictProxy[str]) -> bool:
    """Whether a head has no header that changes how the body is read."""
    return not any(name in headers for name in _CHANGING)


def is_plain(headers: CIMultiDictProxy[str], payload: StreamReader, body_bytes_max: int) -> bool:
    """Whether a POST is a whole, small submission of plain JSON."""
    return (
        payload is not EMPTY_PAYLOAD
        and payload.is_eof()
        and payload.exception() is None
        and headers.get(hdrs.CONTENT_TYPE) == "application/json"
        and payload.total_bytes <= body_bytes_max
        and has_plain_body(headers)
    )
