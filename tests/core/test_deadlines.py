from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobqueue.core.deadlines import Deadlines


def drain(deadlines: Deadlines[str], now: float) -> list[str]:
    out = []
    while (key := deadlines.pop_due(now)) is not None:
        out.append(key)
    return out


def test_deadlines_are_popped_when_due_in_order() -> None:
    deadlines: Deadlines[str] = Deadlines()
    deadlines.set("late", 3.0)
    deadlines.set("early", 1.0)
    deadlines.set("middle", 2.0)
    assert drain(deadlines, 0.9) == []
    assert drain(deadlines, 2.0) == ["early", "middle"]
    assert drain(deadlines, 9.0) == ["late"]


def test_equal_deadlines_are_popped_in_the_order_they_were_set() -> None:
    deadlines: Deadlines[str] = Deadlines()
    for key in "cab":
        deadlines.set(key, 1.0)
    assert drain(deadlines, 1.0) == ["c", "a", "b"]


def test_setting_a_key_again_replaces_its_deadline() -> None:
    deadlines: Deadlines[str] = Deadlines()
    deadlines.set("a", 1.0)
    deadlines.set("a", 5.0)
    assert len(deadlines) == 1
    assert deadlines.next_at() == 5.0
    assert drain(deadlines, 4.9) == []
    assert drain(deadlines, 5.0) == ["a"]


def test_a_discarded_key_is_never_due() -> None:
    deadlines: Deadlines[str] = Deadlines()
    deadlines.set("a", 1.0)
    deadlines.set("b", 2.0)
    deadlines.discard("a")
    deadlines.discard("unknown")
    assert "a" not in deadlines
    assert deadlines.next_at() == 2.0
    assert drain(deadlines, 9.0) == ["b"]
    assert deadlines.next_at() is None


def test_the_first_key_can_be_read_without_popping_it() -> None:
    deadlines: Deadlines[str] = Deadlines()
    with pytest.raises(IndexError):
        deadlines.first()
    deadlines.set("a", 2.0)
    deadlines.set("gone", 1.0)
    deadlines.discard("gone")
    assert deadlines.first() == "a"
    assert len(deadlines) == 1


def test_discarded_entries_do_not_accumulate_in_the_heap() -> None:
    deadlines: Deadlines[int] = Deadlines()
    deadlines.set(-1, 1e9)
    for key in range(10_000):
        deadlines.set(key, float(key))
        deadlines.discard(key)
        assert len(deadlines._heap) <= 64 + 2 * len(deadlines) + 1


def test_discarding_alone_cleans_the_heap() -> None:
    deadlines: Deadlines[int] = Deadlines()
    for key in range(1000):
        deadlines.set(key, float(key))
    for key in range(1000):
        deadlines.discard(key)
    assert len(deadlines._heap) <= 64


def test_dead_entries_are_swept_once_they_outnumber_twice_the_keys_by_64() -> None:
    deadlines: Deadlines[int] = Deadlines()
    for key in range(100):
        deadlines.set(key, float(key))
    for number in range(163):
        deadlines.set(0, 1000.0 + number)
    assert len(deadlines._heap) == 100 + 163
    deadlines.set(0, 2000.0)
    assert len(deadlines._heap) == 100

    for key in range(100, 300):
        deadlines.set(key, float(key))
    for key in range(182):
        deadlines.discard(key)
    assert (len(deadlines._heap), len(deadlines)) == (300, 118)
    deadlines.discard(182)
    assert (len(deadlines._heap), len(deadlines)) == (117, 117)
    assert deadlines.items() == [(key, float(key)) for key in range(183, 300)]


def test_keys_of_one_instant_share_an_entry_of_the_heap() -> None:
    deadlines: Deadlines[int] = Deadlines()
    for key in range(1000):
        deadlines.set(key, 1.0 + key % 3)
    assert len(deadlines._heap) == 3
    for key in range(0, 1000, 3):
        deadlines.discard(key)
    assert deadlines.next_at() == 2.0
    assert deadlines.pop_due(2.0) == 1


def test_setting_one_key_repeatedly_does_not_grow_the_heap() -> None:
    deadlines: Deadlines[str] = Deadlines()
    for at in range(10_000):
        deadlines.set("a", float(at))
    assert len(deadlines._heap) < 200
    assert drain(deadlines, 1e9) == ["a"]


operations = st.lists(
    st.one_of(
        st.tuples(st.just("set"), st.integers(0, 5), st.integers(0, 20)),
        st.tuples(st.just("discard"), st.integers(0, 5), st.just(0)),
        st.tuples(st.just("pop"), st.just(0), st.integers(0, 20)),
    )
)


@given(operations)
def test_deadlines_match_a_plain_dict(steps: list[tuple[str, int, int]]) -> None:
    deadlines: Deadlines[int] = Deadlines()
    model: dict[int, int] = {}
    for step, key, at in steps:
        if step == "set":
            deadlines.set(key, at)
            model.pop(key, None)
            model[key] = at
        elif step == "discard":
            deadlines.discard(key)
            model.pop(key, None)
        else:
            due = [k for k, v in model.items() if v <= at]
            expected = min(due, key=lambda k: model[k]) if due else None
            assert deadlines.pop_due(at) == expected
            if expected is not None:
                del model[expected]
        assert deadlines.next_at() == min(model.values(), default=None)
        assert len(deadlines) == len(model)
