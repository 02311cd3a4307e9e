"""Type state: one type's part of a queue: its waiting jobs, its typical run time, and its counts since start.

Rules:

1. Every type is registered, so there are at most as many as registered types, for each queue.
2. What other counts tell is not counted: submissions are jobs begun less those retried or restored, jobs that succeeded
   are attempts that did, and running are attempts started less attempts ended.
"""

from __future__ import annotations

from typing import final

from jobqueue.core.attempt_outcome import ATTEMPT_OUTCOMES, ATTEMPT_SUCCEEDED
from jobqueue.core.histogram import Histogram


@final
class TypeState:
    """The jobs of one type in one queue.

    Attributes:
        waiting: Number of queued ones.
        run_s: Typical run time; None before the first attempt ended.
        runs: Run times by outcome of the attempt; None: none ended so.
        begun_total: Jobs that got a slot: submissions, retries of failed jobs, and live jobs of an earlier process
            (`restored_total`).
        same_key_total, same_value_total: Submissions that were answered with an existing job, by their idempotency key
            or by their unique value.
    """

    __slots__ = (
        "begun_total",
        "cancelled_total",
        "expired_total",
        "failed_total",
        "restored_total",
        "retried_total",
        "run_s",
        "runs",
        "same_key_total",
        "same_value_total",
        "started_total",
        "waiting",
    )

    def __init__(self) -> None:
        self.waiting = 0
        self.run_s: float | None = None
        self.runs: list[Histogram | None] = [None] * len(ATTEMPT_OUTCOMES)
        self.begun_total = self.retried_total = self.restored_total = self.started_total = 0
        self.failed_total = self.cancelled_total = self.expired_total = 0
        self.same_key_total = self.same_value_total = 0

    @property
    def submitted_total(self) -> int:
        return self.begun_total - self.retried_total - self.restored_total

    @property
    def succeeded_total(self) -> int:
        return self.ended_attempts(ATTEMPT_SUCCEEDED)

    def ended_attempts(self, outcome: int) -> int:
        """Return the number of attempts that ended so."""
        runs = self.runs[outcome]
        return 0 if runs is None else sum(runs.counts)

    def first_run(self, outcome: int) -> Histogram:
        """Begin the histogram of an outcome."""
        runs = self.runs[outcome] = Histogram()
        return runs
