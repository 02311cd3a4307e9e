"""The far side of the process pool: the fork server, and the processes it forks.

The pool (`processes.py`) starts one fork server: a fresh, single-threaded interpreter that has
imported jobqueue and nothing of the application's. For each process that the pool wants, it forks itself,
which takes milliseconds, where a fresh interpreter takes tenths of a second; and what it has imported
is held in memory once. The application's modules are imported after the fork, by each process for
itself, so that no connection, lock or random state of theirs is ever shared.

Rules:

1. Everything here ends with the server, however busy it is: the fork server learns of the server's end from
   the socket and (Linux) from the kernel, and kills the processes. Should the fork server be killed,
   the kernel kills the processes (Linux; elsewhere a busy one ends after its call).
2. SIGINT and SIGTERM do nothing here: when a terminal or a service manager signals everyone, it is the
   server that decides what still runs. A program that a handler starts has the defaults again.
3. Each process leads a process group, and what is left of the group dies with it.
4. Answers are data (MessagePack), not pickles: nothing that a process sends is executed in the server.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import gc
import importlib
import os
import pickle
import selectors
import signal
import socket
import struct
import sys
import threading
import traceback
from typing import TYPE_CHECKING, NoReturn

import msgspec

import jobqueue
from jobqueue.core.job import Success
from jobqueue.runtime.isolation import Isolation
from jobqueue.runtime.throttle import ProgressThrottle
from jobqueue.verdicts import failure_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

    from jobqueue.core.job import Failure
    from jobqueue.runtime.call import Call

FLAG = "--jobqueue-fork-server"

# From the pool to the fork server: FORK, with one end of a socket pair. Back: a kind, a pid, and an exit code or errno.
FORK = b"f"
EVENT = struct.Struct("=cii")
FORKED, FORK_FAILED, EXITED = b"f", b"e", b"x"

# Between the pool and a process: a length, a kind, and what the kind says.
HEAD = struct.Struct(">Ic")
IMPORT, CALL = b"i", b"c"
PROGRESS, SUCCESS, FAILURE = b"p", b"s", b"f"

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def command(control_fd: int) -> list[str]:
    """Return the command line of a fork server for this program, with the same places to import from."""
    path = [entry for entry in sys.path if isinstance(entry, str)]
    if getattr(sys, "frozen", False):
        return [sys.executable, FLAG, str(control_fd), str(os.getpid()), *path]
    code = f"import sys; sys.path[:] = {path!r}; from jobqueue.runtime.forked import main; "
    return [sys.executable, "-c", f"{code}main({control_fd}, {os.getpid()})"]


def divert(argv: Sequence[str]) -> None:
    """Become a fork server, and never return, if that is what this program was started as.

    A frozen program is its own interpreter, so its entry point calls this before anything
    else; elsewhere it does nothing.
    """
    if argv[1:2] == [FLAG]:
        control_fd, server_pid, *sys.path[:] = argv[2:]
        main(int(control_fd), int(server_pid))


def die_with_parent(parent: int, signum: int = signal.SIGKILL) -> None:
    """Have the kernel send this process a signal as soon as `parent`, which started it, is dead. Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signum)
    if os.getppid() != parent:  # it died before the kernel was asked
        os._exit(1)


def main(control_fd: int, server_pid: int) -> NoReturn:
    """Fork whenever the pool asks, tell it of every end, and go when it goes."""
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
        # Not SIG_IGN: programs that handlers start would inherit that.
        signal.signal(signum, _do_nothing)
        signal.siginterrupt(signum, False)
    die_with_parent(server_pid, signal.SIGHUP)
    if sys.stderr is not None:
        faulthandler.enable()  # a segmentation fault tells on standard error where it was
    for name in jobqueue.__all__:
        getattr(jobqueue, name)  # loaded when first asked for, and the module of every handler asks for some
    gc.freeze()  # else the first collection in each process would copy every page
    _ForkServer(socket.socket(fileno=control_fd), server_pid).run()


def _do_nothing(signum: int, frame: FrameType | None) -> None:
    pass


class _ForkServer:
    def __init__(self, control: socket.socket, server_pid: int) -> None:
        self._control = control
        self._server_pid = server_pid
        self._pids: set[int] = set()
        self._wake_r, self._wake_w = os.pipe()
        for fd in (self._wake_r, self._wake_w):
            os.set_blocking(fd, False)
        signal.set_wakeup_fd(self._wake_w, warn_on_full_buffer=False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(control, selectors.EVENT_READ)
        self._selector.register(self._wake_r, selectors.EVENT_READ)

    def run(self) -> NoReturn:
        while os.getppid() == self._server_pid:
            for key, _ in self._selector.select():
                if key.fd == self._wake_r:
                    os.read(self._wake_r, 4096)
                    self._reap()
                elif not self._answer():
                    self._end()
        self._end()

    def _answer(self) -> bool:
        """Do what is asked; return whether there is still anyone who asks."""
        try:
            request, fds, _, _ = socket.recv_fds(self._control, len(FORK), 1)
        except ConnectionError:
            return False
        if not request:
            return False
        connection = socket.socket(fileno=fds[0])
        parent = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:
            self._tell(FORK_FAILED, 0, error.errno or 0)
        else:
            if pid == 0:
                self._become_process(connection, parent)
            os.setpgid(pid, pid)
            self._pids.add(pid)
            self._tell(FORKED, pid, 0)
        connection.close()
        return True

    def _become_process(self, connection: socket.socket, parent: int) -> NoReturn:
        code = 1
        try:
            die_with_parent(parent)
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self._selector.close()
            self._control.close()
            for fd in (self._wake_r, self._wake_w):
                os.close(fd)
            _Process(connection).run()
            code = 0
        except ConnectionError:
            code = 0  # the pool has hung up
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)

    def _reap(self) -> None:
        while self._pids:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            self._pids.discard(pid)
            _kill_group(pid)
            self._tell(EXITED, pid, os.waitstatus_to_exitcode(status))

    def _end(self) -> NoReturn:
        """Kill every process, and go when they are gone."""
        for pid in self._pids:
            _kill_group(pid)
        for _ in self._pids:
            os.wait()
        os._exit(0)

    def _tell(self, kind: bytes, pid: int, code: int) -> None:
        with contextlib.suppress(ConnectionError):
            self._control.sendall(EVENT.pack(kind, pid, code))


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


class _Process:
    """One process of the pool: carries out a call at a time, until the pool hangs up."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._incoming = connection.makefile("rb")
        self._sending = threading.Lock()

    def run(self) -> None:
        while head := self._incoming.read(HEAD.size):
            length, kind = HEAD.unpack(head)
            body = self._incoming.read(length)
            if kind == IMPORT:
                self._import(body.decode())
            else:
                self._carry_out(body)

    def _import(self, module: str) -> None:
        """Have a module loaded before the first call needs it; if that fails, the call will tell why."""
        with contextlib.suppress(BaseException):
            importlib.import_module(module)

    def _carry_out(self, body: bytes) -> None:
        throttle = ProgressThrottle(self._send_progress)
        try:
            call: Call = pickle.loads(body)
        except BaseException as error:  # its module can't be imported here
            outcome: Success | Failure = failure_of(error)
        else:
            outcome = Isolation().fresh().run(call.carry_out, call.context(throttle))
        throttle.close()
        _flush()
        try:
            answer = msgspec.msgpack.encode(outcome)
        except (TypeError, ValueError, OverflowError) as error:  # a text that is none, from the handler
            outcome = failure_of(error)
            answer = msgspec.msgpack.encode(outcome)
        self._send(SUCCESS if isinstance(outcome, Success) else FAILURE, answer)

    def _send_progress(self, fraction: float, note: str | None) -> None:
        self._send(PROGRESS, msgspec.msgpack.encode((fraction, note)))

    def _send(self, kind: bytes, body: bytes) -> None:
        with self._sending:
            self._connection.sendall(HEAD.pack(len(body), kind) + body)


def _flush() -> None:
    """Pass on what the handler printed: a killed process loses its buffers."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            with contextlib.suppress(BaseException):  # a handler may have put an object of its own there
                stream.flush()
