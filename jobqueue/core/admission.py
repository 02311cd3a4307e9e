"""Admission control: decides whether a submission is accepted, and with what Retry-After it is rejected.

It reads slots, records, quotas and the drain; it changes only the counts of submissions and rejections, and the retry
slots given out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jobqueue.core.scheduling.queue_state import RETRY_AFTER_S_MIN
from jobqueue.core.scheduling.retry_after import RETRY_AFTER_S_MAX
from jobqueue.errors import (
    Draining,
    InvalidField,
    InvalidSubmission,
    QueueFull,
    RateLimited,
    Refused,
    StatusesFull,
    TypeQuarantined,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from jobqueue.core.job import Job, JobSpec, Uniqueness
    from jobqueue.core.job_store import JobStore
    from jobqueue.core.limits.circuit_breaker import CircuitBreaker
    from jobqueue.core.limits.limiters import Limiters
    from jobqueue.core.limits.quarantined_type import QuarantinedType
    from jobqueue.core.scheduling.queue_state import QueueState
    from jobqueue.core.uniqueness import UniquenessIndex


QUARANTINED_PART: Final = 10
"""The jobs of a type in quarantine may hold one in this many slots of a queue while they wait.

Beyond that a caller without such a job may have one, so that one caller's jobs don't keep the others from
being the probe; twice as many slots is the bound of all."""


_BYTES_DETAIL: Final = "this caller's live jobs leave no room in the bytes that it may hold"


class AdmissionControl:
    """Accepts a submission, or raises the reason of its rejection.

    Attributes:
        open: Jobs are admitted at all.
        follow_ups: Types whose jobs follow from the ends of others: a drain admits them, but for retries on request.
        why_closed: Returns the reason if not.
    """

    def __init__(
        self,
        queue_states: Mapping[str, QueueState],
        store: JobStore,
        uniqueness_index: UniquenessIndex,
        limiters: Limiters,
        quarantine: CircuitBreaker,
    ) -> None:
        self._queue_states = queue_states
        self._only = next(iter(queue_states.values())) if len(queue_states) == 1 else None
        self._store = store
        self._uniqueness_index = uniqueness_index
        self._limiters = limiters
        self._quarantine = quarantine
        self.open = True
        self.why_closed: Callable[[], Refused] = Draining
        self.follow_ups: frozenset[str] = frozenset()
        # The last one of each queue, with its numbers, which hardly change while it is full.
        self._full_details: dict[str, tuple[int, int, str]] = {}

    def close(self, why: Callable[[], Refused]) -> None:
        """Admit no more jobs until `reopen`; where a drain has begun, never again."""
        if self.open or self.why_closed is not Draining:
            self.open, self.why_closed = False, why

    def reopen(self) -> None:
        """End what `close` began."""
        if self.why_closed is not Draining:
            self.open, self.why_closed = True, Draining

    def drain(self) -> None:
        """Admit no more jobs."""
        self.open, self.why_closed = False, Draining

    def admit(
        self,
        queue_state: QueueState,
        spec: JobSpec,
        size_bytes: int,
        uniqueness: Uniqueness | None,
        *,
        now: float,
        replaced: Job | None = None,
        by_client: bool = True,
    ) -> None:
        """Accept a job, or count it and reject.

        Args:
            replaced: A job that ends when this one is accepted: its slot, its record and its caller's count come free.
            by_client: Whether a client submits it, and returns after a rejection; an operator's retry doesn't.

        Raises:
            Draining: No more jobs are admitted; or what `why_closed` returns.
            QueueFull: All slots of the queue are taken.
            StatusesFull: The job store is full of live jobs.
            TypeQuarantined: The type is in quarantine, and its waiting jobs have all the slots that they may have.
            RateLimited: The caller has its maximum of live jobs, or these take all that it may hold.
        """
        if by_client:
            queue_state.arrivals.add(now)
        caller = None if uniqueness is None else uniqueness.caller
        refusal: Refused | None
        if not self.open and (
            spec.type not in self.follow_ups or not by_client or self.why_closed is not Draining
        ):  # what an operator retries follows from no end
            refusal = self.why_closed()
        elif (
            queue_state.live - (replaced is not None and replaced.spec.queue == queue_state.name)
            >= queue_state.policy.capacity
        ):
            refusal = self._queue_full(queue_state, uniqueness, now=now, by_client=by_client)
        elif not self._store.has_room_for(size_bytes, replaced):
            refusal = self._statuses_full(queue_state, uniqueness, now=now)
        else:
            quarantined = self._quarantine.submitted(spec.type, caller, spec.group, now)
            refusal = None if quarantined is None else self._quarantined(queue_state, quarantined, uniqueness, now)
            if refusal is None and caller is not None and self._store.quotas.any:
                refusal = self._over_quota(queue_state, caller, size_bytes, replaced, now)
            if refusal is not None and by_client:
                queue_state.retry_after.came(caller, now)
        if refusal is not None:
            raise _counted(refusal, queue_state)
        if by_client:
            if uniqueness is not None and uniqueness.key is not None:
                # A retry slot given before the body was read may be another queue's.
                for each in self._queue_states.values():
                    if each.retry_after.callers:
                        each.retry_after.accepted(caller, now, uniqueness.key.key)
            elif queue_state.retry_after.callers:
                queue_state.retry_after.accepted(caller, now)

    def admit_row(
        self,
        queue_state: QueueState,
        spec: JobSpec,
        more_jobs: int,
        more_bytes: int,
        uniqueness: Uniqueness | None,
        *,
        now: float,
    ) -> bool:
        """Accept a row of jobs of one spec at once, as `admit` would accept each; False: any might be rejected.

        Only rows without a doubt are accepted: False as well if callers are limited, the type is in quarantine, or
        callers of the queue have retry slots, which every accepted submission may free. Then nothing has changed.

        Args:
            more_bytes: Size of all together.
            uniqueness: Of each of them; without a key.
        """
        if not self.open or self._store.quotas.any or queue_state.retry_after.callers:
            return False
        if queue_state.live + more_jobs > queue_state.policy.capacity:
            return False
        if not self._store.has_room_for_row(more_jobs, more_bytes) or self._quarantine.of(spec.type) is not None:
            return False
        queue_state.arrivals.add(now, more_jobs)
        self._quarantine.submitted(spec.type, None if uniqueness is None else uniqueness.caller, spec.group, now)
        return True

    def admit_together(self, many: Sequence[tuple[int, JobSpec, int, Uniqueness | None]], *, now: float) -> None:
        """Accept several jobs at once, or count one rejection and reject all of them.

        Args:
            many: Of each: its number, which is the `item` of an error that is its own fault; its spec, size and
                uniqueness.

        Raises:
            Draining, QueueFull, StatusesFull, TypeQuarantined, RateLimited: As `admit`.
            InvalidSubmission: They take more slots than their queue has.
        """
        by_queue: dict[str, list[tuple[int, JobSpec, int, Uniqueness | None]]] = {}
        for each in many:
            by_queue.setdefault(each[1].queue, []).append(each)
        for queue, theirs in by_queue.items():
            self._admit_to_queue(self._queue_states[queue], theirs, now)
        if not many:
            return
        first = self._queue_states[many[0][1].queue]
        if not self._store.has_room_for_row(len(many), sum(size_bytes for _, _, size_bytes, _ in many)):
            raise _counted(self._statuses_full(first, many[0][3], now=now), first)
        self._admit_within_quotas(many, now)
        for queue_state in self._queue_states.values():
            if queue_state.retry_after.callers:
                for _, spec, _, uniqueness in many:
                    key = None if uniqueness is None or uniqueness.key is None else uniqueness.key.key
                    if key is not None or spec.queue == queue_state.name:
                        caller = None if uniqueness is None else uniqueness.caller
                        queue_state.retry_after.accepted(caller, now, key)

    def _admit_to_queue(
        self, queue_state: QueueState, many: Sequence[tuple[int, JobSpec, int, Uniqueness | None]], now: float
    ) -> None:
        """Accept several jobs as far as their queue and their types are concerned."""
        queue_state.arrivals.add(now, len(many))
        if not self.open:
            raise _counted(self.why_closed(), queue_state)
        capacity = queue_state.policy.capacity
        if len(many) > capacity:
            detail = f"{len(many):,} of these jobs are for queue {queue_state.name!r}, and its capacity is {capacity:,}"
            raise InvalidSubmission(InvalidField(pointer="", detail=detail))
        if queue_state.live + len(many) > capacity:
            raise _counted(self._queue_full(queue_state, many[0][3], now=now, by_client=True), queue_state)
        of_type: dict[str, int] = {}
        for n, spec, _, uniqueness in many:
            caller = None if uniqueness is None else uniqueness.caller
            quarantined = self._quarantine.submitted(spec.type, caller, spec.group, now)
            if quarantined is not None:
                refusal = self._quarantined(queue_state, quarantined, uniqueness, now, of_type.get(spec.type, 0))
                of_type[spec.type] = of_type.get(spec.type, 0) + 1
                if refusal is not None:
                    refusal.item = n
                    raise _counted(refusal, queue_state)

    def _admit_within_quotas(self, many: Sequence[tuple[int, JobSpec, int, Uniqueness | None]], now: float) -> None:
        """Accept several jobs as far as their callers are concerned."""
        if not self._store.quotas.any:
            return
        sizes: dict[str, tuple[int, int, QueueState]] = {}
        for _, spec, size_bytes, uniqueness in many:
            if uniqueness is not None and uniqueness.caller is not None:
                jobs, held, first = sizes.get(uniqueness.caller, (0, 0, self._queue_states[spec.queue]))
                sizes[uniqueness.caller] = jobs + 1, held + size_bytes, first
        for caller, (jobs, size_bytes, queue_state) in sizes.items():
            refusal = self._over_quota(queue_state, caller, size_bytes, None, now, jobs)
            if refusal is not None:
                raise _counted(refusal, queue_state)

    def admit_growth(
        self, queue_state: QueueState, job: Job, more_bytes: int, uniqueness: Uniqueness | None, *, now: float
    ) -> None:
        """Let a live job's record grow, or count and reject. Raises StatusesFull, RateLimited."""
        if not self._store.has_room_to_grow(more_bytes):
            raise _counted(self._statuses_full(queue_state, uniqueness, now=now), queue_state)
        if not self._store.is_within_quota(job, more_bytes):
            raise _counted(self._rate_limited(queue_state, job.caller, _BYTES_DETAIL, now), queue_state)

    def closed_to_all(self) -> bool:
        """Whether every new job is rejected now."""
        if self.open:
            only = self._only
            if only is not None:
                return only.live >= only.policy.capacity
            for queue_state in self._queue_states.values():  # inlined: runs for each submission
                if queue_state.live < queue_state.policy.capacity:
                    return False
        return True

    def closed_to(self, queue_state: QueueState) -> bool:
        """Whether this queue rejects every new job now."""
        return not self.open or queue_state.live >= queue_state.policy.capacity

    def refuse_unseen(
        self,
        queue: str | None = None,
        uniqueness: Uniqueness | None = None,
        *,
        job_type: str = "",
        may_be_unique: bool = True,
        now: float,
    ) -> Refused | None:
        """Reject a submission before its body is read, if every such one would be rejected now; count it if so.

        Where its queue isn't known, it counts for the one with the earliest free slot expected.

        Args:
            queue: Its queue, if known: then its type and its unique value are known, too.
            uniqueness: Its caller; its key, which may belong to a job that is held (the fingerprint is not read); its
                unique value, if its queue is known.
            may_be_unique: Whether it may have a unique value, if its queue is not known: that of a live job, then.
        """
        uniqueness_index = self._uniqueness_index
        if uniqueness is not None and not uniqueness.plain:
            if uniqueness.key is not None and uniqueness_index.under_key(uniqueness) is not None:
                return None
            if uniqueness_index.holder(job_type, uniqueness) is not None:
                return None
        if queue is None:
            return self.refuse_closed(uniqueness, may_be_unique, now) if self.closed_to_all() else None
        queue_state = self._queue_states[queue]
        return self._refuse(queue_state, uniqueness, now, "") if self.closed_to(queue_state) else None

    def refuse_closed(self, uniqueness: Uniqueness | None, may_be_unique: bool, now: float) -> Refused | None:
        """As `refuse_unseen` without a queue, while no queue admits a job; a key is not looked up."""
        if may_be_unique and self._uniqueness_index.values():
            return None
        only = self._only
        if only is not None:
            return self._refuse(only, uniqueness, now, "")
        return self._refuse(self._soonest(now), uniqueness, now, "every queue is at its capacity")

    def _refuse(self, queue_state: QueueState, uniqueness: Uniqueness | None, now: float, detail: str) -> Refused:
        if not self.open:
            queue_state.arrivals.add(now)
            return _counted(self.why_closed(), queue_state)
        queue_state.refused_total += 1
        caller = key = None
        if uniqueness is not None:
            caller = uniqueness.caller
            if uniqueness.key is not None:
                key = uniqueness.key.key
        retry_after_s = queue_state.retry_slot_s(now, caller, key, False)
        if not detail:
            detail = self._full_detail(queue_state)
        # By `__new__`, which keeps the detail: a call takes twice as long, since `__init__` is interpreted.
        refusal = QueueFull.__new__(QueueFull, detail)
        refusal.retry_after_s = retry_after_s
        return refusal

    def _soonest(self, now: float) -> QueueState:
        """Return the queue that should have a free slot first."""
        return min(self._queue_states.values(), key=lambda each: each.slot_s(now))

    def _queue_full(
        self, queue_state: QueueState, uniqueness: Uniqueness | None, *, now: float, by_client: bool
    ) -> QueueFull:
        retry_after_s = _retry_slot_s(queue_state, uniqueness, now) if by_client else queue_state.slot_s(now)
        return QueueFull(self._full_detail(queue_state), retry_after_s)

    def _full_detail(self, queue_state: QueueState) -> str:
        name, live, capacity = queue_state.name, queue_state.live, queue_state.policy.capacity
        told = self._full_details.get(name)
        if told is None or told[0] != live or told[1] != capacity:
            text = f"queue {name!r} holds {live} live jobs, and its capacity is {capacity}"
            told = self._full_details[name] = (live, capacity, text)
        return told[2]

    def _statuses_full(self, queue_state: QueueState, uniqueness: Uniqueness | None, *, now: float) -> StatusesFull:
        # Never a retry: its record is held already, and has room.
        detail = "the job store is full of live jobs, which can't be evicted"
        return StatusesFull(detail, retry_after_s=_retry_slot_s(queue_state, uniqueness, now))

    def _quarantined(
        self,
        queue_state: QueueState,
        quarantined: QuarantinedType,
        uniqueness: Uniqueness | None,
        now: float,
        accepted: int = 0,
    ) -> TypeQuarantined | None:
        """Return the rejection of a job whose type is in quarantine, if its waiting jobs are enough.

        Args:
            accepted: Jobs of the type that are accepted with it, and don't wait yet.
        """
        job_type = quarantined.type
        caller, owner = (None, None) if uniqueness is None else (uniqueness.caller, uniqueness.owner)
        waiting = self._limiters.waiting_at(job_type) + accepted
        # Otherwise the jobs of a type that can't run would in time take every slot.
        slots = max(1, queue_state.policy.capacity // QUARANTINED_PART)
        if waiting < slots or (waiting < 2 * slots and not self._limiters.may_probe(job_type, caller)):
            return None
        reason = f" ({quarantined.reason})" if owner is None else ""  # the failed job may be another owner's
        detail = f"type {job_type!r} is in quarantine{reason}, and {waiting} of its jobs are waiting"
        return TypeQuarantined(detail, retry_after_s=max(RETRY_AFTER_S_MIN, quarantined.until - now))

    def _over_quota(
        self,
        queue_state: QueueState,
        caller: str,
        size_bytes: int,
        replaced: Job | None,
        now: float,
        jobs: int = 1,
    ) -> RateLimited | None:
        """Return the rejection of jobs beyond a caller's quota. Args: size_bytes: Of all of them."""
        quota = self._store.quotas.of(caller)
        held, held_bytes = self._store.holdings.live_of(caller)
        live, live_bytes = held, held_bytes + size_bytes
        if replaced is not None and replaced.caller == caller:
            live -= 1
            live_bytes -= replaced.size_bytes
        if quota.jobs_max is not None and live + jobs > quota.jobs_max:
            detail = f"this caller has {held} live jobs, and the limit is {quota.jobs_max}"
        elif quota.records_max is not None and live + jobs > quota.records_max:
            detail = f"this caller has {held} live jobs, which take all its {quota.records_max} records"
        elif quota.bytes_max is not None and live_bytes > quota.bytes_max:
            these = "this one has" if jobs == 1 else "these have"
            detail = f"{_BYTES_DETAIL}: they hold {held_bytes} bytes, {these} {size_bytes} of {quota.bytes_max}"
        else:
            return None
        return self._rate_limited(queue_state, caller, detail, now)

    def _rate_limited(self, queue_state: QueueState, caller: str | None, detail: str, now: float) -> RateLimited:
        # Nothing to spread: the time at which one of its own jobs should end.
        held, _ = self._store.holdings.live_of(caller)
        wait_s = queue_state.live / max(1, held) / queue_state.drain_per_s(now)
        return RateLimited(detail, retry_after_s=min(RETRY_AFTER_S_MAX, max(RETRY_AFTER_S_MIN, wait_s)))


def _counted(refusal: Refused, queue_state: QueueState) -> Refused:
    if isinstance(refusal, QueueFull):
        queue_state.refused_total += 1
    else:
        queue_state.refuse(refusal)
    return refusal


def _retry_slot_s(queue_state: QueueState, uniqueness: Uniqueness | None, now: float) -> float:
    if uniqueness is None:
        return queue_state.retry_slot_s(now)
    key = uniqueness.key
    return queue_state.retry_slot_s(now, uniqueness.caller, None if key is None else key.key)
