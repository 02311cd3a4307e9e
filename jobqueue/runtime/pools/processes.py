"""ProcessPool: blocking handlers in processes of their own, which can be killed.

The fork server (`fork_server.py`) starts them, `worker_process.py` is the server's side of one, and `child.py` runs in
them. Nothing here polls or blocks: the loop watches the socket of each process, and an exit is an event.

Rules:

1. There are always `size` processes, from `start` or the first call on. One that ends is replaced at once.
2. A process has one call at a time, and its exit is that call's outcome: `worker_crashed`, with how it ended and the
   last line that it wrote to its standard error.
3. Cancelling a run kills its process, with all that it has started.
4. A process that ends before it is ready, or young and without having been given a call, counts towards a crash
   loop: each replacement then waits longer, up to `RESTARTS.backoff_s_max`. When none of `FAILURES_MAX` starts in a row
   has worked, waiting runs fail, rather than wait forever.
5. `on_strength` gets the number of calls that can run at once: the processes that are ready, or have a call.
   So a job isn't `running` before there is a process to run it. In a crash loop it is 1: one job at a
   time comes in, and fails with the reason if the next start doesn't work either.
"""

from __future__ import annotations

import asyncio
import contextlib
import pickle
from collections import deque
from typing import TYPE_CHECKING, Any

from jobqueue.core.backoff import Backoff
from jobqueue.core.report import ErrorCode, Failure, Success
from jobqueue.handlers.result import described
from jobqueue.log import event_logger
from jobqueue.runtime.pools.fork_server import ForkServer
from jobqueue.runtime.pools.pool_counts import RESTART_REASONS, PoolCounts
from jobqueue.runtime.pools.reach import Answers
from jobqueue.runtime.pools.sendable import check_importable, check_sendable
from jobqueue.runtime.pools.worker_process import WorkerProcess

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable

    from jobqueue.context import ProgressSink
    from jobqueue.handlers import Handler
    from jobqueue.runtime.pools.call import Call
    from jobqueue.runtime.pools.reach import Family
    from jobqueue.runtime.pools.stderr import ErrorPipe

log = event_logger(__name__)

RESTARTS = Backoff(backoff_s_base=0.1, backoff_s_max=10.0)
FAILURES_MAX = 5
YOUNG_S = 1.0


class ProcessPool:
    """Runs calls in `size` processes.

    Attributes:
        size: Number of processes.
        on_strength: Called on the loop with the number of calls that can be carried out at once, when it changes.
    """

    def __init__(self, *, size: int, on_strength: Callable[[int], None] = lambda strength: None) -> None:
        self.size = size
        self.on_strength = on_strength
        self._strength = -1
        self._trouble = "they are being started"
        self._server: ForkServer | None = None
        self._processes: dict[int, WorkerProcess] = {}
        self._idle: list[WorkerProcess] = []
        self._waiting: deque[asyncio.Future[WorkerProcess | Failure]] = deque()
        self._modules: set[str] = set()
        self._init: bytes | None = None
        self._failures = 0
        self._restart: asyncio.TimerHandle | None = None
        self._restarts = dict.fromkeys(RESTART_REASONS, 0)
        self._closed = False

    @property
    def pids(self) -> list[int]:
        """The processes that run now."""
        return list(self._processes)

    def pid_of(self, job_id: str) -> int | None:
        """Return the process that has the call of a job; None: there is none."""
        return next((pid for pid, process in self._processes.items() if process.job_id == job_id), None)

    @property
    def counts(self) -> PoolCounts:
        """The processes of this instant; those that are not ready yet are neither busy nor idle."""
        busy = sum(process.busy for process in self._processes.values())
        return PoolCounts(size=self.size, busy=busy, idle=len(self._idle), restarts=dict(self._restarts))

    @property
    def degraded(self) -> str | None:
        """Why no call can be carried out now; None while some can."""
        return None if self._ready else f"no process is running: {self._trouble}"

    def check(self, handler: Handler) -> None:
        """As `check_sendable`."""
        check_sendable(handler)

    def start(self, handlers: Iterable[Callable[..., Any]], init: Callable[[], Any] | None = None) -> None:
        """Start the processes, and let them import these handlers' modules.

        Args:
            init: Called once in each process; its return value is `ctx.state` there.

        Raises:
            ValueError: A process can't import one of them; the message says why, and what to do.
        """
        for func in handlers:
            check_importable(func)
            self._modules.add(func.__module__)
        if init is not None:
            check_importable(init, "a process can't run process_init")
            self._init = pickle.dumps(init)
        self._tell_strength()
        self._refill()

    async def run(self, call: Call, *, on_progress: ProgressSink, family: Family | None = None) -> Success | Failure:
        """Run a call in a process and return its outcome. Cancelling kills it. Raises RuntimeError once closed."""
        if self._closed:
            raise RuntimeError("the process pool is closed")
        try:
            body = pickle.dumps(call, pickle.HIGHEST_PROTOCOL)
        except BaseException as error:  # an argument's type has code of its own
            name = getattr(call.func, "__qualname__", repr(call.func))
            message = f"{name} can't be sent to a process: {described(error)}"
            return Failure(ErrorCode.HANDLER_ERROR, message, final=True)
        process = await self._free_process()
        if isinstance(process, Failure):
            return process
        try:
            answer = None if family is None else Answers(family).answer
            outcome = await process.carry_out(call, body, on_progress, answer)
        except asyncio.CancelledError:
            if process.busy:
                process.kill()
                log.info("process.killed", pid=process.pid, job_id=call.job_id)
                self._restarts["stopped"] += 1
                self._end(process, "its run was cancelled")
            else:  # it had ended; the cancellation was only a little late
                self._offer(process)
            raise
        if process.alive:
            self._modules.add(call.func.__module__)
            self._failures = 0
            self._tell_strength()
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

    async def _free_process(self) -> WorkerProcess | Failure:
        """Wait for a process to be free; the longest waiter gets it."""
        while True:
            while self._idle:
                process = self._idle.pop()
                if process.alive:
                    return process
            waiter: asyncio.Future[WorkerProcess | Failure] = asyncio.get_running_loop().create_future()
            self._waiting.append(waiter)
            self._refill()
            try:
                given = await waiter
            except asyncio.CancelledError:
                if not waiter.cancelled() and isinstance(late := waiter.result(), WorkerProcess):
                    self._offer(late)
                raise
            if isinstance(given, Failure) or given.alive:
                return given

    def _offer(self, process: WorkerProcess) -> None:
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

    # Strength: starts, exits, and restarts.

    @property
    def _ready(self) -> int:
        return sum(process.ready and process.alive for process in self._processes.values())

    @property
    def _broken(self) -> bool:
        """Whether it is a crash loop, with no process left from before."""
        return self._failures >= FAILURES_MAX and not self._ready

    def _no_process(self) -> Failure:
        reason = f"no process can be started after {self._failures} attempts: {self._trouble}"
        return Failure(ErrorCode.WORKER_CRASHED, reason)

    def _tell_strength(self) -> None:
        strength = 1 if self._broken else self._ready
        if strength != self._strength and not self._closed:
            self._strength = strength
            self.on_strength(strength)

    def _refill(self) -> None:
        """Ask for as many processes as are missing, unless a restart is to wait."""
        if self._closed or self._restart is not None:
            return
        try:
            if self._server is None:
                self._server = ForkServer(asyncio.get_running_loop(), self)
            for _ in range(self.size - len(self._processes) - self._server.asked):
                self._server.fork()
        except OSError as error:  # no more processes, files or memory
            self._failed(f"no process could be started: {error}")

    def _failed(self, how: str) -> None:
        """Count one more failed start, and try again: at once the first time, then with backoff."""
        self._failures += 1
        delay_s = 0.0 if self._failures == 1 else RESTARTS.ceiling_s(self._failures - 1)
        log.error("process.failed", how=how, in_a_row=self._failures, retry_after_s=delay_s)
        self._trouble = how
        if self._broken:
            self._fail_waiting(self._no_process())
        self._tell_strength()
        if self._restart is None and not self._closed:
            self._restart = asyncio.get_running_loop().call_later(delay_s, self._try_again)

    def _try_again(self) -> None:
        self._restart = None
        self._refill()

    def on_forked(self, pid: int, connection: socket.socket, errors: ErrorPipe) -> None:
        loop = asyncio.get_running_loop()
        process = self._processes[pid] = WorkerProcess(pid, connection, errors, owner=self, loop=loop)
        log.info("process.started", pid=pid)
        process.prepare(self._modules, self._init)

    def on_ready(self, process: WorkerProcess) -> None:
        self._offer(process)
        self._tell_strength()

    def on_given_up(self, process: WorkerProcess) -> None:
        if self._server is not None:
            self._server.expect_exit(process.pid)
        self._tell_strength()

    def on_fork_failed(self, how: str) -> None:
        self._failed(how)

    def on_exited(self, pid: int, how: str) -> None:
        process = self._processes.get(pid)
        if process is None:
            return  # killed by us, and replaced already
        process.read_all()
        line = process.errors.last_line()
        if process.init_failure is not None:
            how = f"process_init failed: {process.init_failure}"
        elif line:
            how = f"{how}: {line}"
        log.warning("process.exited", pid=pid, how=how)
        self._restarts["exited"] += 1
        self._end(process, how)

    def on_lost(self, how: str) -> None:
        self._server = None
        for process in list(self._processes.values()):
            process.kill()
            self._restarts["server_lost"] += 1
            self._end(process, f"its fork server died: {how}")
        self._failed(f"the fork server died: {how}")

    def _end(self, process: WorkerProcess, how: str, code: ErrorCode = ErrorCode.WORKER_CRASHED) -> None:
        """Remove a process that is dead or about to be, and replace it."""
        del self._processes[process.pid]
        with contextlib.suppress(ValueError):
            self._idle.remove(process)
        age_s = process.age_s
        process.end(how, code)
        self._tell_strength()
        if self._closed or self._server is None:
            return
        if process.ready and (process.used or age_s >= YOUNG_S):
            self._refill()
        else:
            self._failed(how)
