"""ErrorPipe: the standard error of a process that the pool started, read on the loop and logged as events.

Each process of the pool has a pipe of its own instead of the server's standard error, so what it prints doesn't break
lines of the log, and is logged with its process.

Rules:

1. Complete lines that came within `GATHER_S` are one event, `process.stderr`; standard output stays the server's.
2. At most `LINES_MAX` lines a second are logged of one process. The others are counted, and logged as
   `process.stderr_dropped` when the second is over.
3. At most `BYTES_MAX` a second are read; then the process waits for its pipe, not the loop for it.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from jobqueue.log import event_logger

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

log = event_logger(__name__)

LINES_MAX = 200
LINE_LENGTH_MAX = 1000
BYTES_MAX = 16 * 2**20
WINDOW_S = 1.0
GATHER_S = 0.05

_READ_BYTES = 2**16
_BREAKS = re.compile(rb"[\r\n]+")
_FATAL = "Fatal Python error:"


class ErrorPipe:
    """The reading end. The writing end is for the process; the caller closes it by `hand_over`.

    Args:
        about: Returns the fields of an event that identify the process and its job.

    Raises:
        OSError: No more descriptors.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, about: Callable[[], dict[str, object]]) -> None:
        self.about = about
        self._loop = loop
        self._fd, self.writing_fd = os.pipe()
        os.set_blocking(self._fd, False)
        self._rest = b""
        self._last = ""
        self._lines = self._bytes = self._dropped = 0
        self._window: asyncio.TimerHandle | None = None
        self._gathered: list[str] = []
        self._gathering: asyncio.TimerHandle | None = None
        self._paused = False
        loop.add_reader(self._fd, self._on_readable)

    def hand_over(self) -> None:
        """Close the writing end here: the process has it now, or never will."""
        os.close(self.writing_fd)

    def last_line(self) -> str:
        """Return the last line that is no indented part of a traceback; empty since `forget` if there is none."""
        return self._last

    def forget(self) -> None:
        """Reset `last_line`, for another job."""
        self._last = ""

    def read_all(self) -> None:
        """Log what has been written until now."""
        if self._fd >= 0:
            while not self._paused and self._read():
                pass
            rest, self._rest = self._rest, b""
            self._take([rest])
            self._tell()

    def close(self) -> None:
        """Log what is there, and stop reading; what is written from now on is lost."""
        if self._fd < 0:
            return
        self.read_all()
        self._tell_dropped()
        if self._window is not None:
            self._window.cancel()
        self._loop.remove_reader(self._fd)
        os.close(self._fd)
        self._fd = -1

    def _on_readable(self) -> None:
        self._read()

    def _read(self) -> bool:
        """Read once; return whether there may be more."""
        try:
            data = os.read(self._fd, _READ_BYTES)
        except BlockingIOError:
            return False
        if not data:
            self._loop.remove_reader(self._fd)
            return False
        if self._window is None:
            self._window = self._loop.call_later(WINDOW_S, self._open_window)
        self._bytes += len(data)
        *lines, self._rest = _BREAKS.split(self._rest + data)
        if len(self._rest) > LINE_LENGTH_MAX * 4:
            lines.append(self._rest)
            self._rest = b""
        self._take(lines)
        if self._bytes >= BYTES_MAX:
            self._paused = True
            self._loop.remove_reader(self._fd)
        return True

    def _take(self, lines: list[bytes]) -> None:
        lines = [line for line in lines if line.strip()]
        if not lines:
            return
        room = max(0, LINES_MAX - self._lines)
        self._lines += len(lines)
        self._dropped += len(lines[room:])
        self._remember(lines)
        self._gathered += (_text(line) for line in lines[:room])
        if self._gathering is None:
            self._gathering = self._loop.call_later(GATHER_S, self._tell)

    def _tell(self) -> None:
        """Log the lines that have come."""
        if self._gathering is not None:
            self._gathering.cancel()
            self._gathering = None
        lines, self._gathered = self._gathered, []
        if lines:
            log.warning("process.stderr", **self.about(), text="\n".join(lines))

    def _remember(self, lines: list[bytes]) -> None:
        for line in reversed(lines[-LINES_MAX:]):
            if not line[:1].isspace():
                text = _text(line)
                # faulthandler's output begins with the error and ends with the place.
                fatal = next((_text(each) for each in lines if each.startswith(_FATAL.encode())), None)
                if fatal is not None or not self._last.startswith(_FATAL):
                    self._last = fatal or text
                return

    def _open_window(self) -> None:
        self._window = None
        self._tell_dropped()
        self._lines = self._bytes = 0
        if self._paused and self._fd >= 0:
            self._paused = False
            self._loop.add_reader(self._fd, self._on_readable)

    def _tell_dropped(self) -> None:
        if self._dropped:
            log.warning("process.stderr_dropped", **self.about(), lines=self._dropped)
            self._dropped = 0


def _text(line: bytes) -> str:
    return line[: LINE_LENGTH_MAX * 4].decode("utf-8", "replace")[:LINE_LENGTH_MAX]
