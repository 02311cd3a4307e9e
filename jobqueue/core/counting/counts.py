"""Counts of one queue since its start, by type, as they are given out: copies, which don't change any more.

A difference of two of them tells what happened in between: rates, quantiles, shares.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from jobqueue.core.attempt_outcome import ATTEMPT_OUTCOMES
from jobqueue.core.histogram import BOUNDS_S, BUCKETS
from jobqueue.core.job import JobId
from jobqueue.errors import QueueFull, Refused

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from jobqueue.core.histogram import Histogram
    from jobqueue.core.scheduling.queue_state import QueueState
    from jobqueue.core.scheduling.type_state import TypeState


class Durations(msgspec.Struct, frozen=True, gc=False):
    """A histogram: the number of durations in each bucket alone (`histogram.BOUNDS_S`), and their sum in seconds.

    `examples`: the latest job of each bucket; its record may be gone.
    """

    counts: tuple[int, ...]
    sum_s: float
    examples: tuple[JobId | None, ...]

    @property
    def count(self) -> int:
        return sum(self.counts)

    def quantile_s(self, share: float) -> float | None:
        """Estimate a quantile, evenly within its bucket; of the last bucket its lower bound. None: it is empty."""
        left = share * self.count
        if not self.count:
            return None
        lower = 0.0
        for bound, count in zip(BOUNDS_S, self.counts, strict=False):
            if count and left <= count:
                return lower + (bound - lower) * left / count
            left, lower = left - count, bound
        return lower


class TypeCounts(msgspec.Struct, frozen=True, kw_only=True):
    """The jobs of one type in one queue.

    `runs`: run times by outcome of the attempt (`ATTEMPT_OUTCOMES`), of outcomes that occurred; their counts are the
    attempts. `same_key_total`, `same_value_total`: submissions answered with an existing job.
    """

    waiting: int
    running: int
    submitted_total: int
    retried_total: int
    started_total: int
    succeeded_total: int
    failed_total: int
    cancelled_total: int
    expired_total: int
    same_key_total: int
    same_value_total: int
    runs: dict[str, Durations]


class QueueCounts(msgspec.Struct, frozen=True, kw_only=True):
    """One queue.

    `waits`: from becoming queued to the start of the attempt. `refused`: rejected submissions by the error's class.
    `types`: those that had a job, or a submission that was answered with one.
    """

    name: str
    waits: Durations
    refused: dict[type[Refused], int]
    types: dict[str, TypeCounts]


def together(many: Sequence[Durations]) -> Durations:
    """Return the sum of histograms, without examples."""
    counts = tuple(sum(durations.counts[bucket] for durations in many) for bucket in range(BUCKETS))
    return Durations(counts, sum(durations.sum_s for durations in many), NO_EXAMPLES)


NO_EXAMPLES = (None,) * BUCKETS
NO_DURATIONS = Durations((0,) * BUCKETS, 0.0, NO_EXAMPLES)


def counts_of(queue_state: QueueState) -> QueueCounts:
    """Copy the counts of a queue."""
    otherwise = queue_state.refused_otherwise
    return QueueCounts(
        name=queue_state.name,
        waits=durations_of(queue_state.waits),
        refused={QueueFull: queue_state.refused_total - sum(otherwise.values()), **otherwise},
        types={name: type_counts_of(type_state) for name, type_state in queue_state.types.items()},
    )


def counts_of_type(queue_states: Iterable[QueueState], job_type: str) -> TypeCounts:
    """Add up the counts of a type in several queues, without examples. Takes some microseconds a queue."""
    return counts_of_states([found for queue in queue_states if (found := queue.types.get(job_type)) is not None])


def counts_of_states(states: Sequence[TypeState]) -> TypeCounts:
    """Add up the counts of one type, without examples."""
    runs: dict[str, Durations] = {}
    for number, outcome in enumerate(ATTEMPT_OUTCOMES):
        histograms = [histogram for state in states if (histogram := state.runs[number]) is not None]
        if histograms:
            counts = tuple(map(sum, zip(*(histogram.counts for histogram in histograms), strict=True)))
            runs[outcome] = Durations(counts, sum(histogram.sum_s for histogram in histograms), NO_EXAMPLES)
    return TypeCounts(
        waiting=sum(state.waiting for state in states),
        running=sum(state.started_total for state in states) - sum(durations.count for durations in runs.values()),
        submitted_total=sum(state.submitted_total for state in states),
        retried_total=sum(state.retried_total for state in states),
        started_total=sum(state.started_total for state in states),
        succeeded_total=sum(state.succeeded_total for state in states),
        failed_total=sum(state.failed_total for state in states),
        cancelled_total=sum(state.cancelled_total for state in states),
        expired_total=sum(state.expired_total for state in states),
        same_key_total=sum(state.same_key_total for state in states),
        same_value_total=sum(state.same_value_total for state in states),
        runs=runs,
    )


def waits_of(queue_state: QueueState) -> Durations:
    """Copy the waits of a queue."""
    return durations_of(queue_state.waits)


def type_counts_of(type_state: TypeState) -> TypeCounts:
    """Copy the counts of a type in one queue."""
    runs = {
        outcome: durations_of(histogram)
        for outcome, histogram in zip(ATTEMPT_OUTCOMES, type_state.runs, strict=True)
        if histogram is not None
    }
    return TypeCounts(
        waiting=type_state.waiting,
        running=type_state.started_total - sum(durations.count for durations in runs.values()),
        submitted_total=type_state.submitted_total,
        retried_total=type_state.retried_total,
        started_total=type_state.started_total,
        succeeded_total=type_state.succeeded_total,
        failed_total=type_state.failed_total,
        cancelled_total=type_state.cancelled_total,
        expired_total=type_state.expired_total,
        same_key_total=type_state.same_key_total,
        same_value_total=type_state.same_value_total,
        runs=runs,
    )


def durations_of(histogram: Histogram) -> Durations:
    """Copy a histogram."""
    return Durations(tuple(histogram.counts), histogram.sum_s, tuple(histogram.examples))
