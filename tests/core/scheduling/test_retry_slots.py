"""Retry slots of one caller: early returns known by keys, and unused slots given out again."""

from __future__ import annotations

import heapq
from math import ceil, floor
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobqueue.build import build
from jobqueue.core.job import JobSpec, Uniqueness
from jobqueue.core.policy import QueuePolicy
from jobqueue.core.scheduling.retry_after import RETRY_AFTER_S_MAX, RetryAfter
from jobqueue.core.scheduling.retry_slots import KEYS_MAX, Slots
from jobqueue.core.scheduling.seconds import Seconds
from jobqueue.errors import Refused
from jobqueue.what_if.simulated_queue import Attempt, SimulatedQueue
from tests.core.scheduling.test_retry_after import NoChance, refuse


def refuse_key(
    retry_after: RetryAfter, key: str, *, now: float, caller: str = "crowd", drain_per_s: float = 20.0
) -> float:
    return retry_after.retry_slot_s(now, drain_per_s=drain_per_s, caller=caller, key=key)


def rejected_clients(count: int, *, drain_per_s: float = 20.0) -> RetryAfter:
    """Retry slots of `count` clients behind one address, rejected at instant 0, each with a key of its own."""
    retry_after = RetryAfter(NoChance())
    for n in range(count):
        refuse_key(retry_after, f"k{n}", now=0.0, drain_per_s=drain_per_s)
    return retry_after


# -- early returns with a key


def test_an_early_return_with_a_key_keeps_its_slot_behind_a_shared_address() -> None:
    retry_after = rejected_clients(100)
    returns_at = [refuse_key(retry_after, "k80", now=now) + now for now in (0.001, 0.5, 1.0, 2.5)]

    assert returns_at == pytest.approx([81 / 20.0] * 4)
    assert retry_after.retry_slot_s(0.0, drain_per_s=20.0, caller="crowd", key="new") == pytest.approx(101 / 20.0)


def test_early_returns_with_keys_do_not_count_as_new_arrivals() -> None:
    retry_after, patient = rejected_clients(10, drain_per_s=1.0), rejected_clients(10, drain_per_s=1.0)
    for step in range(50):
        retry_after.arrivals.add(0.0)
        refuse_key(retry_after, f"k{step % 10}", now=0.0, drain_per_s=1.0)

    assert retry_after.arrivals.per_s(0.5) == pytest.approx(patient.arrivals.per_s(0.5))
    assert refuse_key(retry_after, "new", now=0.5, drain_per_s=1.0) == refuse_key(
        patient, "new", now=0.5, drain_per_s=1.0
    )


def test_an_unneeded_slot_goes_to_the_next_rejection_of_its_address() -> None:
    retry_after = rejected_clients(100)
    retry_after.accepted("crowd", 1.0, "k60")

    assert retry_after.waiting == 99
    assert 3.0 <= 1.0 + refuse_key(retry_after, "new", now=1.0) < 4.0, "the second of the slot that was given up"
    assert 1.0 + refuse_key(retry_after, "newer", now=1.0) == pytest.approx(101 / 20.0)


def test_an_early_return_with_a_key_gets_an_earlier_slot_that_was_given_up() -> None:
    retry_after = rejected_clients(200)
    retry_after.accepted("crowd", 1.0, "k60")

    assert 3.0 <= 1.0 + refuse_key(retry_after, "k190", now=1.0) < 4.0
    assert 9.0 <= 1.0 + refuse_key(retry_after, "new", now=1.0) < 10.0, "the slot that was swapped"
    assert retry_after.waiting == 200 - 19, "one accepted, one new; the slots of the first second are past"


def test_early_accepted_clients_leave_no_slots_behind() -> None:
    retry_after = rejected_clients(50)
    for n in range(50):
        retry_after.accepted("crowd", 0.01, f"k{n}")

    assert retry_after.waiting == 0
    assert not retry_after.callers
    assert refuse_key(retry_after, "new", now=0.01) == pytest.approx(0.05)


def test_retry_after_falls_as_clients_that_ignore_it_are_accepted() -> None:
    """A hundred clients behind one address submit every 1.5 s, each with its key."""
    retry_after = RetryAfter(NoChance())
    waiting = [f"k{n}" for n in range(100)]
    now, figures = 0.0, []
    while waiting:
        for _ in range(20):
            retry_after.accepted("crowd", now, waiting.pop(0))
        for key in waiting:
            refuse_key(retry_after, key, now=now, drain_per_s=1.0)
        figures.append(retry_after.retry_slot_s(now, drain_per_s=1.0, caller="crowd", key=f"new at {now}"))
        retry_after.accepted("crowd", now, f"new at {now}")
        now += 1.5

    assert figures[0] > 75.0
    assert figures[-1] <= 5.0


def test_a_key_rejected_at_its_slot_gets_a_new_slot() -> None:
    retry_after = rejected_clients(100)

    assert refuse_key(retry_after, "k0", now=0.06) + 0.06 == pytest.approx(101 / 20.0)
    assert refuse_key(retry_after, "k0", now=0.5) + 0.5 == pytest.approx(101 / 20.0)


def test_two_keys_at_one_address_get_separate_slots() -> None:
    retry_after = rejected_clients(1, drain_per_s=0.1)

    assert refuse_key(retry_after, "other", now=1.5, drain_per_s=0.1) + 1.5 == pytest.approx(20.0, abs=1.0)
    assert refuse_key(retry_after, "k0", now=1.6, drain_per_s=0.1) + 1.6 == pytest.approx(10.0)


def test_slots_with_and_without_keys_are_kept_apart() -> None:
    keyed, anonymous = rejected_clients(2, drain_per_s=0.1), RetryAfter(NoChance())
    keyed.accepted("crowd", 0.5, "k0")
    refuse(anonymous, "crowd", 1, now=0.0, drain_per_s=0.1)

    assert 8.0 <= refuse(keyed, "crowd", 1, now=2.0, drain_per_s=1.0)[0] < 9.0, "the slot that was given up"
    assert keyed.waiting == 2
    assert refuse_key(keyed, "k1", now=2.0, drain_per_s=0.1) + 2.0 == pytest.approx(20.0), "it kept its own"
    assert refuse_key(anonymous, "k0", now=2.0, drain_per_s=0.1) + 2.0 == pytest.approx(20.0)


def test_the_same_key_at_two_addresses_gets_separate_slots() -> None:
    retry_after = rejected_clients(40)
    elsewhere = refuse_key(retry_after, "k39", now=0.1, caller="elsewhere")
    retry_after.accepted("elsewhere", 0.2, "k39")

    assert elsewhere == pytest.approx(0.05)
    assert refuse_key(retry_after, "k39", now=0.2) + 0.2 == pytest.approx(40 / 20.0)


def test_random_keys_delay_only_the_caller_that_sends_them() -> None:
    retry_after = rejected_clients(40)
    for step in range(3 * KEYS_MAX):
        refuse_key(retry_after, f"random {step}", now=0.5, caller="hog", drain_per_s=10_000.0)

    assert len(retry_after.callers["hog"].keys or ()) <= KEYS_MAX // 2
    assert refuse_key(retry_after, "k39", now=0.9) + 0.9 == pytest.approx(40 / 20.0)
    assert refuse_key(retry_after, "first", now=0.9, caller="modest") < 0.2
    assert refuse_key(retry_after, "random", now=0.9, caller="hog") > 1.0


def test_the_keys_of_all_callers_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobqueue.core.scheduling.retry_after.CALLERS_MAX", 100)
    monkeypatch.setattr("jobqueue.core.scheduling.retry_slots.KEYS_MAX", 200)
    retry_after = RetryAfter(Random(1))
    for caller in range(150):
        for n in range(250):
            refuse_key(retry_after, f"k{n}", now=n / 1000, caller=f"c{caller}", drain_per_s=1000.0)

    assert len(retry_after.callers) == 101
    assert sum(len(slots.keys or ()) for slots in retry_after.callers.values()) < 200 * 6  # 1 + 1/2 + ... + 1/101


def test_a_key_is_forgotten_once_its_slot_is_past() -> None:
    retry_after = RetryAfter(NoChance())
    for step in range(100):
        refuse_key(retry_after, f"k{step}", now=float(step), drain_per_s=1.5)

    slots = retry_after.callers["crowd"]
    assert slots.keys is not None
    slots.drop_keys(1000.0)
    assert not slots.keys


# -- unused slots


class Decisions:
    """Counts the decisions that slots are unused."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.windows = self.silences = self.found = 0
        if build() == "compiled":
            pytest.skip("calls between compiled modules can't be counted")
        abandoned, lacking = Slots.is_abandoned, Slots.lacking_share

        def is_abandoned(slots: Slots, now: float) -> bool:
            self.silences += 1
            self.found += (decision := abandoned(slots, now))
            return decision

        def lacking_share(slots: Slots, now: float) -> float:
            self.windows += 1
            self.found += (share := lacking(slots, now)) > 0.0
            return share

        monkeypatch.setattr(Slots, "is_abandoned", is_abandoned)
        monkeypatch.setattr(Slots, "lacking_share", lacking_share)


def let_return(
    retry_after: RetryAfter,
    *,
    clients: int,
    drain_per_s: float,
    whole: bool,
    seed: int,
    obey: float = 1.0,
    until: float = 900.0,
) -> None:
    """Let clients behind one address be rejected at once, and return at their slots, up to a second late."""
    rng = Random(seed)
    due = [(rng.uniform(0.0, 0.2), n) for n in range(clients)]
    heapq.heapify(due)
    while due and due[0][0] < until:
        now, client = heapq.heappop(due)
        retry_after.arrivals.add(now)
        if now > 1.0 and rng.random() < 0.7:  # accepted; with odd seeds, it submits again later
            retry_after.accepted("crowd", now)
            if seed % 2:
                heapq.heappush(due, (now + rng.expovariate(1 / 60), client))
            continue
        told_s = max(1.0, retry_after.retry_slot_s(now, drain_per_s=drain_per_s, caller="crowd"))
        if rng.random() < obey:
            heapq.heappush(due, (now + (ceil(told_s) if whole else told_s) + rng.uniform(0.0, 0.9), client))


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("drain_per_s", [0.2, 1.0, 5.0, 100.0])
@pytest.mark.parametrize("clients", [1, 5, 1000])
def test_the_slots_of_obedient_clients_are_never_given_out_again(
    clients: int, drain_per_s: float, whole: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    decisions = Decisions(monkeypatch)
    for seed in range(6):
        let_return(RetryAfter(Random(seed)), clients=clients, drain_per_s=drain_per_s, whole=whole, seed=seed)

    assert decisions.found == 0
    if clients == 5 and drain_per_s < 5.0:
        assert decisions.silences > 0, "the decision was never made"
    if clients == 1000:
        assert decisions.windows > 0, "the decision was never made"


def test_a_caller_silent_after_a_burst_gets_the_true_wait() -> None:
    queue = SimulatedQueue(QueuePolicy(capacity=40, workers=2), seed="1", on_end=lambda job: None)
    waits_s: dict[str, list[float]] = {"hog": [], "other": []}

    def submit(caller: str) -> None:
        try:
            queue.submit(JobSpec(type="work"), (Attempt(0.1),), Uniqueness(caller, plain=True))
        except Refused as refusal:
            waits_s[caller].append(refusal.retry_after_s or 0.0)

    for step in range(400):
        queue.at(step / 100, submit, "hog")
    queue.run(12.0)
    assert waits_s["hog"][-1] > 100.0
    for _ in range(41):  # the queue is full again, by another address
        submit("other")
    submit("hog")

    assert len(waits_s["other"]) == 1
    assert waits_s["hog"][-1] <= 3.0


def test_an_acceptance_after_silence_resets_the_slots_of_a_caller() -> None:
    retry_after = RetryAfter(NoChance())
    refuse(retry_after, "crowd", 400, now=0.0, drain_per_s=4.0)
    retry_after.accepted("crowd", 20.0)

    assert not retry_after.callers
    assert refuse(retry_after, "crowd", 1, now=20.0, drain_per_s=4.0) == [pytest.approx(0.25)]
    assert retry_after.waiting == 1


def test_a_rejection_by_quota_does_not_count_as_silence() -> None:
    retry_after = RetryAfter(NoChance())
    refuse(retry_after, "crowd", 400, now=0.0, drain_per_s=4.0)
    for second in range(1, 21):
        retry_after.came("crowd", float(second))

    assert refuse(retry_after, "crowd", 1, now=20.0, drain_per_s=4.0)[0] > 75.0


def test_two_unused_slots_do_not_count_as_silence() -> None:
    retry_after = RetryAfter(NoChance())
    refuse(retry_after, "crowd", 5, now=0.0, drain_per_s=0.1)

    assert refuse(retry_after, "crowd", 1, now=29.0, drain_per_s=0.1)[0] > 20.0


def half_of_the_clients_return(retry_after: RetryAfter, *, until: float) -> None:
    """Reject 1,000 clients, with a slot per quarter of a second; every second one returns and is accepted."""
    refuse(retry_after, "crowd", 1000, now=0.0, drain_per_s=4.0)
    for n in range(1, int(until * 4), 2):
        retry_after.accepted("crowd", n / 4)


def test_unused_slots_of_absent_clients_are_given_out_again() -> None:
    early, later = RetryAfter(NoChance()), RetryAfter(NoChance())
    half_of_the_clients_return(early, until=50.0)
    half_of_the_clients_return(later, until=70.0)
    masked = refuse(early, "crowd", 1, now=50.0, drain_per_s=4.0)
    again = refuse(later, "crowd", 50, now=70.0, drain_per_s=4.0)

    assert masked[0] > 200.0, "the submissions rejected at the start count, too"
    assert again[0] < 3.0
    assert again[-1] == pytest.approx(50.0, rel=0.25), "a quarter of the slots is sure to be unused: one a second"


def test_early_returns_with_a_key_do_not_hide_unused_slots() -> None:
    retry_after = RetryAfter(NoChance())
    retry_after.retry_slot_s(0.0, drain_per_s=4.0, caller="crowd")
    refuse(retry_after, "crowd", 998, now=0.0, drain_per_s=4.0)
    refuse_key(retry_after, "k", now=0.0, drain_per_s=4.0)
    for n in range(1, 280):
        retry_after.accepted("crowd", n / 4) if n % 2 else None
        refuse_key(retry_after, "k", now=n / 4, drain_per_s=4.0)

    slots = retry_after.callers["crowd"]
    assert slots.freed is not None
    assert slots.freed.total > 0


def test_slots_given_out_again_do_not_exceed_the_absent_clients() -> None:
    retry_after = RetryAfter(NoChance())
    half_of_the_clients_return(retry_after, until=240.0)

    slots = retry_after.callers["crowd"]
    assert slots.freed is not None
    to_come = slots.due.from_second(240.0)
    assert to_come / (to_come + slots.freed.from_second(240.0)) > 0.5
    assert slots.freed.from_second(240.0) > 0


# -- random histories

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["refuse", "refuse", "refuse", "accept", "came"]),
        st.integers(0, 5),
        st.one_of(st.none(), st.integers(0, 12)),
        st.sampled_from([0.0, 0.001, 0.01, 0.3, 1.0, 2.5, 7.0, 20.0, 61.0, 400.0, 86_400.0]),
        st.sampled_from([0.1, 1.0, 20.0]),
    ),
    max_size=120,
)


@settings(max_examples=200, deadline=None)
@given(steps=STEPS)
def test_slot_tables_are_bounded_and_consistent_through_random_histories(
    steps: list[tuple[str, int, int | None, float, float]],
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jobqueue.core.scheduling.retry_after.CALLERS_MAX", 4)
        patch.setattr("jobqueue.core.scheduling.retry_slots.KEYS_MAX", 12)
        patch.setattr("jobqueue.core.scheduling.retry_slots.WINDOW_SLOTS", 3)
        retry_after, now = RetryAfter(Random(1)), 1000.0
        for act, number, key_number, passed_s, drain_per_s in steps:
            now += passed_s
            caller, key = f"c{number}", None if key_number is None else f"k{key_number}"
            if act == "refuse":
                retry_after.arrivals.add(now)
                wait_s = retry_after.retry_slot_s(now, drain_per_s=drain_per_s, caller=caller, key=key)
                assert 0.0 < wait_s <= RETRY_AFTER_S_MAX
            elif act == "accept":
                retry_after.accepted(caller, now, key)
            else:
                retry_after.came(caller, now)
            agree(retry_after, now)
        for later in range(8):
            retry_after.retry_slot_s(now + 1000.0, drain_per_s=1000.0, caller=f"later {later}")
        assert all(name.startswith("later") or not name for name in map(str, retry_after.callers))
        assert retry_after.waiting == sum(slots.due.total for slots in retry_after.callers.values())


def agree(retry_after: RetryAfter, now: float) -> None:
    """Check that the tables agree, from the next second on."""
    callers = retry_after.callers.values()
    assert len(retry_after.callers) <= 5
    assert all(slots.count >= 1 for slots in callers)
    assert all(slots.came >= 0 for slots in callers)
    assert sum(len(slots.keys or ()) for slots in callers) <= 12 * 3
    assert all(len(slots.due) <= 2 * RETRY_AFTER_S_MAX for slots in callers)
    assert retry_after._due.from_second(now + 1.0) == sum(slots.due.from_second(now + 1.0) for slots in callers)
    assert retry_after._lasts.from_second(now + 1.0) == sum(floor(slots.last_at) > floor(now) for slots in callers)


# -- counters by second


def test_a_second_yields_no_more_slots_than_it_holds() -> None:
    seconds = Seconds(10)
    seconds.add(12.5, 3)

    assert [seconds.take(at, 2) for at in (12.0, 12.9, 12.0, 9.0, 99.0)] == [2, 1, 0, 0, 0]
    assert seconds.total == 0


def test_only_whole_seconds_between_two_instants_are_counted() -> None:
    seconds = Seconds(10)
    for at in (10.5, 11.5, 12.5, 13.5):
        seconds.add(at)

    assert seconds.between(10.2, 13.9) == 2
    assert seconds.between(3.0, 99.0) == 4
    assert seconds.between(12.0, 11.0) == 0
    assert seconds.first_from(11.9) == 11
    assert seconds.first_from(14.0) is None
