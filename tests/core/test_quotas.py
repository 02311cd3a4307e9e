"""What a caller may hold: records and bytes; its live jobs are in test_uniqueness.py."""

from __future__ import annotations

import pytest

from jobqueue.core.job import FAILED, Job
from jobqueue.core.quotas import Quota, Quotas
from jobqueue.core.report import Success
from jobqueue.core.store_bounds import StoreBounds
from jobqueue.core.stored_file import StoredFile, Upload
from jobqueue.errors import JobGone, RateLimited, StatusesFull
from tests.core.making import FINAL, Driver


def driver_with(common: Quota = Quota(), **own: Quota) -> Driver:  # noqa: B008 # a value that is never changed
    return Driver(capacity=1000, quotas=Quotas(common, own))


def held(driver: Driver, jobs: list[Job]) -> list[Job]:
    return [job for job in jobs if driver.engine.store.get(job.id) is job]


def test_a_caller_over_its_records_loses_its_oldest_terminal_ones_and_no_other_caller_does() -> None:
    driver = driver_with(Quota(records_max=5))
    mouse = [driver.done(caller="mouse") for _ in range(5)]
    elephant = [driver.done(caller="elephant") for _ in range(20)]
    assert held(driver, mouse) == mouse
    assert held(driver, elephant) == elephant[-5:]
    with pytest.raises(JobGone) as gone:
        driver.engine.get(elephant[0].id)
    assert gone.value.reason == "evicted"
    assert driver.engine.totals().evicted_early == 15


def test_a_caller_with_live_jobs_in_all_its_records_is_rejected() -> None:
    driver = driver_with(Quota(records_max=3))
    ended = driver.done(caller="elephant")
    live = [driver.submit(caller="elephant") for _ in range(3)]
    assert held(driver, [ended, *live]) == live
    with pytest.raises(RateLimited, match="has 3 live jobs, which take all its 3 records") as refusal:
        driver.submit(caller="elephant")
    assert refusal.value.retry_after_s >= 1
    driver.submit(caller="mouse")
    driver.lease(live[0])
    driver.ack(live[0])
    driver.submit(caller="elephant")


def test_a_caller_over_its_bytes_loses_its_oldest_terminal_records() -> None:
    driver = driver_with(Quota(bytes_max=1000))
    jobs = []
    for _ in range(5):
        jobs.append(driver.submit(b"x" * 100, caller="elephant"))
        driver.lease(jobs[-1])
        driver.ack(jobs[-1], success=Success(b"1" * 300))
    assert held(driver, jobs) == jobs[-3:]
    holding = driver.engine.store.holdings.by_caller["elephant"]
    assert holding.size_bytes == 900


def test_a_caller_with_live_jobs_in_all_its_bytes_is_rejected_and_nothing_is_evicted() -> None:
    driver = driver_with(Quota(bytes_max=1000))
    ended = driver.done(caller="elephant")
    driver.submit(b"x" * 900, caller="elephant")
    with pytest.raises(RateLimited, match="they hold 900 bytes, this one has 200 of 1000"):
        driver.submit(b"x" * 200, caller="elephant")
    assert held(driver, [ended]) == [ended]
    driver.submit(b"x" * 200, caller="mouse")


def test_a_result_beyond_the_bytes_of_its_caller_fails_its_job() -> None:
    driver = driver_with(Quota(bytes_max=1000))
    driver.submit(b"x" * 900, caller="elephant")
    job = driver.submit(caller="elephant")
    driver.lease(job)
    driver.ack(job, success=Success(b"1" * 200))
    assert job.state is FAILED
    assert job.error is not None
    assert job.error.code == "result_too_large"


def test_a_history_beyond_the_bytes_of_its_caller_is_not_kept() -> None:
    driver = driver_with(Quota(bytes_max=30))
    job = driver.failed(FINAL, caller="elephant")
    assert job.history is None


def test_a_key_for_a_live_job_counts_for_the_caller_of_the_job() -> None:
    driver = driver_with(Quota(bytes_max=1000))
    driver.submit(b"x" * 100, caller="elephant", unique="u")
    driver.submit(b"x" * 100, caller="elephant", unique="u", key="k0")
    with pytest.raises(RateLimited, match="leave no room"):
        driver.submit(b"x" * 100, caller="elephant", unique="u", key="k1")
    driver.submit(b"x" * 100, caller="mouse")


def test_a_replaced_job_makes_room_for_its_replacement() -> None:
    driver = driver_with(Quota(records_max=1, bytes_max=2000))
    old = driver.submit(b"x" * 700, caller="elephant", unique="u")
    new = driver.submit(b"x" * 700, caller="elephant", unique="u", mode="replace")
    assert held(driver, [old, new]) == [new]


def test_a_replacement_is_rejected_where_its_caller_holds_too_many_other_bytes() -> None:
    driver = driver_with(Quota(bytes_max=2000))
    driver.submit(b"x" * 1200, caller="elephant")
    old = driver.submit(caller="elephant", unique="u")
    with pytest.raises(RateLimited, match="of 2000"):
        driver.submit(b"x" * 700, caller="elephant", unique="u", mode="replace")
    assert old.live


def test_the_files_of_a_replacement_count_among_the_bytes_of_its_record() -> None:
    driver = driver_with()
    upload = Upload("folder", {"part": (StoredFile("folder/file-0", "text/plain", 3),)})
    sizes = []
    for mode in ("return", "replace"):
        sizes.append(driver.submit(caller="ann", unique="u", mode=mode, upload=upload).size_bytes)
    assert sizes[0] == sizes[1] > driver.submit(caller="ann", unique="other").size_bytes


def test_a_retry_needs_room_among_the_live_records_of_its_caller() -> None:
    driver = driver_with(Quota(records_max=2))
    failed = driver.failed(FINAL, caller="elephant")
    driver.submit(caller="elephant")
    driver.retry(failed)
    assert failed.live
    with pytest.raises(RateLimited):
        driver.submit(caller="elephant")


def test_a_caller_with_a_quota_of_its_own_has_that_in_place_of_the_common_one() -> None:
    driver = driver_with(Quota(records_max=2), large=Quota(records_max=4), free=Quota())
    for caller, records in (("small", 2), ("large", 4), ("free", 9)):
        jobs = [driver.done(caller=caller) for _ in range(9)]
        assert held(driver, jobs) == jobs[-records:]


def test_the_application_itself_has_no_quota() -> None:
    driver = driver_with(Quota(jobs_max=1, records_max=1, bytes_max=10))
    jobs = [driver.submit(b"x" * 100) for _ in range(3)]
    assert held(driver, jobs) == jobs


def test_a_smaller_quota_keeps_all_records_until_the_next_submission() -> None:
    driver = driver_with()
    jobs = [driver.done(caller="elephant") for _ in range(5)]
    driver.engine.set_quotas(Quotas(Quota(records_max=2)))
    assert held(driver, jobs) == jobs
    new = driver.submit(caller="elephant")
    assert held(driver, [*jobs, new]) == [jobs[-1], new]


def test_a_store_without_room_rejects_before_a_quota_does() -> None:
    driver = Driver(capacity=10, bounds=StoreBounds(jobs_max=1), quotas=Quotas(Quota(records_max=1)))
    driver.submit(caller="elephant")
    with pytest.raises(StatusesFull):
        driver.submit(caller="elephant")
