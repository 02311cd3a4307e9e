"""KernelSync: syncs of a file's data that the kernel does beside the loop, without a thread that waits for them.

In a thread a sync costs some 14 context switches, most of them because the thread and the loop hand the interpreter's
lock to and fro. Linux does the same by itself: `io_submit` with IOCB_CMD_FDSYNC (4.18 and later, `linux/aio_abi.h`) has
a worker of the kernel call what `fdatasync` calls, and an eventfd tells the loop of the end. Rules:

1. One sync is in flight at most. `begin` refuses another one.
2. A sync that can't be begun has synced nothing and lost nothing: `begin` returns False, and the caller uses
   `fdatasync` in a thread. So it is on all systems but 64-bit Linux on x86-64 and ARM, and where a filter of system
   calls, the kernel or the file system refuses. Only after EAGAIN of `io_submit`, a lack of memory, is the next
   one tried again.
3. The error of a sync that was begun is the disk's, and final. The kernel reports it once: an `fdatasync` after it
   would succeed, though the data is lost. A file system that has no sync refuses at `io_submit`, not at the end. After
   EINVAL and EOPNOTSUPP, which are no usual errors of a disk, the sync has failed too, but all later ones are the
   thread's.
4. The kernel has its own reference to the file and the eventfd: both may be closed while a sync is in flight.
5. The end of the process waits for a sync in flight, as it does for a thread within `fdatasync`.
6. A process that is forked has no part in it: its calls would get EINVAL.

The CPU time of a sync is a kernel worker's, and so not a part of the process's.
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import os
import platform
import struct
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable


class _Numbers(NamedTuple):
    """Numbers of system calls."""

    setup: int
    destroy: int
    getevents: int
    submit: int


_NUMBERS: Final = {"x86_64": _Numbers(206, 207, 208, 209), "aarch64": _Numbers(0, 1, 4, 2)}
"""By the name of the machine. Of `asm/unistd_64.h` and `asm-generic/unistd.h`."""

_FDSYNC: Final = 3
_HAS_EVENTFD: Final = 1

_REQUEST: Final = struct.Struct("<QIIHhIQQqQII")
"""`struct iocb`: data, key, flags of reads and writes, operation, priority, descriptor, buffer, bytes, offset, one that
is reserved, flags, eventfd."""

_RESULT: Final = struct.Struct("<QQqq")
"""`struct io_event`: data, address of the request, result, second result."""


class SystemCalls:
    """The asynchronous calls of Linux, for one request at a time. Each raises OSError.

    None but `destroy` waits, and each but that keeps the interpreter's lock: to take it again takes up to 5 ms where
    threads compute.
    """

    def __init__(self) -> None:
        is_possible = sys.platform == "linux" and sys.maxsize > 2**32 and hasattr(os, "eventfd")
        numbers = _NUMBERS.get(platform.machine()) if is_possible else None
        if numbers is None:
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
        self._numbers = numbers
        self._request = ctypes.create_string_buffer(_REQUEST.size)
        self._requests = (ctypes.c_void_p * 1)(ctypes.addressof(self._request))
        self._results = ctypes.create_string_buffer(_RESULT.size)
        number, pointer = ctypes.c_long, ctypes.c_void_p
        library = ctypes.PyDLL(None, use_errno=True)
        self._setup = _syscall(library, ctypes.c_uint, pointer)
        self._submit = _syscall(library, ctypes.c_ulong, number, pointer)
        self._getevents = _syscall(library, ctypes.c_ulong, number, number, pointer, pointer)
        self._destroy = _syscall(ctypes.CDLL(None, use_errno=True), ctypes.c_ulong)

    def setup(self) -> int:
        """Make a context; return what names it."""
        context = ctypes.c_ulong(0)
        if self._setup(self._numbers.setup, 1, ctypes.byref(context)) < 0:
            raise _error()
        return context.value

    def submit(self, context: int, fd: int, eventfd: int) -> None:
        """Begin a sync of the data of a file; its end is counted by the eventfd."""
        _REQUEST.pack_into(self._request, 0, 0, 0, 0, _FDSYNC, 0, fd, 0, 0, 0, 0, _HAS_EVENTFD, eventfd)
        if self._submit(self._numbers.submit, context, 1, self._requests) < 0:
            raise _error()

    def result(self, context: int) -> int:
        """Take the result of the sync that has ended: 0, or an errno below zero."""
        ended = self._getevents(self._numbers.getevents, context, 0, 1, self._results, None)
        if ended < 0:
            raise _error()
        if ended == 0:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        result: int = _RESULT.unpack_from(self._results)[2]
        return result

    def destroy(self, context: int) -> None:
        """End a context. It takes some 30 ms, and waits for a sync in flight."""
        if self._destroy(self._numbers.destroy, context) < 0:
            raise _error()


def _syscall(library: ctypes.CDLL, *arguments: type[Any]) -> Any:
    """Return `syscall` with arguments of these types after the number of the call."""
    call = library["syscall"]
    call.argtypes = [ctypes.c_long, *arguments]
    call.restype = ctypes.c_long
    return call


def _error() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))


class KernelSync:
    """The syncs of one loop. Every method but `destroy` is for the loop's thread.

    Attributes:
        began_at: When the sync in flight was begun, by the loop's clock; None: there is none.
    """

    def __init__(self) -> None:
        self.began_at: float | None = None
        self._loop = asyncio.get_running_loop()
        self._calls: SystemCalls | None = None
        self._context = 0
        self._eventfd = -1
        self._done: Callable[[OSError | None], None] | None = None
        self._idle: asyncio.Future[None] | None = None
        self._refused = False

    def begin(self, fd: int, done: Callable[[OSError | None], None]) -> bool:
        """Begin a sync of the data of a file; `done` gets None or its error, on the loop. False: none was begun."""
        if self._refused or self._done is not None:
            return False
        try:
            calls = self._calls or self._open()
            self._done = done  # before: whatever comes in between, a sync in flight is known as one
            calls.submit(self._context, fd, self._eventfd)
        except (OSError, NotImplementedError) as error:  # the latter of a loop that watches no descriptors
            self._done = None
            self._refused = self._calls is None or not isinstance(error, BlockingIOError)
            return False
        self.began_at = self._loop.time()
        return True

    async def close(self) -> None:
        """Wait for the sync in flight, and begin none from now on. What is cancelled waits no longer."""
        self._refused = True
        try:
            if self._done is not None:
                self._idle = self._loop.create_future()
                await self._idle
        finally:
            if self._eventfd >= 0:
                self._loop.remove_reader(self._eventfd)
                os.close(self._eventfd)
                self._eventfd = -1

    def destroy(self) -> None:
        """Give back what the kernel holds, after `close`. For a thread: it takes some 30 ms."""
        if self._calls is not None and self._done is None:
            with suppress(OSError):
                self._calls.destroy(self._context)
            self._calls = None

    def _open(self) -> SystemCalls:
        """Make a context with an eventfd. Raises OSError if there can be none."""
        calls = SystemCalls()
        self._context = calls.setup()
        self._calls = calls  # so that `destroy` ends the context, whatever is raised now
        eventfd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        try:
            self._loop.add_reader(eventfd, self._on_ready)
        except BaseException:
            os.close(eventfd)
            raise
        self._eventfd = eventfd
        return calls

    def _on_ready(self) -> None:
        """Report the sync that has ended."""
        os.eventfd_read(self._eventfd)
        if self._calls is None or self._done is None:
            return
        try:
            number = -self._calls.result(self._context)
        except (BlockingIOError, InterruptedError):  # it has not ended yet
            return
        except OSError as error:  # it may have failed
            number, self._refused, self._calls = error.errno or errno.EIO, True, None
        done, self._done, self.began_at = self._done, None, None
        self._refused = self._refused or number in (errno.EINVAL, errno.EOPNOTSUPP)
        try:
            done(OSError(number, os.strerror(number)) if number else None)
        finally:
            if self._idle is not None and not self._idle.done():
                self._idle.set_result(None)
