"""Cut: resets connections, and bounds the kernel's send buffers.

Rules:

1. A cut is a reset: after a close the kernel would keep unread bytes for minutes, for a connection that is not
   counted any more.
2. The kernel takes at most `UNSENT_BYTES_MAX` of a response beyond the client's receive window; the rest waits
   in this process, where it is counted. Distant clients are not slowed down: bytes on their way don't count.
3. That bound is TCP's. A Unix socket has no receive window, and its send buffer is bounded instead, with
   what the client has not read.
4. A connection that is closed without a reset keeps at most that, and for `UNREAD_S_MIN` at most, or twice
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
"""Bytes of a connection that the kernel holds unsent."""

UNREAD_S_MIN = 30.0

_OPTIONS = ("TCP_NOTSENT_LOWAT", "TCP_USER_TIMEOUT")
_RESET = struct.pack("ii", 1, 0)


def cut(wire: asyncio.BaseTransport) -> None:
    """Reset a connection: unsent bytes are dropped, here and in the kernel."""
    with suppress(OSError, AttributeError):
        wire.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    wire.abort()  # type: ignore[attr-defined]  # every transport that writes has it


def bound_system(listening: socket.socket, *, write_timeout_s: float) -> None:
    """Bound the kernel's buffers of a listening socket's connections, which inherit it."""
    values = (UNSENT_BYTES_MAX, int(1000 * max(UNREAD_S_MIN, 2 * write_timeout_s)))
    for name, value in zip(_OPTIONS, values, strict=True):
        if (option := getattr(socket, name, None)) is not None:
            with suppress(OSError):
                listening.setsockopt(socket.IPPROTO_TCP, option, value)


def bound_local(wire: socket.socket) -> None:
    """Bound the kernel's buffer of a connection to a Unix socket: it is not inherited."""
    with suppress(OSError):
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, UNSENT_BYTES_MAX)
