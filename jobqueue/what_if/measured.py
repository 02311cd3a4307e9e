"""Measured: what a queue did in a window of its history: arrivals, run times, waits, ends.

Rules:

1. Arrivals are accepted submissions, retries on request, and submissions that were rejected for lack of room. If
   rejected clients came back, each return counts: then the load is overstated.
2. A type counts in all queues together, since the history has one series for each: its run times and its share are
   taken from there.
3. Run times are those of attempts that ended in the window, whatever their outcome.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from jobqueue.core.backoff import Backoff  # msgspec reads it from the annotations
from jobqueue.core.counting.counts import NO_DURATIONS, Durations
from jobqueue.core.counting.series import (
    FIRST_REASON,
    FIRST_RUN,
    FIRST_SUM,
    FIRST_TOTAL,
    FIRST_WAIT,
    REASONS,
    TOTALS,
    Row,
    add,
)
from jobqueue.core.histogram import BUCKETS
from jobqueue.core.policy import Limits  # as above
from jobqueue.errors import Draining, RateLimited
from jobqueue.what_if.arrivals import dispersion_of
from jobqueue.what_if.run_times import MeasuredRunTimes, RunTimes

if TYPE_CHECKING:
    from collections.abc import Sequence

SECONDS_MIN: Final = 10
ARRIVALS_MIN: Final = 20
RUNS_MIN: Final = 5

_COLUMN: Final = {name: FIRST_TOTAL + number for number, name in enumerate(TOTALS)}
_ROOM: Final = tuple(
    FIRST_REASON + number for number, reason in enumerate(REASONS) if reason not in (RateLimited, Draining)
)

_decode = msgspec.msgpack.Decoder(dict[int, Row]).decode


class NotMeasured(Exception):
    """The history doesn't have enough to simulate; the message says what is missing."""


class TypeOptions(msgspec.Struct, frozen=True, kw_only=True):
    """A type as it is registered. `series`: its number in the history."""

    name: str
    series: int | None = None
    attempts_max: int = 1
    backoff: Backoff | None = None
    limits: Limits | None = None
    pool: str | None = None


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the history, as the server hands it on: seconds and rows of each point, encoded.

    Attributes:
        series: The number of the queue's series.
        frames: The seconds that each point covers, and its rows.
        types: Those that have had jobs in the queue.
    """

    series: int
    frames: list[tuple[int, bytes]]
    types: list[TypeOptions]


class MeasuredType(msgspec.Struct, frozen=True, kw_only=True):
    """One type of the queue's jobs.

    Attributes:
        share: Its share of the submissions.
        fails: The share of its attempts that failed.
    """

    options: TypeOptions
    share: float
    run_times: RunTimes
    fails: float


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """What a queue did. Rates are per second of the window.

    Attributes:
        counts: Arrivals in each second.
        dispersion: Their variance over their mean; None: none came.
        totals: Counts by name, as in `series.TOTALS`, and `refused`.
    """

    window_s: int
    counts: list[float]
    dispersion: float | None
    totals: dict[str, int]
    waits: Durations
    run_times: RunTimes
    types: list[MeasuredType]

    @property
    def arrivals_per_s(self) -> float:
        return sum(self.counts) / self.window_s

    def per_s(self, total: str) -> float:
        return self.totals[total] / self.window_s


def measure(recorded: Recorded) -> Measured:
    """Add up a part of the history. Raises NotMeasured if it has too little."""
    counts: list[float] = []
    queue: Row = {}
    rows_of_types: dict[int, Row] = {each.series: {} for each in recorded.types if each.series is not None}
    for covered_s, frame in recorded.frames:
        rows = _decode(frame) if frame else {}
        row = rows.get(recorded.series, {})
        add(queue, row)
        counts += [_arrivals(row) / covered_s] * covered_s
        for series in rows_of_types.keys() & rows.keys():
            add(rows_of_types[series], rows[series])
    runs, run_ms = _runs(queue), queue.get(FIRST_SUM + 1, 0)
    _check(len(counts), sum(counts), sum(runs))
    totals = {name: queue.get(column, 0) for name, column in _COLUMN.items()}
    totals["refused"] = sum(queue.get(column, 0) for column in _ROOM)
    all_runs = MeasuredRunTimes(runs, run_ms / 1000)
    fails = _fails(runs, totals["succeeded"])
    types = list(_types(recorded.types, rows_of_types, all_runs, fails))
    return Measured(
        window_s=len(counts),
        counts=counts,
        dispersion=dispersion_of(counts),
        totals=totals,
        waits=Durations(
            tuple(queue.get(FIRST_WAIT + bucket, 0) for bucket in range(BUCKETS)),
            queue.get(FIRST_SUM, 0) / 1000,
            NO_DURATIONS.examples,
        ),
        run_times=all_runs,
        types=types or [_only_type(all_runs, fails)],
    )


def _check(seconds: int, arrivals: float, runs: int) -> None:
    if seconds < SECONDS_MIN:
        raise NotMeasured(f"the history has {seconds} seconds of this queue, and {SECONDS_MIN} are needed")
    if arrivals < ARRIVALS_MIN:
        raise NotMeasured(f"{arrivals:.0f} jobs arrived in the last {seconds} s, and {ARRIVALS_MIN} are needed")
    if runs < RUNS_MIN:
        raise NotMeasured(f"{runs} runs ended in the last {seconds} s, and {RUNS_MIN} are needed")


def _types(
    known: Sequence[TypeOptions], rows: dict[int, Row], all_runs: RunTimes, all_fail: float
) -> list[MeasuredType]:
    """Return the types with submissions; one without an ended run has the run times of all."""
    submitted = {
        each.name: 0 if each.series is None else rows[each.series].get(_COLUMN["submitted"], 0) for each in known
    }
    total = sum(submitted.values())
    found = []
    for each in known:
        if not submitted[each.name] or each.series is None:
            continue
        row = rows[each.series]
        runs = _runs(row)
        found.append(
            MeasuredType(
                options=each,
                share=submitted[each.name] / total,
                run_times=MeasuredRunTimes(runs, row.get(FIRST_SUM + 1, 0) / 1000) if sum(runs) else all_runs,
                fails=_fails(runs, row.get(_COLUMN["succeeded"], 0)) if sum(runs) else all_fail,
            )
        )
    return found


def _only_type(run_times: RunTimes, fails: float) -> MeasuredType:
    return MeasuredType(options=TypeOptions(name="any"), share=1.0, run_times=run_times, fails=fails)


def given(arrivals_per_s: float, run_times: RunTimes) -> Measured:
    """Return what is assumed of a queue that is not measured: a Poisson process, and these run times."""
    return Measured(
        window_s=1,
        counts=[arrivals_per_s],
        dispersion=None,
        totals=dict.fromkeys((*_COLUMN, "refused"), 0),
        waits=NO_DURATIONS,
        run_times=run_times,
        types=[_only_type(run_times, 0.0)],
    )


def _arrivals(row: Row) -> int:
    accepted = row.get(_COLUMN["submitted"], 0) + row.get(_COLUMN["retried"], 0)
    return accepted + sum(row.get(column, 0) for column in _ROOM)


def _runs(row: Row) -> list[int]:
    return [row.get(FIRST_RUN + bucket, 0) for bucket in range(BUCKETS)]


def _fails(runs: Sequence[int], succeeded: int) -> float:
    """Return the share of attempts that failed; jobs that succeeded are attempts that did."""
    return max(0.0, 1.0 - succeeded / attempts) if (attempts := sum(runs)) else 0.0
