"""Queue state: one queue's policy, counts, rates, and the rate at which its slots come free."""

from __future__ import annotations

from collections import OrderedDict
from math import inf
from typing import TYPE_CHECKING, Final

from jobqueue.core.histogram import Histogram
from jobqueue.core.job import CANCELLED, DELAYED, EXPIRED, FAILED, QUEUED, RUNNING, SUCCEEDED, WAITING
from jobqueue.core.rate_meter import RateMeter
from jobqueue.core.scheduling.retry_after import RETRY_AFTER_S_MAX, RetryAfter
from jobqueue.core.scheduling.type_state import TypeState

if TYPE_CHECKING:
    from random import Random

    from jobqueue.core.job import Job, JobId, JobState
    from jobqueue.core.pause import Pause
    from jobqueue.core.policy import QueuePolicy
    from jobqueue.errors import Refused

RUN_WEIGHT: Final = 0.1
"""Weight of the latest run in the typical one."""

RUN_S_MIN: Final = 1e-6
"""Lower bound of a run's length in divisions."""

PACE_S: Final = 0.01

COST_MIN: Final = 0.25
COST_MAX: Final = 4.0
RETRY_AFTER_S_MIN: Final = 1.0

DRAIN_PER_S_MIN: Final = 1.0 / RETRY_AFTER_S_MAX
"""Lower bound of the drain rate: one slot per longest Retry-After."""


class QueueState:
    """The counts and rates of one queue.

    Attributes:
        live: The slots that are taken: by all live jobs.
        counts: The same by state.
        waiting: Queued jobs in the order in which they became so, and since when; the first is the oldest.
        waits: Waiting times, from becoming queued to the start of the attempt.
        types: What is known of each type that has had a job in this queue.
        pause: Why it is paused; None: it isn't.
        closed: Whether none of its jobs starts any more, because of the shutdown.
        retry_after: The retry slots of rejected submissions.
        arrivals: The rate of submissions, accepted or not.
        first_start_at: When the first attempt started; None: none has.
        run_s: Typical run time; None before the first one ended.
        refused_total: All rejected submissions, and `refused_otherwise` by the error's class those that were rejected
            for another reason than a full queue: so the most frequent reason takes one count.
    """

    __slots__ = (
        "_drained_at",
        "_drained_per_s",
        "_ends",
        "_pace_per_s",
        "_pace_until",
        "arrivals",
        "closed",
        "counts",
        "first_start_at",
        "live",
        "name",
        "pause",
        "paused",
        "policy",
        "refused_otherwise",
        "refused_total",
        "retry_after",
        "run_s",
        "types",
        "waiting",
        "waits",
    )

    def __init__(self, name: str, policy: QueuePolicy, rng: Random) -> None:
        self.name = name
        self.policy = policy
        self.paused = self.closed = False
        self.pause: Pause | None = None
        self.live = 0
        self.counts = {WAITING: 0, DELAYED: 0, QUEUED: 0, RUNNING: 0}
        self.refused_total = 0
        self.refused_otherwise: dict[type[Refused], int] = {}
        self.waiting: OrderedDict[JobId, float] = OrderedDict()
        self.waits = Histogram()
        self.types: dict[str, TypeState] = {}
        self.run_s: float | None = None
        self._ends = RateMeter()
        # The measured drain rate as of an instant: many submissions are rejected in one.
        self._drained_at = -inf
        self._drained_per_s = 0.0
        self.retry_after = RetryAfter(rng)
        self.arrivals = self.retry_after.arrivals
        self.first_start_at: float | None = None
        self._pace_per_s: float | None = None
        self._pace_until = -inf

    @property
    def has_worker(self) -> bool:
        """Whether one more of its jobs may run now."""
        return not self.paused and not self.closed and self.counts[RUNNING] < self.policy.workers

    @property
    def submitted_total(self) -> int:
        return self.totals()[0]

    @property
    def retried_total(self) -> int:
        return self.totals()[1]

    @property
    def ended_total(self) -> dict[JobState, int]:
        """Jobs that ended since start, by state."""
        return self.totals()[2]

    def totals(self) -> tuple[int, int, dict[JobState, int]]:
        """Add up the types: submissions, jobs retried on request, jobs that ended, by state."""
        begun = retried = restored = failed = cancelled = expired = 0
        for type_state in self.types.values():
            begun += type_state.begun_total
            retried += type_state.retried_total
            restored += type_state.restored_total
            failed += type_state.failed_total
            cancelled += type_state.cancelled_total
            expired += type_state.expired_total
        succeeded = begun - self.live - failed - cancelled - expired  # every other job still has its slot
        return (
            begun - retried - restored,
            retried,
            {SUCCEEDED: succeeded, FAILED: failed, CANCELLED: cancelled, EXPIRED: expired},
        )

    def type_state(self, job_type: str) -> TypeState:
        """Return what is known of a type; it begins with nothing."""
        type_state = self.types.get(job_type)
        if type_state is None:
            type_state = self.types[job_type] = TypeState()
        return type_state

    def begin(self, job: Job, now: float) -> None:
        """Give a new or retried job a slot, and count it in its state."""
        self.live += 1
        job_type = job.spec.type
        type_state = self.types.get(job_type)
        if type_state is None:
            type_state = self.type_state(job_type)
        type_state.begun_total += 1
        state = job.state
        self.counts[state] += 1
        if state is QUEUED:
            self.waiting[job.id] = now
            type_state.waiting += 1

    def count_in(self, job: Job, now: float) -> None:
        """Count a live job in its state."""
        self.counts[job.state] += 1
        if job.state is QUEUED:
            self.waiting[job.id] = now
            self.types[job.spec.type].waiting += 1

    def note_first_start(self, now: float) -> None:
        self.first_start_at = now
        self._ends.begin(now)
        self._drained_at = -inf

    def note_run(self, job: Job, outcome: int, now: float) -> None:
        """Count an ended attempt, and include it in the typical run times. Args: outcome: As in `attempt_outcome`."""
        assert job.started_at is not None
        run_s = now - job.started_at
        known = self.run_s
        self.run_s = run_s if known is None else known + RUN_WEIGHT * (run_s - known)
        type_state = self.types[job.spec.type]
        known = type_state.run_s
        type_state.run_s = run_s if known is None else known + RUN_WEIGHT * (run_s - known)
        runs = type_state.runs[outcome] or type_state.first_run(outcome)
        runs.add(run_s, job.id)

    def note_end(self, job: Job, now: float) -> None:
        """Count a job that ended, and free its slot."""
        self.live -= 1
        if job.state is not SUCCEEDED:
            self._note_end_without_success(job)
        self._ends.add(now)
        self._drained_at = -inf

    def _note_end_without_success(self, job: Job) -> None:
        type_state = self.types[job.spec.type]
        if job.state is FAILED:
            type_state.failed_total += 1
        elif job.state is CANCELLED:
            type_state.cancelled_total += 1
        else:
            type_state.expired_total += 1

    def refuse(self, refusal: Refused) -> None:
        """Count a submission that is rejected for another reason than a full queue."""
        self.refused_total += 1
        kind = type(refusal)
        self.refused_otherwise[kind] = self.refused_otherwise.get(kind, 0) + 1

    def typical_run_s(self, job_type: str) -> float | None:
        """Return a type's typical run time in this queue; None before the first one ended."""
        type_state = self.types.get(job_type)
        return None if type_state is None else type_state.run_s

    def cost(self, job: Job) -> float:
        """Return this job's run time relative to the queue's typical one, from a quarter to four times."""
        run_s = self.typical_run_s(job.spec.type)
        if not run_s or not self.run_s:
            return 1.0
        return min(COST_MAX, max(COST_MIN, run_s / self.run_s))

    def drain_per_s(self, now: float) -> float:
        """Estimate the slots freed per second while the queue is full.

        The measured rate of ends; or, after few submissions, the rate of the present workers
        at the typical length of a run. Before the first end: one run each in the time that passed.
        Never less than `DRAIN_PER_S_MIN`.
        """
        running = self.counts[RUNNING]
        if self.run_s is None:
            waited_s = 0.0 if self.first_start_at is None else now - self.first_start_at
            return max(DRAIN_PER_S_MIN, max(1, running) / max(1.0, waited_s))
        if now != self._drained_at:
            self._drained_at, self._drained_per_s = now, self._ends.per_s(now)
        per_s = self._drained_per_s
        if running:
            promised = running / (self.run_s if self.run_s > RUN_S_MIN else RUN_S_MIN)
            if promised > per_s:
                per_s = promised
        return per_s if per_s > DRAIN_PER_S_MIN else DRAIN_PER_S_MIN

    def pace_per_s(self, now: float) -> float | None:
        """Estimate the starts of waiting jobs per second, as of `PACE_S` ago at most.

        Recent ends say nothing of them, so it is by the typical runs of their types, and by the number running
        now; None: none of these types is known.
        """
        if now >= self._pace_until:
            self._pace_until = now + PACE_S
            known, all_s = 0, 0.0
            for type_state in self.types.values():
                run_s = type_state.run_s
                if run_s is not None:
                    known += type_state.waiting
                    all_s += type_state.waiting * run_s
            self._pace_per_s = max(1, self.counts[RUNNING]) * known / max(all_s, known * RUN_S_MIN) if known else None
        return self._pace_per_s

    def measured_drain_per_s(self, now: float) -> float:
        """Return the measured rate of ends, per second."""
        return self._ends.per_s(now)

    def slot_s(self, now: float) -> float:
        """Return the expected seconds until the next free slot."""
        slot_s = (1 + self._lacking) / self.drain_per_s(now)
        return min(RETRY_AFTER_S_MAX, max(RETRY_AFTER_S_MIN, slot_s))

    def retry_slot_s(
        self, now: float, caller: str | None = None, key: str | None = None, counted: bool = True
    ) -> float:
        """Return the Retry-After of a submission that is rejected now, in seconds.

        Args:
            counted: Whether `arrivals` has the submission already.
        """
        lacking = self.live - self.policy.capacity
        # By position: names would take longer than the rest of the call.
        retry_slot_s = self.retry_after.retry_slot_s(
            now, self.drain_per_s(now), lacking if lacking > 0 else 0, caller, key, counted
        )
        return retry_slot_s if retry_slot_s > RETRY_AFTER_S_MIN else RETRY_AFTER_S_MIN

    @property
    def _lacking(self) -> int:
        """Number of live jobs over a lowered capacity."""
        lacking = self.live - self.policy.capacity
        return lacking if lacking > 0 else 0
