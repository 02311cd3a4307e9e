"""CoDel: when a queue stands, and when it is a burst."""

from __future__ import annotations

from jobqueue.core.scheduling.codel import CoDel

TARGET_S = 5.0
INTERVAL_S = 100.0


def codel() -> CoDel:
    return CoDel(target_s=TARGET_S, interval_s=INTERVAL_S)


def test_a_wait_above_the_target_makes_a_standing_queue_only_after_a_whole_interval() -> None:
    measure = codel()
    assert not measure.observe(10.0, waited_s=5.0, backlog=10)
    assert not measure.observe(109.9, waited_s=50.0, backlog=10)
    assert measure.observe(110.0, waited_s=5.0, backlog=10)
    assert measure.standing


def test_one_short_wait_says_that_there_is_no_standing_queue_and_the_interval_begins_anew() -> None:
    measure = codel()
    measure.observe(0.0, waited_s=9.0, backlog=10)
    measure.observe(90.0, waited_s=4.9, backlog=10)
    assert not measure.observe(101.0, waited_s=9.0, backlog=10)
    assert not measure.observe(200.9, waited_s=9.0, backlog=10)
    assert measure.observe(201.0, waited_s=9.0, backlog=10)
    assert not measure.observe(202.0, waited_s=4.9, backlog=10)
    assert not measure.standing


def test_a_single_job_that_is_left_is_no_queue_however_long_they_waited() -> None:
    measure = codel()
    measure.observe(0.0, waited_s=500.0, backlog=2)
    assert not measure.observe(100.0, waited_s=500.0, backlog=1)
    assert not measure.observe(150.0, waited_s=500.0, backlog=2)
    assert measure.observe(250.0, waited_s=500.0, backlog=2)


def test_a_queue_that_ran_empty_stands_no_longer() -> None:
    measure = codel()
    measure.observe(0.0, waited_s=9.0, backlog=10)
    measure.observe(100.0, waited_s=9.0, backlog=10)
    measure.ran_empty()
    assert not measure.standing
    assert not measure.observe(101.0, waited_s=9.0, backlog=10)
