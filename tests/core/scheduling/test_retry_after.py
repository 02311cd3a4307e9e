"""Retry slots of rejected submissions, spaced by the drain rate."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import pytest

from jobqueue.core.scheduling.retry_after import (
    CALLERS_MAX,
    JITTER,
    OTHERS,
    RETRY_AFTER_S_MAX,
    RETURNS_SHARE_MIN,
    RetryAfter,
)


class NoChance(Random):
    """A random generator that draws the lowest number each time: slots without jitter."""

    def random(self) -> float:
        return 0.0


def retry_slots(retry_after: RetryAfter, count: int, *, now: float, drain_per_s: float) -> list[float]:
    return [retry_after.retry_slot_s(now, drain_per_s=drain_per_s) for _ in range(count)]


def stream(retry_after: RetryAfter, *, per_s: float, since: float, until: float) -> None:
    """Let new submissions arrive at a steady rate."""
    for number in range(int((until - since) * per_s)):
        retry_after.arrivals.add(since + number / per_s)


def test_the_first_rejection_gets_the_next_free_slot() -> None:
    assert RetryAfter(NoChance()).retry_slot_s(100.0, drain_per_s=0.5) == pytest.approx(2.0)


def test_retry_slots_are_spaced_by_the_drain_rate() -> None:
    waits = retry_slots(RetryAfter(NoChance()), 100, now=100.0, drain_per_s=4.0)

    assert waits == pytest.approx([number / 4.0 for number in range(1, 101)])


def test_later_retry_slots_follow_the_earlier_ones() -> None:
    retry_after = RetryAfter(NoChance())
    retry_slots(retry_after, 40, now=100.0, drain_per_s=4.0)  # the last one at 110

    assert retry_after.retry_slot_s(101.0, drain_per_s=4.0) == pytest.approx(9.25)
    assert retry_after.retry_slot_s(300.0, drain_per_s=4.0) == pytest.approx(0.25)


def test_new_arrivals_widen_the_spacing_of_retry_slots() -> None:
    retry_after = RetryAfter(NoChance())
    stream(retry_after, per_s=3.0, since=0.0, until=120.0)

    waits = retry_slots(retry_after, 10, now=120.0, drain_per_s=4.0)

    assert [after - before for before, after in pairwise(waits)] == pytest.approx([1.0] * 9, rel=0.1)


def test_a_twentieth_of_the_drain_rate_is_reserved_for_retry_slots() -> None:
    retry_after = RetryAfter(NoChance())
    stream(retry_after, per_s=30.0, since=0.0, until=60.0)

    waits = retry_slots(retry_after, 10, now=60.0, drain_per_s=10.0)

    assert RETURNS_SHARE_MIN == 0.05
    assert [after - before for before, after in pairwise(waits)] == pytest.approx([2.0] * 9)


def test_returning_clients_do_not_count_as_new_arrivals() -> None:
    retry_after = RetryAfter(NoChance())
    retry_slots(retry_after, 200, now=0.0, drain_per_s=4.0)
    for number in range(1, 161):  # 40 s in which every arrival is a return at its slot
        retry_after.arrivals.add(number / 4.0)
        retry_after.accepted(None, number / 4.0)

    before, after = retry_slots(retry_after, 2, now=40.0, drain_per_s=4.0)

    assert after - before == pytest.approx(1 / 4.0, rel=0.1)
    assert retry_after.waiting == pytest.approx(200 - 160 + 2, abs=4)


def test_jitter_adds_at_most_a_tenth_and_grows_with_the_wait() -> None:
    without = retry_slots(RetryAfter(NoChance()), 200, now=0.0, drain_per_s=2.0)
    jittered = retry_slots(RetryAfter(Random(1)), 200, now=0.0, drain_per_s=2.0)
    added = [late - early for early, late in zip(without, jittered, strict=True)]

    assert all(0.0 <= more <= JITTER * wait for more, wait in zip(added, without, strict=True))
    assert max(added[:20]) < 1.0 < max(added[100:])


def test_retry_slots_beyond_the_maximum_are_spread_evenly_below_it() -> None:
    waits = retry_slots(RetryAfter(Random(1)), 10_000, now=0.0, drain_per_s=10.0)
    beyond = waits[3000:]

    assert max(waits) <= RETRY_AFTER_S_MAX
    assert min(beyond) >= RETRY_AFTER_S_MAX / 2
    fifths = [sum(int((wait - 150) / 30) == fifth for wait in beyond) for fifth in range(5)]
    assert max(fifths) / min(fifths) < 1.2


def test_jitter_never_exceeds_the_maximum_wait() -> None:
    for seed in range(20):
        retry_after = RetryAfter(Random(seed))
        assert max(retry_slots(retry_after, 400, now=0.0, drain_per_s=1.0)) <= RETRY_AFTER_S_MAX


def test_retry_slots_of_any_number_take_one_counter_per_second() -> None:
    retry_after = RetryAfter(Random(1))
    retry_slots(retry_after, 100_000, now=0.0, drain_per_s=10_000.0)

    assert len(retry_after._due._counts) <= 11
    assert retry_after.waiting == 100_000


def test_past_retry_slots_are_forgotten() -> None:
    retry_after = RetryAfter(Random(1))
    retry_slots(retry_after, 50, now=0.0, drain_per_s=10.0)

    retry_after.retry_slot_s(100.0, drain_per_s=10.0)

    assert retry_after.waiting == 1


# -- among callers


def refuse(retry_after: RetryAfter, caller: str, count: int, *, now: float, drain_per_s: float = 20.0) -> list[float]:
    return [retry_after.retry_slot_s(now, drain_per_s=drain_per_s, caller=caller) for _ in range(count)]


def test_rejections_of_one_caller_do_not_delay_the_retry_slots_of_others() -> None:
    retry_after = RetryAfter(NoChance())
    for step in range(400):  # it ignores Retry-After, and submits every 10 ms
        now = step / 100
        retry_after.arrivals.add(now)
        retry_after.retry_slot_s(now, drain_per_s=20.0, caller="hog")

    (own,) = refuse(retry_after, "hog", 1, now=4.0)
    others = [refuse(retry_after, f"c{n}", 1, now=4.0)[0] for n in range(10)]

    assert own > 100.0
    assert max(others) < 3.0
    assert others == sorted(set(others)), "each has a slot of its own"


def test_repeated_submissions_of_one_caller_do_not_count_as_new_arrivals_for_others() -> None:
    retry_after = RetryAfter(NoChance())
    for step in range(6000):
        now = 1000.0 + step / 100
        retry_after.arrivals.add(now)
        retry_after.retry_slot_s(now, drain_per_s=0.2, caller="hog")

    assert refuse(retry_after, "other", 1, now=1060.0, drain_per_s=0.2)[0] <= 10.0


def test_callers_with_one_rejection_each_share_one_sequence_of_slots() -> None:
    retry_after = RetryAfter(NoChance())

    waits = [refuse(retry_after, f"c{n}", 1, now=0.0)[0] for n in range(100)]

    assert waits == pytest.approx([number / 20.0 for number in range(1, 101)])


def test_two_callers_with_many_rejections_alternate_slots() -> None:
    retry_after = RetryAfter(NoChance())
    waits: dict[str, list[float]] = {"a": [], "b": []}
    for _ in range(500):
        for caller in waits:
            waits[caller] += refuse(retry_after, caller, 1, now=0.0)

    for each in waits.values():
        assert each[-1] == pytest.approx(1000 / 20.0, rel=0.1)
        assert [later - earlier for earlier, later in pairwise(each[50:])] == pytest.approx([0.1] * 449, abs=0.051)


def test_slots_of_a_caller_behind_those_of_all_others_have_the_full_density() -> None:
    retry_after = RetryAfter(NoChance())
    refuse(retry_after, "short", 20, now=0.0)
    waits = refuse(retry_after, "long", 1000, now=0.0)

    assert waits[-1] == pytest.approx(1000 / 20.0, abs=3.0)


def test_an_early_return_of_a_single_client_keeps_its_slot() -> None:
    retry_after = RetryAfter(NoChance())
    for n in range(100):
        refuse(retry_after, f"c{n}", 1, now=0.0)
    returns_at = [refuse(retry_after, "c99", 1, now=float(second))[0] + second for second in (1, 2, 3)]

    assert returns_at == pytest.approx([5.0] * 3)
    assert retry_after.waiting == 100 - 60, "past slots are gone, and no slot was added"


def test_retry_after_shrinks_with_the_number_of_waiting_clients_that_ignore_it() -> None:
    """A hundred clients, each at an address of its own, submit every 1.5 s until they are accepted."""
    retry_after = RetryAfter(NoChance())
    waiting = [f"c{n}" for n in range(100)]
    now = 0.0
    figures = []
    while waiting:
        for _ in range(20):  # 20 are accepted by then; the others are rejected
            retry_after.accepted(waiting.pop(0), now)
        for caller in waiting:
            refuse(retry_after, caller, 1, now=now, drain_per_s=1.0)
        figures.append(retry_after.retry_slot_s(now, drain_per_s=1.0, caller=f"new at {now}"))
        retry_after.accepted(f"new at {now}", now)
        now += 1.5

    assert figures == sorted(figures, reverse=True)
    assert figures[0] == pytest.approx(81.0)
    assert figures[-1] <= 3.0


def test_a_caller_rejected_and_accepted_alternately_holds_no_slots() -> None:
    retry_after = RetryAfter(NoChance())
    for step in range(1000):
        refuse(retry_after, "hog", 1, now=step / 1000, drain_per_s=1.0)
        retry_after.accepted("hog", step / 1000)

    assert retry_after.waiting == 0
    assert refuse(retry_after, "other", 1, now=1.0, drain_per_s=1.0) == [pytest.approx(1.0)]


def test_the_table_of_callers_is_bounded() -> None:
    retry_after = RetryAfter(Random(1))
    for n in range(100_000):
        wait_s = retry_after.retry_slot_s(n / 1000, drain_per_s=1.0, caller=f"2001:db8:{n >> 16:x}:{n & 0xFFFF:x}::/64")
        assert 0.0 < wait_s <= RETRY_AFTER_S_MAX
    assert len(retry_after.callers) <= CALLERS_MAX
    assert len(retry_after._due._counts) <= RETRY_AFTER_S_MAX + 1
    assert len(retry_after._lasts._counts) <= RETRY_AFTER_S_MAX + 1

    retry_after.retry_slot_s(1000.0, drain_per_s=1.0, caller="later")
    for n in range(CALLERS_MAX):
        retry_after.retry_slot_s(1000.0 + n, drain_per_s=1.0, caller=f"later {n}")
    assert len(retry_after.callers) < 1000, "callers with past slots alone are forgotten"


def test_callers_beyond_the_table_share_one_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobqueue.core.scheduling.retry_after.CALLERS_MAX", 3)
    retry_after = RetryAfter(NoChance())
    waits = [refuse(retry_after, f"c{n}", 1, now=0.0)[0] for n in range(6)]

    assert waits == sorted(set(waits))
    assert set(retry_after.callers) <= {"c0", "c1", "c2", OTHERS}
    assert retry_after.retry_slot_s(500.0, drain_per_s=1.0, caller="c9") == pytest.approx(1.0)
