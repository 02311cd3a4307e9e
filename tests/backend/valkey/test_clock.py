"""The store's clock beside the loop's."""

from __future__ import annotations

from jobqueue.backend.valkey.clock import STEP_S_MIN, WINDOW_S, StoreClock
from jobqueue.testing import ManualClock

STORE_MS = 1_800_000_000_000


def told(late_ms: int = 0) -> tuple[StoreClock, ManualClock]:
    now = ManualClock(100.0)
    clock = StoreClock(now)
    clock.hear(STORE_MS - late_ms)
    return clock, now


def test_an_instant_of_the_store_comes_back_as_it_went() -> None:
    clock, now = told()
    assert clock.at(STORE_MS) == now()
    assert [clock.ms(clock.at(STORE_MS + ms)) for ms in range(-1500, 1500)] == [
        STORE_MS + ms for ms in range(-1500, 1500)
    ]
    assert clock.offset_s() + clock.at(STORE_MS + 7) == (STORE_MS + 7) / 1000.0


def test_the_reply_that_took_least_time_tells_the_offset() -> None:
    clock, now = told(late_ms=40)
    now.advance(1.0)
    clock.hear(STORE_MS + 1000 - 3)
    now.advance(1.0)
    clock.hear(STORE_MS + 2000 - 500)
    assert clock.ms(now()) == STORE_MS + 2000 - 3


def test_a_clock_that_was_set_back_is_followed_within_two_windows() -> None:
    clock, now = told()
    for _ in range(25):
        now.advance(1.0)
        clock.hear(clock.ms(now()) if now() < 101.0 else STORE_MS + round((now() - 100.0) * 1000) - 60_000)
    assert now() - 100.0 > 2 * WINDOW_S
    assert clock.ms(now()) == STORE_MS + 25_000 - 60_000


def test_a_drift_that_is_too_small_to_matter_moves_no_instant() -> None:
    clock, now = told()
    before = clock.offset_s()
    for second in range(1, 60):
        now.advance(1.0)
        clock.hear(STORE_MS + second * 1000 - round(STEP_S_MIN * 1000) + 1)
    assert clock.offset_s() == before
