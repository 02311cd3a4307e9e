"""Counts of the job store and of each queue."""

from __future__ import annotations

import pytest

from jobqueue.core.counting.stats import QueueStats, StoreStats
from jobqueue.core.policy import QueuePolicy
from jobqueue.core.store_bounds import StoreBounds
from jobqueue.errors import QueueFull
from tests.core.making import FINAL, Driver

POLICY, OTHER = QueuePolicy(capacity=7, retry_budget=1), QueuePolicy(capacity=3)


def busy_driver() -> Driver:
    """An engine in which each count differs from the others."""
    driver = Driver(queues={"default": POLICY, "other": OTHER}, bounds=StoreBounds(ttl_s=5.0))
    for _ in range(4):
        driver.done()
    driver.advance(10.0)
    for _ in range(3):
        driver.done()
    driver.failed(FINAL, type="bad")
    retried = driver.failed(FINAL, type="worse")
    driver.retry(retried)
    for _ in range(2):
        driver.cancel(driver.submit())
    driver.submit(start_by_s=1.0)
    driver.advance(1.0)
    driver.submit(delay_s=60.0)
    driver.submit(delay_s=60.0)
    running = driver.submit()
    driver.lease(running)
    driver.now += 0.5
    driver.submit()
    driver.now += 0.5
    driver.submit()
    driver.submit()
    with pytest.raises(QueueFull):
        driver.submit()
    return driver


def test_the_counts_of_a_queue_are_those_of_its_jobs() -> None:
    driver = busy_driver()
    queue_state = driver.engine.queue_states["default"]
    _, (stats, _) = driver.engine.stats(driver.now)
    assert stats == QueueStats(
        name="default",
        policy=POLICY,
        paused=False,
        delayed=2,
        queued=4,
        running=1,
        submitted_total=18,
        refused_total=1,
        retried_total=1,
        succeeded_total=7,
        failed_total=2,
        cancelled_total=2,
        expired_total=1,
        oldest_queued_at=driver.now - 2.0,
        drain_rate_per_s=queue_state.measured_drain_per_s(driver.now),
        quarantined=driver.engine.quarantine.all(),
    )
    assert stats.drain_rate_per_s > 0
    assert [each.type for each in stats.quarantined] == ["bad", "worse"]


def test_each_queue_has_counts_of_its_own() -> None:
    driver = busy_driver()
    driver.engine.pauses.begin("other", now=0.0)
    driver.submit(queue="other")
    _, (_, stats) = driver.engine.stats(driver.now)
    assert (stats.name, stats.policy, stats.paused) == ("other", OTHER, True)
    assert (stats.queued, stats.running, stats.submitted_total, stats.oldest_queued_at) == (1, 0, 1, driver.now)


def test_the_counts_of_the_store_add_up_to_all_accepted_jobs() -> None:
    driver = busy_driver()
    stats, _ = driver.engine.stats(driver.now)
    assert stats == StoreStats(
        live=7, terminal=7, bytes_used=driver.engine.store.bytes_used, accepted_total=18, evicted_total=4,
        evicted_early_total=0, deleted_total=0,
    )  # fmt: skip
    assert stats.bytes_used > 0


def test_early_evictions_are_counted_apart() -> None:
    driver = Driver(bounds=StoreBounds(jobs_max=2))
    for _ in range(3):
        driver.done()
    stats, _ = driver.engine.stats(driver.now)
    assert (stats.accepted_total, stats.terminal, stats.evicted_total, stats.evicted_early_total) == (3, 2, 1, 1)


def test_the_time_to_drain_is_the_live_jobs_by_the_drain_rate() -> None:
    driver = Driver()
    assert driver.engine.stats(driver.now)[1][0].drain_s is None, "nothing has ended"
    for _ in range(3):
        driver.done()
        driver.now += 1.0
    for options in ({}, {"delay_s": 60.0}, {"type": "run"}):
        job = driver.submit(**options)
    driver.lease(job)
    _, (stats, _) = driver.engine.stats(driver.now)
    assert stats.live == 3
    assert stats.drain_s == pytest.approx(3 / stats.drain_rate_per_s)
