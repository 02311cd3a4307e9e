"""Circuit breaker: quarantines types after too many consecutive failures, and decides which failures count.

(Nygard, "Release It!"): a type is quarantined after a number of consecutive failures, tried with one attempt, the
probe, after a while, and released when that succeeds. It keeps counts and instants; `Limiters` holds the jobs back.

Failures that count against a type, that is, against its handler:

1. A failure caused by the submission never counts: `rejected` (`Reject`, and the exceptions that the handler's
   `reject_on` names), `result_too_large`, and a timeout that the submission itself set shorter than its handler's.
   Nor does a shutdown or a cancellation. All other failures count, each attempt as one.
2. One caller can't pause a type alone while others use it. Where several callers submitted jobs of the type
   within `SEEN_S`, at least a fifth of the budget (one, at least) must be failures of callers other than the one that
   failed most. Where all jobs come from one caller, the same holds for its groups. Where there is one caller and
   one group, the number of failures is enough.
3. A success of any caller resets the count.

While a type is in quarantine:

4. Only the outcome of a probe counts. No job of the type starts before the probe's instant, so a probe is an
   attempt that started at that instant or later. Outcomes of earlier attempts neither release the type
   nor delay the probe.
5. A failed probe doubles the wait for the next one, up to `PROBE_S_MAX`. A probe without an outcome that counts
   (cancelled, or a failure by rule 1) changes nothing: the next attempt to start is the probe.
6. Callers take turns at the probe, and the groups of each (`probing`): a failing one doesn't block the others.
7. After a release the count starts at 0, with attempts that started after the quarantine; older ones are ignored.
8. `budget` decides when a quarantine begins. It ends with a probe that succeeds, whatever the budget is then, or on
   request (`release`): then attempts that are running at that instant count no more, as with rule 7.

A caller is that of the job's `Uniqueness`, or None: the application that embeds the queue.
"""

from __future__ import annotations

from math import inf
from typing import Final

from jobqueue.core.limits.quarantined_type import QuarantinedType

PROBE_S_MIN: Final = 1.0
PROBE_S_MAX: Final = 60.0

SEEN_S: Final = 60.0
"""Time after its latest submission in which a caller, or a group, counts as a user of a type."""

OTHERS_PART: Final = 5
"""One in this many failures of the budget must be of other callers, or groups."""

NAMES_MAX: Final = 64
"""Callers, and groups, that are counted one by one; the failures of any more count together."""


class _Users:
    """The callers of a type, or its groups: the latest, the time of the one before, the failures of each."""

    __slots__ = ("failures", "latest", "other_at")

    def __init__(self) -> None:
        self.latest: str | None = None
        self.other_at = -inf
        self.failures: dict[str | None, int] = {}

    def note_failure(self, name: str | None) -> None:
        failures = self.failures
        count = failures.get(name, 0)
        if count or len(failures) < NAMES_MAX:
            failures[name] = count + 1

    def several(self, now: float) -> bool:
        return now - self.other_at < SEEN_S

    def share_blame(self, total: int, budget: int) -> bool:
        """Whether enough of all failures are of callers, or groups, other than the one that failed most."""
        return total - max(self.failures.values(), default=0) >= max(1, budget // OTHERS_PART)


class _Record:
    """The state of one type: consecutive failures, of attempts that started at `counts_from` or later."""

    __slots__ = ("callers", "counts_from", "failures", "groups", "quarantined", "submitted_at", "wait_s")

    def __init__(self) -> None:
        self.submitted_at = -inf
        self.counts_from = 0.0
        self.failures = 0
        self.wait_s = PROBE_S_MIN
        self.quarantined: QuarantinedType | None = None
        self.callers, self.groups = _Users(), _Users()

    def is_over(self, budget: int, now: float) -> bool:
        """Whether the failures so far are enough, by rule 2."""
        if budget == 0 or self.failures < budget:
            return False
        for users in (self.callers, self.groups):
            if users.several(now):
                return users.share_blame(self.failures, budget)
        return True

    def reset(self) -> None:
        self.failures = 0
        self.callers.failures.clear()
        self.groups.failures.clear()


class CircuitBreaker:
    """All types with submissions: one small record each. `count`: the number in quarantine."""

    __slots__ = ("_records", "count")

    def __init__(self) -> None:
        self._records: dict[str, _Record] = {}
        self.count = 0

    def submitted(self, job_type: str, caller: str | None, group: str | None, now: float) -> QuarantinedType | None:
        """Record a caller as a user of a type; return the type's quarantine, None if it isn't in one."""
        record = self._records.get(job_type) or self._new_record(job_type)
        # Inlined: runs for each submission.
        callers, groups = record.callers, record.groups
        if caller != callers.latest:
            callers.other_at, callers.latest = record.submitted_at, caller
        if group != groups.latest:
            groups.other_at, groups.latest = record.submitted_at, group
        record.submitted_at = now
        return record.quarantined

    def failed(
        self,
        job_type: str,
        *,
        budget: int,
        started_at: float,
        reason: str,
        now: float,
        caller: str | None = None,
        group: str | None = None,
    ) -> float | None:
        """Count a failed attempt; return the instant of the probe if this failure set it, None otherwise.

        Args:
            budget: After this many failures in a row the type is quarantined; 0: never.
            started_at: When the attempt started, on the clock of `now`.
            reason: The message shown for the quarantine.
            caller, group: Those of its job.
        """
        record = self._records.get(job_type) or self._new_record(job_type)
        quarantined = record.quarantined
        if quarantined is not None:
            if started_at < quarantined.until:
                return None
            record.wait_s = min(PROBE_S_MAX, 2 * record.wait_s)
            record.failures += 1
            return self._shut(record, job_type, quarantined.since, reason, now)
        if started_at < record.counts_from:
            return None
        record.failures += 1
        record.callers.note_failure(caller)
        record.groups.note_failure(group)
        return self._shut(record, job_type, now, reason, now) if record.is_over(budget, now) else None

    def succeeded(self, job_type: str, *, started_at: float) -> bool:
        """Count a success; return whether it releases the type from quarantine."""
        record = self._records.get(job_type)
        if record is None:
            return False
        quarantined = record.quarantined
        if quarantined is None:
            if record.failures and started_at >= record.counts_from:
                record.reset()
            return False
        if started_at < quarantined.until:
            return False
        self._open(record, quarantined.until)
        return True

    def release(self, job_type: str, now: float) -> bool:
        """End a type's quarantine on request; return whether there was one."""
        record = self._records.get(job_type)
        if record is None or record.quarantined is None:
            return False
        self._open(record, now)
        return True

    def of(self, job_type: str) -> QuarantinedType | None:
        """Return a type's quarantine; None if it isn't in one."""
        record = self._records.get(job_type)
        return None if record is None else record.quarantined

    def all(self) -> list[QuarantinedType]:
        """Return all quarantined types, the latest last."""
        found = [record.quarantined for record in self._records.values() if record.quarantined is not None]
        return sorted(found, key=lambda quarantined: quarantined.since)

    def _new_record(self, job_type: str) -> _Record:
        record = self._records[job_type] = _Record()
        return record

    def _open(self, record: _Record, counts_from: float) -> None:
        record.quarantined = None
        self.count -= 1
        record.reset()
        record.wait_s = PROBE_S_MIN
        record.counts_from = counts_from

    def _shut(self, record: _Record, job_type: str, since: float, reason: str, now: float) -> float:
        until = now + record.wait_s
        if record.quarantined is None:
            self.count += 1
        record.quarantined = QuarantinedType(
            type=job_type, since=since, until=until, reason=reason, failures=record.failures
        )
        return until
