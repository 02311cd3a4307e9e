"""Tests of schedules: which ticks are due, and what follows from their outcomes."""

from __future__ import annotations

from datetime import UTC
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobqueue.core.job import JobId
from jobqueue.core.recurrence import Cron, Every
from jobqueue.core.schedule import CatchUp, Plan, Schedule, SchedulePause
from jobqueue.core.schedules import CATCH_UP_MAX, LISTED_MAX, LISTED_OF_OWNER_MAX, Due, Outcome, Schedules

DONE = Outcome(job_id=JobId("j"))
REJECTED = Outcome(error="the queue is full", retry_after_s=5.0)


def plan(every_s: float = 60, **options: Any) -> Plan:
    return Plan(recurrence=Every(every_s), **options)


def schedules(*plans: Plan, now: float = 0.0) -> Schedules:
    made = Schedules(Random(1))
    for number, each in enumerate(plans):
        made.add((None, str(number)), each, reached=now, now=now)
    return made


def the(made: Schedules) -> Schedule:
    (one,) = made
    return one


def settled(made: Schedules, now: float) -> list[float]:
    """Take all that is due, have each tick submitted, and return the instants."""
    instants: list[float] = []
    while taken := made.take(now):
        for due in taken:
            made.settle(due, [DONE] * len(due.instants), now)
            instants.extend(due.instants)
    return instants


def test_a_tick_comes_at_its_instant_and_once() -> None:
    made = schedules(plan(60), now=10.0)
    assert made.next_at() == 60.0
    assert made.take(59.9) == []
    assert settled(made, 60.0) == [60.0]
    assert made.take(119.9) == []
    assert made.next_at() == 120.0


def test_a_schedule_gives_no_tick_while_one_is_on_its_way() -> None:
    made = schedules(plan(60))
    (due,) = made.take(60.0)
    assert made.next_at() is None
    assert made.take(180.0) == []
    made.settle(due, [DONE], 180.0)
    assert settled(made, 180.0) == [180.0]


@pytest.mark.parametrize(
    ("catch_up", "expected"), [("none", []), ("one", [36_000.0]), ("all", [3600.0 * n for n in range(1, 11)])]
)
def test_instants_that_have_passed_get_the_ticks_that_catch_up_says(catch_up: CatchUp, expected: list[float]) -> None:
    made = schedules(plan(3600, catch_up=catch_up, overlap="queue"))
    assert settled(made, 36_000.0 + 61.0) == expected
    assert the(made).missed_total == 10 - len(expected)


def test_a_late_loop_costs_no_tick_without_catch_up() -> None:
    made = schedules(plan(3600, catch_up="none"))
    assert settled(made, 3630.0) == [3600.0]
    assert the(made).missed_total == 0


def test_catch_up_is_bounded_and_the_next_tick_is_that_after_now() -> None:
    made = schedules(plan(1, catch_up="all", overlap="queue"))
    instants = settled(made, 1_000_000.5)
    assert instants == [float(n) for n in range(1, CATCH_UP_MAX + 1)]
    assert made.next_at() == 1_000_001.0
    assert the(made).missed_total > 0


@pytest.mark.parametrize("recurrence", [Every(1), Cron("* * * 1 *", UTC)])
def test_a_stop_of_ten_years_takes_bounded_work_and_gives_the_last_instant(recurrence: Every | Cron) -> None:
    made = schedules(Plan(recurrence=recurrence))
    now = 10 * 365.25 * 86_400
    (instant,) = settled(made, now)
    assert instant == recurrence.latest(60.0, now)


def test_a_pause_holds_ticks_back_and_its_end_catches_up() -> None:
    made = schedules(plan(60))
    made.pause(the(made), SchedulePause(since=0.0))
    assert made.next_at() is None
    assert made.take(300.0) == []
    made.resume(the(made))
    assert settled(made, 300.0) == [300.0]
    assert the(made).missed_total == 4


def test_a_rejected_tick_is_tried_again_after_the_time_that_the_rejection_names() -> None:
    made = schedules(plan(60))
    (due,) = made.take(60.0)
    made.settle(due, [REJECTED], 60.1)
    assert (made.next_at(), the(made).error, the(made).rejected_total) == (65.1, "the queue is full", 1)
    assert settled(made, 65.1) == [60.0]
    assert (made.next_at(), the(made).error, the(made).submitted_total) == (120.0, None, 1)


def test_a_rejected_tick_gives_way_to_the_next_instant() -> None:
    made = schedules(plan(60))
    (due,) = made.take(60.0)
    made.settle(due, [Outcome(error="full", retry_after_s=1000.0)], 60.0)
    assert made.next_at() == 120.0
    assert settled(made, 120.0) == [120.0]
    assert the(made).missed_total == 1


def test_of_several_ticks_the_first_rejected_one_and_those_after_it_are_tried_again() -> None:
    made = schedules(plan(60, catch_up="all", overlap="queue"))
    (due,) = made.take(180.0)
    made.settle(due, [DONE, REJECTED, DONE], 180.0)
    assert settled(made, 185.0) == [120.0, 180.0]


def test_a_removed_schedule_gives_no_more_ticks() -> None:
    made = schedules(plan(60))
    (due,) = made.take(60.0)
    made.remove((None, "0"))
    made.settle(due, [REJECTED], 60.0)
    assert (len(made), made.next_at()) == (0, None)


def test_a_plan_that_changes_during_a_tick_counts_from_its_end() -> None:
    made = schedules(plan(60))
    (due,) = made.take(60.0)
    made.add((None, "0"), plan(45), reached=60.0, now=60.0)
    made.settle(due, [DONE], 61.0)
    assert made.next_at() == 90.0


def test_jitter_puts_a_tick_off_within_its_bound_and_skips_no_instant() -> None:
    made = schedules(plan(60, jitter_s=50.0, catch_up="all", overlap="queue"))
    instants: list[float] = []
    while len(instants) < 50 and (at := made.next_at()) is not None:
        planned = the(made).planned
        assert planned is not None
        assert planned <= at <= planned + 50.0
        instants += settled(made, at)
    assert instants == [60.0 * n for n in range(1, 51)]


def test_a_wall_clock_that_is_set_back_costs_an_interval_no_tick() -> None:
    made = schedules(plan(60), now=7200.0)
    made.clock_set_back(3600.0, 3600.0)
    assert made.next_at() == 3660.0


@pytest.mark.parametrize(("by_h", "next_h"), [(1.5, 27), (4, 3)])
def test_a_wall_clock_that_is_corrected_gives_no_time_of_day_twice(by_h: float, next_h: float) -> None:
    made = schedules(Plan(recurrence=Cron("0 3 * * *", UTC)), now=4 * 3600.0)
    made.clock_set_back(by_h * 3600, (4 - by_h) * 3600)
    assert made.next_at() == next_h * 3600.0


@pytest.mark.parametrize(
    ("recurrence", "ahead_s", "next_at"),
    [
        (Every(60), 0.5, 86_460.0),
        (Every(60), 3600.0, 82_860.0),
        (Cron("* * * * *", UTC), 3600.0, 86_460.0),
        (Cron("* * * * *", UTC), 4 * 3600.0, 72_060.0),
    ],
)
def test_an_instant_that_a_clock_ahead_has_reached_silences_no_schedule(
    recurrence: Every | Cron, ahead_s: float, next_at: float
) -> None:
    made = Schedules(Random(1))
    for _ in range(2):  # after a restart; with a new plan
        made.add((None, "0"), Plan(recurrence=recurrence), reached=86_400.0, now=86_400.0 - ahead_s)
        assert made.next_at() == next_at
        assert the(made).reached == 86_400.0


def test_instants_beyond_the_reach_are_missed() -> None:
    made = Schedules(Random(1), reach_back_s=60.0)
    made.add((None, "nightly"), plan(3600), reached=0.0, now=0.0)
    assert settled(made, 3600.0 + 61.0) == []
    assert the(made).missed_total == 1


def test_pauses_and_ends_of_pauses_leave_nothing_behind() -> None:
    made = schedules(*[plan(3600)] * 10)
    for _ in range(1000):
        for schedule in made:
            made.pause(schedule, SchedulePause(since=0.0))
            made.resume(schedule)
    assert len(made._waiting) < 200


def test_ten_thousand_schedules_are_handed_out_in_portions() -> None:
    made = schedules(*[plan(60)] * 10_000)
    portion = made.take(60.0)
    assert 0 < len(portion) <= 64
    assert len(portion) + len(settled(made, 60.0)) == 10_000


@given(
    st.lists(
        st.tuples(st.sampled_from(["tick", "reject", "pause", "resume", "replan"]), st.integers(1, 400)), max_size=60
    )
)
def test_each_instant_has_one_tick_at_most(steps: list[tuple[str, int]]) -> None:
    made = schedules(plan(60, catch_up="all", overlap="queue"))
    now, given_out, under_way = 0.0, list[float](), list[Due]()
    for step, seconds in steps:
        now += seconds
        match step:
            case "pause":
                made.pause(the(made), SchedulePause(since=now))
            case "resume":
                made.resume(the(made))
            case "replan":
                made.add((None, "0"), plan(60, catch_up="all", overlap="queue"), reached=the(made).reached, now=now)
            case _:
                under_way += made.take(now)
                while under_way and seconds % 3:
                    due = under_way.pop()
                    outcomes = [DONE] * len(due.instants)
                    if step == "reject":
                        outcomes[-1] = REJECTED
                    made.settle(due, outcomes, now)
                    given_out += due.instants[: len(due.instants) - (step == "reject")]
    assert len(given_out) == len(set(given_out))
    assert the(made).submitted_total == len(given_out)


def test_counts_of_all_schedules_keep_those_of_removed_ones() -> None:
    made = schedules(plan(60), plan(60))
    settled(made, 180.0)
    for due in made.take(240.0):
        made.settle(due, [REJECTED], 241.0)
    made.remove((None, "0"))
    counts = made.figures(0.0).counts
    assert (made.figures(0.0).schedules, counts.submitted_total, counts.missed_total, counts.rejected_total) == (
        1,
        2,
        4,
        2,
    )
    assert (sum(counts.drift_counts), counts.drift_sum_s) == (2, 0.0)


def kinds(made: Schedules, now: float) -> dict[str, int]:
    """Return the troubles of one schedule, each with its times in a row."""
    return {trouble.kind: trouble.count for trouble in made.figures(now).troubles}


def ticks(made: Schedules, outcome: Outcome, instants: list[float], *, late_s: float = 0.0) -> None:
    for instant in instants:
        (due,) = made.take(instant + late_s)
        made.settle(due, [outcome], instant + late_s)


def test_the_third_rejection_in_a_row_is_a_trouble_and_a_success_ends_it() -> None:
    made = schedules(plan(60))
    full = Outcome(error="the queue is full", retry_after_s=5.0)
    ticks(made, full, [60.0, 65.0])
    assert kinds(made, 65.0) == {}
    ticks(made, full, [70.0])
    (trouble,) = made.figures(70.0).troubles
    assert (trouble.kind, trouble.since, trouble.reason) == ("rejected", 60.0, "the queue is full")
    assert made.figures(70.0).troubled == {"rejected": 1}
    ticks(made, DONE, [75.0])
    assert kinds(made, 75.0) == {}


def test_ticks_that_are_skipped_are_a_trouble_after_ten_minutes() -> None:
    made = schedules(plan(60))
    ticks(made, Outcome(), [60.0 * number for number in range(1, 11)])
    assert kinds(made, 659.0) == {}
    assert kinds(made, 660.0) == {"skipped": 10}
    ticks(made, DONE, [660.0])
    assert kinds(made, 1300.0) == {}


def test_three_ticks_that_are_over_a_minute_late_are_a_trouble() -> None:
    made = schedules(plan(600))
    ticks(made, DONE, [600.0, 1200.0, 1800.0], late_s=60.0)
    assert kinds(made, 1900.0) == {}
    ticks(made, DONE, [2400.0, 3000.0, 3600.0], late_s=60.1)
    assert kinds(made, 3700.0) == {"late": 3}
    ticks(made, DONE, [4200.0])
    assert kinds(made, 4300.0) == {}


def test_three_jobs_that_fail_are_a_trouble_and_one_that_succeeds_ends_it() -> None:
    made = schedules(plan(60))
    id = the(made).id
    for at in (61.0, 121.0, 181.0):
        assert kinds(made, at) == {}
        made.note_end(id, at, "handler_error: x")
    assert kinds(made, 181.0) == {"failed": 3}
    made.note_end(id, 241.0, None)
    assert kinds(made, 241.0) == {}


@pytest.mark.parametrize("removed", [False, True])
def test_a_pause_and_a_removal_end_the_troubles_of_a_schedule(*, removed: bool) -> None:
    made = schedules(plan(60))
    schedule = the(made)
    for _ in range(3):
        made.note_end(schedule.id, 61.0, "handler_error: x")
    made.remove(schedule.id) if removed else made.pause(schedule, SchedulePause(since=62.0))
    made.note_end(schedule.id, 63.0, "handler_error: x")
    assert kinds(made, 63.0) == {}


@pytest.mark.parametrize(("owner", "listed"), [(None, LISTED_MAX), ("ann", LISTED_OF_OWNER_MAX)])
def test_all_troubles_are_counted_and_a_bounded_number_is_listed(owner: str | None, listed: int) -> None:
    made = Schedules(Random(1))
    for number in range(LISTED_MAX + 1):
        schedule = made.add((owner, str(number)), plan(60), reached=0.0, now=0.0)
        for _ in range(3):
            made.note_end(schedule.id, 61.0, "handler_error: x")
    figures = made.figures(61.0)
    assert (figures.troubled, len(figures.troubles)) == ({"failed": LISTED_MAX + 1}, listed)
