"""One caller's slots by themselves: their counts, keys, and the decision that some stay unused."""

from __future__ import annotations

import pytest

from jobqueue.core.scheduling import retry_slots
from jobqueue.core.scheduling.retry_slots import (
    JITTER,
    LATE_S,
    SHOWS_MIN,
    SILENT_SLOTS,
    WINDOW_SLOTS,
    Slots,
)

NOW = 1000.0


def slots_of(*due: float, name: int | None = None) -> Slots:
    """The slots of a caller that was rejected at `NOW`: seconds from then."""
    slots = Slots(NOW + due[0], 0.5, NOW, name)
    for s in due[1:]:
        slots.due.add(NOW + s)
    slots.longest_s = max(due)
    return slots


def seconds_of(slots: Slots) -> list[int]:
    """The seconds of the slots in use, after `NOW`, one for each slot."""
    return [int(second - NOW) for second, count in slots.due.each_from(NOW) for _ in range(count)]


# -- counts


def test_a_caller_begins_with_one_slot() -> None:
    slots = slots_of(3.5)
    assert (slots.last_at, slots.gap_s, slots.count, slots.came) == (NOW + 3.5, 0.5, 1, 0)
    assert (slots.told_at, slots.seen_at, slots.window_at) == (NOW, NOW, NOW)
    assert seconds_of(slots) == [3]
    assert (slots.freed, slots.keys, slots.due.total) == (None, None, 1)
    assert len(slots.due) == 1, "it begins with the second of the first slot"


def test_a_moved_slot_replaces_the_only_one() -> None:
    slots = slots_of(9.5)
    slots.move(NOW + 2.5)
    assert (slots.last_at, slots.count) == (NOW + 2.5, 1)
    assert seconds_of(slots) == [2]
    assert (slots.due.total, len(slots.due)) == (1, 1)


def test_only_slots_in_use_are_freed() -> None:
    slots = slots_of(3.5, 3.6, 4.5)
    assert slots.free(NOW + 7.0, 1, NOW) == 0
    assert slots.freed is None
    assert slots.free(NOW + 3.0, 1, NOW) == 1
    assert slots.freed is not None
    assert (seconds_of(slots), slots.freed.first_from(NOW), slots.freed.total) == ([3, 4], NOW + 3.0, 1)
    assert slots.free(NOW + 3.9, 5, NOW) == 1
    assert (seconds_of(slots), slots.freed.total) == ([4], 2)
    assert len(slots.freed) == 4, "it begins with the present second"
    many = slots_of(*[3.5] * 5)
    assert many.free(NOW + 3.5, 3, NOW) == 3
    assert many.freed is not None
    assert (seconds_of(many), many.freed.total) == ([3, 3], 3)


def test_a_caller_is_anonymous_without_keys_and_freed_slots() -> None:
    assert slots_of(3.5).is_anonymous
    assert not slots_of(3.5, name=7).is_anonymous
    freed = slots_of(3.5)
    freed.free(NOW + 3.5, 1, NOW)
    assert not freed.is_anonymous


# -- keys


def test_a_key_holds_its_slot_until_it_is_due() -> None:
    slots = slots_of(3.5, name=7)
    assert slots.held(7, NOW) == NOW + 3.5
    assert slots.held(8, NOW) is None
    assert slots.held(7, NOW + 3.5) is None
    assert slots.keys == {}, "a past slot is dropped"
    assert slots_of(3.5).held(7, NOW) is None


def test_a_key_is_remembered_with_its_newest_slot() -> None:
    slots = slots_of(3.5)
    slots.remember(7, NOW + 3.5, NOW, 1)
    slots.remember(8, NOW + 4.5, NOW, 1)
    slots.remember(7, NOW + 9.0, NOW, 1)
    assert slots.keys == {7: NOW + 9.0, 8: NOW + 4.5}


def test_keys_of_past_slots_make_room_before_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry_slots, "KEYS_MAX", 32)
    slots = slots_of(1.0, name=0)
    for name in range(1, 16):
        slots.remember(name, NOW + 1.0 + name, NOW, 2)
    assert len(slots.keys or ()) == 16, "the share of one of two callers"
    slots.remember(15, NOW + 60.0, NOW + 5.0, 2)
    assert len(slots.keys or ()) == 16, "a known key needs no room"
    slots.remember(16, NOW + 70.0, NOW + 5.0, 2)
    assert list(slots.keys or ()) == [5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]


def test_the_oldest_eighth_of_the_keys_makes_room_where_none_is_past(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry_slots, "KEYS_MAX", 32)
    slots = slots_of(10.0, name=0)
    for name in range(1, 16):
        slots.remember(name, NOW + 10.0 + name, NOW, 2)
    slots.remember(16, NOW + 70.0, NOW, 2)
    assert list(slots.keys or ()) == list(range(2, 17))


def test_a_caller_among_many_keeps_one_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry_slots, "KEYS_MAX", 32)
    slots = slots_of(10.0, name=1)
    slots.remember(2, NOW + 11.0, NOW, 100)
    assert slots.keys == {2: NOW + 11.0}
    for name in (3, 4, 5):
        slots.remember(name, NOW + 11.0, NOW, 10)
    assert list(slots.keys or ()) == [3, 4, 5], "a share of three keys gives up one"


def test_dropping_keys_keeps_those_of_later_slots() -> None:
    slots = slots_of(3.0, name=1)
    slots.remember(2, NOW + 4.0, NOW, 1)
    slots.drop_keys(NOW + 3.0)
    assert slots.keys == {2: NOW + 4.0}
    anonymous = slots_of(3.0)
    anonymous.drop_keys(NOW + 9.0)
    assert anonymous.keys is None


# -- no-shows


def latest(slots: Slots, longest_s: float) -> float:
    """The instant after which an obedient client would have come to a slot at `NOW` + 10 s."""
    return NOW + 11.0 + LATE_S + JITTER * longest_s


def test_a_caller_is_gone_once_its_due_slots_have_passed_without_a_submission() -> None:
    slots = slots_of(*[10.5] * SILENT_SLOTS)
    at = latest(slots, 10.5)
    assert not slots.is_abandoned(at - 0.01), "late clients may still come"
    assert slots.is_abandoned(at + 0.01)
    slots.seen_at = NOW + 10.0
    assert not slots.is_abandoned(at + 0.01), "its second began before the submission was over"
    slots.seen_at = NOW + 9.9
    assert slots.is_abandoned(at + 0.01)


def test_a_caller_with_fewer_due_slots_is_not_gone() -> None:
    slots = slots_of(*[10.5] * (SILENT_SLOTS - 1))
    assert not slots.is_abandoned(NOW + 1000.0)


def test_a_longer_wait_allows_for_more_jitter() -> None:
    slots = slots_of(*[10.5] * SILENT_SLOTS, 100.0)
    assert not slots.is_abandoned(NOW + 11.0 + LATE_S + JITTER * 11.0)
    assert slots.is_abandoned(NOW + 11.0 + LATE_S + JITTER * 15.0), "at most of the time since the first slot"


def test_the_jitter_is_a_share_of_the_longest_wait_so_far() -> None:
    slots = slots_of(10.5, *[190.5] * SILENT_SLOTS)
    slots.longest_s = 90.5  # they were given 100 s later
    slots.seen_at = NOW + 150.0
    at = NOW + 191.0 + LATE_S + JITTER * 90.5
    assert not slots.is_abandoned(at - 0.1)
    assert slots.is_abandoned(at + 0.1)


def test_a_window_ends_with_the_missing_share_of_its_due_slots() -> None:
    slots = slots_of(*[10.5] * WINDOW_SLOTS)
    slots.came = 6
    assert slots.lacking_share(NOW + 100.0) == pytest.approx(1.0 - 6 / WINDOW_SLOTS)
    assert (slots.came, slots.window_at, slots.due.total) == (0, NOW + 100.0, 0)


@pytest.mark.parametrize(("due", "came"), [(WINDOW_SLOTS - 1, 0), (WINDOW_SLOTS, int(SHOWS_MIN * WINDOW_SLOTS))])
def test_a_window_with_few_slots_or_few_no_shows_has_no_missing_share(due: int, came: int) -> None:
    slots = slots_of(*[10.5] * due)
    slots.came = came
    assert slots.lacking_share(NOW + 100.0) == 0.0


def test_a_window_counts_slots_from_its_beginning_until_late_clients_would_have_come() -> None:
    slots = slots_of(*[10.5] * WINDOW_SLOTS)
    assert slots.lacking_share(latest(slots, 10.5) - 0.01) == 0.0
    slots = slots_of(*[10.5] * WINDOW_SLOTS)
    slots.window_at = NOW + 10.0
    assert slots.lacking_share(NOW + 100.0) == 0.0
    slots = slots_of(*[10.5] * WINDOW_SLOTS)
    slots.window_at = NOW + 9.9
    assert slots.lacking_share(NOW + 100.0) == 1.0


def test_a_closed_window_drops_past_slots_and_keeps_later_ones() -> None:
    slots = slots_of(10.5, 200.5, 201.5, name=1)
    slots.remember(2, NOW + 200.5, NOW, 1)
    slots.free(NOW + 201.5, 1, NOW)
    slots.free(NOW + 10.5, 1, NOW)
    slots.lacking_share(NOW + 100.0)
    assert slots.freed is not None
    assert (seconds_of(slots), slots.freed.total, slots.keys) == ([200], 1, {2: NOW + 200.5})
