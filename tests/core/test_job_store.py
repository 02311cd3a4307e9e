from __future__ import annotations

import gc
from itertools import islice

import pytest

from jobqueue.build import build
from jobqueue.core.ids import ID_PAGE_SIZE
from jobqueue.core.job_store import BUCKET_JOBS_MAX
from jobqueue.core.report import Success
from jobqueue.core.store_bounds import StoreBounds
from tests.core.making import Driver


def driver_of(jobs: int, **bounds: float) -> Driver:
    driver = Driver(capacity=10 * jobs, bounds=StoreBounds(**bounds))  # type: ignore[arg-type]  # any bound
    return driver


def test_records_are_listed_newest_first_across_id_pages() -> None:
    driver = driver_of(3 * ID_PAGE_SIZE)
    ids = [driver.submit().id for _ in range(2 * ID_PAGE_SIZE + 10)]
    assert [job.id for job in driver.engine.newest_first(None)] == ids[::-1]


def test_a_listing_continues_below_a_deleted_id() -> None:
    driver = driver_of(3 * ID_PAGE_SIZE)
    jobs = [driver.done() for _ in range(ID_PAGE_SIZE + 100)]
    for index in (50, ID_PAGE_SIZE, ID_PAGE_SIZE + 50):
        driver.engine.delete(jobs[index].id)
        below = [job.id for job in islice(driver.engine.newest_first(jobs[index].id), 20)]
        assert below == [job.id for job in jobs[index - 20 : index][::-1]]


def test_pages_list_each_lasting_record_exactly_once() -> None:
    driver = driver_of(1000)
    there = {driver.done().id for _ in range(300)}
    seen: list[str] = []
    cursor = None
    while page := list(islice(driver.engine.newest_first(cursor), 7)):
        seen += [job.id for job in page]
        cursor = page[-1].id
        driver.done()  # newer than the whole listing
        if len(seen) % 3 == 0:
            driver.engine.delete(page[0].id)  # already shown
    assert len(seen) == len(set(seen))
    assert there <= set(seen)


def test_a_sparse_id_page_releases_memory() -> None:
    driver = driver_of(2 * ID_PAGE_SIZE)
    jobs = [driver.done() for _ in range(ID_PAGE_SIZE)]
    id_page = driver.engine.store._id_pages[jobs[0].id[:8]]
    for job in jobs[1:]:
        driver.engine.delete(job.id)
    left = driver.engine.store._id_pages[jobs[0].id[:8]]
    assert list(left) == [jobs[0].id]
    assert left.__sizeof__() < id_page.__sizeof__() / 4


def test_an_id_page_is_copied_once_until_it_is_empty() -> None:
    driver = driver_of(2 * ID_PAGE_SIZE)
    jobs = [driver.done() for _ in range(1000)]
    copies = {id(driver.engine.store._id_pages[jobs[0].id[:8]])}
    held = [driver.engine.store._id_pages[jobs[0].id[:8]]]  # kept, so that no id is used again
    for job in jobs[:-1]:
        driver.engine.delete(job.id)
        held.append(driver.engine.store._id_pages[jobs[0].id[:8]])
        copies.add(id(held[-1]))
    assert len(copies) == 2


def test_id_pages_that_become_sparse_together_release_memory() -> None:
    driver = driver_of(2 * ID_PAGE_SIZE, ttl_s=10)
    jobs = [driver.submit() for _ in range(2 * ID_PAGE_SIZE)]
    kept = (jobs.pop(ID_PAGE_SIZE), jobs.pop(0))
    id_pages = [driver.engine.store._id_pages[job.id[:8]] for job in kept]
    for pair in zip(jobs[:ID_PAGE_SIZE], jobs[ID_PAGE_SIZE - 1 :], strict=False):
        for job in pair:
            if job.live:
                driver.engine.cancel(job.id, now=driver.now)
    driver.advance(11)
    for job, full in zip(kept, id_pages, strict=True):
        left = driver.engine.store._id_pages[job.id[:8]]
        assert list(left) == [job.id]
        assert left.__sizeof__() < full.__sizeof__() / 4


def test_records_of_several_id_pages_that_end_together_are_evicted_together() -> None:
    driver = driver_of(3 * ID_PAGE_SIZE, ttl_s=10)
    waiting = [driver.submit() for _ in range(2 * ID_PAGE_SIZE + 10)]
    for index in (0, ID_PAGE_SIZE, 1, 2 * ID_PAGE_SIZE, ID_PAGE_SIZE + 1, 2):
        driver.engine.cancel(waiting[index].id, now=driver.now)
    driver.advance(11)
    store = driver.engine.store
    assert (store.live, store.terminal) == (2 * ID_PAGE_SIZE + 4, 0)
    assert store.get(waiting[ID_PAGE_SIZE + 1].id) is None
    assert store.get(waiting[ID_PAGE_SIZE + 2].id) is waiting[ID_PAGE_SIZE + 2]


def test_an_expiry_bucket_emptied_by_deletes_is_replaced() -> None:
    driver = driver_of(10, ttl_s=10)
    old = driver.done()
    driver.advance(1)
    driver.engine.delete(driver.done().id)
    new = driver.done()
    driver.advance(9.5)
    assert driver.engine.store.get(old.id) is None
    assert driver.engine.store.get(new.id) is new
    driver.advance(1)
    assert driver.engine.store.get(new.id) is None


def test_an_old_expiry_bucket_is_evicted_without_a_newer_one_of_its_ttl() -> None:
    driver = driver_of(10, ttl_s=10)
    driver.done()
    driver.advance(1)
    driver.engine.delete(driver.done().id)
    driver.advance(10)
    assert len(driver.engine.store) == 0


def test_equal_times_of_terminal_records_share_one_object() -> None:
    driver = driver_of(10)
    first, second = driver.submit(), driver.submit()
    for job in (first, second):
        for step in (driver.lease, driver.ack):
            driver.now = float(str(driver.now))  # a new float object at each reading, as a clock returns
            step(job)
    objects = ["started_at", "finished_at"]
    if build() == "pure":  # a native object has the other two in itself
        objects += "created_at", "run_at"
    assert len({id(getattr(job, name)) for job in (first, second) for name in objects}) == 1


def test_the_table_of_shared_times_is_bounded() -> None:
    driver = driver_of(10, ttl_s=1)
    for _ in range(10_000):
        driver.done()
        driver.advance(0.001)
    assert len(driver.engine.store._instants) < 6000


def test_an_empty_store_keeps_no_shared_times() -> None:
    driver = driver_of(1000)
    jobs = []
    for _ in range(100):
        driver.advance(0.01)
        jobs.append(driver.done())
    instants = driver.engine.store._instants
    assert len(instants) >= 100
    for job in jobs:
        driver.engine.delete(job.id)
    assert not instants


def test_the_garbage_collector_tracks_no_record() -> None:
    driver = driver_of(1000)
    jobs = [driver.done() for _ in range(100)]
    store = driver.engine.store
    assert not any(gc.is_tracked(job) for job in jobs)
    buckets = [bucket.jobs for bucket in store._expiry_buckets.values()]
    assert not any(gc.is_tracked(held) for held in (*store._id_pages.values(), *buckets))


def test_more_jobs_of_one_instant_than_a_bucket_takes_are_deleted_and_evicted_like_others() -> None:
    driver = driver_of(5 * BUCKET_JOBS_MAX, ttl_s=10)
    jobs = [driver.submit() for _ in range(3 * BUCKET_JOBS_MAX)]
    for job in jobs:
        driver.engine.cancel(job.id, now=driver.now)
    store = driver.engine.store
    assert [len(bucket.jobs) for bucket in store._expiry_buckets.values()] == [BUCKET_JOBS_MAX] * 3
    # The last bucket is emptied and begun again, while those before it stay.
    for job in (jobs[0], jobs[BUCKET_JOBS_MAX], *jobs[2 * BUCKET_JOBS_MAX :]):
        driver.engine.delete(job.id)
    again = driver.submit()
    driver.engine.cancel(again.id, now=driver.now)
    assert len(store) == 2 * BUCKET_JOBS_MAX - 1
    assert len(store._expiry_buckets) == 3
    driver.engine.delete(again.id)
    driver.advance(11)
    assert len(store) == 0
    assert store.bytes_used == 0


def test_one_tick_evicts_at_most_a_bucket_of_jobs() -> None:
    driver = driver_of(5 * BUCKET_JOBS_MAX, ttl_s=10)
    for job in [driver.submit() for _ in range(BUCKET_JOBS_MAX + BUCKET_JOBS_MAX // 2)]:
        driver.engine.cancel(job.id, now=driver.now)
    driver.now += 11
    left = []
    while len(driver.engine.store):
        driver.engine.tick(driver.now)
        left.append(len(driver.engine.store))
    assert left == [BUCKET_JOBS_MAX // 2, 0]


def test_the_bytes_of_results_and_of_failed_jobs_are_released_together() -> None:
    driver = driver_of(100, ttl_s=10, failed_ttl_s=10)
    for _ in range(3):
        driver.done()
    driver.failed()
    store = driver.engine.store
    assert store.bytes_used > 0
    driver.advance(11)
    assert (len(store), store.bytes_used, len(store.failed)) == (0, 0, 0)


def test_the_bytes_of_a_deleted_result_are_not_released_again_with_its_bucket() -> None:
    driver = driver_of(100, ttl_s=10)
    jobs = []
    for size in (1, 20, 300):
        jobs.append(driver.submit())
        driver.ack(jobs[-1], driver.lease(jobs[-1]), Success(b"1" * size))
    store = driver.engine.store
    assert store.bytes_used == 321
    driver.engine.delete(jobs[1].id)
    assert store.bytes_used == 301
    driver.advance(11)
    assert (len(store), store.bytes_used) == (0, 0)


def test_the_bytes_of_a_bucket_evicted_in_parts_are_released_once() -> None:
    driver = driver_of(5 * BUCKET_JOBS_MAX, ttl_s=10)
    for _ in range(BUCKET_JOBS_MAX // 2):
        driver.done()
    driver.now += 11
    store = driver.engine.store
    before = store.bytes_used
    gone = store.evict_due(driver.now, limit=10)
    assert (len(gone), store.bytes_used) == (10, before - 10)
    driver.tick()
    assert (len(store), store.bytes_used) == (0, 0)


def test_empty_id_pages_and_expiry_buckets_are_removed() -> None:
    driver = driver_of(100, ttl_s=1)
    for _ in range(50):
        driver.done()
        driver.advance(0.1)
    driver.advance(2)
    store = driver.engine.store
    assert len(store) == 0
    assert not store._id_pages
    assert not store._expiry_buckets
    assert store.next_eviction_at() is None


def test_bytes_used_counts_live_arguments_and_results() -> None:
    driver = driver_of(10)
    store = driver.engine.store
    job = driver.submit(args=b"x" * 100)
    assert (store.bytes_used, store.live_bytes) == (100, 100)
    driver.ack(job, driver.lease(job))
    assert (store.bytes_used, store.live_bytes) == (1, 0)
    driver.engine.delete(job.id)
    assert store.bytes_used == 0


def test_early_eviction_takes_the_first_ended_record_of_any_ttl() -> None:
    driver = driver_of(10, jobs_max=3)
    first = driver.done(ttl_s=1000)
    driver.advance(1)
    second = driver.done(ttl_s=10)
    driver.advance(1)
    driver.done(ttl_s=500)
    driver.submit()
    assert driver.engine.store.get(first.id) is None
    assert driver.engine.store.get(second.id) is second


def test_an_early_eviction_holds_no_record_that_is_evicted_later() -> None:
    driver = driver_of(10, jobs_max=3, ttl_s=10)
    for _ in range(3):
        driver.done()
    driver.submit()
    store = driver.engine.store
    assert [len(jobs) for bucket in store._sorted for jobs in (bucket.by_caller or {}).values()] == [3]
    driver.advance(11)
    assert (len(store), [bucket.by_caller for bucket in store._sorted]) == (1, [None])
    assert not any(bucket.jobs for bucket in store._sorted)


@pytest.mark.parametrize("oldest_first", [False, True])
def test_portions_in_either_order_cover_the_records_across_id_pages(oldest_first: bool) -> None:
    driver = Driver(capacity=20_000)
    jobs = [driver.submit() for _ in range(9000)]
    ids = [job.id for job in jobs]
    for job in jobs[3000:3500]:
        driver.engine.cancel(job.id, now=driver.now)
        driver.engine.delete(job.id)
    left = ids[:3000] + ids[3500:]
    seen: list[str] = []
    after = None
    while portion := driver.engine.portion(after, oldest_first=oldest_first, limit=700):
        assert len(portion) <= 700
        seen += [job.id for job in portion]
        after = portion[-1].id
    assert seen == (left if oldest_first else left[::-1])
    between = driver.engine.portion(ids[3200], oldest_first=oldest_first, limit=1)
    assert [job.id for job in between] == [ids[3500 if oldest_first else 2999]]
