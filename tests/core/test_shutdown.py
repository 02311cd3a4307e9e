"""The shutdown ends all live jobs in portions; no job starts meanwhile, and lost jobs are counted at its start."""

from __future__ import annotations

import math

import pytest

from jobqueue.core.events import Ended, LeaseLost, StopRequested
from jobqueue.core.job import Job, JobState
from jobqueue.core.policy import QueuePolicy
from jobqueue.core.report import ErrorCode, JobError
from jobqueue.core.shutdown import ENDS_MAX, LOOKS_MAX
from jobqueue.core.store_bounds import StoreBounds
from jobqueue.core.transitions import LEASE_GRACE_S
from jobqueue.errors import JobGone
from tests.core.making import Driver, make_engine

LOST_IN_QUEUE = JobError(ErrorCode.SHUTDOWN, "the server stopped while the job was queued")


def go_on(driver: Driver) -> bool:
    more = driver.engine.go_on_shutting_down(now=driver.now)
    driver.note_events()
    return more


def driver_with(queued: int) -> tuple[Driver, list[Job]]:
    driver = Driver(make_engine(queues={"default": QueuePolicy(capacity=100_000)}))
    return driver, [driver.submit() for _ in range(queued)]


def test_a_portion_ends_a_bounded_number_of_jobs_and_returns_whether_more_are_left() -> None:
    driver, jobs = driver_with(2 * ENDS_MAX + 1)
    driver.engine.begin_shut_down()
    ended = []
    while go_on(driver):
        ended.append(len(driver.of(Ended)))
    assert ended == [0, ENDS_MAX, 2 * ENDS_MAX]
    assert all(job.state is JobState.CANCELLED and job.error == LOST_IN_QUEUE for job in jobs)
    assert not driver.engine.store.live


@pytest.mark.parametrize("records", [LOOKS_MAX - 1, LOOKS_MAX, 2 * LOOKS_MAX])
def test_a_portion_visits_a_bounded_number_of_records_and_misses_none(records: int) -> None:
    driver, jobs = driver_with(1)
    driver.lease(jobs[0])
    for _ in range(records):
        driver.cancel(driver.submit())
    driver.engine.begin_shut_down()
    portions = 1
    while go_on(driver):
        portions += 1
    assert portions == math.ceil((records + 1) / LOOKS_MAX)
    assert len(driver.of(StopRequested)) == 1, "the oldest job is stopped, too"


def test_running_jobs_are_stopped_before_queued_jobs_end() -> None:
    driver, jobs = driver_with(3)
    driver.lease(jobs[0])
    driver.engine.begin_shut_down()
    driver.events.clear()
    while go_on(driver):
        pass
    assert [type(event) for event in driver.events if isinstance(event, StopRequested | Ended)] == [
        StopRequested,
        Ended,
        Ended,
    ]


def test_no_job_starts_during_a_shutdown_not_even_a_popped_one() -> None:
    driver, jobs = driver_with(3)
    taken = driver.engine.scheduler.pop(driver.now)
    driver.engine.begin_shut_down()
    assert driver.engine.lease(taken, now=driver.now) is None
    assert not driver.engine.scheduler
    with pytest.raises(IndexError):
        driver.engine.scheduler.pop(driver.now)
    while go_on(driver):
        assert driver.start_next() is None
    assert [job.attempt for job in jobs] == [0, 0, 0]
    assert taken.error == LOST_IN_QUEUE


def test_a_queue_resumed_during_a_shutdown_stays_closed() -> None:
    driver, _ = driver_with(1)
    driver.engine.begin_shut_down()
    driver.engine.set_paused("default", False)
    assert not driver.engine.scheduler
    assert driver.start_next() is None


def test_a_job_that_ends_during_a_shutdown_keeps_its_outcome() -> None:
    driver, (runs, cancelled, left) = driver_with(3)
    attempt = driver.lease(runs)
    driver.engine.begin_shut_down()
    go_on(driver)
    driver.ack(runs, attempt)
    driver.cancel(cancelled)
    while go_on(driver):
        pass
    assert (runs.state, cancelled.state, left.state) == (
        JobState.SUCCEEDED,
        JobState.CANCELLED,
        JobState.CANCELLED,
    )
    assert (runs.error, cancelled.error, left.error) == (None, None, LOST_IN_QUEUE)


def test_a_delayed_job_that_becomes_ready_during_a_shutdown_is_cancelled() -> None:
    driver = Driver()
    job = driver.submit(delay_s=1.0)
    driver.engine.begin_shut_down()
    go_on(driver)
    driver.advance(1.0)
    assert job.state is JobState.QUEUED
    assert not go_on(driver)
    assert (job.state, job.error) == (JobState.CANCELLED, LOST_IN_QUEUE)


def test_a_record_evicted_during_a_shutdown_is_skipped() -> None:
    driver = Driver(bounds=StoreBounds(ttl_s=1.0))
    job = driver.submit()
    driver.engine.begin_shut_down()
    go_on(driver)
    driver.cancel(job)
    driver.advance(2.0)
    with pytest.raises(JobGone):
        driver.engine.get(job.id)
    assert not go_on(driver)


def test_a_second_shutdown_counts_and_ends_the_jobs_left_by_the_first() -> None:
    driver, jobs = driver_with(ENDS_MAX + 2)
    driver.lease(jobs[0])
    driver.engine.begin_shut_down()
    go_on(driver)
    go_on(driver)
    assert driver.shut_down() == {JobState.DELAYED: 0, JobState.QUEUED: 1, JobState.RUNNING: 1}
    driver.advance(LEASE_GRACE_S)
    assert (len(driver.of(StopRequested)), len(driver.of(LeaseLost))) == (1, 1)
    assert not driver.engine.store.live
