"""Histories: rings of points, against a naive model; their memory."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobqueue.core.counting.history import BYTES_MIN, FRAME_BYTES, OTHERS, RINGS, History, Reading, Rows
from jobqueue.core.counting.series import COLUMNS, RUNNING, WAITING

SMALL_RINGS = ((1, 5), (2, 6), (6, 4))
SERIES = [("queue", "q"), ("queue", "r"), ("type", "t")]
QUEUE, OTHER_QUEUE, TYPE = 2, 3, 4
COUNT = 5
"""A column that counts."""

BYTES_MAX = 16 * 1024 * 1024

Sample = tuple[int, Rows]

ROW = st.dictionaries(st.sampled_from([WAITING, RUNNING, COUNT, COUNT + 1]), st.integers(1, 9), max_size=3)
ROWS = st.dictionaries(st.sampled_from([QUEUE, OTHER_QUEUE, TYPE]), ROW, max_size=3)
SAMPLES = st.lists(st.tuples(st.sampled_from([0, 1, 1, 1, 2, 3, 9, 40]), ROWS), min_size=1, max_size=40)


class Naive:
    """Keeps all samples."""

    def __init__(self, samples: list[Sample]) -> None:
        self.samples = samples

    def read(self, step_s: int, since: int, points: int, series: int) -> tuple[list[int], dict[int, list[int]]]:
        """Return the seconds covered, and the values by column."""
        covered, columns = [0] * points, {column: [0] * points for column in range(COLUMNS)}
        last = None
        for tick, rows in self.samples:
            covered_s = 1 if last is None else tick - last
            last = tick
            point = (tick - since) // step_s
            if not 0 <= point < points:
                continue
            covered[point] += covered_s
            row = rows.get(series, {})
            for column in range(COLUMNS):
                if column in (WAITING, RUNNING):
                    columns[column][point] = row.get(column, 0)
                else:
                    columns[column][point] += row.get(column, 0)
        return covered, columns


def read(history: History, step_s: int, since: int, points: int) -> Reading:
    wanted = frozenset(range(len(history.names)))
    reading = Reading(history, step_s=step_s, since=since, points=points, wanted=wanted)
    for _ in reading.read():
        pass
    return reading


@settings(max_examples=300)
@given(SAMPLES, st.sampled_from([1, 2, 3, 4, 6, 12, 18]), st.integers(0, 100))
def test_points_of_every_length_are_those_of_all_samples(steps: list[Sample], step_s: int, start: int) -> None:
    history, samples, tick = History(SERIES, BYTES_MIN, SMALL_RINGS), list[Sample](), start
    for later_s, rows in steps:
        tick += later_s
        samples.append((tick, rows))
        history.add(tick, {series: dict(row) for series, row in rows.items()})
    oldest = history.oldest(step_s)
    assert oldest is not None
    since = -(-max(0, oldest) // step_s) * step_s
    points = max(0, tick + 1 - since + step_s - 1) // step_s
    reading = read(history, step_s, since, points)
    for series in (QUEUE, OTHER_QUEUE, TYPE):
        covered, columns = Naive(samples).read(step_s, since, points, series)
        assert reading.covered_s == covered
        found = reading.columns.get(series, {})
        assert {column: values for column, values in found.items() if any(values)} == {
            column: values for column, values in columns.items() if any(values)
        }


def test_a_ring_reaches_back_by_its_number_of_points() -> None:
    history = History(SERIES, BYTES_MIN, SMALL_RINGS)
    assert history.oldest(1) is None
    for tick in range(100, 200):
        history.add(tick, {QUEUE: {COUNT: 1}})
    assert [history.oldest(step_s) for step_s in (1, 2, 6, 12, 3)] == [195, 188, 180, 180, 195]
    for step_s in (1, 2, 6):
        oldest = history.oldest(step_s)
        assert oldest is not None
        ring_points = (200 - oldest + step_s - 1) // step_s
        reading = read(history, step_s, oldest, ring_points)
        assert sum(reading.columns[QUEUE][COUNT]) == 200 - oldest
        assert read(history, step_s, oldest - 2 * step_s, 1).covered_s == [0]


def test_seconds_without_a_sample_are_a_gap_and_the_next_point_covers_them() -> None:
    history = History(SERIES, BYTES_MIN)
    history.add(100, {QUEUE: {COUNT: 1, RUNNING: 3}})
    history.add(105, {QUEUE: {COUNT: 7, RUNNING: 2}})
    reading = read(history, 1, 100, 6)
    assert reading.covered_s == [1, 0, 0, 0, 0, 5]
    assert reading.columns[QUEUE] == {COUNT: [1, 0, 0, 0, 0, 7], RUNNING: [3, 0, 0, 0, 0, 2]}


def test_a_clock_that_stands_still_adds_to_the_same_second() -> None:
    history = History(SERIES, BYTES_MIN)
    for tick in (100, 100, 99):
        history.add(tick, {QUEUE: {COUNT: 1, WAITING: 1}})
    assert read(history, 1, 100, 1).columns[QUEUE] == {COUNT: [3], WAITING: [1]}


def test_idle_seconds_take_no_memory() -> None:
    history = History(SERIES, BYTES_MIN)
    for tick in range(10_000):
        history.add(tick, {QUEUE: {COUNT: 1}} if tick == 0 else {})
    assert 0 < history.content_bytes < 20
    assert history.folded == set()


def busy_row(rng: Random) -> dict[int, int]:
    """A row of a series that does about a hundred jobs in a second."""
    return {column: rng.randint(1, 200) for column in rng.sample(range(COLUMNS), 14)}


@pytest.mark.parametrize("series_count", [25, 250])
def test_the_memory_of_a_busy_history_is_bounded_and_totals_stay_right(series_count: int) -> None:
    rng = Random(1)
    names = [("queue", str(n)) for n in range(series_count)]
    history = History(names, BYTES_MAX)
    added = 0
    for tick in range(3700):
        rows = {history.numbers["queue", str(n)]: busy_row(rng) for n in range(series_count)} if tick % 9 == 0 else {}
        added += sum(row.get(COUNT, 0) for row in rows.values())
        history.add(tick, rows)
    frames = sum(points for _, points in RINGS)
    assert history.content_bytes + frames * FRAME_BYTES <= BYTES_MAX
    reading = read(history, 60, 0, 62)
    assert sum(sum(columns.get(COUNT, [])) for columns in reading.columns.values()) == added
    kept = [number for number in reading.columns if number not in (*history.folded, *OTHERS)]
    assert kept == sorted(kept)
    assert not history.folded or max(kept) < max(history.folded)
    assert bool(history.folded) == (series_count == 250)


def test_a_frame_of_the_longest_rows_fits() -> None:
    history = History([*SERIES, *(("type", str(n)) for n in range(99))], BYTES_MIN)
    longest = dict.fromkeys(range(COLUMNS), 2**50)
    for tick in range(20):
        history.add(tick, {number: dict(longest) for number in range(2, len(history.names))})
    assert history.content_bytes <= 21 * history.frame_bytes_max
    reading = read(history, 1, 0, 5)
    assert reading.columns[OTHERS[1]][COLUMNS - 1][0] > 2**50


def test_renewed_rings_have_the_same_frames_in_other_objects() -> None:
    history = History(SERIES, BYTES_MAX, SMALL_RINGS)
    for tick in range(30):
        history.add(tick, {QUEUE: {COUNT: tick + 1}})
    for ring in history.rings:
        numbers = range(30)
        before = ring.frames(numbers)
        ring.compact()
        assert ring.frames(numbers) == before
        assert all(now is not then for (_, now), (_, then) in zip(ring.frames(numbers), before, strict=True))
