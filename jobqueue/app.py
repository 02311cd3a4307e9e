"""JobQueue: the in-process API, on which `http/` and `server.py` are built."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from jobqueue.config import LIMITS_FIXED, Settings
from jobqueue.config.load import differences
from jobqueue.core.job import JobId, StoredFile, Upload
from jobqueue.duration import as_seconds, seconds
from jobqueue.encoder import encode
from jobqueue.errors import InvalidField, InvalidSubmission
from jobqueue.handle import JobHandle
from jobqueue.handlers import Submission, refuse_unknown, submission_of, uniqueness_of
from jobqueue.handlers.submission import Bounds
from jobqueue.registration import Registration
from jobqueue.runtime.copying import copy_into
from jobqueue.wiring import Wiring, system

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime
    from types import TracebackType

    from jobqueue.backend.base import Backend, LocalBackend
    from jobqueue.core.job import IdempotencyKey, Job, JobSpec, UniqueMode, Uniqueness
    from jobqueue.core.job_view import JobView
    from jobqueue.core.policy import Discipline
    from jobqueue.core.submit import SubmitResult
    from jobqueue.duration import Duration
    from jobqueue.files.source import Files
    from jobqueue.runtime.spool import Spool
    from jobqueue.wiring import Surroundings


DRAIN_S = 20.0
"""Default duration of the drain when the block of a queue is left, in seconds."""


def not_running() -> RuntimeError:
    """Return what is raised where a running queue is needed."""
    return RuntimeError("the queue is not running: use `async with queue:` or await queue.start()")


class JobQueue(Registration):
    """A job queue in this process: register handlers, start it, submit jobs, learn their outcome.

    Use it as an async context manager. Leaving the block drains the queue first
    (`drain_s` at most); leaving it by an exception doesn't.

    Args:
        settings: Defaults to `Settings()`.
        drain_s: Maximum duration of the drain when the block is left, from 0, in seconds or as a timedelta. Defaults to
            20 s. A server of `jobqueue serve` drains the queue itself, for its own `server.drain_s`.

    Raises:
        ValueError: `drain_s` is not a duration from 0.

    Attributes:
        local: The backend's calls without an await, for the fast path; each raises RuntimeError while the queue doesn't
            run. An attribute, as is the next one: most requests ask for it.
        wall_offset_s: Returns what an instant of the engine's clock needs to become Unix seconds. Raises likewise.
        tells_tracebacks: Whether documents have the tracebacks of failed attempts. Where `server.tracebacks` is null,
            a server decides when it knows its addresses.
        surroundings: Makes each run's external parts: clocks, randomness, executors, the disk. A test may set its
            own.
    """

    def __init__(self, settings: Settings | None = None, *, drain_s: Duration = DRAIN_S) -> None:
        super().__init__()
        self._drain_s = seconds(drain_s)
        if self._drain_s < 0:
            raise ValueError(f"drain_s is 0 or more, got {drain_s}")
        self.settings = settings if settings is not None else Settings()
        self.tells_tracebacks = self.settings.server.tracebacks is True
        self.surroundings: Callable[[Settings], Surroundings] = system
        self._wiring: Wiring | None = None
        self.local: LocalBackend = NOT_RUNNING
        self.wall_offset_s: Callable[[], float] = NOT_RUNNING
        self._starting = False
        self._stopping: asyncio.Future[None] | None = None
        self._draining = False

    # -- life

    def configure(self, settings: Settings) -> None:
        """Replace the settings; `jobqueue serve` does, with those of its file, environment and flags.

        Raises:
            RuntimeError: The queue runs already.
        """
        if self._wiring is not None:
            raise RuntimeError("the settings of a running queue can't be replaced")
        self.settings = settings
        self.tells_tracebacks = settings.server.tracebacks is True

    async def start(self) -> None:
        """Enter the lifespan, open the spool and start timer and workers.

        Raises:
            RuntimeError: It runs already, or has not yet stopped.
            ValueError: A handler's queue is none of the configured ones, or a process can't import it.
            ConfigError: The spool's folder can't be used.
            LifespanFailed: The lifespan has raised; the cause is chained.
        """
        if self._wiring is not None or self._starting:
            raise RuntimeError("the queue is already running")
        if self._stopping is not None:
            raise RuntimeError("the queue is being stopped: await stop() before starting it again")
        for handler in self.registry:
            if handler.queue not in self.settings.queues:
                known = ", ".join(self.settings.queues)
                raise ValueError(
                    f"handler {handler.name!r} uses queue {handler.queue!r}; configured: {known}; "
                    f"add queues.{handler.queue} to the settings, if only as `{handler.queue}: {{}}`"
                )
        lifespan = None if self._lifespan is None else partial(self._lifespan, self)
        given = self.surroundings(self.settings)
        wiring = Wiring(self.settings, self.registry, given, lifespan=lifespan, process_init=self._process_init)
        self._starting = True
        try:
            await wiring.start()
        except BaseException:
            await wiring.stop()
            raise
        finally:
            self._starting = False
        self._wiring, self._draining = wiring, False
        self.local, self.wall_offset_s = wiring.backend, wiring.wall_clock.offset_s

    async def stop(self) -> None:
        """Stop at once: live jobs are lost, and their count is logged. Does nothing if it doesn't run."""
        if self._stopping is None:
            if self._wiring is None:
                return
            self._stopping = asyncio.ensure_future(self._end(self._wiring))
        stopping = self._stopping
        try:
            await asyncio.shield(stopping)
        except asyncio.CancelledError:
            # Finished, because it is bounded, and a partial stop would leave threads and waiting calls behind.
            await stopping
            raise

    async def _end(self, wiring: Wiring) -> None:
        try:
            if wiring.backend.stats()[0].live:
                await self.drain(0.0)
        finally:
            self._wiring = None
            self.local = self.wall_offset_s = NOT_RUNNING
            try:
                await wiring.stop()
            finally:
                self._stopping = None

    async def __aenter__(self) -> JobQueue:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None and self.running:  # it may have been stopped within the block
                await self.drain(self._drain_s)
        finally:
            await self.stop()

    def stop_admitting(self) -> None:
        """Reject every submission from now on, as the first step of a drain."""
        self._running.backend.stop_admitting()
        self._draining = True

    async def drain(self, deadline_s: float) -> dict[str, int]:
        """Reject submissions, work the queue off, and after `deadline_s` seconds end the remaining jobs.

        Statuses stay readable throughout. Jobs that are live at the deadline end as cancelled with
        the error `shutdown`; their count by state is returned, and logged as `drain.lost` if there are any.
        """
        wiring, lost = self._running, dict[str, int]()
        self._draining = True
        await wiring.backend.drain(deadline_s, lambda: lost.update(wiring.tell_lost()))
        return lost

    def live_counts(self) -> dict[str, int]:
        """Return the number of jobs in each live state; empty if the queue doesn't run."""
        return self._wiring.live_counts() if self._wiring is not None else {}

    def tell_lost(self) -> dict[str, int]:
        """Log the live jobs as lost, once (`drain.lost`); return their count by state. For a forced end."""
        return self._wiring.tell_lost() if self._wiring is not None else {}

    @property
    def running(self) -> bool:
        return self._wiring is not None

    @property
    def draining(self) -> bool:
        return self._draining

    @property
    def degraded(self) -> list[str]:
        """Parts that are unavailable although the queue runs, with the reason; empty if none is."""
        return [] if self._wiring is None else self._wiring.degraded

    @property
    def backend(self) -> Backend:
        """The backend. Raises RuntimeError if the queue doesn't run."""
        return self._running.backend

    @property
    def spool(self) -> Spool:
        """The spool. Raises RuntimeError if the queue doesn't run."""
        return self._running.spool

    # -- jobs

    async def submit(
        self,
        type: str,
        args: Mapping[str, Any] | None = None,
        *,
        queue: str | None = None,
        priority: int = 0,
        delay_s: Duration | None = None,
        run_at: datetime | None = None,
        start_by_s: Duration | None = None,
        timeout_s: Duration | None = None,
        attempts_max: int | None = None,
        group: str | None = None,
        unique: str | None = None,
        unique_mode: UniqueMode = "return",
        ttl_s: Duration | None = None,
        files: Files | None = None,
        **unknown: object,
    ) -> JobHandle:
        """Submit a job; once this returns, the queue holds it.

        Durations are numbers of seconds or timedeltas.

        Args:
            type: Type of a registered handler.
            args: Arguments of the handler, by name: whatever JSON can say (`docs/reference/handlers.md`). Defaults to
                none.
            queue: Queue that holds the job, one of the settings. Defaults to the handler's.
            priority: 0 to 9, 9 first; used by the discipline `priority`. Defaults to 0.
            delay_s: Wait before the first attempt: 0 to `limits.delay_s_max`. Defaults to 0.
            run_at: Instant of the first attempt, a datetime with a time zone, instead of `delay_s`; the past means now.
                Defaults to now.
            start_by_s: Time in which the first attempt must start, or the job expires: over the delay, at most 30
                days. Defaults to no limit; in an adaptive queue to its `patience_s`.
            timeout_s: Maximum duration of one attempt: over 0, at most the handler's. Defaults to the handler's.
            attempts_max: Maximum number of attempts: 1 to 100. Defaults to the handler's.
            group: Group for the discipline `fair` and for limits per group: 1 to 200 characters. Defaults to none.
            unique: Value that one live job of the type may have: 1 to 200 characters. Defaults to none.
            unique_mode: What happens if a live job has it: `return` that one, `reject` this one, `replace` that one, or
                `debounce`: give the waiting job these arguments and its delay anew. Defaults to `return`.
            ttl_s: Time that the record stays readable after its end: over 0, at most `statuses.ttl_s_max`. Defaults to
                `statuses.ttl_s`, or `failed_ttl_s`.
            files: Part name to a path, bytes, an open file, or (name, one of these[, media type]); to a list of them
                for several. They are copied into the spool, under `limits.files` and `limits.files_bytes`. Defaults to
                none.

        Raises:
            InvalidSubmission: A field or an argument is not as it must be; `errors` names each.
            UnknownType: No handler has that type.
            Duplicate: A live job has the unique value, and the mode is `reject`.
            QueueFull: The queue holds `capacity` live jobs. This and the following four are `Refused`: nothing was
                kept, and `retry_after_s` tells when to try again.
            TypeQuarantined: The type is in quarantine, and enough of its jobs wait.
            StatusesFull: The records of live jobs fill the job store.
            SpoolFull: There is no room for the files.
            Draining: The queue is about to stop.
            TypeError: There is no such option; or one of `files` is no file.
            ValueError: One of `files` can't be used: closed, not readable twice, a wrong name or media type.
            OSError: One of `files` can't be read.
            RuntimeError: The queue doesn't run.
        """
        refuse_unknown("submit", unknown, (*Submission.__struct_fields__, "unique_mode", "files"))
        fields = {
            "type": type,
            "queue": queue,
            "priority": priority,
            "delay_s": as_seconds(delay_s),
            "run_at": run_at,
            "start_by_s": as_seconds(start_by_s),
            "timeout_s": as_seconds(timeout_s),
            "attempts_max": attempts_max,
            "group": group,
            "unique": None if unique is None else {"value": unique, "mode": unique_mode},
            "ttl_s": as_seconds(ttl_s),
        }
        submission = submission_of(fields)
        try:
            submission.args = msgspec.Raw(encode(args if args is not None else {}))
        except ValueError as error:
            raise InvalidSubmission(InvalidField(pointer="/args", detail=str(error))) from None
        submitted = await (self._accept_with(files, submission) if files else self.accept(submission))
        return JobHandle(submitted.job.id, self.backend)

    async def _accept_with(self, files: Files, submission: Submission) -> SubmitResult[JobView]:
        spec, _, _, uniqueness = self._asked(submission, "", None, None, None)  # nothing is copied in vain
        if (refusal := self.backend.refuse_unseen(spec.queue, uniqueness, job_type=spec.type)) is not None:
            raise refusal
        limits = self.settings.limits
        async with self.spool.new_upload() as upload:
            await copy_into(upload, files, files_max=limits.files, bytes_max=limits.files_bytes)
            if not upload.files:
                return await self.accept(submission)
            submitted = await self.accept(submission, folder=upload.folder, files=upload.files)
            if not submitted.duplicate:
                upload.keep()
        return submitted

    async def accept(
        self,
        submission: Submission,
        *,
        folder: str | None = None,
        files: dict[str, tuple[StoredFile, ...]] | None = None,
        caller: str | None = None,
        key: IdempotencyKey | None = None,
    ) -> SubmitResult[JobView]:
        """Check a submission and pass it to the backend, with its files.

        Args:
            caller: The caller that submits it: the scope of `key`, of quotas and of fair shares.

        Raises:
            InvalidSubmission, UnknownType, Duplicate, Refused: As `submit`.
            KeyReused: The caller submitted something else under this key.
        """
        asked = self._asked(submission, folder, files, caller, key)
        return await self.backend.submit(*asked)

    def accept_now(self, submission: Submission, caller: Uniqueness) -> SubmitResult[Job]:
        """As `accept`, without files, key and quota, and without an await; `caller` is plain. Raises as `accept`."""
        if submission.unique is not None:  # most have none, and share the caller's `Uniqueness`
            return self.local.submit_now(*self._asked(submission, None, None, caller.caller, None))
        spec, args = self._check(submission)
        return self.local.submit_now(spec, args, None, caller)

    def _asked(
        self,
        submission: Submission,
        folder: str | None,
        files: dict[str, tuple[StoredFile, ...]] | None,
        caller: str | None,
        key: IdempotencyKey | None,
    ) -> tuple[JobSpec, bytes, Upload | None, Uniqueness | None]:
        """Check a submission, and return the arguments of `Backend.submit`."""
        spec, args = self._check(submission)
        counted = self.settings.limits.caller_jobs_max is not None
        uniqueness = uniqueness_of(submission, caller, key, with_files=folder is not None, counted=counted)
        upload = Upload(folder, files or {}) if folder is not None else None
        return spec, args, upload, uniqueness

    def check(self, submission: Submission) -> JobSpec:
        """Check a submission and return its spec, every default filled in.

        Raises:
            InvalidSubmission, UnknownType: As `submit`.
        """
        return self._check(submission)[0]

    def _check(self, submission: Submission) -> tuple[JobSpec, bytes]:
        if submission.plain:
            spec, args = self.registry.check_plain(submission)
        else:
            spec, args = self.registry.check(submission, wall_now=self._wall_now, bounds=self._bounds)
            if submission.run_at is not None and spec.delay_s:
                # The instant itself: a delay would be slightly off.
                spec = msgspec.structs.replace(spec, run_at=submission.run_at.timestamp() - self.wall(0.0))
        if spec.queue not in self.settings.queues:
            known = ", ".join(self.settings.queues)
            raise InvalidSubmission(InvalidField(pointer="/queue", detail=f"no such queue; there are: {known}"))
        return spec, args

    def _bounds(self) -> Bounds:
        return Bounds(self.settings.statuses.ttl_s_max, self.settings.limits.delay_s_max)

    def job(self, job_id: str) -> JobHandle:
        """Return a handle on a job by its id, whether or not it exists."""
        return JobHandle(JobId(job_id), self.backend)

    # -- steering

    async def change(
        self,
        queue: str,
        *,
        workers: int | None = None,
        capacity: int | None = None,
        discipline: Discipline | None = None,
        weight: int | None = None,
    ) -> None:
        """Change a queue's settings while it is in use, until the next reload or restart; no job is lost.

        Raises:
            KeyError: There is no such queue.
            ValueError: A setting is invalid; nothing was changed.
        """
        self._check_queue(queue)
        given = {"workers": workers, "capacity": capacity, "discipline": discipline, "weight": weight}
        changes = {name: value for name, value in given.items() if value is not None}
        policy = msgspec.structs.replace(self._running.policies[queue], **changes)
        await self._running.change(queue, policy)

    async def pause(self, queue: str) -> None:
        """Start no more jobs of a queue; submissions are accepted meanwhile. Raises KeyError."""
        self._check_queue(queue)
        await self._running.backend.pause(queue)

    async def resume(self, queue: str) -> None:
        """Start a paused queue's jobs again. Raises KeyError."""
        self._check_queue(queue)
        await self._running.backend.resume(queue)

    def _check_queue(self, queue: str) -> None:
        if queue not in self.settings.queues:
            raise KeyError(f"no queue {queue!r}; there are: {', '.join(self.settings.queues)}")

    async def reload(self, settings: Settings) -> list[str]:
        """Apply the settings that may change while the queue runs; return those changed that need a restart, by name.

        Queues' settings, most limits and the log's level may; the set of queues may not. A change by
        `change` stays until its queue's settings differ from those that were loaded before.
        """
        before, after = self.settings, settings
        for name in [name for name in before.queues if name in after.queues]:
            if after.queues[name] != before.queues[name]:
                await self._running.change(name, after.queues[name].policy)
        queues = {name: after.queues.get(name, queue) for name, queue in before.queues.items()}
        log_settings = msgspec.structs.replace(before.log, level=after.log.level)
        # Settings of existing connections and workers stay, so that all have the same.
        fixed = {name: getattr(before.limits, name) for name in LIMITS_FIXED}
        limits = msgspec.structs.replace(after.limits, **fixed)
        live = msgspec.structs.replace(before, queues=queues, limits=limits, log=log_settings)
        self.settings = live
        await self._running.backend.set_caller_jobs_max(after.limits.caller_jobs_max)
        return list(differences(live, after))

    def wall(self, instant: float) -> float:
        """Convert an instant of the engine's clock to Unix seconds, by the present wall clock."""
        return self.wall_offset_s() + instant

    def _wall_now(self) -> float:
        return self.wall(self.backend.now())

    @property
    def _running(self) -> Wiring:
        if self._wiring is None:
            raise not_running()
        return self._wiring


class _NotRunning:
    def __getattr__(self, name: str) -> Any:
        raise not_running()

    def __call__(self) -> Any:
        raise not_running()


NOT_RUNNING: Any = _NotRunning()
"""Stands for what a queue has only while it runs."""
