"""Points of series: differences of counts."""

from __future__ import annotations

import itertools
from typing import Any

import msgspec

from jobqueue.core.counting.counts import NO_DURATIONS, Durations, QueueCounts, TypeCounts
from jobqueue.core.counting.series import (
    COLUMNS,
    FIRST_REASON,
    FIRST_RUN,
    FIRST_SUM,
    FIRST_TOTAL,
    FIRST_WAIT,
    GAUGES,
    REASONS,
    RUNNING,
    SUMS,
    TOTALS,
    WAITING,
    add,
    follow,
    row_of_type,
    rows_of_queue,
)
from jobqueue.core.histogram import BUCKETS
from jobqueue.errors import Draining, QueueFull, Refused


def counts(**more: Any) -> TypeCounts:
    fields = dict.fromkeys(TypeCounts.__struct_fields__, 0)
    return TypeCounts(**{**fields, "runs": {}, **more})


def durations(sum_s: float, **by_bucket: int) -> Durations:
    values = tuple(by_bucket.get(f"b{n}", 0) for n in range(BUCKETS))
    return Durations(values, sum_s, NO_DURATIONS.examples)


def queue_counts(waits: Durations = NO_DURATIONS, refused: Any = None, **types: TypeCounts) -> QueueCounts:
    return QueueCounts(name="q", waits=waits, refused=refused or {QueueFull: 0}, types=types)


def test_columns_are_distinct_and_complete() -> None:
    assert (WAITING, RUNNING) == (0, 1)
    assert len(GAUGES) == FIRST_TOTAL
    assert FIRST_TOTAL + len(TOTALS) == FIRST_SUM
    assert FIRST_SUM + len(SUMS) == FIRST_REASON
    assert FIRST_REASON + len(REASONS) == FIRST_WAIT
    assert FIRST_RUN == FIRST_WAIT + BUCKETS
    assert COLUMNS == FIRST_RUN + BUCKETS


def test_a_row_has_gauges_as_they_are_and_differences_of_totals() -> None:
    before = counts(submitted_total=5, started_total=2, waiting=7)
    now = counts(submitted_total=9, started_total=2, failed_total=1, waiting=3, running=2)
    row = row_of_type(now, before)
    assert row == {WAITING: 3, RUNNING: 2, FIRST_TOTAL: 4, FIRST_TOTAL + TOTALS.index("failed"): 1}
    assert row_of_type(now, now) == {WAITING: 3, RUNNING: 2}
    assert row_of_type(counts(), counts()) == {}
    assert row_of_type(counts(retried_total=2), None) == {FIRST_TOTAL + TOTALS.index("retried"): 2}


def test_the_runs_of_all_outcomes_are_one_histogram() -> None:
    before = counts(runs={"succeeded": durations(1.0, b3=4)})
    now = counts(runs={"succeeded": durations(1.5, b3=5, b4=1), "failed": durations(2.25, b4=2)})
    assert row_of_type(now, before) == {FIRST_SUM + 1: 2750, FIRST_RUN + 3: 1, FIRST_RUN + 4: 3}


def test_runs_below_a_millisecond_add_up_over_the_points() -> None:
    samples = [counts(runs={"succeeded": durations(n * 0.0004, b0=n)}) for n in range(6)]
    rows = [row_of_type(now, before) for before, now in itertools.pairwise(samples)]
    assert sum(row[FIRST_SUM + 1] for row in rows) == 2


def test_a_queue_adds_its_types_and_has_waits_and_rejections_of_its_own() -> None:
    class Other(Refused):
        pass

    before = queue_counts(durations(0.5, b0=1), {QueueFull: 2, Draining: 1}, a=counts(submitted_total=1))
    now = queue_counts(
        durations(0.75, b0=1, b5=1),
        {QueueFull: 5, Draining: 1, Other: 4},
        a=counts(submitted_total=3, waiting=1),
        b=counts(submitted_total=10, running=1),
        c=counts(),
    )
    row, by_type = rows_of_queue(now, before)
    assert by_type == {"a": {WAITING: 1, FIRST_TOTAL: 2}, "b": {RUNNING: 1, FIRST_TOTAL: 10}}
    others = FIRST_REASON + REASONS.index(Refused)
    queue_only = {FIRST_SUM: 250, FIRST_WAIT + 5: 1, FIRST_REASON: 3, others: 4}
    assert row == {WAITING: 1, RUNNING: 1, FIRST_TOTAL: 12, **queue_only}
    assert rows_of_queue(now, now) == ({WAITING: 1, RUNNING: 1}, {"a": {WAITING: 1}, "b": {RUNNING: 1}})


def test_every_total_of_a_type_has_a_column() -> None:
    fields = {field.removesuffix("_total") for field in TypeCounts.__struct_fields__ if field.endswith("_total")}
    assert fields - {"same_key", "same_value"} == set(TOTALS)
    assert set(GAUGES) <= {field.name for field in msgspec.structs.fields(TypeCounts)}


def test_a_later_row_replaces_gauges_and_adds_counts() -> None:
    row = {WAITING: 5, FIRST_TOTAL: 1}
    follow(row, {RUNNING: 2, FIRST_TOTAL: 3})
    assert row == {RUNNING: 2, FIRST_TOTAL: 4}
    add(row, {RUNNING: 1, FIRST_TOTAL: 1})
    assert row == {RUNNING: 3, FIRST_TOTAL: 5}
