"""The runner of schedules: has the jobs of due ticks submitted, by one timer for all schedules.

Rules:

1. A tick's job is submitted as any other: quotas, capacity and a full store reject it, and the tick is tried again.
2. Where jobs outlive the process, or several servers share a store, a tick has an idempotency key of its schedule and
   instant: whichever process comes first submits it, and the others find its job.
3. Unless a schedule's overlap is `queue`, its jobs have a unique value: so the backend decides about a live one and the
   new one in one step.
4. A task submits a portion of the ticks that are due, one at a time; none runs while no tick is due.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Literal, Self

import msgspec

from jobqueue.backend.timer import Timer
from jobqueue.core.job import CANCELLED, SUCCEEDED, IdempotencyKey, JobId, Unique, Uniqueness
from jobqueue.core.record import changed
from jobqueue.core.schedule import LastTick, ScheduleId, SchedulePause  # msgspec reads it from the annotations
from jobqueue.core.schedules import SET_BACK_S_MIN, Outcome, Schedules
from jobqueue.errors import Draining, Duplicate, JournalFailed, KeyReused, Refused
from jobqueue.handlers import plain_uniqueness
from jobqueue.log import event_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

    from jobqueue.backend.base import Backend
    from jobqueue.backend.local import LocalBackend
    from jobqueue.core.job_view import AnyJob, JobView
    from jobqueue.core.schedule import Schedule
    from jobqueue.core.schedule_counts import ScheduleFigures
    from jobqueue.core.schedules import Due
    from jobqueue.core.submit import Asked, SubmitReceipt, SubmitResult
    from jobqueue.schedules.definition import Definition
    from jobqueue.surroundings import Recovers

log = event_logger(__name__)

LOOK_S: Final = 30.0
"""Most seconds to the next look at the wall clock, which may be set, while a schedule waits for it."""

REACH_BACK_S: Final = 60.0
"""With a shared store: instants longer ago are missed, since another server may have had their ticks."""

_MARK: Final = b"schedule"
"""The fingerprint of a tick: servers with other versions of a schedule mean the same instant."""


TickOutcome = Literal["submitted", "skipped", "elsewhere", "rejected"]


class Ticked(msgspec.Struct, frozen=True):
    """What came of a tick.

    Attributes:
        due_at: Its instant, in Unix seconds.
        job_id: Its job; None: it has none.
        reason: Why it was rejected; None: it was not.
        at: When that was known, in Unix seconds.
    """

    schedule: ScheduleId
    due_at: float
    outcome: TickOutcome
    job_id: JobId | None
    reason: str | None
    at: float

    @classmethod
    def of(cls, schedule: ScheduleId, due_at: float, outcome: Outcome, at: float) -> Self:
        """Return the event of a tick's outcome."""
        name: TickOutcome = "skipped" if outcome.job_id is None else "submitted"
        if outcome.error is not None:
            name = "rejected"
        elif outcome.elsewhere:
            name = "elsewhere"
        return cls(schedule, due_at, name, outcome.job_id, outcome.error, at)


class ScheduleRunner:
    """Submits the jobs of all schedules of a queue.

    Args:
        keeper: Keeps them beyond the end of the process; None: they end with it.
        local: The backend, if it is in this process: it tells of the ends of their jobs.
        now: The engine's clock.
        offset_s: Returns the seconds from that clock to Unix seconds.
        rng: Draws the jitter.

    Attributes:
        shared: Other servers have the same schedules, and submit their jobs as well.
        started: It has begun with its schedules.
        definitions: Those of the schedules, by id.
        schedules: Their state.
    """

    def __init__(
        self,
        backend: Backend,
        keeper: Recovers | None,
        *,
        local: LocalBackend | None,
        now: Callable[[], float],
        offset_s: Callable[[], float],
        rng: Random,
    ) -> None:
        self.shared, self.started = backend.shared, False
        self.definitions: dict[ScheduleId, Definition] = {}
        self.schedules = Schedules(rng, reach_back_s=REACH_BACK_S if backend.shared else None)
        self._backend, self._now, self._offset_s = backend, now, offset_s
        self._local = local
        self._keeper, self._book = keeper, None if keeper is None else keeper.schedules
        self._ordered: list[tuple[str, ScheduleId]] | None = None
        self._listeners: tuple[Callable[[Ticked], None], ...] = ()
        self._timer = Timer(self)
        self._work: asyncio.Task[None] | None = None
        self._offset_before_s = 0.0
        self._stopped = True

    # -- life

    def start(self, definitions: Sequence[Definition], put: Sequence[Definition] = ()) -> None:
        """Begin with these schedules, and with those that were put and kept. What is kept of each holds on."""
        self.started, self._stopped, self._offset_before_s = True, False, self._offset_s()
        for definition in put:
            self._add(definition)
        self.replace(definitions)
        self._timer.start()

    def stop_ticks(self) -> None:
        """Begin no further tick, as at a drain."""
        self._stopped = True
        self._timer.stop()

    async def stop(self) -> None:
        """End; what is being submitted is waited for."""
        self.stop_ticks()
        if self._work is not None:
            await asyncio.wait([self._work])

    def listen(self, listener: Callable[[Ticked], None]) -> Callable[[], None]:
        """Tell a listener, which must not raise, of what comes of each tick from now on; return what ends that."""
        self._listeners = (*self._listeners, listener)

        def leave() -> None:
            self._listeners = tuple(each for each in self._listeners if each is not listener)

        return leave

    def wall_now(self) -> float:
        """Return the present instant in Unix seconds."""
        return self._now() + self._offset_s()

    def figures(self) -> ScheduleFigures:
        """Return what is shown of all schedules together."""
        return self.schedules.figures(self.wall_now())

    def check_keeper(self) -> None:
        """Raise JournalFailed if nothing can be kept now."""
        if self._keeper is not None:
            self._keeper.check()

    async def kept(self) -> None:
        """Return once all that has changed is kept, if it is to be. Raises JournalFailed."""
        if self._keeper is None or self._keeper.settle():
            return
        told: asyncio.Future[JournalFailed | None] = asyncio.get_running_loop().create_future()
        self._keeper.when_kept(lambda error: None if told.done() else told.set_result(error))
        if (error := await told) is not None:
            raise JournalFailed(str(error), error.retry_after_s)

    def ordered(self) -> list[tuple[str, ScheduleId]]:
        """Return the ids of all schedules in the order of their names, each with a text that sorts alike."""
        if self._ordered is None:
            self._ordered = sorted((f"{name}/{owner or ''}", (owner, name)) for owner, name in self.definitions)
        return self._ordered

    # -- changes

    def replace(self, definitions: Sequence[Definition]) -> None:
        """Have these schedules, beside those that were put; one that is there already goes on."""
        wanted = {definition.id for definition in definitions}
        for id, definition in [*self.definitions.items()]:
            if definition.source != "api" and id not in wanted:
                self.remove(id)
        for id, kept in [] if self._book is None else [*self._book.kept.items()]:
            if (kept.given is None) == (id not in wanted):  # of the code before, or put under a name that it has now
                self._forget(id)
        for definition in definitions:
            before = self.definitions.get(definition.id)
            if before is None or before.given != definition.given or before.source != definition.source:
                self._add(definition)
        self._timer.look()

    def put(self, definition: Definition) -> Schedule:
        """Add a schedule, or replace it: its counts, its pause and its last tick stay."""
        schedule = self._add(definition)
        if self._book is not None and definition.source == "api":
            given = msgspec.json.encode(definition.given)
            self._book.define(definition.id, caller=definition.caller or "", given=given)
        self._timer.look()
        return schedule

    def remove(self, id: ScheduleId) -> None:
        """Remove a schedule; its jobs stay."""
        del self.definitions[id]
        self._ordered = None
        self.schedules.remove(id)
        self._forget(id)

    def pause(self, id: ScheduleId, *, by: str | None = None) -> Schedule:
        """Give no ticks until `resume`."""
        schedule = self._schedule(id)
        self.schedules.pause(schedule, SchedulePause(since=self.wall_now(), by=by))
        self._note(schedule)
        return schedule

    def resume(self, id: ScheduleId) -> Schedule:
        """Give ticks again, and those of the instants since the pause that `catch_up` says."""
        schedule = self._schedule(id)
        if schedule.pause is not None:
            self.schedules.resume(schedule)
            self._note(schedule)
            self._timer.look()
        return schedule

    async def run(self, id: ScheduleId) -> SubmitResult[JobView]:
        """Submit a schedule's job now, beside its ticks, whether or not it is paused.

        Raises:
            Duplicate: The overlap is `skip`, and the job of an earlier tick is live.
            Refused: As a submission.
        """
        schedule, definition = self._schedule(id), self.definitions[id]
        submitted = await self._backend.submit(*_asked(definition, None, None))
        now = self.wall_now()
        self.schedules.note_run(schedule, LastTick(instant=now, at=now, drift_s=0.0, job_id=submitted.job.id))
        if not submitted.duplicate:
            self._follow(id, submitted.job.id)
        return submitted

    def _add(self, definition: Definition) -> Schedule:
        """Add a schedule with what is kept of it, or replace one: that begins anew."""
        now, id = self.wall_now(), definition.id
        kept, before = None if self._book is None else self._book.kept.get(id), self.definitions.get(id)
        reached = now if kept is None or kept.reached is None or before is not None else kept.reached
        self.definitions[id], self._ordered = definition, None
        pause = None if kept is None else kept.pause
        schedule = self.schedules.add(id, definition.plan, reached=reached, now=now, pause=pause)
        self._note(schedule)
        return schedule

    def _note(self, schedule: Schedule) -> None:
        if self._book is not None:
            self._book.note(schedule.id, reached=schedule.reached, pause=schedule.pause)

    def _forget(self, id: ScheduleId) -> None:
        if self._book is not None:
            self._book.forget(id)

    def _schedule(self, id: ScheduleId) -> Schedule:
        schedule = self.schedules.get(id)
        assert schedule is not None, "its definition is there"
        return schedule

    # -- ticks, as the timer calls them

    def next_at(self) -> float | None:
        """Return when to look next, on the engine's clock."""
        at = None if self._work is not None else self.schedules.next_at()
        return None if at is None else min(at - self._offset_s(), self._now() + LOOK_S)

    def tick(self) -> float | None:
        """Have what is due submitted, unless that is being done already."""
        offset_s = self._offset_s()
        if self._offset_before_s - offset_s > SET_BACK_S_MIN:
            self.schedules.clock_set_back(self._offset_before_s - offset_s, self.wall_now())
        self._offset_before_s = offset_s
        at = self.schedules.next_at()
        if self._work is None and not self._stopped and at is not None and at <= self.wall_now():
            self._work = asyncio.get_running_loop().create_task(self._submit_due())
            self._work.add_done_callback(self._on_done)
        return self.next_at()

    def _on_done(self, work: asyncio.Task[None]) -> None:
        self._work = None
        if not work.cancelled() and not self._stopped:
            self._timer.look()

    async def _submit_due(self) -> None:
        """Submit a portion of what is due: the timer looks for more."""
        taken = self.schedules.take(self.wall_now())
        asked = [
            _asked(self.definitions[due.schedule.id], instant, self._key(due, instant))
            for due in taken
            for instant in due.instants
        ]
        try:
            receipts = iter(await self._backend.submit_many(asked))
        except Exception as error:  # a fault of this program: the schedules go on
            receipts = iter([error] * len(asked))
        now = self.wall_now()
        for due in taken:
            outcomes = [self._outcome(due.schedule, next(receipts)) for _ in due.instants]
            self.schedules.settle(due, outcomes, now)
            for listener in self._listeners:
                for instant, outcome in zip(due.instants, outcomes, strict=True):
                    listener(Ticked.of(due.schedule.id, instant, outcome, now))
            if not due.schedule.removed:
                self._note(due.schedule)

    def _key(self, due: Due, instant: float) -> IdempotencyKey | None:
        """Return the key of a tick; None: no other process has it, or the clock was set back, and it comes again."""
        if not self._backend.keeps or instant <= due.schedule.reached:
            return None
        at = datetime.fromtimestamp(instant, UTC).isoformat(timespec="seconds").removesuffix("+00:00")
        return IdempotencyKey(f"{due.schedule.id[1]}@{at}Z", _MARK)

    def _follow(self, id: ScheduleId, job_id: JobId) -> None:
        """Have the end of a new job noted, at once if it has ended while its submission was being kept."""
        job = None if self._local is None else self._local.find(job_id)
        if self._local is None or job is None:  # in a store; or ended, and evicted since
            return
        noted = _NotedEnd(self, id)
        if job.live:
            self._local.when_ended(job_id, noted)
        else:
            noted.ended(job)

    def _outcome(self, schedule: Schedule, receipt: SubmitReceipt | Exception) -> Outcome:
        if not isinstance(receipt, Exception):
            if not receipt.duplicate:
                self._follow(schedule.id, receipt.id)
            return Outcome(job_id=receipt.id, elsewhere=receipt.duplicate)
        if isinstance(receipt, Duplicate):
            return Outcome()
        if isinstance(receipt, KeyReused):
            return Outcome(elsewhere=True)
        if isinstance(receipt, Draining):
            self.stop_ticks()
        else:
            name = schedule.id[1]
            log.sampled("schedule.rejected", every_s=10.0, schedule=name, reason=str(receipt))
        retry_after_s = receipt.retry_after_s if isinstance(receipt, Refused) else None
        return Outcome(error=str(receipt), retry_after_s=retry_after_s)


class _NotedEnd:
    """Notes how a job of a schedule has ended; one that was cancelled tells nothing."""

    def __init__(self, runner: ScheduleRunner, id: ScheduleId) -> None:
        self._runner, self._id = runner, id

    def ended(self, job: AnyJob) -> None:
        if job.state is not CANCELLED:
            failure = None if job.state is SUCCEEDED else _words_of(job)
            self._runner.schedules.note_end(self._id, self._runner.wall_now(), failure)


def _words_of(job: AnyJob) -> str:
    """Return how a job has failed."""
    return "it expired before it could start" if job.error is None else f"{job.error.code}: {job.error.message}"


def _asked(definition: Definition, instant: float | None, key: IdempotencyKey | None) -> Asked:
    """Return the arguments of `Backend.submit` for a schedule's job. Args: instant: Its tick's; None: on request."""
    owner, name = definition.id
    spec = changed(definition.spec, own=True, scheduled=(name, instant))
    unique = None
    if definition.plan.overlap != "queue":
        unique = Unique(f"schedule:{name}", "reject" if definition.plan.overlap == "skip" else "replace")
    if unique is not None or key is not None:
        return spec, definition.args, None, Uniqueness(definition.caller, unique, key, owner=owner)
    caller = definition.caller
    return spec, definition.args, None, None if caller is None else plain_uniqueness(caller, owner)
