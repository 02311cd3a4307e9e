"""The shutdown ends all live jobs in portions; no job starts meanwhile, and lost jobs are counted at its start."""

from __future__ import annotations

import math

import pytest

from jobqueue.core.events import Ended, LeaseLost, Ready, Requeued, StopRequested
from jobqueue.core.job import Job, JobState
from jobqueue.core.policy import QueuePolicy
from jobqueue.core.report import ErrorCode, Failure, JobError, Progress
from jobqueue.core.shutdown import ENDS_MAX, LOOKS_MAX, ShutDown
from jobqueue.core.store_bounds import StoreBounds
from jobqueue.core.transitions import LEASE_GRACE_S
from jobqueue.errors import Draining, JobGone, JournalFailed, QueueFull, StaleLease
from tests.core.making import Driver, make_engine

LOST_IN_QUEUE = JobError(ErrorCode.SHUTDOWN, "the server stopped while the job was queued")


def go_on(driver: Driver, shut_down: ShutDown) -> bool:
    more = shut_down.go_on(driver.now)
    driver.note_events()
    return more


def driver_with(queued: int) -> tuple[Driver, list[Job]]:
    driver = Driver(make_engine(queues={"default": QueuePolicy(capacity=100_000)}))
    return driver, [driver.submit() for _ in range(queued)]


def test_a_portion_ends_a_bounded_number_of_jobs_and_returns_whether_more_are_left() -> None:
    driver, jobs = driver_with(2 * ENDS_MAX + 1)
    shut_down = driver.engine.begin_shut_down()
    ended = []
    while go_on(driver, shut_down):
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
    shut_down = driver.engine.begin_shut_down()
    portions = 1
    while go_on(driver, shut_down):
        portions += 1
    assert portions == math.ceil((records + 1) / LOOKS_MAX)
    assert len(driver.of(StopRequested)) == 1, "the oldest job is stopped, too"


def test_running_jobs_are_stopped_before_queued_jobs_end() -> None:
    driver, jobs = driver_with(3)
    driver.lease(jobs[0])
    shut_down = driver.engine.begin_shut_down()
    driver.events.clear()
    while go_on(driver, shut_down):
        pass
    assert [type(event) for event in driver.events if isinstance(event, StopRequested | Ended)] == [
        StopRequested,
        Ended,
        Ended,
    ]


def test_no_job_starts_during_a_shutdown_not_even_a_popped_one() -> None:
    driver, jobs = driver_with(3)
    taken = driver.engine.scheduler.pop(driver.now)
    shut_down = driver.engine.begin_shut_down()
    assert driver.engine.lease(taken, now=driver.now) is None
    assert not driver.engine.scheduler
    with pytest.raises(IndexError):
        driver.engine.scheduler.pop(driver.now)
    while go_on(driver, shut_down):
        assert driver.start_next() is None
    assert [job.attempt for job in jobs] == [0, 0, 0]
    assert taken.error == LOST_IN_QUEUE


def test_a_queue_resumed_during_a_shutdown_stays_closed() -> None:
    driver, _ = driver_with(1)
    driver.engine.begin_shut_down()
    driver.engine.pauses.end("default")
    assert not driver.engine.scheduler
    assert driver.start_next() is None


def test_a_job_that_ends_during_a_shutdown_keeps_its_outcome() -> None:
    driver, (runs, cancelled, left) = driver_with(3)
    attempt = driver.lease(runs)
    shut_down = driver.engine.begin_shut_down()
    go_on(driver, shut_down)
    driver.ack(runs, attempt)
    driver.cancel(cancelled)
    while go_on(driver, shut_down):
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
    shut_down = driver.engine.begin_shut_down()
    go_on(driver, shut_down)
    driver.advance(1.0)
    assert job.state is JobState.QUEUED
    assert not go_on(driver, shut_down)
    assert (job.state, job.error) == (JobState.CANCELLED, LOST_IN_QUEUE)


def test_a_record_evicted_during_a_shutdown_is_skipped() -> None:
    driver = Driver(bounds=StoreBounds(ttl_s=1.0))
    job = driver.submit()
    shut_down = driver.engine.begin_shut_down()
    go_on(driver, shut_down)
    driver.cancel(job)
    driver.advance(2.0)
    with pytest.raises(JobGone):
        driver.engine.get(job.id)
    assert not go_on(driver, shut_down)


def test_a_second_shutdown_counts_and_ends_the_jobs_left_by_the_first() -> None:
    driver, jobs = driver_with(ENDS_MAX + 2)
    driver.lease(jobs[0])
    shut_down = driver.engine.begin_shut_down()
    go_on(driver, shut_down)
    go_on(driver, shut_down)
    assert driver.shut_down() == {JobState.WAITING: 0, JobState.DELAYED: 0, JobState.QUEUED: 1, JobState.RUNNING: 1}
    driver.advance(LEASE_GRACE_S)
    assert (len(driver.of(StopRequested)), len(driver.of(LeaseLost))) == (1, 1)
    assert not driver.engine.store.live


# -- kept jobs


def test_a_shutdown_that_keeps_jobs_leaves_waiting_ones_as_they_are() -> None:
    driver, (queued, other) = driver_with(2)
    delayed = driver.submit(delay_s=60.0)
    versions = [job.version for job in (queued, other, delayed)]
    driver.shut_down(keep=True)
    assert [job.state for job in (queued, other, delayed)] == [JobState.QUEUED, JobState.QUEUED, JobState.DELAYED]
    assert [job.version for job in (queued, other, delayed)] == versions
    assert driver.start_next() is None, "none starts any more"
    assert driver.engine.store.live == 3
    assert not driver.of(Ended)


def test_running_attempts_go_on_until_a_shutdown_that_keeps_jobs_stops_them() -> None:
    driver, (runs, _) = driver_with(2)
    attempt = driver.lease(runs)
    shut_down = driver.engine.begin_shut_down(keep=True)
    driver.note_events()
    assert not driver.of(StopRequested)
    driver.ack(runs, attempt)
    assert runs.state is JobState.SUCCEEDED
    assert not go_on(driver, shut_down)
    assert shut_down.given_back == 0


def test_a_stopped_attempt_is_given_back_uncharged_and_its_job_is_the_first_of_its_queue() -> None:
    driver, (_, runs) = driver_with(2)
    attempt = driver.lease(runs)
    driver.engine.report(runs.id, attempt=attempt, progress=Progress(0.5, "half"))
    attempts_left = runs.attempts_max - runs.attempt + 1
    shut_down = driver.engine.begin_shut_down(keep=True)
    go_on(driver, shut_down)
    driver.engine.stopped(runs.id, attempt=attempt, now=driver.now)
    driver.note_events()
    assert (runs.state, runs.attempt, runs.attempts_before) == (JobState.QUEUED, attempt, 1)
    assert runs.attempts_max - runs.attempt == attempts_left, "the next attempt is as good as the stopped one"
    assert (runs.stopping, runs.progress, runs.error, runs.history) == (None, None, None, None)
    assert driver.engine.scheduler.position(runs) == 1
    assert shut_down.given_back == 1
    assert [type(event) for event in driver.events[-2:]] == [Requeued, Ready], "the journal learns of it"


def test_a_late_outcome_of_an_attempt_that_was_given_back_is_stale() -> None:
    driver, (runs,) = driver_with(1)
    attempt = driver.lease(runs)
    driver.shut_down(keep=True)
    driver.advance(LEASE_GRACE_S)
    assert len(driver.of(LeaseLost)) == 1
    assert runs.state is JobState.QUEUED, "a handler that ignores its stop doesn't cost the job its attempt"
    with pytest.raises(StaleLease):
        driver.ack(runs, attempt)


def test_a_failure_reported_in_answer_to_the_stop_costs_no_attempt() -> None:
    driver, (runs,) = driver_with(1)
    attempt = driver.lease(runs)
    driver.shut_down(keep=True)
    driver.nack(runs, attempt, Failure(ErrorCode.HANDLER_ERROR, "interrupted"))
    assert (runs.state, runs.attempts_before, runs.history) == (JobState.QUEUED, 1, None)


def test_a_success_that_overtakes_the_stop_stands() -> None:
    driver, (runs,) = driver_with(1)
    attempt = driver.lease(runs)
    driver.shut_down(keep=True)
    driver.ack(runs, attempt)
    assert runs.state is JobState.SUCCEEDED


def test_an_attempt_that_fails_while_jobs_are_kept_has_its_next_one() -> None:
    driver = Driver()
    again, last = driver.submit(attempts_max=2), driver.submit(attempts_max=1)
    for job in (again, last):
        driver.lease(job)
    driver.engine.begin_shut_down(keep=True)
    for job in (again, last):
        driver.nack(job)
    assert (again.state, last.state) == (JobState.DELAYED, JobState.FAILED)
    assert again.attempts_before == 0, "the handler failed by itself, so its attempt counts"


def test_a_cancelled_attempt_is_not_kept() -> None:
    driver, (runs,) = driver_with(1)
    attempt = driver.lease(runs)
    driver.cancel(runs)
    driver.shut_down(keep=True)
    driver.engine.stopped(runs.id, attempt=attempt, now=driver.now)
    assert runs.state is JobState.CANCELLED


def test_an_attempt_that_times_out_while_jobs_are_kept_is_charged() -> None:
    driver = Driver()
    runs = driver.submit(timeout_s=1.0, attempts_max=2)
    attempt = driver.lease(runs)
    shut_down = driver.engine.begin_shut_down(keep=True)
    driver.advance(1.0)
    go_on(driver, shut_down)
    driver.engine.stopped(runs.id, attempt=attempt, now=driver.now)
    assert (runs.state, runs.attempts_before) == (JobState.DELAYED, 0)


def test_a_drain_admits_jobs_that_follow_from_others_and_no_others() -> None:
    driver = Driver(make_engine(capacity=1, follow_ups=frozenset({"after"})))
    driver.engine.stop_admitting()
    with pytest.raises(Draining):
        driver.submit(type="t")
    assert driver.submit(type="after").live
    with pytest.raises(QueueFull):
        driver.submit(type="after")


def test_a_drain_rejects_the_retry_of_a_job_that_followed_from_another() -> None:
    driver = Driver(make_engine(follow_ups=frozenset({"after"})))
    job = driver.failed(type="after")
    driver.engine.stop_admitting()
    with pytest.raises(Draining):
        driver.retry(job)
    assert job.state is JobState.FAILED


@pytest.mark.parametrize("keep", [True, False])
def test_a_shutdown_admits_jobs_that_follow_from_others_only_if_it_keeps_them(keep: bool) -> None:
    driver = Driver(make_engine(follow_ups=frozenset({"after"})))
    driver.engine.begin_shut_down(keep=keep)
    if keep:
        assert driver.submit(type="after").live
    else:
        with pytest.raises(Draining):
            driver.submit(type="after")


def test_nothing_follows_where_admission_is_closed_for_another_reason_than_a_drain() -> None:
    driver = Driver(make_engine(follow_ups=frozenset({"after"})))
    driver.engine.admission.close(lambda: JournalFailed("the disk is full", 1.0))
    with pytest.raises(JournalFailed):
        driver.submit(type="after")
