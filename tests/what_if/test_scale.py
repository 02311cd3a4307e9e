"""Scale: a smaller queue with the same ratio of work to workers, of waits to patience, and of limits."""

from __future__ import annotations

import pytest

from jobqueue.core.policy import Limits, QueuePolicy
from jobqueue.core.rate import Rate
from jobqueue.what_if.scale import WORKERS_MIN, Scale, scale_for


def test_few_jobs_are_simulated_one_by_one() -> None:
    policy = QueuePolicy(workers=8, capacity=100)
    assert scale_for(0.5, 8) == Scale()
    assert Scale().policy(policy) == policy


def test_workers_become_fewer_first_and_jobs_longer_second() -> None:
    assert scale_for(10.0, 1000) == Scale(10.0, 10.0)
    scale = scale_for(200.0, 1000)
    assert scale.workers == 1000 / WORKERS_MIN
    assert scale.run_factor == pytest.approx(4.0)
    assert scale_for(5.0, WORKERS_MIN - 1) == Scale(1.0, 5.0)


def test_a_full_queue_takes_as_long_to_drain_as_the_real_one() -> None:
    policy, run_s = QueuePolicy(workers=1000, capacity=50_000), 0.1
    for excess in (10.0, 200.0, 1000.0):
        scale = scale_for(excess, policy.workers)
        small = scale.policy(policy)
        assert small.workers >= WORKERS_MIN
        real_s = (policy.capacity - policy.workers) * run_s / policy.workers
        assert (small.capacity - small.workers) * run_s * scale.run_factor / small.workers == pytest.approx(
            real_s, rel=0.06
        )


def test_running_jobs_find_a_slot_each_however_large_the_scale() -> None:
    small = Scale(1.0, 1e6).policy(QueuePolicy(workers=10, capacity=1000))
    assert small.workers == 10
    assert small.capacity == 10
    assert Scale(1.0, 100.0).policy(QueuePolicy(workers=10, capacity=5)).capacity == 5


def test_limits_and_pools_shrink_with_the_workers_and_rates_with_the_jobs() -> None:
    scale = Scale(10.0, 40.0)
    limits = scale.limits(Limits(concurrency=100, rate=Rate(80, 1.0), group_concurrency=1))
    assert limits is not None
    assert limits.concurrency == 10
    assert limits.group_concurrency == 1
    assert limits.rate is not None
    assert limits.rate.count / limits.rate.period_s == pytest.approx(80 / 40)
    assert limits.rate.burst_max == 2
    assert scale.pools({"thread": 32, "process": 4}) == {"thread": 3, "process": 1}
