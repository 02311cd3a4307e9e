"""What a queue counts by type: starts, ends, attempts by outcome, waits and runs, rejections."""

from __future__ import annotations

import contextlib

import pytest

from jobqueue.core.counting.counts import NO_DURATIONS, Durations, TypeCounts, together
from jobqueue.core.histogram import BOUNDS_S, BUCKETS
from jobqueue.core.policy import QueuePolicy
from jobqueue.core.quotas import Quota, Quotas
from jobqueue.core.report import ErrorCode, Failure
from jobqueue.core.store_bounds import StoreBounds
from jobqueue.core.transitions import LEASE_GRACE_S
from jobqueue.errors import (
    Draining,
    Duplicate,
    KeyReused,
    QueueFull,
    RateLimited,
    Refused,
    StatusesFull,
    TypeQuarantined,
)
from tests.core.making import CRASHED, FAILED, FINAL, Driver


def counts(driver: Driver, job_type: str = "t", queue: str = "default") -> TypeCounts:
    return driver.engine.counts(queue).types[job_type]


def attempts(driver: Driver, job_type: str = "t") -> dict[str, int]:
    return {outcome: runs.count for outcome, runs in counts(driver, job_type).runs.items()}


def filled(durations: Durations) -> dict[float, int]:
    """Return the counts of buckets with any, by their bound."""
    return {bound_s: count for bound_s, count in zip((*BOUNDS_S, 0.0), durations.counts, strict=True) if count}


# -- jobs


def test_a_type_is_counted_in_the_queue_of_its_jobs() -> None:
    driver = Driver()
    driver.done(type="a")
    driver.done(type="a", queue="other")
    driver.submit(type="b")
    assert {name: each.submitted_total for name, each in driver.engine.counts("default").types.items()} == {
        "a": 1,
        "b": 1,
    }
    assert list(driver.engine.counts("other").types) == ["a"]


def test_a_job_counts_as_submitted_started_and_ended() -> None:
    driver = Driver()
    driver.done()
    running = driver.submit()
    driver.lease(running)
    driver.submit()
    driver.cancel(driver.submit(delay_s=9.0))
    expiring = driver.submit(start_by_s=1.0)
    driver.advance(1.0)
    assert not expiring.live
    now = counts(driver)
    assert (now.submitted_total, now.started_total, now.succeeded_total) == (5, 2, 1)
    assert (now.cancelled_total, now.expired_total, now.failed_total) == (1, 1, 0)
    assert (now.waiting, now.running) == (1, 1)


def test_a_retry_on_request_is_no_submission() -> None:
    driver = Driver()
    failed = driver.failed(FINAL)
    driver.retry(failed)
    driver.lease(failed)
    now = counts(driver)
    assert (now.submitted_total, now.retried_total, now.started_total, now.failed_total) == (1, 1, 2, 1)
    assert (now.running, now.waiting) == (1, 0)


def test_repeated_submissions_are_counted_by_the_key_or_the_value_that_they_share() -> None:
    driver = Driver()
    for _ in range(3):
        driver.submit(caller="c", key="k")
    with contextlib.suppress(KeyReused):
        driver.submit(b"[]", caller="c", key="k")
    for mode in ("return", "debounce", "reject"):
        driver.submit(unique="v", mode="return")
        with contextlib.suppress(Duplicate):
            driver.submit(unique="v", mode=mode)
    now = counts(driver)
    assert (now.same_key_total, now.same_value_total) == (2, 4)
    assert now.submitted_total == 2


def test_a_submission_that_repeats_a_job_of_another_queue_is_counted_in_the_queue_that_it_names() -> None:
    driver = Driver()
    driver.submit(caller="c", key="k")
    driver.submit(caller="c", key="k", queue="other")
    assert counts(driver, queue="other").same_key_total == 1
    assert counts(driver, queue="other").submitted_total == 0


# -- attempts


def test_attempts_are_counted_by_their_outcome() -> None:
    driver = Driver()
    driver.done()
    driver.failed(FINAL)
    driver.failed(Failure(ErrorCode.REJECTED, "no", final=True))
    driver.failed(Failure(ErrorCode.WORKER_CRASHED, "gone", final=True))
    assert attempts(driver) == {"succeeded": 1, "failed": 2, "worker_crashed": 1}


def test_an_attempt_that_stops_after_its_timeout_timed_out_and_one_that_does_not_is_lost() -> None:
    driver = Driver()
    for _ in range(2):
        job = driver.submit(timeout_s=1.0)
        driver.lease(job)
        driver.advance(1.0)
        if not attempts(driver):
            driver.engine.stopped(job.id, attempt=job.attempt, now=driver.now)
        else:
            driver.advance(LEASE_GRACE_S)
        assert not job.live
    assert attempts(driver) == {"timed_out": 1, "lost": 1}
    assert counts(driver).failed_total == 2


def test_a_cancelled_attempt_that_does_not_stop_is_lost_and_its_job_is_cancelled() -> None:
    driver = Driver()
    for stops in (True, False):
        job = driver.submit()
        driver.lease(job)
        driver.cancel(job)
        if stops:
            driver.engine.stopped(job.id, attempt=job.attempt, now=driver.now)
        else:
            driver.advance(LEASE_GRACE_S)
    assert attempts(driver) == {"cancelled": 1, "lost": 1}
    assert counts(driver).cancelled_total == 2


def test_a_success_that_overtakes_a_cancel_is_counted_as_a_success() -> None:
    driver = Driver()
    job = driver.submit()
    driver.lease(job)
    driver.cancel(job)
    driver.ack(job)
    assert attempts(driver) == {"succeeded": 1}
    assert counts(driver).succeeded_total == 1


def test_each_attempt_of_a_job_is_counted() -> None:
    driver = Driver()
    job = driver.submit(attempts_max=3)
    for failure in (FAILED, CRASHED, FAILED):
        driver.advance(60.0)
        driver.lease(job)
        driver.nack(job, failure=failure)
    now = counts(driver)
    assert attempts(driver) == {"failed": 2, "worker_crashed": 1}
    assert (now.started_total, now.failed_total, now.running) == (3, 1, 0)


# -- waits and runs


def test_a_wait_lasts_from_when_a_job_is_queued_to_its_start() -> None:
    driver = Driver()
    job = driver.submit(delay_s=100.0)
    driver.advance(100.0)
    driver.now += 2.0
    driver.lease(job)
    waits = driver.engine.counts("default").waits
    assert filled(waits) == {5.0: 1}
    assert waits.sum_s == pytest.approx(2.0)
    assert waits.examples[BOUNDS_S.index(5.0)] == job.id


def test_jobs_that_end_without_a_start_are_no_waits() -> None:
    driver = Driver()
    driver.cancel(driver.submit())
    driver.submit(start_by_s=1.0)
    driver.advance(2.0)
    assert driver.engine.counts("default").waits == NO_DURATIONS


def test_the_wait_for_the_next_attempt_begins_anew_after_its_backoff() -> None:
    driver = Driver()
    job = driver.submit(attempts_max=2)
    driver.lease(job)
    driver.nack(job)
    driver.advance(60.0)
    driver.now += 0.02
    driver.lease(job)
    assert filled(driver.engine.counts("default").waits)[0.001] == 1
    assert driver.engine.counts("default").waits.count == 2


def test_a_run_lasts_from_the_start_of_its_attempt_to_its_end() -> None:
    driver = Driver()
    job = driver.submit()
    driver.now += 50.0
    driver.lease(job)
    driver.now += 0.3
    driver.ack(job)
    runs = counts(driver).runs["succeeded"]
    assert filled(runs) == {0.5: 1}
    assert runs.sum_s == pytest.approx(0.3)
    assert runs.examples[BOUNDS_S.index(0.5)] == job.id


# -- rejections


def refused(driver: Driver) -> dict[type[Refused], int]:
    return driver.engine.counts("default").refused


def test_rejections_are_counted_by_their_reason() -> None:
    driver = Driver(
        queues={"default": QueuePolicy(capacity=4, retry_budget=1)},
        bounds=StoreBounds(bytes_max=5000),
        quotas=Quotas(Quota(jobs_max=1)),
    )
    assert refused(driver) == {QueueFull: 0}
    driver.submit(caller="a")
    for error, submission in (
        (RateLimited, {"caller": "a"}),
        (StatusesFull, {"args": b"x" * 6000}),
    ):
        with pytest.raises(error):
            driver.submit(**submission)  # type: ignore[arg-type]  # any option
    driver.failed(FINAL, type="bad")
    for _ in range(2):
        driver.submit(type="bad")
    while driver.start_next():
        """The jobs of the type in quarantine wait, the other one runs."""
    with pytest.raises(TypeQuarantined):
        driver.submit(type="bad")
    driver.submit()
    for _ in range(2):
        with pytest.raises(QueueFull):
            driver.submit()
    driver.engine.stop_admitting()
    with pytest.raises(Draining):
        driver.submit()
    assert isinstance(driver.engine.refuse_unseen("default", now=driver.now), Draining)
    assert refused(driver) == {QueueFull: 2, RateLimited: 1, StatusesFull: 1, TypeQuarantined: 1, Draining: 2}
    assert driver.engine.queue_states["default"].refused_total == 7


def test_a_rejection_before_the_body_is_read_is_counted_as_any_other() -> None:
    driver = Driver(queues={"default": QueuePolicy(capacity=1)})
    driver.submit()
    assert isinstance(driver.engine.refuse_unseen(now=driver.now), QueueFull)
    assert refused(driver) == {QueueFull: 1}


# -- records


def test_deleted_records_are_counted_apart() -> None:
    driver = Driver()
    driver.engine.delete(driver.done().id)
    stats, _ = driver.engine.stats(driver.now)
    assert (stats.evicted_total, stats.deleted_total, stats.evicted_early_total) == (1, 1, 0)


def test_counts_that_were_given_out_do_not_change() -> None:
    driver = Driver()
    driver.done()
    before = driver.engine.counts("default")
    driver.done()
    assert before.types["t"].succeeded_total == 1
    assert before.waits.count == 1
    assert driver.engine.counts("default").types["t"].succeeded_total == 2


@pytest.mark.parametrize(
    ("counts", "share", "quantile_s"),
    [
        ({}, 0.5, None),
        ({0: 2}, 0.5, 0.0005),
        ({0: 1, 1: 1}, 0.5, 0.001),
        ({0: 1, 1: 1}, 1.0, 0.005),
        ({6: 10}, 0.95, 0.975),
        ({2: 50, 5: 50}, 0.25, 0.0075),
        ({BUCKETS - 1: 3}, 0.5, 3600.0),
    ],
)
def test_a_quantile_is_estimated_evenly_within_its_bucket(
    counts: dict[int, int], share: float, quantile_s: float | None
) -> None:
    durations = Durations(tuple(counts.get(bucket, 0) for bucket in range(BUCKETS)), 0.0, (None,) * BUCKETS)
    assert durations.quantile_s(share) == (None if quantile_s is None else pytest.approx(quantile_s))


def test_histograms_are_added_bucket_by_bucket() -> None:
    one = Durations((1, 2, *(0,) * (BUCKETS - 2)), 3.0, (None,) * BUCKETS)
    both = together([one, one])
    assert (both.counts[:3], both.sum_s, both.count) == ((2, 4, 0), 6.0, 6)
    assert together([]).count == 0
