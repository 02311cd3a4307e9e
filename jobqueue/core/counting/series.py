"""Series: what one point of a queue's or a type's history has, as a difference of two counts.

A point is a row: values by column, without those that are 0. The columns `GAUGES` tell of its last instant, all others
count what happened in its time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jobqueue.core.counting.counts import NO_DURATIONS
from jobqueue.core.histogram import BUCKETS
from jobqueue.errors import Draining, QueueFull, RateLimited, Refused, SpoolFull, StatusesFull, TypeQuarantined

if TYPE_CHECKING:
    from jobqueue.core.counting.counts import Durations, QueueCounts, TypeCounts

Row = dict[int, int]

GAUGES: Final = ("waiting", "running")
TOTALS: Final = ("submitted", "retried", "started", "succeeded", "failed", "cancelled", "expired")
SUMS: Final = ("wait_ms", "run_ms")
REASONS: Final = (QueueFull, TypeQuarantined, StatusesFull, SpoolFull, RateLimited, Draining, Refused)
"""The errors of rejected submissions, the last one for all others."""

WAITING, RUNNING = 0, 1
FIRST_TOTAL: Final = len(GAUGES)
FIRST_SUM: Final = FIRST_TOTAL + len(TOTALS)
FIRST_REASON: Final = FIRST_SUM + len(SUMS)
FIRST_WAIT: Final = FIRST_REASON + len(REASONS)
FIRST_RUN: Final = FIRST_WAIT + BUCKETS
COLUMNS: Final = FIRST_RUN + BUCKETS

_REASON_COLUMN: Final = {kind: FIRST_REASON + number for number, kind in enumerate(REASONS)}
_TOTAL_FIELDS: Final = tuple((FIRST_TOTAL + number, f"{name}_total") for number, name in enumerate(TOTALS))


def add(row: Row, more: Row) -> None:
    """Add the values of one row to those of another: two series in one time."""
    for column, value in more.items():
        row[column] = row.get(column, 0) + value


def follow(row: Row, later: Row) -> None:
    """Extend a row by a later one of the same series."""
    for column in (WAITING, RUNNING):
        row.pop(column, None)
    add(row, later)


def row_of_type(now: TypeCounts, before: TypeCounts | None) -> Row:
    """Return what a type did in one queue since an earlier count; None: there was none."""
    row: Row = {}
    if now.waiting:
        row[WAITING] = now.waiting
    if now.running:
        row[RUNNING] = now.running
    if now == before:
        return row
    for column, field in _TOTAL_FIELDS:
        value = getattr(now, field) - (0 if before is None else getattr(before, field))
        if value:
            row[column] = value
    for outcome, runs in now.runs.items():
        earlier = NO_DURATIONS if before is None else before.runs.get(outcome, NO_DURATIONS)
        _add_durations(row, runs, earlier, FIRST_RUN, FIRST_SUM + 1)
    return row


def rows_of_queue(now: QueueCounts, before: QueueCounts | None) -> tuple[Row, dict[str, Row]]:
    """Return what a queue did since an earlier count, and what each type did in it."""
    row: Row = {}
    by_type: dict[str, Row] = {}
    for name, counts in now.types.items():
        of_type = row_of_type(counts, None if before is None else before.types.get(name))
        if of_type:
            by_type[name] = of_type
            add(row, of_type)
    _add_durations(row, now.waits, NO_DURATIONS if before is None else before.waits, FIRST_WAIT, FIRST_SUM)
    for kind, total in now.refused.items():
        value = total - (0 if before is None else before.refused.get(kind, 0))
        if value:
            add(row, {_REASON_COLUMN.get(kind, FIRST_REASON + len(REASONS) - 1): value})
    return row, by_type


def _add_durations(row: Row, now: Durations, before: Durations, first: int, sum_column: int) -> None:
    if now.counts == before.counts:
        return
    for bucket, (count, earlier) in enumerate(zip(now.counts, before.counts, strict=True)):
        if count != earlier:
            row[first + bucket] = row.get(first + bucket, 0) + count - earlier
    # A difference of rounded sums: what is below half a millisecond in each second is not lost for good.
    row[sum_column] = row.get(sum_column, 0) + round(now.sum_s * 1000) - round(before.sum_s * 1000)
