"""Several submissions are accepted together, or none is."""

from __future__ import annotations

import pytest

from jobqueue.core.events import Submitted, Together
from jobqueue.core.job import IdempotencyKey, Job, JobSpec, JobState, Unique, UniqueMode, Uniqueness
from jobqueue.core.policy import QueuePolicy
from jobqueue.core.quotas import Quota, Quotas
from jobqueue.core.store_bounds import StoreBounds
from jobqueue.core.submit import Asked, SubmitResult
from jobqueue.errors import (
    Draining,
    Duplicate,
    InvalidSubmission,
    JobQueueError,
    KeyReused,
    QueueFull,
    RateLimited,
    StatusesFull,
    TypeQuarantined,
)
from tests.core.making import Driver

SPEC = JobSpec(type="t")
OTHER = JobSpec(type="t", queue="other")


def asked(spec: JobSpec = SPEC, args: bytes = b"{}", uniqueness: Uniqueness | None = None) -> Asked:
    return spec, args, None, uniqueness


def keyed(key: str, fingerprint: bytes = b"f") -> Uniqueness:
    return Uniqueness("ann", key=IdempotencyKey(key, fingerprint))


def unique(value: str, mode: UniqueMode = "return") -> Uniqueness:
    return Uniqueness("ann", unique=Unique(value, mode))


def together(driver: Driver, *many: Asked) -> list[SubmitResult[Job]]:
    try:
        return driver.engine.submit_together(many, now=driver.now)
    finally:
        driver.note_events()


def kept_of(driver: Driver) -> tuple[int, int, int]:
    """Return the numbers that an accepted job changes: records, bytes, jobs accepted."""
    engine = driver.engine
    return len(engine.store), engine.store.bytes_used, engine.totals().accepted


def refused(driver: Driver, error: type[JobQueueError], *many: Asked) -> JobQueueError:
    before, events = kept_of(driver), len(driver.events)
    with pytest.raises(error) as caught:
        together(driver, *many)
    assert (kept_of(driver), len(driver.events)) == (before, events), "nothing was kept"
    return caught.value


def test_all_jobs_are_accepted_in_order_between_two_events() -> None:
    driver = Driver()
    results = together(driver, asked(), asked(JobSpec(type="t", delay_s=5.0)), asked(OTHER))
    jobs = [result.job for result in results]
    assert [job.state for job in jobs] == [JobState.QUEUED, JobState.DELAYED, JobState.QUEUED]
    assert jobs == sorted(jobs, key=lambda job: job.id)
    told = [event for event in driver.events if isinstance(event, Submitted | Together)]
    assert told == [Together(True), *(Submitted(job) for job in jobs), Together(False)]
    assert driver.start_next() is jobs[0]


def test_no_submissions_are_accepted_as_no_jobs() -> None:
    assert together(Driver()) == []


def test_a_queue_without_slots_for_all_rejects_all_and_says_when_to_return() -> None:
    driver = Driver(capacity=3)
    driver.submit()
    error = refused(driver, QueueFull, asked(OTHER), asked(), asked(), asked())
    assert isinstance(error, QueueFull)
    assert error.retry_after_s > 0
    assert error.item is None
    assert len(together(driver, asked(), asked(), asked(OTHER), asked(OTHER), asked(OTHER))) == 5


def test_more_jobs_than_a_queue_can_ever_hold_are_invalid() -> None:
    error = refused(Driver(capacity=3), InvalidSubmission, *[asked()] * 4)
    assert "4 of these jobs are for queue 'default', and its capacity is 3" in str(error)


def test_a_draining_engine_rejects_all() -> None:
    driver = Driver()
    driver.engine.stop_admitting()
    refused(driver, Draining, asked(), asked())


@pytest.mark.parametrize("bounds", [StoreBounds(jobs_max=2), StoreBounds(bytes_max=25)])
def test_a_store_without_room_for_all_rejects_all(bounds: StoreBounds) -> None:
    driver = Driver(bounds=bounds)
    refused(driver, StatusesFull, *[asked(args=b"0123456789")] * 3)
    assert len(together(driver, *[asked(args=b"0123456789")] * 2)) == 2


def test_terminal_records_make_room_for_all() -> None:
    driver = Driver(bounds=StoreBounds(jobs_max=3))
    old = [driver.done() for _ in range(3)]
    jobs = [result.job for result in together(driver, asked(), asked())]
    assert [driver.engine.find(job.id) for job in (*old, *jobs)] == [None, None, old[2], *jobs]


@pytest.mark.parametrize("quota", [Quota(jobs_max=2), Quota(records_max=2), Quota(bytes_max=25)])
def test_a_quota_that_all_together_exceed_rejects_all(quota: Quota) -> None:
    driver = Driver(quotas=Quotas(quota))
    ann, bob = Uniqueness("ann", plain=True), Uniqueness("bob", plain=True)
    many = [asked(args=b"0123456789", uniqueness=caller) for caller in (bob, ann, ann, ann)]
    refused(driver, RateLimited, *many)
    assert len(together(driver, *many[:3])) == 3


def test_a_type_in_quarantine_rejects_all_once_its_waiting_jobs_would_be_enough() -> None:
    driver = Driver(queues={"default": QueuePolicy(capacity=20, retry_budget=1)})
    driver.failed(type="bad")
    bad = asked(JobSpec(type="bad"))
    error = refused(driver, TypeQuarantined, asked(), *[bad] * 5)
    assert error.item is not None
    assert error.item > 0
    assert len(together(driver, asked(), bad)) == 2


def test_a_known_key_gives_its_job_and_takes_no_slot() -> None:
    driver = Driver(capacity=3)
    first = together(driver, asked(uniqueness=keyed("a")), asked(uniqueness=keyed("b")))
    again = together(driver, *(asked(uniqueness=keyed(key)) for key in ("a", "b", "c")))
    assert [result.duplicate for result in again] == [True, True, False]
    assert [result.job for result in again[:2]] == [result.job for result in first]


def test_a_key_of_another_submission_rejects_all_and_is_named() -> None:
    driver = Driver()
    together(driver, asked(uniqueness=keyed("a")))
    assert refused(driver, KeyReused, asked(), asked(uniqueness=keyed("a", b"g"))).item == 1


def test_a_live_unique_value_gives_its_job_and_a_further_key() -> None:
    driver = Driver()
    holder = driver.submit(caller="ann", unique="u")
    both = Uniqueness("ann", unique=Unique("u"), key=IdempotencyKey("k", b"f"))
    (result, new) = together(driver, asked(uniqueness=both), asked())
    assert (result.job, result.duplicate, new.duplicate) == (holder, True, False)
    assert driver.engine.under_key("ann", "k") is holder


@pytest.mark.parametrize(
    ("mode", "error"), [("reject", Duplicate), ("replace", InvalidSubmission), ("debounce", InvalidSubmission)]
)
def test_other_modes_reject_all_while_a_live_job_has_the_value(mode: UniqueMode, error: type[JobQueueError]) -> None:
    driver = Driver()
    holder = driver.submit(caller="ann", unique="u")
    assert refused(driver, error, asked(), asked(), asked(uniqueness=unique("u", mode))).item == 2
    driver.cancel(holder)
    assert len(together(driver, asked(uniqueness=unique("u", mode)))) == 1


@pytest.mark.parametrize("same", [keyed("a"), unique("u")])
def test_two_of_them_with_one_key_or_value_are_invalid(same: Uniqueness) -> None:
    assert refused(Driver(), InvalidSubmission, asked(uniqueness=same), asked(uniqueness=same)).item == 1


def test_a_job_that_its_key_leads_to_may_leave_the_store_for_the_new_ones() -> None:
    driver = Driver(bounds=StoreBounds(jobs_max=2))
    old = driver.done(caller="ann", key="a", args=b"f")
    results = together(driver, asked(uniqueness=keyed("a")), asked(), asked())
    assert results[0].job is old
    assert driver.engine.find(old.id) is None
