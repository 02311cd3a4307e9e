"""Service: one queue as HTTP, the command line, servers and `JobQueue` use it.

It checks submissions and passes them to the backend, holds the settings in effect, and starts, drains and stops the
parts of a run (`Wiring`). Both HTTP paths call it.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec

from jobqueue.backend.store import figures_of
from jobqueue.children import Children
from jobqueue.config.backend import faults_of_keeping
from jobqueue.config.callers import LimitsOfCallers
from jobqueue.config.deliveries import faults_of_webhooks
from jobqueue.config.live import live_settings
from jobqueue.config.load import differences
from jobqueue.core.job import Uniqueness
from jobqueue.core.record import changed
from jobqueue.core.stored_file import Upload
from jobqueue.errors import (
    ConfigError,
    Draining,
    InvalidField,
    InvalidSubmission,
    JournalFailed,
    Recovering,
    StoreUnavailable,
    raise_if_any,
)
from jobqueue.flows import Flows, no_parents_here
from jobqueue.handlers import PlainSubmission, Submission, uniqueness_of
from jobqueue.handlers.submission import Bounds, traced
from jobqueue.handlers.unshared import faults_of_handlers
from jobqueue.not_running import NO_STORE, NOT_LOCAL, NOT_RUNNING, not_running
from jobqueue.publishing import Publishing
from jobqueue.runtime.spool import Share
from jobqueue.schedules.operations import ScheduleOperations
from jobqueue.schedules.sources import definitions_of
from jobqueue.snapshot import snapshot_of
from jobqueue.wiring import Wiring, system

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from jobqueue.backend.base import Backend
    from jobqueue.backend.journal.figures import JournalFigures
    from jobqueue.backend.local import LocalBackend
    from jobqueue.backend.store import StoreBackend
    from jobqueue.config import Settings
    from jobqueue.core.counting.counts import QueueCounts
    from jobqueue.core.counting.stats import QueueStats, StoreStats
    from jobqueue.core.job import IdempotencyKey, Job, JobSpec
    from jobqueue.core.job_view import JobView
    from jobqueue.core.policy import QueuePolicy
    from jobqueue.core.stored_file import StoredFile
    from jobqueue.core.submit import Asked, SubmitResult
    from jobqueue.errors import Refused
    from jobqueue.registration import Registered
    from jobqueue.runtime.spool import PendingUpload, Spool
    from jobqueue.runtime.webhook_target import TargetFigures
    from jobqueue.schedules.definition import Definition
    from jobqueue.snapshot import ServiceSnapshot
    from jobqueue.surroundings import Surroundings


class Service:
    """One queue behind all its interfaces.

    Args:
        registered: The handlers, the lifespan and the initializer of processes.
        settings: Those of the first start.

    Attributes:
        registry: The handlers, by type.
        topics, flows: What is published, and its subscribers; jobs with parents, and graphs of them.
        settings: Those in effect.
        draining: Whether submissions are rejected, from the start of a drain until the next start.
        local: The backend in this process, whose calls need no await, for the fast path; each raises RuntimeError while
            the queue doesn't run, or its jobs are elsewhere. An attribute, as are the next two: most requests read it.
        store: The backend in a store outside this process; likewise.
        wall_offset_s: Returns the Unix seconds at zero of the engine's clock. Raises likewise.
        why_not_ready: Returns why requests for jobs are rejected, while kept ones are brought back; None: they are not.
        tells_tracebacks: Whether documents have the tracebacks of failed attempts. Where `server.tracebacks` is null,
            a server decides when it knows its addresses.
        checks: Called with the settings of a reload, before anything is applied; each may raise ConfigError.
        listeners: Called with the settings in effect when they have changed.
        surroundings: Makes each run's external parts: clocks, randomness, executors, the disk. A test may set its
            own.
    """

    def __init__(self, registered: Registered, settings: Settings) -> None:
        self._registered = registered
        self.registry = registered.registry
        self.topics, self.flows = Publishing(self, registered.subscribers), Flows(self._check, lambda: self.backend)
        self.settings: Settings = settings
        self.callers, self.draining, self._starting = LimitsOfCallers(settings), False, False
        self.tells_tracebacks = settings.server.tracebacks is True
        self.surroundings: Callable[[Settings], Surroundings] = system
        self.checks: list[Callable[[Settings], None]] = []
        self.listeners: list[Callable[[Settings], None]] = []
        self._wiring: Wiring | None = None
        self.local: LocalBackend = NOT_RUNNING
        self.store: StoreBackend = NOT_RUNNING
        self.wall_offset_s: Callable[[], float] = NOT_RUNNING
        self._stopping: asyncio.Future[None] | None = None
        self.why_not_ready: Callable[[], Refused] | None = None

    # -- life

    def configure(self, settings: Settings) -> None:
        """Replace the settings before the start, as `JobQueue.configure`."""
        if self._wiring is not None:
            raise RuntimeError("the settings of a running queue can't be replaced")
        self.settings, self.callers = settings, LimitsOfCallers(settings)
        self.tells_tracebacks = settings.server.tracebacks is True
        self._tell_listeners()

    async def start(self) -> None:
        """Enter the lifespan, open the spool and start timer and workers. Raises as `JobQueue.start`."""
        await self.open()
        await self.recover()

    async def open(self) -> None:
        """Do the first part of `start`: after it a server may listen, and answer that it recovers its jobs."""
        if self._wiring is not None or self._starting:
            raise RuntimeError("the queue is already running")
        if self._stopping is not None:
            raise RuntimeError("the queue is being stopped: await stop() before starting it again")
        self.registry.check_queues(self.settings.queues, self.settings.own_queues)
        if faults := (
            *faults_of_keeping(self.settings, {}),
            *faults_of_webhooks(self.settings, {}),
            *faults_of_handlers(self.registry, self._registered.subscribers, self.settings.backend),
        ):
            raise ConfigError(*faults)
        definitions = self._definitions(self.settings)
        registered, given = self._registered, self.surroundings(self.settings)
        try:
            wiring = Wiring(
                self.settings,
                self.registry,
                given,
                lifespan=registered.lifespan,
                process_init=registered.process_init,
                topics=self.topics,
                family=Children(self._check, lambda: self.backend, lambda: self.local, self.topics),
                definitions=definitions,
            )
        except BaseException:
            if given.journal is not None:
                await given.journal.close()
                given.journal.unlock()
            raise
        self._starting = True
        try:
            await wiring.open()
        except BaseException:
            await wiring.stop()
            raise
        finally:
            self._starting = False
        self._wiring, self.draining, self.why_not_ready = wiring, False, None
        self.local, self.store = wiring.local or NOT_LOCAL, wiring.store or NO_STORE
        self.wall_offset_s = wiring.offset_s
        if wiring.journal is not None:
            self.why_not_ready = self._recovering

    async def recover(self) -> None:
        """Do the rest of `start`: bring kept jobs back, and start timer and workers. Raises ConfigError."""
        try:
            await self._running.start()
        except BaseException:
            # A server may listen for some moments more.
            self.draining, self.why_not_ready = True, Draining
            await self.stop()
            raise
        self.why_not_ready = None

    def _recovering(self) -> Recovering:
        journal = self._running.journal
        assert journal is not None, "nothing is recovered without one"
        return Recovering(f"the server recovers its jobs from the journal; {journal.progress:.0%} is done")

    async def stop(self) -> None:
        """Stop at once, as `JobQueue.stop`."""
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
            if any(wiring.live_counts().values()) and self.why_not_ready is None:
                await self.drain(0.0)
        finally:
            self._wiring = None
            self.local = self.store = self.wall_offset_s = NOT_RUNNING
            try:
                await wiring.stop()
            finally:
                self._stopping = None

    def stop_admitting(self) -> None:
        """Reject every submission from now on, as the first step of a drain."""
        self._running.backend.stop_admitting()
        self.draining = True

    async def drain(self, deadline_s: float) -> dict[str, int]:
        """Reject submissions, run what is accepted, and after `deadline_s` seconds end, or keep, the remaining jobs.

        Returns the count of those that are lost by state, as `JobQueue.drain`.
        """
        wiring = self._running
        self.draining = True
        return await wiring.drain(deadline_s, work_off=self.settings.server.drain_mode == "work_off")

    @property
    def keeps(self) -> bool:
        """Whether jobs outlive the process: what a stop leaves, the next run goes on with."""
        return self._wiring is not None and self._wiring.backend.keeps

    def live_counts(self) -> dict[str, int]:
        """Return the number of jobs in each live state, as `Wiring.live_counts`; empty if the queue doesn't run."""
        return self._wiring.live_counts() if self._wiring is not None else {}

    def tell_lost(self) -> dict[str, int]:
        """Log the live jobs as lost (`drain.lost`) or kept, once; return the count of lost ones. For a forced end."""
        return self._wiring.tell_lost() if self._wiring is not None else {}

    def pid_of(self, job_id: str, run_in: str) -> int | None:
        """Return the process that runs a job's attempt; None: not known, or it waits for one."""
        if run_in != "process":
            return os.getpid()
        return None if self._wiring is None else self._wiring.pid_of(job_id)

    @property
    def running(self) -> bool:
        return self._wiring is not None

    @property
    def policies(self) -> Mapping[str, QueuePolicy]:
        """The settings of each queue in effect, with what requests have changed; none if the queue doesn't run."""
        return {} if self._wiring is None else self._wiring.policies

    @property
    def degraded(self) -> list[str]:
        """Parts that are unavailable although the queue runs, with the reason; empty if none is."""
        return [] if self._wiring is None else self._wiring.degraded

    @property
    def unavailable(self) -> Refused | None:
        """Why nothing can be asked of the store now; None: it can, or there is none."""
        store = None if self._wiring is None else self._wiring.store
        return None if store is None else store.unavailable()

    @property
    def takes_files(self) -> bool:
        """Whether jobs may have files: not where servers on other machines run them, too."""
        return self._wiring is None or self._wiring.store is None

    @property
    def journal(self) -> JournalFigures | None:
        """The figures of the journal; None: there is none, or the queue doesn't run."""
        figures = None if self._wiring is None else self._wiring.journal_figures
        return None if figures is None else figures()

    @property
    def schedules(self) -> ScheduleOperations:
        """The schedules. Raises RuntimeError if the queue doesn't run."""
        return ScheduleOperations(self._running.schedules, self.registry, self.settings.queues.__contains__)

    def _definitions(self, settings: Settings) -> list[Definition]:
        return definitions_of(self.registry, settings, self._registered.decorated)

    @property
    def webhooks(self) -> list[TargetFigures]:
        """What is shown of each receiver of webhooks. Raises RuntimeError if the queue doesn't run."""
        webhooks = self._running.webhooks
        return [] if webhooks is None else webhooks.figures()

    @property
    def backend(self) -> Backend:
        """The backend. Raises RuntimeError if the queue doesn't run."""
        return self._running.backend

    @property
    def spool(self) -> Spool:
        """The spool. Raises RuntimeError if the queue doesn't run."""
        return self._running.spool

    def check_files_fit(self, caller: str | None, size_bytes: int) -> None:
        """Raise RateLimited or SpoolFull if a caller's files of this size have no room in the spool."""
        share = self._share_of(caller)
        if share is not None:
            self.spool.check_share(share, size_bytes)
        self.spool.check_room(size_bytes)

    def new_upload(self, caller: str | None) -> PendingUpload:
        """Begin to receive a caller's files, as `Spool.new_upload`."""
        return self.spool.new_upload(self._share_of(caller))

    def _share_of(self, caller: str | None) -> Share | None:
        return None if caller is None else Share(caller, self.callers.of(caller).spool_bytes_max)

    def snapshot(self, stats: tuple[StoreStats, Sequence[QueueStats]] | None = None) -> ServiceSnapshot:
        """Return the counts of this instant. Raises RuntimeError if the queue doesn't run.

        Args:
            stats: Those of the backend, where they were read a moment ago: it adds up all types of all queues.
        """
        return snapshot_of(
            self._running,
            self.settings,
            self.registry,
            draining=self.draining,
            journal=self.journal,
            shared_store=figures_of(self.backend),
            stats=stats,
        )

    def policy(self, queue: str) -> QueuePolicy:
        """Return the settings of a queue that are in effect. Raises RuntimeError if it doesn't run."""
        return self._running.policies[queue]

    def counts(self, queue: str) -> QueueCounts:
        """Return what a queue has counted by type, as `Snapshot.counts`. Raises RuntimeError if it doesn't run."""
        return self._running.backend.counts(queue)

    # -- submissions

    async def accept(
        self,
        submission: Submission,
        *,
        folder: str | None = None,
        files: dict[str, tuple[StoredFile, ...]] | None = None,
        caller: str | None = None,
        owner: str | None = None,
        sees: str | None = None,
        key: IdempotencyKey | None = None,
        traceparent: str | None = None,
    ) -> SubmitResult[JobView]:
        """Check a submission and pass it to the backend, with its files.

        Args:
            caller: The caller that submits it: the scope of `key`, of quotas and of fair shares.
            owner: The caller to which the job belongs; None: it is no secret.
            sees: The owner of the jobs that it may come after; None: any owner.
            traceparent: The span within which it is submitted, in the form of W3C Trace Context.

        Raises:
            InvalidSubmission, UnknownType, Duplicate, Refused: As `JobQueue.submit`.
            KeyReused: The caller submitted something else under this key.
        """
        if self.why_not_ready is not None:
            raise self.why_not_ready()
        asked = self._asked(submission, folder, files, caller, owner, key)
        if folder is not None:
            await self.spool.settle(folder)
        asked = asked if traceparent is None else traced(asked, traceparent)
        if submission.after:
            return await self.flows.submit_after(submission, asked, sees)
        return await self.backend.submit(*asked)

    def accept_now(
        self,
        submission: Submission | PlainSubmission,
        caller: Uniqueness,
        key: IdempotencyKey | None = None,
        traceparent: str | None = None,
    ) -> SubmitResult[Job]:
        """As `accept`, without files, and without an await; `caller` is plain. Raises as `accept`."""
        asked = self.asked(submission, caller, key)
        return self.local.submit_now(*(asked if traceparent is None else traced(asked, traceparent)))

    def asked(
        self, submission: Submission | PlainSubmission, caller: Uniqueness, key: IdempotencyKey | None = None
    ) -> Asked:
        """Check a submission without files; return the arguments of `Backend.submit`. `caller` is plain.

        Raises:
            InvalidSubmission, UnknownType: As `accept`.
        """
        if isinstance(submission, PlainSubmission):
            spec, args = self.registry.check_plain(submission)
            if spec.queue not in self.settings.queues:
                raise self._no_such_queue()
        elif submission.after:
            raise no_parents_here(shared=self.backend.shared)
        elif submission.unique is not None:
            return self._asked(submission, None, None, caller.caller, caller.owner, key)
        else:
            spec, args = self._check(submission)
        # Without a key, as in a batch, all share the caller's identity.
        return spec, args, None, caller if key is None else Uniqueness(caller.caller, None, key, owner=caller.owner)

    def _asked(
        self,
        submission: Submission,
        folder: str | None,
        files: dict[str, tuple[StoredFile, ...]] | None,
        caller: str | None,
        owner: str | None,
        key: IdempotencyKey | None,
    ) -> Asked:
        """Check a submission, and return the arguments of `Backend.submit`."""
        spec, args = self._check(submission)
        uniqueness = uniqueness_of(submission, caller, owner, key, with_files=folder is not None)
        upload = Upload(folder, files or {}) if folder is not None else None
        return spec, args, upload, uniqueness

    def check(self, submission: Submission, caller: str | None, owner: str | None, *, keyed: bool) -> None:
        """Reject a submission with files before they are copied or received, as far as is known by then.

        Args:
            caller, owner: As `accept`.
            keyed: It has an Idempotency-Key, and so may equal a held job: only its faults are rejected.

        Raises:
            InvalidSubmission, UnknownType, Refused: As `JobQueue.submit`.
        """
        spec, _ = self._check(submission)
        if keyed:
            return
        uniqueness = uniqueness_of(submission, caller, owner, None, with_files=True)
        raise_if_any(self.backend.refuse_unseen(spec.queue, uniqueness, job_type=spec.type))

    def _check(self, submission: Submission) -> tuple[JobSpec, bytes]:
        if submission.plain:
            spec, args = self.registry.check_plain(submission)
        else:
            spec, args = self.registry.check(submission, wall_now=self._wall_now, bounds=self._bounds)
            if submission.run_at is not None and spec.delay_s:
                # The instant itself: a delay would be slightly off.
                spec = changed(spec, run_at=submission.run_at.timestamp() - self.wall(0.0))
        if spec.queue not in self.settings.queues:
            raise self._no_such_queue()
        return spec, args

    def _no_such_queue(self) -> InvalidSubmission:
        known = ", ".join(self.settings.queues)
        return InvalidSubmission(InvalidField(pointer="/queue", detail=f"no such queue; there are: {known}"))

    def _bounds(self) -> Bounds:
        return Bounds(
            self.settings.statuses.ttl_s_max, self.settings.limits.delay_s_max, self.settings.webhooks.fault_of_callback
        )

    # -- steering

    async def change(self, queue: str, changes: Mapping[str, Any]) -> None:
        """Change settings of a queue, by name. Raises ValueError, as `JobQueue.change`."""
        await self._running.change(queue, msgspec.structs.replace(self._running.policies[queue], **changes))

    async def reload(self, settings: Settings) -> list[str]:
        """Apply the settings that may change while the queue runs, as `JobQueue.reload`."""
        for check in self.checks:
            check(settings)
        before, after = self.settings, settings
        live = live_settings(before, after)
        definitions = self._definitions(live)
        for name in [name for name in before.queues if name in after.queues]:
            if after.queues[name] != before.queues[name]:
                with suppress(JournalFailed, StoreUnavailable):  # the next start reads them again
                    await self._running.change(name, after.queues[name].policy, configured=True)
        self.settings, self.callers = live, LimitsOfCallers(live)
        self._running.apply(live, definitions)
        await self._running.backend.set_quotas(self.callers.quotas)
        self._tell_listeners()
        return list(differences(live, after))

    def _tell_listeners(self) -> None:
        for listener in self.listeners:
            listener(self.settings)

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
