from __future__ import annotations

import pytest

from jobqueue.core.events import (
    AttemptFailed,
    BackedOff,
    Ended,
    Evicted,
    LeaseLost,
    Offered,
    Progressed,
    Ready,
    Started,
    StopRequested,
)
from jobqueue.core.job import TRANSITIONS, JobSpec, JobState, StopReason, Uniqueness
from jobqueue.core.policy import Discipline, Limits, QueuePolicy
from jobqueue.core.rate import Rate
from jobqueue.core.report import MESSAGE_LENGTH_MAX, ErrorCode, Failure, JobError, Progress, Success
from jobqueue.core.store_bounds import StoreBounds
from jobqueue.core.stored_file import StoredFile, Upload
from jobqueue.core.transitions import LEASE_GRACE_S
from jobqueue.core.tuning import TUNING
from jobqueue.errors import Draining, JobGone, JobNotFound, QueueFull, StaleLease, StatusesFull, WrongState
from tests.core.making import CRASHED, FAILED, Driver, make_engine

# -- states


def test_an_accepted_job_is_readable_at_once() -> None:
    driver = Driver()
    job = driver.submit()
    assert driver.engine.get(job.id) is job
    assert job.state is JobState.QUEUED
    assert driver.of(Ready)


def test_a_job_succeeds_with_its_result() -> None:
    driver = Driver()
    job = driver.submit()
    driver.now += 2
    attempt = driver.lease(job)
    assert (job.state, job.started_at, attempt) == (JobState.RUNNING, 1002.0, 1)
    driver.now += 3
    driver.ack(job, attempt, Success(b'{"a":1}'))
    assert (job.state, job.result, job.finished_at) == (JobState.SUCCEEDED, b'{"a":1}', 1005.0)
    assert driver.of(Ended)


def test_a_job_fails_with_its_error() -> None:
    driver = Driver()
    job = driver.submit()
    driver.nack(job, driver.lease(job))
    assert job.state is JobState.FAILED
    assert job.error is not None
    assert (job.error.code, job.error.message) == (ErrorCode.HANDLER_ERROR, "boom")


def test_an_error_message_is_cut_to_its_bound() -> None:
    driver = Driver()
    job = driver.submit()
    driver.nack(job, driver.lease(job), Failure(ErrorCode.HANDLER_ERROR, "x" * 5000))
    assert job.error is not None
    assert len(job.error.message) == MESSAGE_LENGTH_MAX


def test_a_transition_missing_from_the_table_raises_an_error() -> None:
    job = Driver().submit()
    for state in (JobState.SUCCEEDED, JobState.EXPIRED):
        assert not TRANSITIONS[state]
    assert TRANSITIONS[JobState.FAILED] == {JobState.QUEUED, JobState.WAITING}, "a retry, and nothing else"
    assert TRANSITIONS[JobState.CANCELLED] == {JobState.WAITING}, "the retry of its flow, and nothing else"
    with pytest.raises(ValueError, match="can't move from queued to succeeded"):
        job.move(JobState.SUCCEEDED)
    assert job.state is JobState.QUEUED


def test_each_visible_change_increments_the_version() -> None:
    driver = Driver()
    job = driver.submit(timeout_s=60)
    versions = [job.version]
    assert job.version == 0
    attempt = driver.lease(job)
    versions.append(job.version)
    driver.engine.report(job.id, attempt=attempt, progress=Progress(0.5))
    versions.append(job.version)
    driver.cancel(job)
    versions.append(job.version)
    driver.nack(job, attempt)
    versions.append(job.version)
    assert versions == [0, 1, 2, 3, 4], "by one each time"


def test_progress_is_stored_and_reset_at_each_attempt() -> None:
    driver = Driver()
    job = driver.submit(attempts_max=2)
    driver.engine.report(job.id, attempt=driver.lease(job), progress=Progress(0.5, "half"))
    driver.note_events()
    assert job.progress == Progress(0.5, "half")
    assert driver.of(Progressed) == [Progressed(job)]
    driver.nack(job, 1, CRASHED)
    driver.lease(job)
    assert job.progress is None


# -- leases and fencing


def test_a_late_ack_cannot_overwrite_the_newer_attempt() -> None:
    driver = Driver()
    job = driver.submit(attempts_max=2)
    old = driver.lease(job)
    driver.nack(job, old, CRASHED)
    new = driver.lease(job)
    assert (old, new) == (1, 2)
    with pytest.raises(StaleLease):
        driver.ack(job, old, Success(b'"late"'))
    driver.ack(job, new, Success(b'"new"'))
    assert job.result == b'"new"'


def test_a_second_outcome_raises_stale_lease() -> None:
    driver = Driver()
    job = driver.done()
    with pytest.raises(StaleLease):
        driver.nack(job, 1)
    with pytest.raises(StaleLease):
        driver.engine.report(job.id, attempt=1, progress=Progress(0.1))
    assert job.state is JobState.SUCCEEDED


def test_an_outcome_of_an_unknown_job_raises_stale_lease() -> None:
    driver = Driver()
    job = driver.done()
    driver.engine.delete(job.id)
    with pytest.raises(StaleLease):
        driver.ack(job, 1)


def test_a_running_job_is_not_leased_twice() -> None:
    driver = Driver()
    job = driver.submit()
    assert driver.try_lease(job)
    assert driver.engine.lease(job, now=driver.now) is None
    driver.note_events()
    assert (job.attempt, len(driver.of(Started))) == (1, 1)


def test_a_timeout_requests_a_stop_and_the_job_fails_as_timed_out() -> None:
    driver = Driver()
    job = driver.submit(timeout_s=5)
    attempt = driver.lease(job)
    driver.advance(4.9)
    assert not driver.of(StopRequested)
    driver.advance(0.1)
    assert driver.of(StopRequested)
    assert job.stopping is StopReason.TIMED_OUT
    driver.nack(job, attempt)
    assert job.error is not None
    assert job.error.code is ErrorCode.TIMED_OUT
    assert "5 s" in job.error.message


def test_an_excused_gap_extends_the_deadlines_of_running_attempts() -> None:
    driver = Driver()
    running, delayed = driver.submit(timeout_s=5), driver.submit(delay_s=5)
    attempt = driver.lease(running)

    driver.engine.excuse(6.0)
    driver.advance(10.9)

    assert not driver.of(StopRequested)
    assert delayed.state is JobState.QUEUED
    driver.advance(0.2)
    assert driver.of(StopRequested)
    driver.engine.excuse(6.0)
    driver.advance(LEASE_GRACE_S + 5.0)
    assert running.state is JobState.RUNNING
    driver.nack(running, attempt)
    assert running.state is JobState.FAILED


def test_a_success_reported_after_the_timeout_fails_the_job() -> None:
    driver = Driver()
    job = driver.submit(timeout_s=5)
    attempt = driver.lease(job)
    driver.advance(5.5)
    driver.ack(job, attempt)
    assert job.state is JobState.FAILED
    assert job.result is None


def test_an_attempt_that_ignores_its_stop_loses_its_lease_after_the_grace_period() -> None:
    driver = Driver()
    job = driver.submit(timeout_s=5)
    attempt = driver.lease(job)
    driver.advance(5 + LEASE_GRACE_S - 0.01)
    assert job.state is JobState.RUNNING
    driver.advance(0.01)
    assert driver.of(LeaseLost)
    assert job.state is JobState.FAILED
    with pytest.raises(StaleLease):
        driver.ack(job, attempt)


def test_a_job_without_a_timeout_runs_without_limit() -> None:
    driver = Driver()
    job = driver.submit()
    attempt = driver.lease(job)
    driver.advance(1e6)
    driver.ack(job, attempt)
    assert job.state is JobState.SUCCEEDED


# -- attempts


def test_a_failed_attempt_is_repeated_after_its_backoff() -> None:
    driver = Driver()
    job = driver.submit(attempts_max=2)
    driver.nack(job, driver.lease(job))
    assert job.state is JobState.DELAYED
    assert driver.of(BackedOff)
    assert driver.now <= job.run_at <= driver.now + 1.0
    driver.advance(1.0)
    assert job.state is JobState.QUEUED
    driver.ack(job, driver.lease(job))
    assert (job.state, job.attempt) == (JobState.SUCCEEDED, 2)


def test_a_failure_can_set_the_delay_before_the_next_attempt() -> None:
    driver = Driver()
    job = driver.submit(attempts_max=2)
    driver.nack(job, driver.lease(job), Failure(ErrorCode.HANDLER_ERROR, "later", retry_after_s=30))
    assert job.run_at == driver.now + 30


def test_a_job_runs_at_most_attempts_max_times() -> None:
    driver = Driver()
    job = driver.submit(attempts_max=3)
    for attempt in (1, 2, 3):
        assert driver.lease(job) == attempt
        driver.nack(job, attempt)
        driver.advance(60)
    assert job.state is JobState.FAILED
    assert not driver.try_lease(job)


def test_a_final_failure_ends_the_job_with_attempts_left() -> None:
    driver = Driver()
    job = driver.submit(attempts_max=5)
    driver.nack(job, driver.lease(job), Failure(ErrorCode.REJECTED, "no", final=True))
    assert job.state is JobState.FAILED


def test_a_crashed_job_returns_to_the_front_without_backoff() -> None:
    driver = Driver()
    job = driver.submit(attempts_max=2)
    attempt = driver.lease(job)
    driver.submit()
    driver.nack(job, attempt, CRASHED)
    assert job.state is JobState.QUEUED
    assert driver.start_next() is job


def test_a_timed_out_attempt_counts_and_the_next_attempt_can_succeed() -> None:
    driver = Driver()
    job = driver.submit(attempts_max=2, timeout_s=1)
    driver.lease(job)
    driver.advance(1 + LEASE_GRACE_S)
    driver.advance(1.0)
    driver.ack(job, driver.lease(job))
    assert (job.state, job.attempt) == (JobState.SUCCEEDED, 2)


# -- capacity


def test_a_full_queue_rejects_a_submission_and_stores_nothing() -> None:
    driver = Driver(capacity=2)
    driver.submit()
    driver.submit()
    with pytest.raises(QueueFull) as refusal:
        driver.submit()
    assert refusal.value.retry_after_s > 0
    assert len(driver.engine.store) == 2
    assert driver.engine.queue_states["default"].refused_total == 1
    assert driver.submit(queue="other")


def test_delayed_queued_and_running_jobs_hold_a_slot() -> None:
    driver = Driver(capacity=3)
    driver.submit(delay_s=60)
    driver.submit()
    driver.lease(driver.submit())
    with pytest.raises(QueueFull):
        driver.submit()


def test_a_job_keeps_its_slot_during_backoff() -> None:
    driver = Driver(capacity=1)
    job = driver.submit(attempts_max=2)
    driver.nack(job, driver.lease(job))
    with pytest.raises(QueueFull):
        driver.submit()
    driver.advance(1)
    driver.ack(job, driver.lease(job))
    assert driver.submit()


@pytest.mark.parametrize("ending", ["ack", "cancel", "expire"])
def test_a_terminal_job_releases_its_slot(ending: str) -> None:
    driver = Driver(capacity=1)
    job = driver.submit(start_by_s=5)
    if ending == "ack":
        driver.ack(job, driver.lease(job))
    elif ending == "cancel":
        driver.cancel(job)
    else:
        driver.advance(5)
    assert driver.submit()


# -- delay and start-by


def test_a_delayed_job_becomes_ready_at_run_at() -> None:
    driver = Driver()
    job = driver.submit(delay_s=10)
    assert job.state is JobState.DELAYED
    assert not driver.try_lease(job)
    driver.advance(9.9)
    assert job.state is JobState.DELAYED
    driver.advance(0.1)
    assert job.state is JobState.QUEUED
    assert driver.of(Ready)


@pytest.mark.parametrize("delay_s", [0.001, 0.5, 1.0])
def test_a_delay_can_be_a_millisecond(delay_s: float) -> None:
    driver = Driver()
    job = driver.submit(delay_s=delay_s)
    assert job.state is JobState.DELAYED
    driver.advance(delay_s)
    assert job.state is JobState.QUEUED


def test_a_job_not_started_by_its_start_by_deadline_expires() -> None:
    driver = Driver()
    job = driver.submit(start_by_s=5)
    driver.advance(4.9)
    assert job.state is JobState.QUEUED
    driver.advance(0.1)
    assert job.state is JobState.EXPIRED
    assert driver.of(Ended) == [Ended(job)]


def test_a_lease_checks_the_start_by_deadline() -> None:
    driver = Driver()
    job = driver.submit(start_by_s=5)
    driver.now += 5  # before the next tick
    assert not driver.try_lease(job)
    assert job.state is JobState.EXPIRED


def test_a_job_started_in_time_does_not_expire_between_attempts() -> None:
    driver = Driver()
    job = driver.submit(start_by_s=5, attempts_max=2)
    attempt = driver.lease(job)
    driver.advance(10)
    driver.nack(job, attempt)
    driver.advance(1)
    driver.ack(job, driver.lease(job))
    assert job.state is JobState.SUCCEEDED


def test_a_delayed_job_with_start_by_at_its_run_at_expires() -> None:
    driver = Driver()
    job = driver.submit(delay_s=3, start_by_s=3)
    driver.advance(3)
    assert job.state is JobState.EXPIRED


# -- cancel and delete


def test_a_waiting_job_is_cancelled_at_once() -> None:
    driver = Driver()
    for job in (driver.submit(), driver.submit(delay_s=10)):
        driver.cancel(job)
        assert job.state is JobState.CANCELLED
        assert not driver.try_lease(job)


def test_a_running_job_is_cancelled_once_its_handler_stops() -> None:
    driver = Driver()
    job = driver.submit()
    attempt = driver.lease(job)
    driver.cancel(job)
    assert (job.state, job.stopping) == (JobState.RUNNING, StopReason.CANCELLED)
    driver.cancel(job)
    assert len(driver.of(StopRequested)) == 1
    driver.nack(job, attempt)
    assert job.state is JobState.CANCELLED


def test_an_attempt_that_stops_on_request_ends_its_job_as_cancelled() -> None:
    driver = Driver()
    job = driver.submit()
    attempt = driver.lease(job)
    driver.cancel(job)
    driver.now += 0.5
    driver.engine.stopped(job.id, attempt=attempt, now=driver.now)
    driver.note_events()
    assert (job.state, job.finished_at, job.error, job.history) == (JobState.CANCELLED, driver.now, None, None)
    with pytest.raises(StaleLease):
        driver.engine.stopped(job.id, attempt=attempt, now=driver.now)


def test_an_attempt_that_stops_after_its_timeout_fails_as_timed_out() -> None:
    driver = Driver()
    job = driver.submit(timeout_s=5.0)
    attempt = driver.lease(job)
    driver.advance(5.0)
    driver.now += 0.5
    driver.engine.stopped(job.id, attempt=attempt, now=driver.now)
    assert job.state is JobState.FAILED
    assert job.finished_at == driver.now
    assert job.error == JobError(ErrorCode.TIMED_OUT, "the attempt ran longer than its timeout of 5.0 s")


def test_an_error_while_a_cancelled_attempt_stops_is_an_event_and_no_failure() -> None:
    driver = Driver()
    job, other = driver.submit(attempts_max=3), driver.submit()
    error = Failure(ErrorCode.HANDLER_ERROR, "clean-up failed", traceback="Traceback ...")
    for each, failure in ((job, error), (other, FAILED)):
        driver.lease(each)
        driver.cancel(each)
        driver.now += 0.5
        driver.nack(each, failure=failure)
        assert (each.state, each.error, each.history) == (JobState.CANCELLED, None, None)
    assert driver.of(AttemptFailed) == [AttemptFailed(job, 1, error, driver.now - 0.5)], (
        "one without a traceback is none"
    )


def test_the_traceback_of_an_attempt_that_stops_after_its_timeout_is_kept() -> None:
    driver = Driver()
    job = driver.submit(timeout_s=5.0)
    driver.lease(job)
    driver.advance(5.0)
    driver.nack(job, failure=Failure(ErrorCode.HANDLER_ERROR, "stopped", traceback="Traceback ..."))
    assert [(failed.code, failed.traceback) for failed in job.history or ()] == [(ErrorCode.TIMED_OUT, "Traceback ...")]


def test_only_an_attempt_with_a_stop_request_can_stop() -> None:
    driver = Driver()
    job = driver.submit()
    attempt = driver.lease(job)
    with pytest.raises(AssertionError, match=r"^an attempt that stops was told to$"):
        driver.engine.stopped(job.id, attempt=attempt, now=driver.now)
    with pytest.raises(StaleLease, match=f"attempt 2 of job {job.id} no longer holds its lease"):
        driver.engine.stopped(job.id, attempt=2, now=driver.now)
    assert job.state is JobState.RUNNING


def test_a_success_after_a_cancel_request_stands() -> None:
    driver = Driver()
    job = driver.submit()
    attempt = driver.lease(job)
    driver.cancel(job)
    driver.ack(job, attempt)
    assert job.state is JobState.SUCCEEDED


def test_a_job_is_cancelled_after_the_grace_period_if_its_handler_ignores_the_cancel() -> None:
    driver = Driver()
    job = driver.submit(attempts_max=3)
    driver.lease(job)
    driver.cancel(job)
    driver.advance(LEASE_GRACE_S)
    assert job.state is JobState.CANCELLED


def test_cancelling_a_terminal_job_raises_wrong_state() -> None:
    driver = Driver()
    job = driver.done()
    with pytest.raises(WrongState, match="succeeded") as error:
        driver.cancel(job)
    assert error.value.state == "succeeded"


def test_a_record_that_is_gone_was_never_there_for_another_owner() -> None:
    engine = make_engine()
    job = engine.submit(JobSpec(type="t"), b"{}", None, Uniqueness("ann", owner="ann"), now=1000.0).job
    engine.cancel(job.id, now=1000.0)
    engine.delete(job.id)
    with pytest.raises(JobGone):
        engine.get(job.id, "ann")
    with pytest.raises(JobNotFound):
        engine.get(job.id, "bob")


def test_a_deleted_terminal_job_is_gone() -> None:
    driver = Driver()
    job = driver.done()
    driver.engine.delete(job.id)
    with pytest.raises(JobGone) as error:
        driver.engine.get(job.id)
    assert error.value.reason == "evicted"


def test_deleting_a_live_job_raises_wrong_state() -> None:
    driver = Driver()
    job = driver.submit()
    with pytest.raises(WrongState, match="queued"):
        driver.engine.delete(job.id)
    assert driver.engine.get(job.id) is job


# -- records


def test_an_id_that_was_never_issued_is_not_found() -> None:
    with pytest.raises(JobNotFound):
        make_engine().get("x" * 22)


def test_an_id_of_an_earlier_run_is_gone_with_reason_earlier_run() -> None:
    old = Driver(make_engine(run=1)).submit()
    with pytest.raises(JobGone) as error:
        make_engine(run=2).get(old.id)
    assert error.value.reason == "earlier-run"


def test_a_terminal_record_is_readable_for_its_ttl_and_evicted_within_a_second() -> None:
    driver = Driver(bounds=StoreBounds(ttl_s=60))
    driver.now += 0.123
    job = driver.done()
    driver.advance(60)
    assert driver.engine.get(job.id) is job
    driver.advance(1)
    with pytest.raises(JobGone):
        driver.engine.get(job.id)
    assert driver.of(Evicted)[0].jobs == (job,)  # type: ignore[attr-defined]  # all of this kind
    assert driver.engine.totals().evicted_early == 0


def test_failed_records_have_a_separate_ttl_and_a_job_can_set_its_ttl() -> None:
    driver = Driver(bounds=StoreBounds(ttl_s=10, failed_ttl_s=100))
    good, bad, own = driver.done(), driver.submit(), driver.done(ttl_s=50)
    driver.nack(bad, driver.lease(bad))
    held = {}
    for at in (11, 51, 101):
        driver.advance(1000 + at - driver.now)
        held[at] = [driver.engine.store.get(job.id) is not None for job in (good, bad, own)]
    assert held == {11: [False, True, True], 51: [False, True, False], 101: [False, False, False]}


def test_a_live_record_is_never_evicted() -> None:
    driver = Driver(bounds=StoreBounds(ttl_s=1))
    job = driver.submit(delay_s=1e6)
    driver.advance(1e5)
    assert driver.engine.get(job.id) is job


def test_at_the_bound_of_records_the_oldest_terminal_record_is_evicted_early() -> None:
    driver = Driver(bounds=StoreBounds(jobs_max=3))
    jobs = []
    for _ in range(3):
        jobs.append(driver.done())
        driver.now += 1
    driver.submit()
    with pytest.raises(JobGone):
        driver.engine.get(jobs[0].id)
    assert driver.engine.get(jobs[1].id)
    assert driver.engine.totals().evicted_early == 1
    assert [event.early for event in driver.of(Evicted)] == [True]  # type: ignore[attr-defined]  # all of this kind


def test_a_job_store_full_of_live_jobs_rejects_submissions() -> None:
    driver = Driver(bounds=StoreBounds(jobs_max=2))
    driver.submit()
    driver.submit()
    with pytest.raises(StatusesFull) as refusal:
        driver.submit()
    assert refusal.value.retry_after_s > 0
    assert len(driver.engine.store) == 2


def test_at_the_bound_of_bytes_terminal_records_are_evicted_and_live_ones_kept() -> None:
    driver = Driver(bounds=StoreBounds(bytes_max=100))
    done = driver.submit(args=b"x" * 10)
    driver.ack(done, driver.lease(done), Success(b"r" * 60))
    assert driver.engine.store.bytes_used == 60
    driver.submit(args=b"x" * 80)
    assert driver.engine.store.get(done.id) is None
    with pytest.raises(StatusesFull):
        driver.submit(args=b"x" * 21)
    assert driver.engine.store.bytes_used == 80


def test_a_submission_larger_than_the_bound_evicts_nothing() -> None:
    driver = Driver(bounds=StoreBounds(bytes_max=100))
    done = driver.submit()
    driver.ack(done, driver.lease(done), Success(b"r" * 60))
    with pytest.raises(StatusesFull):
        driver.submit(args=b"x" * 101)
    assert driver.engine.get(done.id) is done


def test_a_result_evicts_older_terminal_records_for_space() -> None:
    driver = Driver(bounds=StoreBounds(bytes_max=100))
    old, new = driver.submit(), driver.submit()
    driver.ack(old, driver.lease(old), Success(b"r" * 60))
    driver.ack(new, driver.lease(new), Success(b"r" * 70))
    assert driver.engine.store.get(old.id) is None
    assert driver.engine.store.bytes_used == 70


def test_a_result_without_space_beside_live_jobs_fails_its_job() -> None:
    driver = Driver(bounds=StoreBounds(bytes_max=100))
    job = driver.submit(args=b"x" * 30, attempts_max=3)
    driver.submit(args=b"x" * 60)
    driver.ack(job, driver.lease(job), Success(b"r" * 41))
    assert job.error is not None
    assert job.error.code is ErrorCode.RESULT_TOO_LARGE
    assert job.state is JobState.FAILED, "another attempt would have no more space"
    assert driver.engine.store.bytes_used == 90, "its arguments stay, for a retry"


# -- pools


def test_a_pool_runs_at_most_one_attempt_per_permit() -> None:
    driver = Driver(pools={"process": 1})
    first, second, third = (driver.submit(pool="process") for _ in range(3))
    free = driver.submit()
    assert driver.try_lease(first)
    assert not driver.try_lease(second)
    assert not driver.try_lease(third)
    assert driver.try_lease(free), "a job outside the pool does not wait"
    assert not driver.of(Offered)
    driver.ack(first)
    assert driver.of(Offered) == [Offered(second)]
    assert driver.try_lease(second)
    assert not driver.try_lease(third)


def test_permits_of_a_pool_change_while_jobs_wait() -> None:
    # A rate and priorities, so that the present time counts.
    driver = Driver(pools={"p": 1}, queues={"default": QueuePolicy(discipline=Discipline.PRIORITY)})
    limits = Limits(rate=Rate(100, 1.0))
    first, second, third = (driver.submit(pool="p", limits=limits) for _ in range(3))
    driver.lease(first)
    assert driver.start_next() is None
    driver.engine.set_permits("p", 2, now=driver.now)
    driver.note_events()
    assert driver.of(Offered) == [Offered(second)]
    assert driver.start_next() is second
    driver.engine.set_permits("p", 0, now=driver.now)
    driver.ack(first)
    driver.ack(second)
    assert driver.start_next() is None, "no permit is left"
    assert third.state is JobState.QUEUED
    driver.engine.set_permits("p", 1, now=driver.now)
    assert driver.start_next() is third


def test_a_permit_skips_a_cancelled_job() -> None:
    driver = Driver(pools={"process": 1})
    first, second, third = (driver.submit(pool="process") for _ in range(3))
    driver.lease(first)
    for job in (second, third):
        assert not driver.try_lease(job)
    driver.cancel(second)
    driver.ack(first)
    assert driver.try_lease(third)


def test_a_cancelled_job_passes_its_offered_permit_on() -> None:
    driver = Driver(pools={"process": 1})
    first, second, third = (driver.submit(pool="process") for _ in range(3))
    driver.lease(first)
    for job in (second, third):
        assert not driver.try_lease(job)
    driver.ack(first)
    assert driver.is_ready(second), "its permit was offered"
    driver.cancel(second)
    assert driver.try_lease(third)


# -- time


def test_a_tick_returns_the_time_of_the_next_deadline() -> None:
    driver = Driver(bounds=StoreBounds(ttl_s=60))
    assert driver.tick() is None
    driver.submit(delay_s=30)
    driver.submit(delay_s=20)
    assert driver.tick() == driver.now + 20
    driver.done()
    driver.advance(30)
    assert driver.tick() == pytest.approx(1060.25)


def test_a_tick_does_bounded_work_and_asks_for_another_tick() -> None:
    driver = Driver(capacity=5000)
    for _ in range(TUNING.tick_work_max + 10):
        driver.submit(delay_s=1)
    driver.now += 1
    next_at = driver.tick()
    assert next_at is not None
    assert next_at <= driver.now
    assert driver.engine.queue_states["default"].counts[JobState.QUEUED] == TUNING.tick_work_max
    driver.tick()
    assert driver.engine.queue_states["default"].counts[JobState.DELAYED] == 0


def test_a_tick_evicts_a_bounded_number_of_records() -> None:
    driver = Driver(capacity=5000, bounds=StoreBounds(ttl_s=1))
    for _ in range(TUNING.tick_work_max + 10):
        driver.done()
    driver.now += 2
    driver.tick()
    assert driver.engine.store.terminal == 10
    driver.tick()
    assert driver.engine.store.terminal == 0


# -- drain and shutdown


def test_a_drain_rejects_submissions_and_runs_accepted_jobs() -> None:
    driver = Driver()
    job = driver.submit()
    driver.engine.stop_admitting()
    with pytest.raises(Draining) as refusal:
        driver.submit()
    assert refusal.value.retry_after_s > 0
    driver.ack(job, driver.lease(job))
    assert job.state is JobState.SUCCEEDED


def test_a_shutdown_cancels_a_job_with_a_handler_that_ignores_the_stop() -> None:
    driver = Driver()
    job = driver.submit(attempts_max=3)
    driver.lease(job)
    driver.shut_down()
    driver.advance(LEASE_GRACE_S)
    assert job.state is JobState.CANCELLED
    assert job.error is not None
    assert job.error.code is ErrorCode.SHUTDOWN


def test_a_job_queued_again_is_listed_as_waiting_since_then() -> None:
    driver = Driver()
    queue_state = driver.engine.queue_states["default"]
    delayed, crashed = driver.submit(delay_s=2), driver.submit(attempts_max=2)
    driver.nack(crashed, driver.lease(crashed), CRASHED)
    assert queue_state.waiting == {crashed.id: driver.now}
    driver.advance(2)
    assert queue_state.waiting == {crashed.id: driver.now - 2, delayed.id: driver.now}


def test_a_shutdown_counts_lost_jobs_by_state_and_records_the_error() -> None:
    driver = Driver()
    delayed, queued, running, done = driver.submit(delay_s=9), driver.submit(), driver.submit(), driver.done()
    attempt = driver.lease(running)
    assert driver.shut_down() == {
        JobState.WAITING: 0,
        JobState.DELAYED: 1,
        JobState.QUEUED: 1,
        JobState.RUNNING: 1,
    }
    driver.nack(running, attempt)
    for job, was in ((delayed, "delayed"), (queued, "queued"), (running, "running")):
        assert job.state is JobState.CANCELLED
        assert job.error == JobError(ErrorCode.SHUTDOWN, f"the server stopped while the job was {was}")
    assert done.state is JobState.SUCCEEDED
    assert driver.engine.store.live == 0


def test_a_submission_after_a_shutdown_is_rejected() -> None:
    driver = Driver()
    driver.shut_down()
    with pytest.raises(Draining):
        driver.submit()


def test_no_attempt_follows_a_shutdown() -> None:
    driver = Driver()
    job = driver.submit(attempts_max=5, timeout_s=1)
    attempt = driver.lease(job)
    driver.advance(1)
    driver.shut_down()
    driver.nack(job, attempt, FAILED)
    assert job.state is JobState.FAILED


# -- conservation


def test_accepted_jobs_equal_live_plus_terminal_plus_evicted_at_each_step() -> None:
    driver = Driver(bounds=StoreBounds(jobs_max=4, ttl_s=5))
    for step in range(40):
        if step % 3:
            driver.done()
        else:
            driver.submit(start_by_s=2)
        driver.advance(0.7)
        totals, store = driver.engine.totals(), driver.engine.store
        assert totals.accepted == store.live + store.terminal + totals.evicted
        assert len(store) <= 4
    assert driver.engine.totals().evicted > 10


def test_the_counters_of_a_queue_count_each_job_once() -> None:
    driver = Driver(capacity=3)
    for _ in range(2):
        driver.done()
    failed = driver.submit()
    driver.nack(failed, driver.lease(failed))
    for _ in range(2):
        driver.cancel(driver.submit())
    expiring = driver.submit(start_by_s=1)
    driver.advance(1)
    for _ in range(3):
        driver.submit()
    for _ in range(2):
        with pytest.raises(QueueFull):
            driver.submit()
    queue_state = driver.engine.queue_states["default"]
    assert expiring.state is JobState.EXPIRED
    assert (queue_state.name, queue_state.submitted_total, queue_state.refused_total) == ("default", 9, 2)
    assert queue_state.ended_total == {
        JobState.SUCCEEDED: 2,
        JobState.FAILED: 1,
        JobState.CANCELLED: 2,
        JobState.EXPIRED: 1,
    }


def test_early_evictions_are_counted_among_evictions() -> None:
    driver = Driver(bounds=StoreBounds(jobs_max=2))
    for _ in range(6):
        driver.done()
        driver.advance(1)
    totals = driver.engine.totals()
    assert (totals.accepted, totals.evicted, totals.evicted_early) == (6, 4, 4)


# -- files


def test_the_record_keeps_the_upload_and_the_result_file() -> None:
    engine = make_engine()
    upload = Upload("folder", {"part": (StoredFile("path", "text/plain", 3),)})
    job = engine.submit(JobSpec(type="t"), b"{}", upload, now=1.0).job
    assert job.upload is upload
    lease = engine.lease(engine.scheduler.pop(1.0), now=1.0)
    assert lease is not None
    assert (lease.job_id, lease.attempt) == (job.id, 1)
    written = StoredFile("result", "audio/flac", 5)
    engine.ack(job.id, attempt=1, success=Success(b"null", written), now=2.0)
    assert job.file is written


# -- the bounds, to the byte


def test_arguments_and_results_can_fill_the_job_store_to_the_bound() -> None:
    driver = Driver(bounds=StoreBounds(bytes_max=100))
    job = driver.submit(args=b"x" * 100)
    with pytest.raises(StatusesFull):
        driver.submit(args=b"x")
    driver.ack(job, driver.lease(job), Success(b"r" * 100))
    assert job.state is JobState.SUCCEEDED
    driver.submit(args=b"")
    assert driver.engine.get(job.id) is job, "a submission of no bytes evicts nothing"


def test_a_result_replaces_its_arguments_before_it_evicts_other_records() -> None:
    driver = Driver(bounds=StoreBounds(bytes_max=100, jobs_max=2))
    old, new = driver.submit(), driver.submit(args=b"x" * 60)
    driver.ack(old, driver.lease(old), Success(b"r" * 40))
    driver.ack(new, driver.lease(new), Success(b"r" * 60))
    assert driver.engine.get(old.id) is old
    assert driver.engine.store.bytes_used == 100


def test_a_result_one_byte_over_the_bound_evicts_another_record() -> None:
    driver = Driver(bounds=StoreBounds(bytes_max=100))
    old, new = driver.submit(), driver.submit(args=b"x" * 60)
    driver.ack(old, driver.lease(old), Success(b"r" * 40))
    driver.ack(new, driver.lease(new), Success(b"r" * 61))
    assert driver.engine.store.get(old.id) is None
    assert driver.engine.store.bytes_used == 61


# -- messages


def test_each_error_names_the_queue_job_or_attempt() -> None:
    driver = Driver(capacity=1)
    job = driver.submit()
    with pytest.raises(QueueFull, match="queue 'default' holds 1 live jobs"):
        driver.submit()
    with pytest.raises(WrongState) as error:
        driver.engine.delete(job.id)
    assert error.value.state == "queued"
    with pytest.raises(StaleLease, match=f"attempt 7 of job {job.id}"):
        driver.ack(job, 7)
    with pytest.raises(JobNotFound, match="'nope'"):
        driver.engine.get("nope")
    with pytest.raises(StatusesFull, match="job store is full of live jobs"):
        Driver(bounds=StoreBounds(bytes_max=1)).submit(args=b"xx")
    driver.engine.stop_admitting()
    with pytest.raises(Draining, match="accepts no more jobs"):
        driver.submit()
