"""ProcessPool: blocking handlers in processes of their own, which can be killed.

Owns the processes' number, and who runs what; the fork server (`forkserver.py`) starts
them, and `forked.py` is what runs in them. Nothing here polls or blocks: a
process speaks through a socket that the loop watches, and its end is an event.

Rules:

1. There are always `size` processes, from `start` or the first call on. One that ends is replaced at once.
2. A process has one call at a time, and its end is that call's verdict: `worker_crashed`, with how it ended.
3. Cancelling a run kills its process, with all that it has started.
4. A process that ends young, without having been given a call, counts towards a crash loop: each
   replacement then waits longer, up to `RESTARTS.backoff_s_max`. When none of `FAILURES_MAX` starts in a row
   has worked, runs that wait for a process fail, rather than wait forever.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pickle
import signal
from collections import deque
from typing import TYPE_CHECKING, Any

import msgspec

from jobqueue.core.backoff import Backoff
from jobqueue.core.job import ErrorCode, Failure, Success
from jobqueue.log import event_logger
from jobqueue.runtime import forked
from jobqueue.runtime.forkserver import ForkServer
from jobqueue.runtime.sendable import check_importable

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable

    from jobqueue.context import ProgressSink
    from jobqueue.runtime.call import Call

log = event_logger(__name__)

RESTARTS = Backoff(backoff_s_base=0.1, backoff_s_max=10.0)
FAILURES_MAX = 5
YOUNG_S = 1.0
ANSWER_SPARE_BYTES = 2**20
"""What an answer may have on top of its result: a message, a traceback, a note."""

_READ_BYTES = 2**18
_DECODE: dict[bytes, Callable[[bytes], tuple[float, str | None] | Success | Failure]] = {
    forked.PROGRESS: msgspec.msgpack.Decoder(tuple[float, str | None]).decode,
    forked.SUCCESS: msgspec.msgpack.Decoder(Success).decode,
    forked.FAILURE: msgspec.msgpack.Decoder(Failure).decode,
}


class ProcessPool:
    """Runs calls in `size` processes."""

    def __init__(self, *, size: int) -> None:
        self._size = size
        self._server: ForkServer | None = None
        self._processes: dict[int, _Process] = {}
        self._idle: list[_Process] = []
        self._waiting: deque[asyncio.Future[_Process | Failure]] = deque()
        self._modules: set[str] = set()
        self._failures = 0
        self._restart: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def pids(self) -> list[int]:
        """The processes that run now."""
        return list(self._processes)

    def start(self, handlers: Iterable[Callable[..., Any]]) -> None:
        """Start the processes, and have them load what these handlers need, before the first call does.

        Raises:
            ValueError: A process can't import one of them; the message says why, and what to do.
        """
        for func in handlers:
            check_importable(func)
            self._modules.add(func.__module__)
        self._refill()

    async def run(self, call: Call, *, on_progress: ProgressSink) -> Success | Failure:
        """Run a call in a process and return its verdict. Cancelling kills the process.

        Raises:
            RuntimeError: The pool is closed.
        """
        if self._closed:
            raise RuntimeError("the process pool is closed")
        try:
            body = pickle.dumps(call, pickle.HIGHEST_PROTOCOL)
        except Exception as error:
            name = getattr(call.func, "__qualname__", repr(call.func))
            return Failure(ErrorCode.HANDLER_ERROR, f"{name} can't be sent to a process: {error}", final=True)
        process = await self._seat()
        if isinstance(process, Failure):
            return process
        try:
            outcome = await process.carry_out(call, body, on_progress)
        except asyncio.CancelledError:
            if process.busy:
                process.kill()
                log.info("process.killed", pid=process.pid, job_id=call.job_id)
                self._end(process, "its run was cancelled")
            else:  # it had ended; the cancellation was only a little late
                self._offer(process)
            raise
        if process.alive:
            self._modules.add(call.func.__module__)
            self._failures = 0
            self._offer(process)
        return outcome

    async def close(self) -> None:
        """Kill the processes, and return when they are gone. A run that is still under way fails with `shutdown`."""
        self._closed = True
        if self._restart is not None:
            self._restart.cancel()
        self._fail_waiting(Failure(ErrorCode.SHUTDOWN, "the process pool was closed"))
        for process in list(self._processes.values()):
            process.kill()
            self._end(process, "the process pool was closed", ErrorCode.SHUTDOWN)
        server, self._server = self._server, None
        if server is not None:
            await server.close()

    async def _seat(self) -> _Process | Failure:
        """Wait for a process to be free; the longest waiter gets it."""
        while True:
            while self._idle:
                process = self._idle.pop()
                if process.alive:
                    return process
            waiter: asyncio.Future[_Process | Failure] = asyncio.get_running_loop().create_future()
            self._waiting.append(waiter)
            self._refill()
            try:
                given = await waiter
            except asyncio.CancelledError:
                if not waiter.cancelled() and isinstance(late := waiter.result(), _Process):
                    self._offer(late)
                raise
            if isinstance(given, Failure) or given.alive:
                return given

    def _offer(self, process: _Process) -> None:
        if not process.alive:
            return
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(process)
                return
        self._idle.append(process)

    def _fail_waiting(self, failure: Failure) -> None:
        waiting, self._waiting = self._waiting, deque()
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(failure)

    # Strength: what starts, what ended, and when to try again.

    def _refill(self) -> None:
        """Ask for as many processes as are missing, unless a restart is to wait."""
        if self._closed or self._restart is not None:
            return
        try:
            if self._server is None:
                self._server = ForkServer(asyncio.get_running_loop(), self)
            for _ in range(self._size - len(self._processes) - self._server.asked):
                self._server.fork()
        except OSError as error:  # no more processes, files or memory
            self._failed(f"no process could be started: {error}")

    def _failed(self, how: str) -> None:
        """Count one more start that came to nothing, and try again: at once the first time, then ever later."""
        self._failures += 1
        delay_s = 0.0 if self._failures == 1 else RESTARTS.ceiling_s(self._failures - 1)
        log.error("process.failed", how=how, in_a_row=self._failures, retry_after_s=delay_s)
        if self._failures >= FAILURES_MAX and not self._processes:
            self._fail_waiting(
                Failure(ErrorCode.WORKER_CRASHED, f"no process can be started, in {self._failures} tries: {how}")
            )
        if self._restart is None and not self._closed:
            self._restart = asyncio.get_running_loop().call_later(delay_s, self._try_again)

    def _try_again(self) -> None:
        self._restart = None
        self._refill()

    def on_forked(self, pid: int, connection: socket.socket) -> None:
        process = self._processes[pid] = _Process(pid, connection, asyncio.get_running_loop())
        log.info("process.started", pid=pid)
        for module in self._modules:
            process.send(forked.IMPORT, module.encode())
        self._offer(process)

    def on_fork_failed(self, how: str) -> None:
        self._failed(how)

    def on_exited(self, pid: int, how: str) -> None:
        process = self._processes.get(pid)
        if process is None:
            return  # killed by us, and replaced already
        log.warning("process.ended", pid=pid, how=how)
        process.read_all()
        self._end(process, how)

    def on_lost(self, how: str) -> None:
        self._server = None
        for process in list(self._processes.values()):
            process.kill()
            self._end(process, f"its fork server died: {how}")
        self._failed(f"the fork server died: {how}")

    def _end(self, process: _Process, how: str, code: ErrorCode = ErrorCode.WORKER_CRASHED) -> None:
        """Let go of a process that is dead or about to be, and have it replaced."""
        del self._processes[process.pid]
        with contextlib.suppress(ValueError):
            self._idle.remove(process)
        age_s = process.age_s
        process.end(Failure(code, f"the process that ran the job is gone: {how}"))
        if self._closed or self._server is None:
            return
        if process.used or age_s >= YOUNG_S:
            self._refill()
        else:
            self._failed(how)


class _Process:
    """One process, seen from the loop: its connection, and the call it has."""

    def __init__(self, pid: int, connection: socket.socket, loop: asyncio.AbstractEventLoop) -> None:
        self.pid = pid
        self.alive = True
        self.used = False
        self._connection = connection
        self._loop = loop
        self._started_at = loop.time()
        self._incoming = bytearray()
        self._outgoing = bytearray()
        self._verdict: asyncio.Future[Success | Failure] | None = None
        self._on_progress: ProgressSink | None = None
        self._body_bytes_max = 0
        loop.add_reader(connection, self._on_readable)

    @property
    def busy(self) -> bool:
        return self._verdict is not None

    @property
    def age_s(self) -> float:
        return self._loop.time() - self._started_at

    async def carry_out(self, call: Call, body: bytes, on_progress: ProgressSink) -> Success | Failure:
        verdict: asyncio.Future[Success | Failure] = self._loop.create_future()
        self._verdict = verdict
        self._on_progress = on_progress
        self._body_bytes_max = call.result_bytes_max + ANSWER_SPARE_BYTES
        self.used = True
        self.send(forked.CALL, body)
        return await verdict

    def send(self, kind: bytes, body: bytes) -> None:
        waiting = bool(self._outgoing)
        self._outgoing += forked.HEAD.pack(len(body), kind)
        self._outgoing += body
        if not waiting:
            self._write()
            if self._outgoing:
                self._loop.add_writer(self._connection, self._on_writable)

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    def end(self, failure: Failure) -> None:
        """Close the connection; if a call is under way, this is its verdict."""
        self.alive = False
        self._loop.remove_reader(self._connection)
        self._loop.remove_writer(self._connection)
        self._connection.close()
        self._conclude(failure)

    def read_all(self) -> None:
        """Read what it said before it ended."""
        while self._read():
            pass

    def _on_writable(self) -> None:
        self._write()
        if not self._outgoing:
            self._loop.remove_writer(self._connection)

    def _write(self) -> None:
        try:
            sent = self._connection.send(self._outgoing)
        except BlockingIOError:
            return
        except OSError:  # it is dead, which the fork server is about to tell
            sent = len(self._outgoing)
        del self._outgoing[:sent]

    def _on_readable(self) -> None:
        self._read()

    def _read(self) -> bool:
        """Read once; return whether there may be more."""
        try:
            data = self._connection.recv(_READ_BYTES)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            # Dead, or deaf because its handler has closed our socket. Its end is told by the fork server.
            self._give_up()
            return False
        self._incoming += data
        while self.alive and self._take():
            pass
        return self.alive

    def _take(self) -> bool:
        """Take one whole message from what has come in; return whether there was one."""
        size = forked.HEAD.size
        if len(self._incoming) < size:
            return False
        length, kind = forked.HEAD.unpack_from(self._incoming)
        if length > self._body_bytes_max:
            self._talks_nonsense(f"{length} bytes, where {self._body_bytes_max} are allowed")
            return False
        if len(self._incoming) < size + length:
            return False
        body = bytes(self._incoming[size : size + length])
        del self._incoming[: size + length]
        try:
            said = _DECODE[kind](body)
        except (KeyError, msgspec.DecodeError) as error:
            self._talks_nonsense(str(error))
            return False
        if not isinstance(said, tuple):
            self._conclude(said)
        elif self._on_progress is not None:
            self._on_progress(*said)
        return True

    def _talks_nonsense(self, detail: str) -> None:
        self._conclude(Failure(ErrorCode.WORKER_CRASHED, f"the process that ran the job answered nonsense: {detail}"))
        self._give_up()

    def _give_up(self) -> None:
        self.alive = False
        self._loop.remove_reader(self._connection)
        self.kill()

    def _conclude(self, outcome: Success | Failure) -> None:
        verdict, self._verdict, self._on_progress = self._verdict, None, None
        if verdict is not None and not verdict.done():
            verdict.set_result(outcome)
