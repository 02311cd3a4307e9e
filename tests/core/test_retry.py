"""Dead letters: the bound on failed jobs, their histories, retry and run_now."""

from __future__ import annotations

import sys

import pytest

from jobqueue.core.attempts import HISTORY_MAX, TRACEBACK_LENGTH_MAX
from jobqueue.core.events import BackedOff, Evicted, Ready, Retried, RunNow, Submitted
from jobqueue.core.job import JobState
from jobqueue.core.report import ATTEMPT_BYTES, MESSAGE_LENGTH_MAX, ErrorCode, FailedAttempt, Failure, Progress, Success
from jobqueue.core.store_bounds import StoreBounds
from jobqueue.core.stored_file import StoredFile, Upload
from jobqueue.core.transitions import LEASE_GRACE_S
from jobqueue.errors import Draining, JobGone, JobNotFound, QueueFull, RateLimited, StaleLease, StatusesFull, WrongState
from tests.core.making import CRASHED, FAILED, FINAL, Driver

# -- retry


def test_a_retried_job_keeps_its_record_arguments_and_files() -> None:
    driver = Driver()
    upload = Upload("folder", {"part": (StoredFile("path", "text/plain", 3),)})
    job = driver.failed(args=b'{"n":7}', upload=upload)
    version = job.version
    driver.advance(5)
    driver.events.clear()
    driver.retry(job)
    assert driver.engine.get(job.id) is job
    assert (job.state, job.args, job.upload, job.version) == (JobState.QUEUED, b'{"n":7}', upload, version + 1)
    assert (job.created_at, job.run_at) == (1000.0, 1005.0)
    assert (job.started_at, job.finished_at, job.error, job.progress, job.stopping) == (None,) * 5
    assert driver.events == [Retried(job), Ready(job)], "it was submitted once"
    driver.lease(job)
    driver.ack(job, success=Success(b"7"))
    assert (job.state, job.result, job.attempt) == (JobState.SUCCEEDED, b"7", 2)


def test_each_retry_adds_attempts_max_attempts() -> None:
    driver = Driver()
    job = driver.submit(attempts_max=2)
    for series in (1, 2, 3):
        for attempt in (2 * series - 1, 2 * series):
            assert driver.lease(job) == attempt
            assert job.attempts_max == 2 * series
            driver.nack(job, attempt)
            driver.advance(60)
        assert job.state is JobState.FAILED
        driver.retry(job)
    assert job.attempts_before == 6


def test_an_outcome_from_before_a_retry_raises_stale_lease() -> None:
    driver = Driver()
    job = driver.submit(timeout_s=1)
    late = driver.lease(job)
    driver.advance(1 + LEASE_GRACE_S)
    assert job.state is JobState.FAILED
    driver.retry(job)
    with pytest.raises(StaleLease):
        driver.ack(job, late)
    new = driver.lease(job)
    assert new == 2
    for outcome in (driver.ack, driver.nack):
        with pytest.raises(StaleLease):
            outcome(job, late)
    with pytest.raises(StaleLease):
        driver.engine.report(job.id, attempt=late, progress=Progress(0.5))
    driver.ack(job, new)
    assert job.state is JobState.SUCCEEDED


def test_a_retry_resets_the_backoff() -> None:
    driver = Driver()
    job = driver.submit(attempts_max=8)
    for _ in range(8):
        driver.lease(job)
        driver.nack(job)
        driver.advance(60)
    for _ in range(15):
        driver.retry(job)
        driver.lease(job)
        driver.nack(job)
        assert job.run_at - driver.now <= 1.0, "the backoff of a first attempt"
        driver.run_now(job)
        driver.lease(job)
        driver.nack(job, failure=FINAL)


def test_a_retry_needs_a_slot() -> None:
    driver = Driver(capacity=1)
    job = driver.failed()
    other = driver.submit()
    with pytest.raises(QueueFull) as refusal:
        driver.retry(job)
    assert refusal.value.retry_after_s > 0
    queue_state = driver.engine.queue_states["default"]
    assert (job.state, job.error.code) == (JobState.FAILED, ErrorCode.HANDLER_ERROR)  # type: ignore[union-attr]  # a failed job
    assert (queue_state.live, queue_state.retried_total) == (1, 0)
    driver.cancel(other)
    driver.retry(job)
    with pytest.raises(QueueFull):
        driver.submit()
    assert (queue_state.live, queue_state.retried_total, queue_state.submitted_total) == (1, 1, 2)


def test_each_retry_is_counted() -> None:
    driver = Driver()
    job = driver.failed()
    for count in (1, 2, 3):
        driver.retry(job)
        driver.lease(job)
        driver.nack(job, failure=FINAL)
        assert driver.engine.queue_states["default"].retried_total == count


def test_rejected_retries_of_an_operator_take_no_retry_slots_from_callers() -> None:
    waits = []
    for retries in (0, 500):
        driver = Driver(capacity=1, bounds=StoreBounds(jobs_max=2))
        dead = driver.failed()
        driver.submit()
        for _ in range(retries):
            with pytest.raises(QueueFull) as refusal:
                driver.retry(dead)
            assert refusal.value.retry_after_s >= 1.0
        assert driver.engine.queue_states["default"].refused_total == retries
        with pytest.raises(QueueFull) as refusal:
            driver.submit()
        waits.append(refusal.value.retry_after_s)
    assert waits[0] == pytest.approx(waits[1], rel=0.2), "equal up to the jitter"


def test_the_job_store_always_has_space_for_a_retry() -> None:
    driver = Driver(bounds=StoreBounds(jobs_max=2, bytes_max=1000))
    dead = driver.failed(args=b"x" * 300)
    driver.submit(b"x" * (1000 - dead.size_bytes))
    driver.retry(dead)
    assert driver.engine.store.live_bytes == 1000
    with pytest.raises(StatusesFull):
        driver.submit(b"")


def test_a_retried_job_counts_as_accepted_once() -> None:
    driver = Driver()
    job = driver.failed(args=b"x" * 20)
    store, totals = driver.engine.store, driver.engine.totals()
    used = store.bytes_used
    assert (totals.accepted, store.live, store.terminal, store.live_bytes) == (1, 0, 1, 0)
    driver.retry(job)
    assert driver.engine.totals() == totals
    assert (store.live, store.terminal, store.live_bytes, store.bytes_used) == (1, 0, used, used)
    driver.cancel(job)
    assert (store.live, store.terminal, store.live_bytes) == (0, 1, 0)
    assert store.bytes_used == used - 20, "the history is kept, the arguments are not"
    assert driver.engine.queue_states["default"].ended_total[JobState.CANCELLED] == 1


def test_a_retried_job_has_no_start_by_deadline() -> None:
    driver = Driver()
    job = driver.failed(start_by_s=5.0)
    driver.advance(100)
    driver.retry(job)
    driver.advance(100)
    assert job.state is JobState.QUEUED
    assert driver.start_next() is job


def test_a_retry_restarts_the_ttl() -> None:
    driver = Driver(bounds=StoreBounds(ttl_s=100.0, failed_ttl_s=10.0))
    job = driver.failed()
    driver.advance(9)
    driver.retry(job)
    driver.advance(50)
    driver.lease(job)
    driver.nack(job)
    driver.advance(9)
    assert driver.engine.get(job.id) is job
    driver.advance(2)
    with pytest.raises(JobGone):
        driver.engine.get(job.id)


@pytest.mark.parametrize("state", ["delayed", "queued", "running", "succeeded", "cancelled", "expired"])
def test_only_a_failed_job_can_be_retried(state: str) -> None:
    driver = Driver()
    job = driver.submit(delay_s=60.0 if state == "delayed" else 0.0, start_by_s=70.0)
    if state in ("running", "succeeded"):
        driver.lease(job)
    if state == "succeeded":
        driver.ack(job)
    elif state == "cancelled":
        driver.cancel(job)
    elif state == "expired":
        driver.advance(70)
    with pytest.raises(WrongState, match=f"the job is {state}: only a failed one") as error:
        driver.retry(job)
    assert error.value.state == state
    assert job.state == state


def test_retrying_a_deleted_or_unknown_job_raises_an_error() -> None:
    driver = Driver()
    job = driver.failed()
    driver.engine.delete(job.id)
    with pytest.raises(JobGone):
        driver.retry(job)
    with pytest.raises(JobNotFound):
        driver.engine.retry("nope", now=driver.now)


def test_a_retry_is_rejected_while_its_unique_value_has_a_live_job() -> None:
    driver = Driver()
    job = driver.failed(unique="u")
    holder = driver.submit(unique="u")
    with pytest.raises(WrongState, match=f"job {holder.id} is live") as error:
        driver.retry(job)
    assert error.value.state == "failed"
    assert driver.submit(unique="u") is holder
    driver.cancel(holder)
    driver.retry(job)
    assert driver.submit(unique="u") is job


def test_a_retry_is_rejected_while_draining() -> None:
    driver = Driver()
    job = driver.failed()
    driver.engine.stop_admitting()
    with pytest.raises(Draining):
        driver.retry(job)
    assert job.state is JobState.FAILED


def test_a_retry_over_the_quota_of_its_caller_is_rejected() -> None:
    driver = Driver(caller_jobs_max=1)
    job = driver.failed(caller="ann")
    driver.submit(caller="ann")
    with pytest.raises(RateLimited):
        driver.retry(job)
    assert driver.engine.queue_states["default"].retried_total == 0


# -- run now


def test_a_delayed_job_can_be_run_now() -> None:
    driver = Driver()
    job = driver.submit(delay_s=3600.0)
    driver.advance(10)
    driver.events.clear()
    driver.run_now(job)
    assert (job.state, job.run_at, job.version) == (JobState.QUEUED, 1010.0, 1)
    assert driver.events == [RunNow(job), Ready(job)]
    assert driver.start_next() is job
    driver.advance(3600)
    assert job.state is JobState.RUNNING, "its former run_at has no effect"


def test_a_job_in_backoff_can_be_run_now() -> None:
    driver = Driver()
    job = driver.submit(attempts_max=2)
    driver.lease(job)
    driver.nack(job, failure=Failure(ErrorCode.HANDLER_ERROR, "later", retry_after_s=3600))
    assert driver.of(BackedOff)
    driver.run_now(job)
    assert driver.start_next() is job
    assert job.attempt == 2


def test_run_now_keeps_the_start_by_deadline() -> None:
    driver = Driver()
    job = driver.submit(delay_s=5.0, start_by_s=9.0)
    driver.run_now(job)
    driver.advance(8.9)
    assert job.state is JobState.QUEUED
    driver.advance(0.1)
    assert job.state is JobState.EXPIRED


@pytest.mark.parametrize("state", ["queued", "running", "succeeded", "failed", "cancelled"])
def test_only_a_delayed_job_can_be_run_now(state: str) -> None:
    driver = Driver()
    job = driver.submit()
    if state == "cancelled":
        driver.cancel(job)
    elif state != "queued":
        driver.lease(job)
    if state in ("succeeded", "failed"):
        (driver.ack if state == "succeeded" else driver.nack)(job)
    with pytest.raises(WrongState, match=f"the job is {state}: only a delayed one") as error:
        driver.run_now(job)
    assert error.value.state == state


def test_running_an_unknown_job_now_raises_not_found() -> None:
    with pytest.raises(JobNotFound):
        Driver().engine.run_now("nope", now=1.0)


# -- the bound on dead letters


def test_dead_letters_over_the_bound_are_evicted_oldest_first() -> None:
    driver = Driver(bounds=StoreBounds(failed_max=2))
    jobs = []
    for _ in range(4):
        jobs.append(driver.failed())
        driver.done()
        driver.advance(1)
    held = [driver.engine.store.get(job.id) is not None for job in jobs]
    assert held == [False, False, True, True]
    assert [(event.jobs, event.early) for event in driver.of(Evicted)] == [((jobs[0],), True), ((jobs[1],), True)]  # type: ignore[attr-defined]  # all of this kind
    assert driver.engine.totals().evicted_early == 2
    assert driver.engine.store.terminal == 2 + 4, "other terminal records don't count"


def test_a_bound_of_zero_keeps_no_dead_letters() -> None:
    driver = Driver(bounds=StoreBounds(failed_max=0))
    job = driver.submit()
    driver.lease(job)
    driver.nack(job)
    with pytest.raises(JobGone):
        driver.engine.get(job.id)
    assert driver.engine.store.bytes_used == 0


def test_a_retried_deleted_or_evicted_dead_letter_no_longer_counts() -> None:
    driver = Driver(bounds=StoreBounds(failed_max=3, failed_ttl_s=10.0))
    retried, deleted, old = driver.failed(), driver.failed(), driver.failed()
    driver.retry(retried)
    driver.engine.delete(deleted.id)
    driver.advance(11)
    assert driver.engine.store.get(old.id) is None
    kept = [driver.failed() for _ in range(3)]
    assert all(driver.engine.store.get(job.id) for job in kept)
    assert driver.engine.totals().evicted_early == 0


def test_a_dead_letter_that_fails_again_is_the_newest() -> None:
    driver = Driver(bounds=StoreBounds(failed_max=2))
    first, second = driver.failed(), driver.failed()
    driver.retry(first)
    driver.lease(first)
    driver.nack(first)
    third = driver.failed()
    assert driver.engine.store.get(second.id) is None
    assert driver.engine.get(first.id) is first
    assert driver.engine.get(third.id) is third


def test_early_eviction_follows_the_latest_end_after_a_retry() -> None:
    driver = Driver(bounds=StoreBounds(jobs_max=4))
    gone, again = driver.failed(), driver.failed()
    driver.advance(1)
    later = driver.done()
    driver.done()
    driver.submit()  # evicts the first that ended
    assert driver.engine.store.get(gone.id) is None
    driver.advance(1)
    driver.retry(again)
    driver.lease(again)
    driver.nack(again)
    driver.submit()
    assert driver.engine.store.get(later.id) is None
    assert driver.engine.get(again.id) is again, "it ended last"


# -- the history of attempts


def test_the_history_has_each_failed_attempt() -> None:
    driver = Driver()
    job = driver.submit(attempts_max=3, timeout_s=2.0)
    driver.advance(1)
    driver.lease(job)
    driver.advance(1)
    driver.nack(job, failure=Failure(ErrorCode.HANDLER_ERROR, "boom", retry_after_s=8, traceback="Traceback: boom"))
    driver.advance(8)
    driver.lease(job)
    driver.advance(2 + LEASE_GRACE_S)
    assert job.history == (
        FailedAttempt(1, 1001.0, 1002.0, ErrorCode.HANDLER_ERROR, "boom", "Traceback: boom"),
        FailedAttempt(2, 1010.0, 1013.0, ErrorCode.TIMED_OUT, "the attempt ran longer than its timeout of 2.0 s", None),
    )
    driver.run_now(job)
    driver.lease(job)
    driver.ack(job)
    assert len(job.history) == 2, "a success does not change the history"


def test_the_history_has_crashes_and_results_that_are_too_large() -> None:
    driver = Driver(bounds=StoreBounds(bytes_max=1000))
    job = driver.submit(attempts_max=2)
    driver.lease(job)
    driver.nack(job, failure=CRASHED)
    driver.lease(job)
    driver.ack(job, success=Success(b"x" * 2000))
    assert [failed.code for failed in job.history or ()] == [ErrorCode.WORKER_CRASHED, ErrorCode.RESULT_TOO_LARGE]


def test_the_history_has_no_cancelled_attempt() -> None:
    driver = Driver()
    job = driver.submit()
    driver.lease(job)
    driver.cancel(job)
    driver.nack(job)
    assert job.history is None


def test_the_history_spans_retries_and_keeps_the_latest_attempts() -> None:
    driver = Driver()
    job = driver.failed()
    for _ in range(2 * HISTORY_MAX):
        driver.retry(job)
        driver.lease(job)
        driver.nack(job)
    assert [failed.attempt for failed in job.history or ()] == list(range(HISTORY_MAX + 2, 2 * HISTORY_MAX + 2))


def test_the_history_keeps_the_end_of_a_traceback_and_the_start_of_a_message() -> None:
    driver = Driver()
    job = driver.failed(Failure(ErrorCode.HANDLER_ERROR, "m" * 999 + "Mx" * 500, traceback="x" * 5000 + "the end"))
    (failed,) = job.history or ()
    assert failed.message == "m" * 999 + "M"
    assert len(failed.message) == MESSAGE_LENGTH_MAX
    assert failed.traceback is not None
    assert len(failed.traceback) == TRACEBACK_LENGTH_MAX
    assert failed.traceback.endswith("xthe end")


def test_the_bytes_of_a_history_are_counted_exactly() -> None:
    driver = Driver()
    job = driver.submit(b"x" * 20, attempts_max=100)
    store, sizes = driver.engine.store, []
    for n in range(HISTORY_MAX + 3):
        driver.lease(job)
        driver.nack(job, failure=Failure(ErrorCode.HANDLER_ERROR, "m" * n, traceback="t" * n, retry_after_s=0))
        driver.run_now(job)
        sizes.append(ATTEMPT_BYTES + 2 * n)
        assert store.bytes_used == store.live_bytes == 20 + sum(sizes[-HISTORY_MAX:]) == job.size_bytes
    driver.lease(job)
    driver.ack(job, success=Success(b"12345"))
    assert (store.live_bytes, store.bytes_used) == (0, 5 + sum(sizes[-HISTORY_MAX:]))
    driver.engine.delete(job.id)
    assert store.bytes_used == 0


@pytest.mark.parametrize("letter", ["ä", "→", "😀"])
def test_a_history_with_non_ascii_text_counts_at_least_its_memory(letter: str) -> None:
    driver = Driver()
    job = driver.submit(attempts_max=2)
    driver.lease(job)
    driver.nack(job, failure=Failure(ErrorCode.HANDLER_ERROR, letter * 1000, traceback=letter * 500))
    (failed,) = job.history or ()
    assert failed.traceback is not None
    letters_bytes = sum(sys.getsizeof(text) - sys.getsizeof(letter) for text in (failed.message, failed.traceback))
    assert failed.size_bytes >= ATTEMPT_BYTES + letters_bytes


def test_a_longer_history_evicts_no_record_within_the_bounds() -> None:
    driver = Driver(bounds=StoreBounds(jobs_max=2))
    over, job = driver.done(), driver.submit(attempts_max=2)
    driver.lease(job)
    driver.nack(job)
    assert driver.engine.get(over.id) is over


def test_a_history_evicts_terminal_records_and_is_cut_beside_live_ones() -> None:
    driver = Driver(bounds=StoreBounds(bytes_max=1000))
    old = driver.submit()
    driver.lease(old)
    driver.ack(old, success=Success(b"r" * 900))
    job = driver.submit(b"x" * 100, attempts_max=3)
    driver.lease(job)
    driver.nack(job)
    assert driver.engine.store.get(old.id) is None
    assert len(job.history or ()) == 1
    driver.advance(1)
    driver.submit(b"x" * (900 - ATTEMPT_BYTES - len("boom")))
    driver.lease(job)
    driver.nack(job)
    assert len(job.history or ()) == 1, "there was no space for another"
    assert driver.engine.store.bytes_used == 1000
    assert driver.of(Submitted)


def test_a_retried_job_that_fails_again_keeps_the_job_store_within_its_bound() -> None:
    driver = Driver(bounds=StoreBounds(bytes_max=1000))
    job = driver.failed(FAILED, args=b"x" * 400)
    live = driver.submit(b"x" * (600 - ATTEMPT_BYTES - len("boom")))
    driver.retry(job)
    driver.lease(job)
    driver.nack(job, failure=FINAL)
    assert job.state is JobState.FAILED
    assert live.state is JobState.QUEUED
    assert driver.engine.store.bytes_used <= 1000
