"""Windows of totals, and the memory of since when."""

from __future__ import annotations

from jobqueue.findings.finding import Finding
from jobqueue.findings.memory import GRACE_S, KEYS_MAX, SinceMemory
from jobqueue.findings.window import POINTS, ROOM, Window


def one(kind: str = "queue_full", since: float | None = None) -> Finding:
    return Finding(kind=kind, severity="info", sentence="", cause="", remedy="", since=since)


def test_a_window_tells_the_growth_within_its_time() -> None:
    window = Window(60.0)
    assert window.grown(0.0, (5,)) == (0,)
    for at in range(301):
        window.put(float(at), (at, 2 * at))
        assert window._count <= ROOM
    grown, doubled = window.grown(300.0, (300, 600))
    assert 60 <= grown <= 60 + 60 / POINTS
    assert doubled == 2 * grown


def test_growth_is_forgotten_once_it_is_older_than_the_window() -> None:
    window = Window(60.0)
    window.put(0.0, (0,))
    window.put(10.0, (7,))
    assert window.grown(10.0, (7,)) == (7,)
    assert window.grown(69.0, (7,)) == (7,)
    assert window.grown(70.0, (7,)) == (0,)


def test_a_change_after_a_long_rest_belongs_to_the_window() -> None:
    window = Window(60.0)
    window.put(0.0, (3,))
    window.put(1000.0, (3,))
    assert window.grown(1000.5, (4,)) == (1,)


def test_a_finding_is_there_since_it_was_first_seen_or_since_its_rule_says_so() -> None:
    memory = SinceMemory()
    assert [finding.since for finding in memory.dated([one(), one("paused", since=3.0)], 10.0)] == [10.0, 3.0]
    assert [finding.since for finding in memory.dated([one(), one("paused", since=4.0)], 20.0)] == [10.0, 4.0]


def test_a_finding_that_comes_back_at_once_has_not_been_gone() -> None:
    memory = SinceMemory()
    list(memory.dated([one()], 10.0))
    memory.forget(10.0 + GRACE_S)
    assert [finding.since for finding in memory.dated([one()], 10.0 + GRACE_S)] == [10.0]
    memory.forget(30.1 + GRACE_S)
    assert len(memory) == 0
    assert [finding.since for finding in memory.dated([one()], 50.0)] == [50.0]


def test_the_memory_is_bounded() -> None:
    memory = SinceMemory()
    many = [one(f"kind{number}") for number in range(2 * KEYS_MAX)]
    assert len(list(memory.dated(many, 1.0))) == 2 * KEYS_MAX
    assert len(memory) == KEYS_MAX
