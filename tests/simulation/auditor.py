"""The auditor: keeps its own accounts of every event, and reports the first violated rule.

It checks promises, not their implementation: no order, no limiter, no heap. `inspector` checks the internals of the
engine.

Rules, checked at each event or after each loop iteration:

1. Conservation: accepted = live + terminal + evicted, by its own count and by the engine's, in total and by queue.
2. A job moves along the table of transitions only; a terminal job only by a requested retry.
3. Each attempt begins once, in order, and within the attempts of its series. The outcome of its job fits the run of
   its handler (`attempts`).
4. Running jobs never exceed workers, permits, groups and pools; none starts in a paused queue or of a quarantined
   type, except one probe; no rate is exceeded; no job starts after its start-by time. A pause ends in time.
5. A rejected submission has a valid reason, stores nothing, and never runs.
6. Records are evicted when their TTL is over, by a delete, or at a bound; not otherwise. A bound takes those of a
   caller that holds most (`fairness`).
7. No two live jobs hold the same unique value.
"""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING

from jobqueue.config.webhooks import WEBHOOK
from jobqueue.core.engine import BLAMELESS
from jobqueue.core.events import (
    BackedOff,
    Ended,
    Evicted,
    FlowChanged,
    LeaseLost,
    Offered,
    ParentsEnded,
    Paused,
    PolicyChanged,
    Progressed,
    Quarantined,
    Ready,
    Released,
    Resumed,
    Retried,
    Started,
    StopRequested,
    Submitted,
    Together,
)
from jobqueue.core.job import JobState, StopReason
from jobqueue.core.job_store import EXPIRY_BUCKET_S
from jobqueue.core.policy import Discipline
from jobqueue.core.report import ErrorCode
from jobqueue.core.transitions import LEASE_GRACE_S
from tests.simulation.attempts import RAISED, Attempts
from tests.simulation.fairness import unfair
from tests.simulation.known import Known, final_look
from tests.simulation.limits import EPSILON_S, Limits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jobqueue.backend.memory import MemoryBackend
    from jobqueue.core.engine import Engine
    from jobqueue.core.events import Event
    from jobqueue.core.job import Job


class Violation(AssertionError):
    """A rule was violated."""


class Auditor:
    """Checks the rules after every event.

    Args:
        now: The clock of the loop.
        pools: The size of each pool.
        choosy: Types with `retry_on`: they don't retry after every exception.
        late_s: The maximum delay of due timers.
        bytes_max: The byte limit of the job store.
        together_max: The number of jobs that a caller may ask for at once.
    """

    def __init__(
        self,
        now: Callable[[], float],
        *,
        pools: dict[str, int],
        choosy: set[str],
        late_s: float,
        bytes_max: int,
        together_max: int,
    ) -> None:
        self._now = now
        self._pools = pools
        self._choosy = choosy
        self._late_s = late_s
        self._together_max = together_max
        self.violation: str | None = None
        self.trace: list[tuple[float, str, str]] = []
        self.attempts = Attempts(self.check, bytes_max)
        self._asked: Counter[tuple[str, str]] = Counter()
        self.counts: Counter[str] = Counter()
        self.turn = 0
        self._numbers = 0
        self._ready_count = 0
        self.reordered: set[str] = set()

    def attach(self, backend: MemoryBackend) -> None:
        """Reset the accounts for a backend that has just started."""
        self.backend = backend
        self.engine: Engine = backend._engine
        self.known: dict[str, Known] = {}
        self.gone: dict[str, Known] = {}
        self.accepted = self.followed = self.live = self.terminal = self.evicted = self.evicted_early = 0
        self.limits = Limits(self._pools)
        backend.subscribe(self._on_event)

    @property
    def submitted(self) -> int:
        """Accepted jobs, but for those that follow from the ends of others."""
        return self.accepted - self.followed

    # -- notes of the other parts

    def note(self, part: str, what: str) -> None:
        """Add a line to the trace."""
        self.trace.append((self._now(), part, what))

    def check(self, holds: object, otherwise: str) -> None:
        if not holds and self.violation is None:
            self.violation = otherwise
            self.note("VIOLATION", otherwise)

    def _breaches(self, breaches: Iterator[str]) -> None:
        for breach in breaches:
            self.check(False, breach)

    @contextmanager
    def asked(self, action: str, job_ids: list[str]) -> Iterator[None]:
        """Permit a requested retry, cancel or delete of these jobs within the context."""
        for job_id in job_ids:
            self._asked[action, job_id] += 1
        try:
            yield
        finally:
            for job_id in job_ids:
                self._asked[action, job_id] -= 1

    # -- events

    def _on_event(self, event: Event) -> None:
        if self.violation is not None:
            return
        self.counts[type(event).__name__] += 1
        match event:
            case Evicted():
                for job in event.jobs:
                    self._evicted(job, early=event.early)
                if event.early:
                    self._breaches(
                        unfair(self.known.values(), event.jobs, self.engine.store.quotas, self._together_max)
                    )  # type: ignore[arg-type]  # `Known` has the members of a job that `unfair` reads
                return
            case Quarantined():
                self.note(event.type, f"quarantined until {event.until:.3f} for {event.reason[:40]}")
                self._breaches(self.limits.quarantine(event.type, event.until, self._now()))
                blameless = event.reason.startswith((ErrorCode.REJECTED, ErrorCode.SHUTDOWN))
                self.check(not blameless, f"{event.type} is quarantined for a failure that must not count against it")
                return
            case Released():
                self.note(event.type, "released")
                self._breaches(self.limits.release(event.type))
                return
            case Together() | FlowChanged():
                return
            case Paused() | Resumed() | PolicyChanged():
                self.note(event.queue, type(event).__name__.lower())
                return
        job = event.job
        if isinstance(event, Submitted):
            self._submitted(job)
        known = self.known.get(job.id)
        if known is None:
            self.check(False, f"{type(event).__name__} of a job that is not held: {job}")
            return
        if job.version != known.version:
            known.version, known.changed_in = job.version, self.turn
        why = f", {job.error.code}" if job.error is not None else ""
        self.note(str(known), f"{type(event).__name__} {job.state} attempt {job.attempt}{why}")
        match event:
            case Started():
                self._started(known)
            case ParentsEnded():
                self._check_parents(known, "goes on")
            case Retried():
                self._retried(known)
            case Ready():
                self._ready(known)
            case Offered():
                self.check(known.waiting, f"{known} was called, and did not wait")
                known.offered_in_quarantine |= job.spec.type in self.limits.quarantines
            case BackedOff():
                self._stopped_running(known, "backed off")
                known.waiting = True
                self.check(known.attempts_left > 0, f"{known} waits for an attempt more than it has")
            case StopRequested():
                self.check(known.running and event.attempt == known.attempt, f"{known} is to stop, and doesn't run")
                known.stop_requested_at, known.stop_reason = self._now(), job.stopping
                if job.stopping is StopReason.CANCELLED:
                    self._check_asked_to_cancel(known)
            case LeaseLost():
                self.check(known.running and event.attempt == known.attempt, f"{known} lost a lease that it had not")
                asked = known.stop_requested_at
                in_time = asked is not None and self._now() >= asked + LEASE_GRACE_S - EPSILON_S
                self.check(in_time, f"{known} lost its lease before the grace was over")
            case Ended():
                self._ended(known)
            case Progressed():
                self.check(known.live, f"{known} reported progress after its end")

    def _submitted(self, job: Job) -> None:
        self.check(job.id not in self.known, f"id {job.id} was issued twice")
        self._numbers += 1
        self.known[job.id] = Known(self._numbers, job)
        self.accepted += 1
        self.followed += job.spec.type == WEBHOOK
        self.live += 1
        self._accepted(self.known[job.id])

    def _accepted(self, known: Known) -> None:
        queue_state = self.engine.queue_states[known.job.spec.queue]
        self.check(queue_state.live <= queue_state.policy.capacity, f"{known} was accepted beyond the capacity")
        follows = known.job.spec.type in self.engine.admission.follow_ups
        self.check(self.engine.admission.open or follows, f"{known} was accepted while the queue drains")
        self._claim(known)

    def _claim(self, known: Known) -> None:
        """Record the unique value of a job: it holds the value alone, or supersedes the earlier holders."""
        unique = known.job.uniqueness.unique if known.job.uniqueness is not None else None
        if unique is None:
            return
        for other in self.known.values():
            uniqueness = other.job.uniqueness
            if other is known or not other.live or other.superseded or uniqueness is None or uniqueness.unique is None:
                continue
            if (other.job.spec.type, uniqueness.unique.value) == (known.job.spec.type, unique.value):
                shares = unique.mode in ("replace", "debounce") and not known.retries
                self.check(shares, f"{known} has the unique value {unique.value!r}, which {other} holds")
                other.superseded = True
        known.superseded = False

    def _ready(self, known: Known) -> None:
        if known.running:  # its worker died: the next attempt comes without a backoff
            self._stopped_running(known, "is ready again")
            known.waiting = True
            self.check(known.attempts_left > 0, f"{known} is ready for an attempt more than it has")
            known.ready_number = 0
            return
        self.check(known.waiting, f"{known} is ready, and did not wait")
        self._ready_count += 1
        known.ready_number = self._ready_count

    def _retried(self, known: Known) -> None:
        assert known.final is not None
        state, error = known.final[0], known.final[5]
        of_parent = state is JobState.CANCELLED and error is not None and error.code is ErrorCode.PARENT_FAILED
        self.check(state is JobState.FAILED or of_parent, f"{known} came back from {state}")
        self.check(self._asked["retry", known.job.id], f"{known} came back without being asked for")
        known.final = None
        known.waiting = True
        known.series_began_after = known.attempt
        known.retries += 1
        self.counts["retried"] += 1
        self.terminal -= 1
        self.live += 1
        self._accepted(known)

    def _started(self, known: Known) -> None:
        job, now = known.job, self._now()
        spec = job.spec
        self.check(known.waiting, f"{known} started, and did not wait")
        self._check_order(known)
        self._check_parents(known, "started")
        self.check(b'"n":' in job.args or spec.type == WEBHOOK, f"{known} started without its arguments")
        self.check(job.attempt == known.attempt + 1, f"{known} began attempt {job.attempt} after {known.attempt}")
        self.check(known.attempts_left > 0, f"{known} began an attempt more than it has")
        if job.attempt == 1 and job.start_by_at is not None:
            self.check(now < job.start_by_at, f"{known} started after its start-by")
        known.waiting, known.running, known.attempt = False, True, job.attempt
        known.offered_in_quarantine = False
        known.stop_requested_at = known.stop_reason = None
        self._breaches(self.limits.start(known, now))
        queue_state = self.engine.queue_states[spec.queue]
        in_queue = self.limits.count(lambda other: other.queue == spec.queue)
        self.check(not queue_state.paused, f"{known} started in a paused queue")
        self.check(in_queue <= queue_state.policy.workers, f"{known} is the {in_queue}. to run of queue {spec.queue}")

    def _check_parents(self, known: Known, how: str) -> None:
        """Check that no child goes on before its parents have ended; a retry of a parent comes too late for it."""
        lineage = known.job.lineage
        for parent_id in () if lineage is None else lineage.parents:
            parent = self.known.get(parent_id)
            self.check(
                parent is None or not parent.live or parent.retries,
                f"{known} {how}, and its parent {parent} has not ended",
            )
            if lineage is not None and lineage.on_failure == "cancel" and parent is not None and not parent.live:
                succeeded = parent.job.state is JobState.SUCCEEDED
                self.check(succeeded or known.attempt, f"{known} {how}, and its parent {parent} {parent.job.state}")

    def _check_end_by_parents(self, known: Known) -> None:
        lineage, job = known.job.lineage, known.job
        assert lineage is not None
        assert job.error is not None
        named = [each for each in lineage.parents if each in job.error.message]
        self.check(len(named) == 1, f"{known} ended for parents that its error does not name")
        parents = [self.known.get(each) or self.gone.get(each) for each in named]
        failed = [each for each in parents if each is None or each.retries or each.final is not None]
        self.check(failed, f"{known} ended for its parent {named}, which has not ended")

    def _check_order(self, known: Known) -> None:
        """Check FIFO order among jobs with the same limiters.

        In quarantine callers take turns: a job that was offered then, even if it starts after the release, is compared
        with jobs of its own caller.
        """
        spec = known.job.spec
        policy = self.engine.queue_states[spec.queue].policy
        if policy.discipline is not Discipline.FIFO or spec.queue in self.reordered:
            return
        kind = (spec.queue, spec.type, spec.group)
        by_caller = known.offered_in_quarantine or spec.type in self.limits.quarantines
        for other in self.known.values():
            theirs = other.job.spec
            if by_caller and other.job.caller != known.job.caller:
                continue
            if other.job.state is JobState.QUEUED and kind == (theirs.queue, theirs.type, theirs.group):
                in_order = known.ready_number <= other.ready_number or not other.ready_number
                self.check(in_order, f"{known} started before {other}, which was ready earlier")

    def _ended(self, known: Known) -> None:
        job = known.job
        if known.running:
            self._stopped_running(known, "ended")
            self.check(job.state is not JobState.EXPIRED, f"{known} expired while it ran")
        else:
            self.check(known.waiting, f"{known} ended twice")
            self.check(
                job.state in (JobState.CANCELLED, JobState.EXPIRED), f"{known} became {job.state} without having run"
            )
        if job.state is JobState.EXPIRED:
            late = job.start_by_at is not None and self._now() >= job.start_by_at - EPSILON_S
            self.check(late and job.attempt == 0, f"{known} expired before its time, or after it had been started")
        if job.state is JobState.CANCELLED and known.waiting and job.error is None:
            self._check_asked_to_cancel(known)
        if job.state is JobState.CANCELLED and job.error is not None and job.error.code is ErrorCode.PARENT_FAILED:
            self._check_end_by_parents(known)
        if job.state is JobState.FAILED:
            final = job.error is not None and job.error.code in FINAL_CODES
            self.check(job.error is not None, f"{known} failed without saying why")
            tried_all = known.attempts_left == 0 or final or not self.engine.admission.open
            gave_up = job.spec.type in self._choosy and job.error is not None and job.error.code in RAISED
            self.check(tried_all or gave_up, f"{known} failed with attempts left")
        known.waiting = known.running = False
        known.final = final_look(job)
        self.counts[job.state] += 1
        if job.error is not None:
            self.counts[job.error.code] += 1
        self.live -= 1
        self.terminal += 1

    def _check_asked_to_cancel(self, known: Known) -> None:
        self.check(self._asked["cancel", known.job.id], f"{known} is cancelled without being asked for")

    def _evicted(self, job: Job, *, early: bool) -> None:
        known = self.known.pop(job.id, None)
        if known is None:
            self.check(False, f"a record was evicted that is not held: {job.id}")
            return
        self.gone[job.id] = known
        known.changed_in = self.turn
        how = "evicted early" if early else "evicted"
        self.counts[how] += 1
        self.note(str(known), how)
        self.check(not known.live, f"{known} was evicted while it was {job.state}")
        self.check(known.live or final_look(job) == known.final, f"{known} changed after its end")
        if not early and not self._asked["delete", job.id] and job.finished_at is not None:
            over_at = job.finished_at + self.engine.store.ttl_s(job)
            self.check(self._now() >= over_at - EPSILON_S, f"{known} was evicted before its TTL was over")
        self.terminal -= 1
        self.evicted += 1
        self.evicted_early += early

    # -- counting

    def _stopped_running(self, known: Known, how: str) -> None:
        self.check(known.running, f"{known} {how}, and did not run")
        known.running = False
        code = self.attempts.judge(known)
        own_fault = code is ErrorCode.TIMED_OUT and known.job.spec.own_timeout
        counts = code is not None and code not in BLAMELESS and not own_fault
        outcome = known.job.state is JobState.SUCCEEDED or counts
        self._breaches(self.limits.stop(known, outcome=outcome and self.engine.admission.open))

    # -- after each loop iteration

    def check_counts(self) -> None:
        """Check conservation by both counts; cheap enough for every loop iteration."""
        engine = self.engine
        store, totals = engine.store, engine.totals()
        ours = (self.accepted, self.live, self.terminal, self.evicted, self.evicted_early)
        theirs = (totals.accepted, store.live, store.terminal, totals.evicted, totals.evicted_early)
        if ours != theirs:
            what = "accepted, live, terminal, evicted, evicted early"
            self.check(False, f"{what}: {theirs} by the engine, {ours} by the events")
        if self.accepted != self.live + self.terminal + self.evicted:
            self.check(False, f"jobs were lost: {ours}")
        if engine._transitions.events:
            self.check(False, f"{len(engine._transitions.events)} events were not published")
        for queue_state in engine.queue_states.values():
            came, ended = (
                queue_state.submitted_total + queue_state.retried_total,
                sum(queue_state.ended_total.values()),
            )
            if came != queue_state.live + ended:
                self.check(False, f"queue {queue_state.name}: {came} came, {queue_state.live} are live, {ended} ended")

    def check_records(self) -> None:
        """Check that every record agrees with the accounts, and that neither a record nor a pause is overdue."""
        now, late_s = self._now(), self._late_s
        for queue_state in self.engine.queue_states.values():
            pause = queue_state.pause
            if pause is not None and pause.until is not None and now > pause.until + late_s:
                self.check(False, f"queue {queue_state.name} is paused, though that was to end at {pause.until}")
        for known in self.known.values():
            job = known.job
            waits = job.state in (JobState.QUEUED, JobState.DELAYED, JobState.WAITING)
            due_at = self._due_at(known)
            if self.engine.store.get(job.id) is not job:
                self.check(False, f"the record of {known} is gone")
            elif known.final is not None and known.final != final_look(job):
                self.check(False, f"{known} changed after its end, from {known.final} to {final_look(job)}")
            elif known.final is None and (waits != known.waiting or not job.live):
                self.check(False, f"{known} is {job.state}, and no event said so")
            elif known.final is None and job.attempt != known.attempt:
                self.check(False, f"{known} is at attempt {job.attempt}, and {known.attempt} was the last to begin")
            elif job.version != known.version:
                self.check(False, f"{known} has changed since version {known.version}, and no event said so")
            elif due_at is not None and now > due_at + late_s:
                self.check(False, f"{known} is {job.state}, though that was to end at {due_at}")
        self._check_unique()

    def _due_at(self, known: Known) -> float | None:
        """Return the time at which the state of a job must end; None if it has no deadline."""
        job, spec = known.job, known.job.spec
        if known.final is not None:
            assert job.finished_at is not None
            if job.id in self.engine.store._kept.jobs:
                return None
            return job.finished_at + self.engine.store.ttl_s(job) + EXPIRY_BUCKET_S
        if known.running:
            if known.stop_requested_at is not None:
                return known.stop_requested_at + LEASE_GRACE_S
            assert job.started_at is not None
            return None if spec.timeout_s is None else job.started_at + spec.timeout_s
        if job.state is JobState.DELAYED:
            return job.run_at
        return job.start_by_at if job.attempt == 0 else None

    def _check_unique(self) -> None:
        values = Counter(
            (known.job.spec.type, known.job.uniqueness.unique.value)
            for known in self.known.values()
            if known.live and not known.superseded and known.job.uniqueness is not None and known.job.uniqueness.unique
        )
        for (job_type, value), count in values.items():
            self.check(count == 1, f"{count} live jobs of {job_type} hold the unique value {value!r}")


FINAL_CODES = frozenset({ErrorCode.REJECTED, ErrorCode.BAD_RESULT, ErrorCode.RESULT_TOO_LARGE})
