"""Measurements of a queue's state: run times, the drain rate, relative costs of jobs."""

from __future__ import annotations

import pytest

from jobqueue.core.job import JobState
from jobqueue.core.policy import QueuePolicy
from jobqueue.core.scheduling.queue_state import (
    COST_MAX,
    COST_MIN,
    DRAIN_PER_S_MIN,
    PACE_S,
    RETRY_AFTER_S_MIN,
    RUN_WEIGHT,
    QueueState,
)
from jobqueue.core.scheduling.retry_after import RETRY_AFTER_S_MAX
from jobqueue.errors import QueueFull
from tests.core.making import CRASHED, Driver


def queue_state_of(driver: Driver, name: str = "default") -> QueueState:
    return driver.engine.queue_states[name]


def typical_runs(queue_state: QueueState) -> dict[str, float | None]:
    return {name: queue_state.typical_run_s(name) for name in queue_state.types}


def run(driver: Driver, run_s: float, **spec: object) -> None:
    job = driver.submit(**spec)  # type: ignore[arg-type]  # any option
    driver.lease(job)
    driver.now += run_s
    driver.ack(job)


# -- run times


def test_the_typical_run_time_is_the_first_run_shifted_by_later_runs() -> None:
    driver = Driver()
    queue_state = queue_state_of(driver)
    assert queue_state.run_s is None
    run(driver, 2.0)
    assert queue_state.run_s == 2.0
    run(driver, 12.0)
    assert queue_state.run_s == pytest.approx(2.0 + RUN_WEIGHT * 10.0)
    assert queue_state.typical_run_s("t") == queue_state.run_s


def test_typical_run_times_are_kept_per_type_and_queue() -> None:
    driver = Driver()
    for _ in range(200):
        run(driver, 1.0, type="quick")
        run(driver, 9.0, type="slow")
    run(driver, 5.0, type="slow", queue="other")
    assert typical_runs(queue_state_of(driver)) == pytest.approx({"quick": 1.0, "slow": 9.0})
    assert queue_state_of(driver).run_s == pytest.approx(5.0, abs=0.5)
    assert typical_runs(queue_state_of(driver, "other")) == {"slow": 5.0}


def test_failed_and_crashed_attempts_count_as_runs() -> None:
    driver = Driver()
    job = driver.submit(attempts_max=3)
    for run_s in (1.0, 1.0):
        driver.lease(job)
        driver.now += run_s
        driver.nack(job, failure=CRASHED)
    assert queue_state_of(driver).run_s == 1.0
    assert queue_state_of(driver).ended_total[JobState.FAILED] == 0


def test_the_cost_of_a_job_is_the_run_time_of_its_type_relative_to_the_queue_within_bounds() -> None:
    driver = Driver()
    queue_state = queue_state_of(driver)
    unknown = driver.submit(type="unknown")
    assert queue_state.cost(unknown) == 1.0
    for _ in range(300):
        for job_type, run_s in (("tiny", 0.02), ("less", 1.0), ("more", 3.0), ("huge", 9.99)):
            run(driver, run_s, type=job_type)
    queue_state.run_s = 2.0
    costs = {job_type: queue_state.cost(driver.submit(type=job_type)) for job_type in ("tiny", "less", "more", "huge")}
    assert costs == pytest.approx({"tiny": COST_MIN, "less": 0.5, "more": 1.5, "huge": COST_MAX})
    assert queue_state.cost(unknown) == 1.0


def test_a_run_time_of_zero_has_the_default_cost() -> None:
    driver = Driver()
    run(driver, 0.0)
    assert queue_state_of(driver).cost(driver.submit()) == 1.0


# -- drain rate


def test_the_measured_drain_rate_converges_to_a_steady_rate_and_decays() -> None:
    driver = Driver()
    for _ in range(300):
        run(driver, 0.1)
    assert queue_state_of(driver).measured_drain_per_s(driver.now) == pytest.approx(10.0, rel=0.05)
    driver.advance(10)
    assert queue_state_of(driver).measured_drain_per_s(driver.now) == pytest.approx(5.0, rel=0.1), (
        "half, after 10 s without an end"
    )
    assert queue_state_of(driver, "other").measured_drain_per_s(driver.now) == 0.0


def test_the_pace_follows_the_waiting_types_and_is_cached_for_a_hundredth_of_a_second() -> None:
    driver = Driver(capacity=100)
    queue_state = queue_state_of(driver)
    assert queue_state.pace_per_s(driver.now) is None
    for job_type, run_s in (("quick", 0.1), ("slow", 3.0)):
        run(driver, run_s, type=job_type)
    for _ in range(3):
        driver.submit(type="slow")
    quick = driver.submit(type="quick")
    driver.submit(type="unknown")
    assert {name: each.waiting for name, each in queue_state.types.items()} == {"quick": 1, "slow": 3, "unknown": 1}
    assert queue_state.pace_per_s(driver.now) == pytest.approx(4 / 9.1)
    driver.cancel(quick)
    driver.now += 0.9 * PACE_S
    assert queue_state.pace_per_s(driver.now) == pytest.approx(4 / 9.1)
    driver.now += 0.1 * PACE_S
    assert queue_state.pace_per_s(driver.now) == pytest.approx(1 / 3.0)
    driver.start_next()
    driver.start_next()
    driver.now += PACE_S
    assert queue_state.pace_per_s(driver.now) == pytest.approx(2 / 3.0), "two run at once"


def test_each_terminal_job_adds_to_the_drain_rate_and_a_backoff_does_not() -> None:
    driver = Driver()
    queue_state = queue_state_of(driver)
    job = driver.submit(attempts_max=2)
    driver.lease(job)
    driver.now += 1
    driver.nack(job)
    assert queue_state.measured_drain_per_s(driver.now) == 0.0
    driver.cancel(job)
    one = queue_state.measured_drain_per_s(driver.now)
    assert one > 0
    driver.submit(start_by_s=0.5)
    driver.advance(0.5)
    assert queue_state.measured_drain_per_s(driver.now) > one


def test_the_drain_rate_has_the_ends_of_the_same_instant() -> None:
    driver = Driver()
    queue_state = queue_state_of(driver)
    run(driver, 10.0)
    driver.now += 100.0
    before = queue_state.drain_per_s(driver.now)
    run(driver, 0.0)
    assert queue_state.drain_per_s(driver.now) > before


def test_the_drain_rate_is_estimated_from_running_jobs_before_the_first_end() -> None:
    driver = Driver()
    queue_state = queue_state_of(driver)
    assert queue_state.drain_per_s(driver.now) == 1.0
    for _ in range(4):
        driver.lease(driver.submit())
    assert queue_state.drain_per_s(driver.now) == 4.0
    driver.now += 10
    assert queue_state.drain_per_s(driver.now) == pytest.approx(0.4), "none of the four has ended in 10 s"


def test_the_drain_rate_is_estimated_from_busy_workers_after_a_quiet_period() -> None:
    driver = Driver()
    queue_state = queue_state_of(driver)
    run(driver, 2.0)
    driver.now += 1000
    for _ in range(6):
        driver.lease(driver.submit())
    assert queue_state.measured_drain_per_s(driver.now) == pytest.approx(0.0, abs=1e-9)
    assert queue_state.drain_per_s(driver.now) == pytest.approx(3.0), "6 workers, 2 s each"


def test_the_drain_rate_is_estimated_from_run_times_below_a_second() -> None:
    driver = Driver()
    run(driver, 0.01)
    driver.now += 1000
    driver.lease(driver.submit())
    assert queue_state_of(driver).drain_per_s(driver.now) == pytest.approx(100.0)


def test_the_drain_rate_of_a_stalled_queue_is_above_zero() -> None:
    driver = Driver()
    queue_state = queue_state_of(driver)
    job = driver.submit(attempts_max=2)
    driver.lease(job)
    driver.now += 1
    driver.nack(job)
    assert queue_state.measured_drain_per_s(driver.now) == 0.0
    assert queue_state.drain_per_s(driver.now) == DRAIN_PER_S_MIN > 0
    assert queue_state.slot_s(driver.now) == RETRY_AFTER_S_MAX


def test_the_measured_drain_rate_after_one_slow_run_is_low() -> None:
    driver = Driver()
    run(driver, 100.0)
    assert queue_state_of(driver).measured_drain_per_s(driver.now) < 0.1


def test_new_arrivals_lengthen_the_retry_after_of_rejected_submissions() -> None:
    waits = []
    for newcomers in (0, 1):
        driver = Driver(capacity=2)
        driver.submit(delay_s=1e6)
        for _ in range(100):
            run(driver, 0.5)
        driver.advance(60)
        for _ in range(20 * newcomers):
            driver.cancel(driver.submit())
            driver.now += 0.5
        if not newcomers:
            for _ in range(20):
                driver.now += 0.5
        driver.submit()
        driver.start_next()
        for _ in range(2):  # the first rejection gets the next slot in any case
            with pytest.raises(QueueFull) as refusal:
                driver.submit()
        waits.append(refusal.value.retry_after_s)
    assert waits[1] > waits[0]


def test_each_rejection_gets_a_later_retry_slot_spaced_by_the_drain_rate() -> None:
    driver = Driver(capacity=5)
    for _ in range(200):
        run(driver, 0.5)
    for _ in range(5):
        driver.submit()
    driver.start_next()
    waits = []
    for _ in range(20):
        with pytest.raises(QueueFull) as refusal:
            driver.submit()
        waits.append(refusal.value.retry_after_s)
    assert min(waits) >= RETRY_AFTER_S_MIN
    assert waits[19] > waits[9] > waits[0], "a slot for each, not one time for all"
    assert 20 / 2.0 <= waits[19] <= 20 / (0.05 * 2.0) * 1.1, "two slots a second, less arrivals; a twentieth at least"


def test_retry_after_of_a_reduced_capacity_lies_behind_the_end_of_the_surplus() -> None:
    driver = Driver(capacity=100)
    for _ in range(200):
        run(driver, 0.5)
    for _ in range(50):
        driver.submit()
    driver.start_next()
    driver.engine.set_policy("default", QueuePolicy(capacity=11), now=driver.now)
    waits = []
    for _ in range(3):
        with pytest.raises(QueueFull) as refusal:
            driver.submit()
        waits.append(refusal.value.retry_after_s)
    assert 19.0 <= waits[0] < waits[1] < waits[2], "39 surplus jobs, two of which end per second"
    assert queue_state_of(driver).slot_s(driver.now) == pytest.approx(20.0, rel=0.05)


def test_retry_after_is_spread_up_to_its_maximum_for_a_surplus_that_lasts_longer() -> None:
    driver = Driver(capacity=10_000)
    run(driver, 1.0)
    for _ in range(5000):
        driver.submit()
    driver.engine.set_policy("default", QueuePolicy(capacity=1), now=driver.now)
    waits = set()
    for _ in range(20):
        with pytest.raises(QueueFull) as refusal:
            driver.submit()
        waits.add(refusal.value.retry_after_s)
    assert len(waits) == 20
    assert RETRY_AFTER_S_MAX / 2 <= min(waits) <= max(waits) <= RETRY_AFTER_S_MAX
    assert queue_state_of(driver).slot_s(driver.now) == RETRY_AFTER_S_MAX


# -- counters


def test_the_queue_state_counts_live_jobs_and_lists_waiting_jobs_oldest_first() -> None:
    driver = Driver()
    queue_state = queue_state_of(driver)
    first, second = driver.submit(), driver.submit()
    driver.submit(delay_s=5.0)
    assert (queue_state.live, list(queue_state.waiting)) == (3, [first.id, second.id])
    driver.lease(first)
    assert (queue_state.live, list(queue_state.waiting)) == (3, [second.id])
    driver.ack(first)
    driver.cancel(second)
    assert (queue_state.live, list(queue_state.waiting)) == (1, [])


def test_a_queue_has_a_worker_unless_it_is_paused_or_at_its_limit() -> None:
    driver = Driver(queues={"default": QueuePolicy(workers=1)})
    queue_state = queue_state_of(driver)
    assert queue_state.has_worker
    queue_state.paused = True
    assert not queue_state.has_worker
    queue_state.paused = False
    job = driver.submit()
    driver.lease(job)
    assert not queue_state.has_worker
    driver.ack(job)
    assert queue_state.has_worker
