"""ForkServer: the pool's handle of the fork server, which forks the pool's processes and reports their exits.

`child.py` runs at the other end of the socket.

A fork server that owes an answer (a fork, or the end of a process that is known to be dead) and says nothing for two
periods of `SILENT_S` is stopped or stuck: it is killed, with all its descendants, and reported as lost.
Two, because after a suspension of the whole machine the first one is over before anything could be said; and six
until its first answer, because on a busy machine it may take its time to start.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
from collections import deque
from typing import Protocol

import psutil

from jobqueue.runtime.pools import child
from jobqueue.runtime.pools.stderr import ErrorPipe

CLOSE_S_MAX = 1.0
SILENT_S = 5.0
SILENCES_MAX, SILENCES_MAX_AT_START = 2, 6


class Listener(Protocol):
    """Receives, on the loop, the results of requests."""

    def on_forked(self, pid: int, connection: socket.socket, errors: ErrorPipe) -> None:
        """A process runs; the connection to it, and its standard error, are the listener's from now on."""

    def on_fork_failed(self, how: str) -> None: ...

    def on_exited(self, pid: int, how: str) -> None:
        """A process ended; it is waited for, and what was left of its group is killed."""

    def on_lost(self, how: str) -> None:
        """The fork server is gone, and so are its processes; this object is of no more use."""


class ForkServer:
    """Starts a fork server. It is ready when its first answer comes; requests before that wait for it.

    The kernel takes the thread that calls this for the parent: when that ends, all of it ends.

    Raises:
        OSError: It can't be started.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, listener: Listener) -> None:
        self._loop = loop
        self._listener = listener
        self._asked: deque[tuple[socket.socket, ErrorPipe]] = deque()
        self._doomed: set[int] = set()
        self._silences = 0
        self._silences_max = SILENCES_MAX_AT_START
        self._silence: asyncio.TimerHandle | None = None
        self._incoming = bytearray()
        self._errors = ErrorPipe(loop, lambda: {"pid": self._process.pid})
        self._control, theirs = socket.socketpair()
        try:
            self._process = subprocess.Popen(  # noqa: S603  # its own command
                child.command(theirs.fileno()),
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stderr=self._errors.writing_fd,
                start_new_session=True,
            )
        except OSError:
            self._control.close()
            self._errors.close()
            raise
        finally:
            theirs.close()
            self._errors.hand_over()
        self._control.setblocking(False)
        loop.add_reader(self._control, self._on_readable)

    @property
    def asked(self) -> int:
        """Number of forks requested and not yet answered."""
        return len(self._asked)

    def fork(self) -> None:
        """Ask for one more process. Raises OSError: no more descriptors."""
        ours, theirs = socket.socketpair()
        with theirs:
            ours.setblocking(False)
            try:
                errors = ErrorPipe(self._loop, dict)
            except OSError:
                ours.close()
                raise
            self._asked.append((ours, errors))
            with contextlib.suppress(OSError):  # it is dead, which the reader is about to find out
                socket.send_fds(self._control, [child.FORK], [theirs.fileno(), errors.writing_fd])
            errors.hand_over()
        self._listen_for_silence()

    def expect_exit(self, pid: int) -> None:
        """Expect the report of a process's exit, which is certain."""
        self._doomed.add(pid)
        self._listen_for_silence()

    async def close(self) -> None:
        """End it, and return when it and its processes are gone."""
        ended = asyncio.Event()

        def drop_the_rest() -> None:
            if self._read() == b"":
                self._loop.remove_reader(self._control)
                ended.set()

        self._loop.add_reader(self._control, drop_the_rest)
        self._control.shutdown(socket.SHUT_WR)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S_MAX):
                await ended.wait()
        self._let_go()

    def _on_readable(self) -> None:
        data = self._read()
        if data is None:
            return
        if not data:
            # A process that exits on its own closes the socket first, and keeps its exit code if killed after that.
            self._listener.on_lost(self._how_lost(how_it_ended(self._let_go())))
            return
        self._silences, self._silences_max = 0, SILENCES_MAX
        self._incoming += data
        whole = len(self._incoming) // child.EVENT.size * child.EVENT.size
        events = child.EVENT.iter_unpack(bytes(self._incoming[:whole]))
        del self._incoming[:whole]
        for kind, pid, code in events:
            self._tell(kind, pid, code)
        self._listen_for_silence()

    def _listen_for_silence(self) -> None:
        """Set the timer only while an answer is expected."""
        owes = self._asked or self._doomed
        if not owes and self._silence is not None:
            self._silence.cancel()
            self._silence = None
        elif owes and self._silence is None and self._control.fileno() >= 0:
            self._silence = self._loop.call_later(SILENT_S, self._on_silence)

    def _on_silence(self) -> None:
        self._silence = None
        self._silences += 1
        if self._silences < self._silences_max:
            self._listen_for_silence()
            return
        silent_s = self._silences * SILENT_S
        descendants = _descendants_of(self._process.pid)
        self._let_go()
        for process in descendants:
            with contextlib.suppress(psutil.Error):
                process.kill()
        self._listener.on_lost(self._how_lost(f"no answer for {silent_s:g} s, so it was killed"))

    def _how_lost(self, how: str) -> str:
        line = self._errors.last_line()
        return f"{how}: {line}" if line else how

    def _read(self) -> bytes | None:
        """Read; None if there is nothing, and no bytes if it is dead."""
        try:
            return self._control.recv(4096)
        except BlockingIOError:
            return None
        except OSError:
            return b""

    def _let_go(self) -> int:
        """Release everything; return the exit code."""
        self._loop.remove_reader(self._control)
        self._control.close()
        if self._silence is not None:
            self._silence.cancel()
            self._silence = None
        for connection, errors in self._asked:
            connection.close()
            errors.close()
        self._asked.clear()
        self._process.kill()
        code = self._process.wait()
        self._errors.close()
        return code

    def _tell(self, kind: bytes, pid: int, code: int) -> None:
        if kind == child.FORKED:
            self._listener.on_forked(pid, *self._asked.popleft())
        elif kind == child.FORK_FAILED:
            connection, errors = self._asked.popleft()
            connection.close()
            errors.close()
            self._listener.on_fork_failed(f"no process could be forked: {os.strerror(code)}")
        else:
            self._listener.on_exited(pid, how_it_ended(code))
            self._doomed.discard(pid)


def _descendants_of(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.Error:
        return []


def how_it_ended(code: int) -> str:
    """Return an exit code in words."""
    if code >= 0:
        return f"it exited with code {code}"
    try:
        return f"it was killed by {signal.Signals(-code).name}"
    except ValueError:  # a real-time signal without a name
        return f"it was killed by signal {-code}"
