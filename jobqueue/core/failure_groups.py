"""Groups of failed jobs: those of one type, with one error and one masked message.

Rules:

1. Jobs are added newest first. The first `GROUPS_MAX` groups are kept, of one type `GROUPS_OF_TYPE_MAX`, so that
   messages that differ in their letters don't displace those of other types. All further jobs are counted together.
2. Numbers of failures over time stand in `BUCKETS` buckets of one length, the last of which ends now.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from jobqueue.core.job import JobId  # msgspec reads it from the annotations
from jobqueue.core.masking import cost_of, id_of, masked

if TYPE_CHECKING:
    from jobqueue.core.job_view import AnyJob

GROUPS_MAX: Final = 400
GROUPS_OF_TYPE_MAX: Final = 100
FAILURE_SAMPLE_MAX: Final = 5
BUCKETS: Final = 30

STEPS_S: Final = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 28800, 43200)
STEP_S_MAX: Final = 86_400

_KNOWN_MAX: Final = 4096

_Key = tuple[str, str, str]


class Tally(msgspec.Struct, kw_only=True):
    """Failed jobs that are counted together.

    Attributes:
        first_at, last_at: When the oldest and the newest of them failed.
        counts: Of each bucket, oldest first.
    """

    count: int = 0
    first_at: float = 0.0
    last_at: float = 0.0
    counts: list[int]

    def add(self, at: float, bucket: int) -> None:
        self.first_at = at if not self.count else min(self.first_at, at)
        self.last_at = max(self.last_at, at)
        self.count += 1
        self.counts[bucket] += 1


class FailureGroup(Tally, kw_only=True):
    """One group.

    Attributes:
        message: Masked.
        sample: The ids of its newest jobs.
    """

    id: str
    type: str
    code: str
    message: str
    sample: list[JobId]


class Failures(msgspec.Struct, frozen=True, kw_only=True):
    """What a search for failed jobs has found.

    Attributes:
        groups: Those that are told apart, newest first.
        other: All further jobs; None: there are none.
        complete: Whether all failed jobs were searched; else the newest.
        at: The end of the last bucket.
        step_s: The length of a bucket.
    """

    groups: list[FailureGroup]
    other: Tally | None
    complete: bool
    at: float
    step_s: int


class FailureGroups:
    """Counts failed jobs by group.

    Args:
        now: The end of the last bucket.
        since: An instant that the first bucket begins at or before.
    """

    def __init__(self, *, now: float, since: float) -> None:
        self._now = now
        self._step_s = next((step_s for step_s in STEPS_S if now - since <= step_s * BUCKETS), STEP_S_MAX)
        self._by_key: dict[_Key, FailureGroup] = {}
        self._of_type: dict[str, int] = {}
        self._other: Tally | None = None
        # The tally of messages as they are: most failures repeat one.
        self._known: dict[_Key, Tally] = {}

    def cost(self, job: AnyJob) -> int:
        """Return the units of work that `add` takes at most, of about 1 µs."""
        error = job.error
        if error is None or (job.spec.type, error.code.value, error.message) in self._known:
            return 1
        return 1 + cost_of(error.message)

    def add(self, job: AnyJob) -> None:
        """Count a failed job, the next older one."""
        error, at = job.error, job.finished_at
        if error is None or at is None:
            return
        key = (job.spec.type, error.code.value, error.message)
        tally = self._known.get(key)
        if tally is None:
            tally = self._tally_of(*key)
            if len(self._known) < _KNOWN_MAX:
                self._known[key] = tally
        bucket = BUCKETS - 1 - int(max(0.0, self._now - at) // self._step_s)
        tally.add(at, max(0, bucket))
        if isinstance(tally, FailureGroup) and len(tally.sample) < FAILURE_SAMPLE_MAX:
            tally.sample.append(job.id)

    def found(self, complete: bool) -> Failures:
        """Return all that was counted."""
        groups = sorted(self._by_key.values(), key=lambda group: -group.last_at)
        return Failures(groups=groups, other=self._other, complete=complete, at=self._now, step_s=self._step_s)

    def _tally_of(self, job_type: str, code: str, message: str) -> Tally:
        shown = masked(message)
        group = self._by_key.get((job_type, code, shown))
        if group is not None:
            return group
        of_type = self._of_type.get(job_type, 0)
        if len(self._by_key) == GROUPS_MAX or of_type == GROUPS_OF_TYPE_MAX:
            if self._other is None:
                self._other = Tally(counts=[0] * BUCKETS)
            return self._other
        self._of_type[job_type] = of_type + 1
        group = FailureGroup(
            id=id_of(job_type, code, shown),
            type=job_type,
            code=code,
            message=shown,
            sample=[],
            counts=[0] * BUCKETS,
        )
        self._by_key[job_type, code, shown] = group
        return group
