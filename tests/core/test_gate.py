from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobqueue.core.gate import Gate
from jobqueue.core.job import JobId

A, B, C = JobId("a"), JobId("b"), JobId("c")


def test_a_gate_lets_in_as_many_as_it_has_permits() -> None:
    gate = Gate(2)
    assert gate.enter(A)
    assert gate.enter(B)
    assert not gate.enter(C)
    assert (gate.held, gate.waiting) == (2, 1)


def test_a_freed_permit_goes_to_the_one_that_waited_longest() -> None:
    gate = Gate(1)
    gate.enter(A)
    gate.enter(B)
    gate.enter(C)
    assert gate.leave(A) == B
    assert gate.enter(B)
    assert not gate.enter(A)
    assert gate.leave(B) == C


def test_a_waiter_that_leaves_inherits_nothing() -> None:
    gate = Gate(1)
    gate.enter(A)
    gate.enter(B)
    assert gate.leave(B) is None
    assert gate.leave(A) is None
    assert (gate.held, gate.waiting) == (0, 0)


def test_leaving_without_having_entered_changes_nothing() -> None:
    gate = Gate(1)
    gate.enter(A)
    assert gate.leave(C) is None
    assert gate.held == 1


def test_entering_again_takes_no_second_permit() -> None:
    gate = Gate(2)
    assert gate.enter(A)
    assert gate.enter(A)
    assert gate.held == 1


def test_a_gate_without_permits_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one permit"):
        Gate(0)


@given(st.integers(1, 3), st.lists(st.tuples(st.booleans(), st.sampled_from("abcdef"))))
def test_permits_are_never_exceeded_and_none_is_lost(permits: int, steps: list[tuple[bool, str]]) -> None:
    gate = Gate(permits)
    holding: set[str] = set()
    waiting: list[str] = []
    for entering, name in steps:
        if entering:
            holds = gate.enter(JobId(name))
            assert holds == (name in holding or len(holding) < permits)
            if holds:
                holding.add(name)
            elif name not in waiting:
                waiting.append(name)
        else:
            heir = gate.leave(JobId(name))
            expected = None
            if name in waiting:
                waiting.remove(name)
            elif name in holding:
                holding.remove(name)
                if waiting:
                    expected = waiting.pop(0)
                    holding.add(expected)
            assert heir == expected
        assert gate.held == len(holding) <= permits
        assert gate.waiting == len(waiting)
        assert not waiting or len(holding) == permits
