"""The child side of the process pool: the fork server, and the processes that it forks.

The pool (`processes.py`) starts one fork server: a fresh, single-threaded interpreter that has
imported jobqueue and nothing of the application's. For each process that the pool wants, it forks itself,
which takes milliseconds, where a fresh interpreter takes tenths of a second; and what it has imported
is held in memory once. The application's modules are imported after the fork, by each process for
itself, so that no connection, lock or random state of theirs is ever shared.

Rules:

1. Everything here ends with the server, however busy it is: the fork server learns of the server's end from
   the socket and (Linux) from the kernel, and kills the processes. Should the fork server be killed,
   the kernel kills the processes (Linux; elsewhere a busy one ends after its call).
2. SIGINT and SIGTERM are ignored here: when a terminal or a service manager signals all processes, the
   server decides what still runs. A program that a handler starts has the defaults again.
3. Each process leads a process group and adopts the orphans among its descendants; what is left of either dies
   with it, and after each call (`leftovers.py`). The fork server adopts those of a dead process, and reaps them.
4. Answers are data (MessagePack), not pickles: nothing that a process sends is executed in the server.
5. The connection to the pool has a high descriptor number, so that no handler uses it by chance, and a program
   that a handler starts does not inherit it. Nothing relies on that (`messages.py`).
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import fcntl
import gc
import importlib
import os
import pickle
import resource
import selectors
import signal
import socket
import struct
import sys
import threading
import traceback
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

import msgspec

from jobqueue.handlers.result import failure_of
from jobqueue.log import current_attempt
from jobqueue.runtime.isolation import Isolation
from jobqueue.runtime.pools import descendants, messages
from jobqueue.runtime.pools.leftovers import Leftovers
from jobqueue.runtime.pools.log_relay import RelayHandler
from jobqueue.runtime.pools.questions import ProcessReach
from jobqueue.runtime.progress import PipeThrottle

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

    from jobqueue.core.report import Failure, Success
    from jobqueue.runtime.pools.call import Call

FLAG = "--jobqueue-fork-server"

PRELOADED = (
    "jobqueue.app",
    "jobqueue.context",
    "jobqueue.core.backoff",
    "jobqueue.core.job",
    "jobqueue.errors",
    "jobqueue.flow_handle",
    "jobqueue.graph",
    "jobqueue.handle",
)
"""The modules behind the names of the package. They load on first use, and the module of every handler uses some."""

# From the pool to the fork server: FORK, with a process's end of its connection, and of the pipe that is to be its
# standard error. Back: a kind, a pid, and an exit code or errno.
FORK = b"f"
EVENT = struct.Struct("=cii")
FORKED, FORK_FAILED, EXITED = b"f", b"e", b"x"

CONNECTION_FD_MIN = 900
"""Least descriptor number of a process's connection: above those of handlers, below the limit of select()."""

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


_searched_last: set[str] = set()


def search_last(folder: str) -> None:
    """Let the processes search this folder, the application's own, after all others.

    Otherwise a file named like a module of the standard library, or of ours, could be imported instead of it: a fork
    server starts with fewer modules loaded than the program that starts it.
    """
    _searched_last.add(os.path.realpath(folder))


def search_path() -> list[str]:
    """Return the processes' module search path: this program's, with the application's own folder last."""
    path = [entry for entry in sys.path if isinstance(entry, str)]
    return sorted(path, key=lambda entry: os.path.realpath(entry) in _searched_last)


def command(control_fd: int) -> list[str]:
    """Return the command line of a fork server for this program, with the same import path."""
    path = search_path()
    if getattr(sys, "frozen", False):
        return [sys.executable, FLAG, str(control_fd), str(os.getpid()), *path]
    # Collections during the import would free nothing; `main` has them begin.
    code = f"import gc, sys; gc.disable(); sys.path[:] = {path!r}; from jobqueue.runtime.pools.child import main; "
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
    """Fork on request of the pool, report every exit, and exit with the pool."""
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
        # Not SIG_IGN: programs that handlers start would inherit that.
        signal.signal(signum, _do_nothing)
        signal.siginterrupt(signum, False)
    die_with_parent(server_pid, signal.SIGHUP)
    descendants.adopt_orphans()
    if sys.stderr is not None:
        faulthandler.enable()  # a segmentation fault prints its stack on standard error
    for name in PRELOADED:
        importlib.import_module(name)
    gc.enable()
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
        """Handle one request; return False once the pool has closed the connection."""
        try:
            request, fds, _, _ = socket.recv_fds(self._control, len(FORK), 2)
        except ConnectionError:
            return False
        if not request:
            return False
        connection, errors_fd = socket.socket(fileno=fds[0]), fds[1]
        parent = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:
            self._tell(FORK_FAILED, 0, error.errno or 0)
        else:
            if pid == 0:
                self._become_process(connection, errors_fd, parent)
            os.setpgid(pid, pid)
            self._pids.add(pid)
            self._tell(FORKED, pid, 0)
        connection.close()
        os.close(errors_fd)
        return True

    def _become_process(self, connection: socket.socket, errors_fd: int, parent: int) -> NoReturn:
        code = 1
        try:
            os.dup2(errors_fd, 2)
            os.close(errors_fd)
            die_with_parent(parent)
            if descendants.can_be_listed():  # else they are left to the fork server, which waits for whatever ends
                descendants.adopt_orphans()
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self._selector.close()
            self._control.close()
            for fd in (self._wake_r, self._wake_w):
                os.close(fd)
            _Process(_out_of_the_way(connection)).run()
            code = 0
        except ConnectionError:
            code = 0  # the pool has closed the connection
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)

    def _reap(self) -> None:
        """Reap exited processes, which are reported, and their orphans."""
        ended: list[tuple[int, int]] = []
        with contextlib.suppress(ChildProcessError):
            while (found := os.waitpid(-1, os.WNOHANG))[0]:
                if found[0] in self._pids:
                    ended.append(found)
        for pid, _ in ended:
            self._pids.discard(pid)
            _kill_group(pid)
        descendants.kill_children(self._pids)  # their ends bring us here again
        for pid, status in ended:
            self._tell(EXITED, pid, os.waitstatus_to_exitcode(status))

    def _end(self) -> NoReturn:
        """Kill every descendant, and exit when they are gone."""
        for pid in self._pids:
            _kill_group(pid)
        with contextlib.suppress(RuntimeError):
            descendants.end_children(())
        for pid in self._pids:  # where children can't be listed
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)
        os._exit(0)

    def _tell(self, kind: bytes, pid: int, code: int) -> None:
        with contextlib.suppress(ConnectionError):
            self._control.sendall(EVENT.pack(kind, pid, code))


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _out_of_the_way(connection: socket.socket) -> socket.socket:
    """Move a connection to a high descriptor, where no loop over the low ones meets it."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = CONNECTION_FD_MIN if soft == resource.RLIM_INFINITY else min(CONNECTION_FD_MIN, soft // 2)
    with connection:
        return socket.socket(fileno=fcntl.fcntl(connection, fcntl.F_DUPFD_CLOEXEC, lowest))


class _Process:
    """One process of the pool: carries out a command at a time, until the pool hangs up."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._incoming = connection.makefile("rb")
        self._sending = threading.Lock()
        # Of the call under way, or else of the preparations: what is said between two calls goes under that one.
        self._token = self._own_token = b""
        self._state: Any = None
        self._log = RelayHandler(partial(self._send, messages.RECORD), partial(self._send, messages.DROPPED))

    def run(self) -> None:
        self._log.install()
        self._own_token, body = self._read()
        self._token = self._own_token
        leftovers = self._prepare(msgspec.msgpack.decode(body, type=messages.Preparations))
        while True:
            self._token, body = self._read()
            self._carry_out(body, leftovers)

    def _read(self) -> tuple[bytes, bytes]:
        head = self._incoming.read(messages.HEAD.size)
        if not head:
            raise ConnectionError("the pool has closed the connection")
        token, length, _ = messages.HEAD.unpack(head)
        return token, self._incoming.read(length)

    def _prepare(self, preparations: messages.Preparations) -> Leftovers:
        """Import the handlers' modules, and make the state for their contexts.

        A module that can't be imported doesn't end the process: the call that needs it fails with the reason.
        """
        self._log.follow(preparations.log_level)
        for module in preparations.modules:
            with contextlib.suppress(BaseException):
                importlib.import_module(module)
        if preparations.init is not None:
            try:
                self._state = pickle.loads(preparations.init)()  # noqa: S301  # from the server alone
            except BaseException as error:
                _flush()
                self._answer(failure_of(error))
                os._exit(1)
        self._log.tell_dropped()
        leftovers = Leftovers()
        self._send(messages.READY, b"")
        return leftovers

    def _carry_out(self, body: bytes, leftovers: Leftovers) -> None:
        throttle, reach = PipeThrottle(self._send_progress), ProcessReach(self._ask)
        try:
            call: Call = pickle.loads(body)  # noqa: S301  # from the server alone
        except BaseException as error:  # its module can't be imported here
            outcome: Success | Failure = failure_of(error)
        else:
            self._log.follow(call.log_level)
            context = Isolation().fresh()
            context.run(current_attempt.set, call)
            outcome = context.run(call.carry_out, call.context(throttle, state=self._state, reach=reach))
        throttle.close()
        reach.close()
        _flush()
        leftovers.clear()
        self._log.tell_dropped()
        self._answer(outcome)

    def _ask(self, question: bytes) -> bytes:
        """Ask the pool within a call; nothing but the answer comes meanwhile."""
        self._send(messages.QUESTION, question)
        return self._read()[1]

    def _answer(self, outcome: Success | Failure) -> None:
        try:
            kind, answer = messages.encode_outcome(outcome)
        except (TypeError, ValueError, OverflowError) as error:  # a text that is none, from the handler
            kind, answer = messages.encode_outcome(failure_of(error))
        self._send(kind, answer, last=True)

    def _send_progress(self, fraction: float, note: str | None) -> None:
        self._send(messages.PROGRESS, msgspec.msgpack.encode((fraction, note)))

    def _send(self, kind: bytes, body: bytes, *, last: bool = False) -> None:
        with self._sending:
            self._connection.sendall(messages.HEAD.pack(self._token, len(body), kind) + body)
            if last:
                self._token = self._own_token


def _flush() -> None:
    """Flush standard output: a killed process loses its buffers."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            with contextlib.suppress(BaseException):  # a handler may have put an object of its own there
                stream.flush()
