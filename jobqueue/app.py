"""JobQueue: the in-process API, and the root that puts a backend, workers and a timer together.

HTTP is not needed here and not known here; `http/` and `server.py` stand on this.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar, overload

import msgspec
import orjson

from jobqueue.backend.memory import MemoryBackend
from jobqueue.config import Settings
from jobqueue.context import printable
from jobqueue.core.engine import Engine
from jobqueue.core.events import Ended, Evicted
from jobqueue.core.ids import RUNS, IdIssuer
from jobqueue.core.job import JobId, JobState, StoredFile, Upload
from jobqueue.core.statuses import StatusBounds
from jobqueue.errors import InvalidField, InvalidSubmission, JobFailed
from jobqueue.handlers import Registry, RunIn, Submission, encode_strictly, field_of, register
from jobqueue.log import event_logger
from jobqueue.runtime.executor import Executor
from jobqueue.runtime.processes import ProcessPool
from jobqueue.runtime.spool import Spool
from jobqueue.runtime.threads import ThreadPool
from jobqueue.runtime.timer import Timer
from jobqueue.runtime.worker import WorkerPool

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime
    from types import TracebackType

    from jobqueue.backend.base import Backend
    from jobqueue.core.events import Event
    from jobqueue.core.job import Job

log = event_logger(__name__)

F = TypeVar("F", bound="Callable[..., Any]")

HANDLER_TIMEOUT_S = 300.0


class JobHandle:
    """A submitted job, as its submitter in the same process sees it."""

    __slots__ = ("_backend", "id")

    def __init__(self, job_id: JobId, backend: Backend) -> None:
        self.id = job_id
        self._backend = backend

    async def status(self) -> Job:
        """Return the job's record. Raises JobGone once it has been evicted."""
        return await self._backend.get(self.id)

    async def wait(self, timeout_s: float | None = None) -> Job:
        """Return the record once the job is over.

        Raises:
            TimeoutError: It isn't after `timeout_s` seconds; the job goes on.
            JobGone: The record has been evicted.
        """
        async with asyncio.timeout(timeout_s):
            return await self._backend.wait(self.id)

    async def result(self, timeout_s: float | None = None) -> Any:
        """Wait for the job's end and return what its handler returned, as JSON gives it back.

        Raises:
            JobFailed: The job failed, was cancelled, or expired; its code and message say why.
            TimeoutError, JobGone: As `wait`.
        """
        job = await self.wait(timeout_s)
        if job.state is not JobState.SUCCEEDED:
            error = job.error
            raise JobFailed(job.state, error.code if error else None, error.message if error else None)
        assert job.result is not None
        return orjson.loads(job.result)

    async def cancel(self) -> Job:
        """Cancel the job: at once if it waits; if it runs, as soon as its handler has stopped.

        Raises:
            WrongState: The job is over.
        """
        return await self._backend.cancel(self.id)


class JobQueue:
    """A job queue in this process: register handlers, start it, submit jobs, learn their outcome.

    Use it as an async context manager. Leaving the block works the queue off first
    (`server.drain_s` at most); leaving it by an exception doesn't.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings if settings is not None else Settings()
        self.registry = Registry()
        self._parts: _Parts | None = None
        self._starting = False
        self._draining = False

    # -- handlers

    @overload
    def handler(self, func: F, /) -> F: ...

    @overload
    def handler(
        self,
        /,
        *,
        name: str | None = None,
        timeout_s: float | None = HANDLER_TIMEOUT_S,
        run_in: RunIn | None = None,
        attempts_max: int = 1,
        queue: str = "default",
    ) -> Callable[[F], F]: ...

    def handler(
        self,
        func: F | None = None,
        /,
        *,
        name: str | None = None,
        timeout_s: float | None = HANDLER_TIMEOUT_S,
        run_in: RunIn | None = None,
        attempts_max: int = 1,
        queue: str = "default",
    ) -> F | Callable[[F], F]:
        """Register a function as the handler of a type; the function itself stays as it is.

        Args:
            name: The type that clients submit; the function's name if not given.
            timeout_s: How long one attempt may take; None: as long as it likes.
            run_in: `loop` for async functions; `thread` (the default) or `process` for plain
                ones. Only a process can be stopped by force; a thread is asked to.
            attempts_max: How often a job may run, counted from 1, unless its submission says.
            queue: Where its jobs wait, unless their submission says.

        Raises:
            ValueError: The type is taken, or an option or the signature can't be used.
        """

        def add(function: F) -> F:
            return register(
                self.registry,
                function,
                name=name,
                timeout_s=timeout_s,
                run_in=run_in,
                attempts_max=attempts_max,
                queue=queue,
            )

        return add if func is None else add(func)

    # -- life

    def configure(self, settings: Settings) -> None:
        """Replace the settings; `jobqueue serve` does, with those of its file, environment and flags.

        Raises:
            RuntimeError: The queue runs already.
        """
        if self._parts is not None:
            raise RuntimeError("the settings of a running queue can't be replaced")
        self.settings = settings

    async def start(self) -> None:
        """Open the spool and start timer and workers.

        Raises:
            RuntimeError: It runs already.
            ValueError: A handler's queue is none of the configured ones, or a process can't import it.
            ConfigError: The spool's folder can't be used.
        """
        if self._parts is not None or self._starting:
            raise RuntimeError("this queue runs already")
        for handler in self.registry:
            if handler.queue not in self.settings.queues:
                known = ", ".join(self.settings.queues)
                raise ValueError(f"handler {handler.name!r} wants queue {handler.queue!r}; configured: {known}")
        parts = _Parts(self.settings, self.registry)
        self._starting = True
        try:
            await parts.start()
        except BaseException:
            await parts.stop()
            raise
        finally:
            self._starting = False
        self._parts, self._draining = parts, False

    async def stop(self) -> None:
        """End everything now: live jobs are lost, and their count is logged. Does nothing if it doesn't run."""
        if self._parts is None:
            return
        parts = self._parts
        try:
            if parts.backend.stats()[0].live:
                await self.drain(0.0)
        finally:
            self._parts = None
            stopping = asyncio.ensure_future(parts.stop())
            try:
                await asyncio.shield(stopping)
            except asyncio.CancelledError:
                await stopping  # cleaning up is bounded, and half of it would leave threads behind
                raise

    async def __aenter__(self) -> JobQueue:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                await self.drain(self.settings.server.drain_s)
        finally:
            await self.stop()

    def stop_admitting(self) -> None:
        """Refuse every submission from now on, as the first step of a drain."""
        self._draining = True
        self._running.backend.stop_admitting()

    async def drain(self, deadline_s: float) -> dict[str, int]:
        """Stop admitting, work the queue off, and after `deadline_s` seconds end what is left.

        Statuses stay readable throughout. What was live at the deadline ends as cancelled with
        the error `shutdown`; its count by state is logged as `drain.lost` and returned.
        """
        parts = self._running
        self.stop_admitting()
        with suppress(TimeoutError):
            async with asyncio.timeout(deadline_s):
                await parts.idle()
        lost = {str(state): count for state, count in parts.backend.shut_down().items()}
        log.info("drain.lost", **lost)
        # Told to stop, the running ones end within the lease's grace.
        await parts.idle()
        return lost

    @property
    def running(self) -> bool:
        return self._parts is not None

    @property
    def draining(self) -> bool:
        return self._draining

    @property
    def backend(self) -> Backend:
        """Who keeps the jobs. Raises RuntimeError if the queue doesn't run."""
        return self._running.backend

    @property
    def spool(self) -> Spool:
        """Where files stand. Raises RuntimeError if the queue doesn't run."""
        return self._running.spool

    # -- jobs

    async def submit(
        self,
        type: str,
        args: Mapping[str, Any] | None = None,
        *,
        queue: str | None = None,
        priority: int = 0,
        delay_s: float | None = None,
        run_at: datetime | None = None,
        start_by_s: float | None = None,
        timeout_s: float | None = None,
        attempts_max: int | None = None,
        group: str | None = None,
        ttl_s: float | None = None,
    ) -> JobHandle:
        """Submit a job; once this returns, the queue holds it.

        Raises:
            InvalidSubmission: A field or an argument is not as it must be; `errors` names each.
            UnknownType: No handler has that type.
            Refused: Not now (QueueFull, StatusesFull, Draining); nothing was kept.
        """
        fields = {
            "type": type,
            "queue": queue,
            "priority": priority,
            "delay_s": delay_s,
            "run_at": run_at,
            "start_by_s": start_by_s,
            "timeout_s": timeout_s,
            "attempts_max": attempts_max,
            "group": group,
            "ttl_s": ttl_s,
        }
        try:
            submission = msgspec.convert(fields, Submission)
        except msgspec.ValidationError as fault:
            raise InvalidSubmission(field_of(fault)) from None
        if group is not None and printable(group) != group:
            raise InvalidSubmission(InvalidField(pointer="/group", detail="has lone surrogates, which UTF-8 can't say"))
        try:
            submission.args = msgspec.Raw(encode_strictly(args if args is not None else {}))
        except ValueError as fault:
            raise InvalidSubmission(InvalidField(pointer="/args", detail=str(fault))) from None
        return JobHandle((await self.accept(submission)).id, self.backend)

    async def accept(
        self, submission: Submission, *, folder: str | None = None, files: dict[str, StoredFile] | None = None
    ) -> Job:
        """Check a submission and hand it to the backend, with the files that came with it.

        Raises:
            InvalidSubmission, UnknownType, Refused: As `submit`.
        """
        parts = self._running
        spec = self.registry.check(submission, wall_now=self.wall(parts.backend.now()))
        if spec.queue not in self.settings.queues:
            known = ", ".join(self.settings.queues)
            raise InvalidSubmission(InvalidField(pointer="/queue", detail=f"no such queue; there are: {known}"))
        upload = Upload(folder, files or {}) if folder is not None else None
        return await parts.backend.submit(spec, bytes(submission.args), upload)

    def job(self, job_id: str) -> JobHandle:
        """Return a handle on a job by its id, without asking whether there is one."""
        return JobHandle(JobId(job_id), self.backend)

    def wall(self, instant: float) -> float:
        """Turn an instant of the engine's clock into seconds since the Unix epoch.

        The two clocks are matched once, at start: a later step of the wall clock moves no time of any job.
        """
        return self._running.wall_offset_s + instant

    @property
    def _running(self) -> _Parts:
        if self._parts is None:
            raise RuntimeError("this queue doesn't run: use `async with queue:`, or await queue.start()")
        return self._parts


class _Parts:
    """All that exists only while a queue runs; a restart makes it anew, and its ids belong to a new run."""

    def __init__(self, settings: Settings, registry: Registry) -> None:
        loop = asyncio.get_running_loop()
        secret = os.urandom(32)
        lanes = {"thread": settings.runtime.threads, "process": settings.runtime.process_count}
        engine = Engine(
            queues={name: queue.capacity for name, queue in settings.queues.items()},
            ids=IdIssuer(secret=secret, run=random.SystemRandom().choice(RUNS)),
            rng=random.Random(),
            bounds=StatusBounds(
                jobs_max=settings.statuses.jobs_max,
                bytes_max=settings.statuses.bytes_max,
                ttl_s=settings.statuses.ttl_s,
                failed_ttl_s=settings.statuses.failed_ttl_s,
            ),
            lanes=lanes,
        )
        self.wall_offset_s = time.time() - loop.time()
        self.backend = MemoryBackend(engine, now=loop.time)
        self.spool = Spool(settings.spool)
        self._timer = Timer(self.backend)
        self._in_process = [handler.func for handler in registry if handler.run_in == "process"]
        self._threads = ThreadPool(size=lanes["thread"])
        self._processes = ProcessPool(size=lanes["process"])
        executor = Executor(
            registry=registry,
            backend=self.backend,
            pools={"thread": self._threads, "process": self._processes},
            folder_of=self.spool.folder_of,
            check_room=self.spool.check_room,
            result_bytes_max=settings.limits.result_bytes,
        )
        self._pools = {
            name: WorkerPool(name, queue.workers, backend=self.backend, executor=executor)
            for name, queue in settings.queues.items()
        }
        self._idle: set[asyncio.Future[None]] = set()

    async def start(self) -> None:
        if self._in_process:
            self._processes.start(self._in_process)
        await self.spool.open()
        self.backend.subscribe(self.spool.on_fact)
        self.backend.subscribe(self._on_fact)
        self.backend.on_deadlines_moved(self._timer.look)
        self._timer.start()
        for pool in self._pools.values():
            pool.start()

    async def stop(self) -> None:
        self._timer.stop()
        await asyncio.gather(*(pool.close() for pool in self._pools.values()))
        await self._threads.close()
        await self._processes.close()
        await self.spool.close()

    async def idle(self) -> None:
        """Wait until no job is live."""
        if self.backend.stats()[0].live == 0:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._idle.add(future)
        try:
            await future
        finally:
            self._idle.discard(future)

    def _on_fact(self, fact: Event) -> None:
        if isinstance(fact, Evicted):
            if fact.early:
                log.sampled("statuses.evicted_early", every_s=10.0, evicted_early_total=self._evicted_early_total())
            return
        if isinstance(fact, Ended):
            if self._idle and self.backend.stats()[0].live == 0:
                for future in self._idle:
                    if not future.done():
                        future.set_result(None)
            return
        self._pools[fact.job.spec.queue].on_fact(fact)

    def _evicted_early_total(self) -> int:
        return self.backend.stats()[0].evicted_early_total
