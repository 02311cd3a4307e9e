"""Unsent responses of a connection: counted in the in-flight budget, and cut when the client stalls.

Rules:

1. Responses count while the kernel's buffer is full, until it has taken all.
2. A client that reads less than `RATE_BYTES_S_MIN` over `write_timeout_s` is cut; when the budget is full, over
   the time since it was last looked at.
3. A response without room in the budget is cut, too, once no stalled share is left to cut.
"""

from __future__ import annotations

import fcntl
import struct
import termios
from contextlib import suppress
from typing import TYPE_CHECKING

from jobqueue.http.in_flight import RATE_BYTES_S_MIN, Share
from jobqueue.log import event_logger

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from jobqueue.http.in_flight import InFlightBudget

log = event_logger(__name__)


class Sending(Share):
    """The unsent responses of one connection.

    Args:
        write_timeout_s: The limit; None of it is saved up.
        abort: Cuts the connection.
    """

    __slots__ = ("_abort", "_at", "_look", "_loop", "_timer", "_wire", "_write_timeout_s")

    def __init__(
        self,
        wire: asyncio.Transport,
        loop: asyncio.AbstractEventLoop,
        budget: InFlightBudget,
        write_timeout_s: float,
        abort: Callable[[], None],
    ) -> None:
        super().__init__(budget)
        self._wire = wire
        self._loop = loop
        self._write_timeout_s = write_timeout_s
        self._abort = abort
        self._at = self._look = (0.0, 0)
        self._timer: asyncio.TimerHandle | None = None

    def count(self, more_bytes: int = 0) -> None:
        """Count the buffered bytes, and those about to be written; cut the client without room in the budget."""
        if not self.hold(self._wire.get_write_buffer_size() + more_bytes):
            log.sampled("http.unread_cut", every_s=10.0, unread_bytes=self._wire.get_write_buffer_size())
            self._abort()

    @property
    def watched(self) -> bool:
        return self._timer is not None

    def watch(self) -> None:
        """Begin counting: the kernel's buffer is full."""
        self.count()
        self._at = self._look = (self._loop.time(), unread_bytes(self._wire))
        self._timer = self._loop.call_later(self._write_timeout_s, self._judge)

    def end(self) -> None:
        """End counting: the kernel has taken all, or the connection is lost."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.close()

    def _judge(self) -> None:
        self._timer = None
        taken_bytes, enough = self._taken_since(self._at)
        if enough:
            self.watch()
        else:
            log.sampled("http.slow_reader", every_s=10.0, taken_bytes=taken_bytes)
            self._abort()

    def cut(self) -> bool:
        """Cut the client, unless it has read enough since the last check."""
        _, enough = self._taken_since(self._look)
        self._look = (self._loop.time(), unread_bytes(self._wire))
        if enough:
            return False
        self._abort()
        return True

    def _taken_since(self, look: tuple[float, int]) -> tuple[int, bool]:
        """Return the bytes that the client has read since, and whether these were enough."""
        at, unread = look
        taken_bytes = unread - unread_bytes(self._wire)
        return taken_bytes, taken_bytes >= RATE_BYTES_S_MIN * (self._loop.time() - at)


def unread_bytes(wire: asyncio.Transport) -> int:
    """Count unsent bytes: those in this process, and those in the kernel's buffer."""
    in_system = 0
    with suppress(OSError, AttributeError):
        fd = wire.get_extra_info("socket").fileno()
        in_system = struct.unpack("i", fcntl.ioctl(fd, termios.TIOCOUTQ, b"\0" * 4))[0]
    return wire.get_write_buffer_size() + in_system
