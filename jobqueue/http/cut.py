"""Cut: how a connection is broken off, and what the system may hold of answers that a client doesn't take.

Rules:

1. A cut is a reset: after a close the system would keep what is unread for minutes, for a connection that nothing
   counts any more.
2. The system takes little of an answer before the client's own system asks for it (`UNSENT_BYTES_MAX`); the rest waits
   in this process, where it is counted. This does not slow down a client far away: what is on its way does not count.
3. A connection that is closed in the ordinary way keeps at most that, and for `UNREAD_S_MIN` at most, or twice
   `write_timeout_s`.
"""

from __future__ import annotations

import socket
import struct
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

UNSENT_BYTES_MAX = 16 * 1024
"""Bytes of a connection that the system holds before they are on their way."""

UNREAD_S_MIN = 30.0

_OPTIONS = ("TCP_NOTSENT_LOWAT", "TCP_USER_TIMEOUT")
_RESET = struct.pack("ii", 1, 0)


def cut(wire: asyncio.BaseTransport) -> None:
    """Break a connection off at once: what was not taken is forgotten, here and in the system."""
    with suppress(OSError, AttributeError):
        wire.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    wire.abort()  # type: ignore[attr-defined]  # every transport that writes has it


def bound_system(listening: socket.socket, *, write_timeout_s: float) -> None:
    """Bound what the system holds for the connections of a listening socket, which inherit it."""
    values = (UNSENT_BYTES_MAX, int(1000 * max(UNREAD_S_MIN, 2 * write_timeout_s)))
    for name, value in zip(_OPTIONS, values, strict=True):
        if (option := getattr(socket, name, None)) is not None:
            with suppress(OSError):
                listening.setsockopt(socket.IPPROTO_TCP, option, value)
