"""CoDel: a standing queue is distinguished from a burst."""

from __future__ import annotations

from jobqueue.core.scheduling.codel import CoDel

TARGET_S = 5.0
INTERVAL_S = 100.0


def codel() -> CoDel:
    return CoDel(target_s=TARGET_S, interval_s=INTERVAL_S)


def test_waits_above_the_target_for_a_whole_interval_make_a_standing_queue() -> None:
    measure = codel()
    assert not measure.observe(10.0, waited_s=5.0, backlog=10)
    assert not measure.observe(109.9, waited_s=50.0, backlog=10)
    assert measure.observe(110.0, waited_s=5.0, backlog=10)
    assert measure.standing


def test_one_wait_below_the_target_ends_the_standing_queue_and_restarts_the_interval() -> None:
    measure = codel()
    measure.observe(0.0, waited_s=9.0, backlog=10)
    measure.observe(90.0, waited_s=4.9, backlog=10)
    assert not measure.observe(101.0, waited_s=9.0, backlog=10)
    assert not measure.observe(200.9, waited_s=9.0, backlog=10)
    assert measure.observe(201.0, waited_s=9.0, backlog=10)
    assert not measure.observe(202.0, waited_s=4.9, backlog=10)
    assert not measure.standing


def test_a_single_waiting_job_is_no_standing_queue() -> None:
    measure = codel()
    measure.observe(0.0, waited_s=500.0, backlog=2)
    assert not measure.observe(100.0, waited_s=500.0, backlog=1)
    assert not measure.observe(150.0, waited_s=500.0, backlog=2)
    assert measure.observe(250.0, waited_s=500.0, backlog=2)


def test_an_empty_queue_is_no_longer_standing() -> None:
    measure = codel()
    measure.observe(0.0, waited_s=9.0, backlog=10)
    measure.observe(100.0, waited_s=9.0, backlog=10)
    measure.ran_empty()
    assert not measure.standing
    assert not measure.observe(101.0, waited_s=9.0, backlog=10)
