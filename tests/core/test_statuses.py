from __future__ import annotations

from itertools import islice

from jobqueue.core.ids import SHELF_SIZE
from jobqueue.core.statuses import StatusBounds
from tests.core.making import Driver


def driver_of(jobs: int, **bounds: float) -> Driver:
    driver = Driver(capacity=10 * jobs, bounds=StatusBounds(**bounds))  # type: ignore[arg-type]
    return driver


def test_records_are_listed_newest_first_across_shelves() -> None:
    driver = driver_of(3 * SHELF_SIZE)
    ids = [driver.submit().id for _ in range(2 * SHELF_SIZE + 10)]
    assert [job.id for job in driver.engine.newest_first(None)] == ids[::-1]


def test_a_listing_goes_on_below_any_id_even_one_that_is_gone() -> None:
    driver = driver_of(3 * SHELF_SIZE)
    jobs = [driver.done() for _ in range(SHELF_SIZE + 100)]
    for place in (50, SHELF_SIZE, SHELF_SIZE + 50):
        driver.engine.delete(jobs[place].id)
        below = [job.id for job in islice(driver.engine.newest_first(jobs[place].id), 20)]
        assert below == [job.id for job in jobs[place - 20 : place][::-1]]


def test_pages_show_no_record_twice_and_miss_none_that_was_there_throughout() -> None:
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


def test_a_shelf_with_few_records_left_gives_its_room_back() -> None:
    driver = driver_of(2 * SHELF_SIZE)
    jobs = [driver.done() for _ in range(SHELF_SIZE)]
    shelf = driver.engine.statuses._shelves[jobs[0].id[:8]]
    for job in jobs[1:]:
        driver.engine.delete(job.id)
    left = driver.engine.statuses._shelves[jobs[0].id[:8]]
    assert list(left) == [jobs[0].id]
    assert left.__sizeof__() < shelf.__sizeof__() / 4


def test_a_shelf_is_copied_once_on_its_way_to_empty() -> None:
    driver = driver_of(2 * SHELF_SIZE)
    jobs = [driver.done() for _ in range(1000)]
    copies = {id(driver.engine.statuses._shelves[jobs[0].id[:8]])}
    held = [driver.engine.statuses._shelves[jobs[0].id[:8]]]  # kept, so that no id is used again
    for job in jobs[:-1]:
        driver.engine.delete(job.id)
        held.append(driver.engine.statuses._shelves[jobs[0].id[:8]])
        copies.add(id(held[-1]))
    assert len(copies) == 2


def test_empty_shelves_and_drawers_are_taken_away() -> None:
    driver = driver_of(100, ttl_s=1)
    for _ in range(50):
        driver.done()
        driver.advance(0.1)
    driver.advance(2)
    statuses = driver.engine.statuses
    assert len(statuses) == 0
    assert not statuses._shelves
    assert not statuses._drawers
    assert statuses.next_eviction_at() is None


def test_the_bytes_held_are_those_of_live_arguments_and_of_results() -> None:
    driver = driver_of(10)
    statuses = driver.engine.statuses
    job = driver.submit(args=b"x" * 100)
    assert (statuses.bytes_used, statuses.live_bytes) == (100, 100)
    driver.ack(job, driver.lease(job))
    assert (statuses.bytes_used, statuses.live_bytes) == (1, 0)
    driver.engine.delete(job.id)
    assert statuses.bytes_used == 0


def test_early_eviction_takes_those_that_ended_first_whatever_their_ttl() -> None:
    driver = driver_of(10, jobs_max=3)
    first = driver.done(ttl_s=1000)
    driver.advance(1)
    second = driver.done(ttl_s=10)
    driver.advance(1)
    driver.done(ttl_s=500)
    driver.submit()
    assert driver.engine.statuses.get(first.id) is None
    assert driver.engine.statuses.get(second.id) is second
