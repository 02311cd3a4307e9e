"""The scheduler: shares of one worker pool, limits, pauses, and settings that change while jobs wait."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import product
from random import Random

import msgspec
import pytest

from jobqueue.core.events import Ended, PolicyChanged, Ready
from jobqueue.core.job import Job, JobState
from jobqueue.core.policy import Discipline, Limits, QueuePolicy
from jobqueue.core.scheduling.order import make_order
from jobqueue.core.scheduling.scheduler import Shares
from jobqueue.errors import QueueFull
from tests.core.making import CRASHED, Driver


class Pool:
    """Workers on a virtual clock that serve a driver's queues; the busy time of each queue is counted."""

    def __init__(self, driver: Driver, size: int, run_s: Callable[[Job], float]) -> None:
        self.driver = driver
        self.size = size
        self.run_s = run_s
        self.busy_s: Counter[str] = Counter()
        self.ran: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self._started = 0
        self._ends: list[tuple[float, int, Job]] = []

    def serve(self, jobs: int, *, refill: bool = True) -> None:
        """Run up to `jobs` jobs; with `refill`, each one that ends is followed by a new one of its type."""
        for _ in range(jobs):
            while len(self._ends) < self.size and (job := self.driver.start_next()) is not None:
                self._started += 1
                heappush(self._ends, (self.driver.now + self.run_s(job), self._started, job))
                counts = self.driver.engine.queue_states[job.spec.queue].counts
                self.most[job.spec.queue] = max(self.most[job.spec.queue], counts[JobState.RUNNING])
            if not self._ends:
                return
            end_at, _, job = heappop(self._ends)
            self.driver.now = end_at
            assert job.started_at is not None
            self.busy_s[job.spec.queue] += end_at - job.started_at  # type: ignore[assignment]  # a Counter of floats
            self.ran[job.spec.queue] += 1
            self.driver.ack(job)
            if refill:
                self.driver.engine.submit(job.spec, b"", None, now=self.driver.now)
                self.driver.events.clear()


def queues_of(weights: dict[str, int], **options: object) -> dict[str, QueuePolicy]:
    return {name: QueuePolicy(weight=weight, **options) for name, weight in weights.items()}  # type: ignore[arg-type]  # any setting


def driver_with(
    weights: dict[str, int], *, backlog: int = 50, shares: Shares = "weighted", **options: object
) -> Driver:
    driver = Driver(queues=queues_of(weights, **options), shares=shares)
    for name in weights:
        for _ in range(backlog):
            driver.submit(queue=name)
    return driver


# -- shares


RUN_TIMES: dict[str, Callable[[Random], Callable[[Job], float]]] = {
    "alike": lambda rng: lambda job: 0.1,
    "the light queue's are long": lambda rng: lambda job: {"a": 0.05, "b": 0.4}[job.spec.queue],
    "the heavy queue's are long": lambda rng: lambda job: {"a": 0.4, "b": 0.05}[job.spec.queue],
    "by chance": lambda rng: lambda job: rng.expovariate({"a": 8.0, "b": 2.0}[job.spec.queue]),
}


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("run_times", RUN_TIMES)
def test_queues_share_worker_time_by_weight_for_any_run_times(run_times: str, workers: int) -> None:
    driver = driver_with({"a": 3, "b": 1})
    pool = Pool(driver, workers, RUN_TIMES[run_times](Random(7)))
    pool.serve(10_000)
    share = pool.busy_s["a"] / sum(pool.busy_s.values())
    assert share == pytest.approx(0.75, rel=0.05), f"{share:.3f} of the time, after {dict(pool.ran)} jobs"


def test_a_changed_weight_applies_from_then_on() -> None:
    driver = driver_with({"a": 3, "b": 1})
    pool = Pool(driver, 2, lambda job: 0.1)
    pool.serve(1000)
    driver.engine.set_policy("a", QueuePolicy(weight=1), now=driver.now)
    pool.busy_s.clear()
    pool.serve(1000)
    assert pool.busy_s["a"] / sum(pool.busy_s.values()) == pytest.approx(0.5, rel=0.05)


def test_an_idle_queue_leaves_its_share_to_the_others() -> None:
    driver = driver_with({"a": 3, "b": 1}, backlog=0)
    for _ in range(40):
        driver.submit(queue="b")
    pool = Pool(driver, 4, lambda job: 0.1)
    pool.serve(10_000, refill=False)
    assert pool.ran == {"b": 40}
    assert driver.now == pytest.approx(1000.0 + 40 * 0.1 / 4)


def share_of_newcomer(driver: Driver, pool: Pool, jobs: int = 100) -> float:
    pool.busy_s.clear()
    pool.serve(jobs)
    return pool.busy_s["b"] / sum(pool.busy_s.values())


def test_an_idle_queue_accumulates_no_credit() -> None:
    driver = driver_with({"a": 1, "b": 1}, backlog=0)
    for _ in range(50):
        driver.submit(queue="a")
    pool = Pool(driver, 2, lambda job: 0.1)
    pool.serve(1000)
    for _ in range(50):
        driver.submit(queue="b")
    assert share_of_newcomer(driver, pool) == pytest.approx(0.5, abs=0.05)


def test_a_paused_queue_accumulates_no_credit() -> None:
    driver = driver_with({"a": 1, "b": 1})
    driver.engine.pauses.begin("b", now=0.0)
    pool = Pool(driver, 2, lambda job: 0.1)
    pool.serve(1000)
    driver.engine.pauses.end("b")
    assert share_of_newcomer(driver, pool) == pytest.approx(0.5, abs=0.05)


def test_a_queue_at_its_worker_limit_accumulates_no_credit() -> None:
    driver = Driver(queues={"a": QueuePolicy(), "b": QueuePolicy(workers=1)})
    for name in "ab":
        for _ in range(50):
            driver.submit(queue=name)
    pool = Pool(driver, 8, lambda job: 0.1)
    pool.serve(1000)
    assert pool.ran["b"] == pytest.approx(1000 / 8, abs=2)
    driver.engine.set_policy("b", QueuePolicy(), now=driver.now)
    assert share_of_newcomer(driver, pool) == pytest.approx(0.5, abs=0.05)


def test_a_queue_with_one_long_job_accumulates_no_credit() -> None:
    driver = driver_with({"a": 1, "b": 1}, backlog=0)
    for _ in range(50):
        driver.submit(queue="a")
    driver.submit(queue="b")
    pool = Pool(driver, 4, lambda job: 0.1)
    pool.serve(10, refill=False)
    long = driver.submit(queue="b")
    driver.lease(long)
    pool.serve(1000)
    assert long.state is JobState.RUNNING
    for _ in range(50):
        driver.submit(queue="b")
    assert share_of_newcomer(driver, pool) == pytest.approx(0.5, abs=0.05)


def test_a_queue_that_is_briefly_empty_keeps_its_debt() -> None:
    driver = Driver(queues=queues_of({"a": 1, "b": 1}))
    for _ in range(50):
        driver.submit(queue="a")
    driver.submit(queue="b")  # one at a time: it has none that waits while one runs
    pool = Pool(driver, 1, lambda job: {"a": 0.1, "b": 2.0}[job.spec.queue])
    pool.serve(2000)
    assert pool.busy_s["b"] / sum(pool.busy_s.values()) == pytest.approx(0.5, rel=0.05)


def test_jobs_that_move_to_a_limiter_do_not_count_against_the_share_of_their_queue() -> None:
    driver = Driver(queues=queues_of({"a": 1, "b": 1}))
    one = Limits(concurrency=1)
    driver.lease(driver.submit(queue="a", type="slow", limits=one))
    for _ in range(200):
        driver.submit(queue="a", type="slow", limits=one)
    for name in "ab":
        for _ in range(50):
            driver.submit(queue=name)
    pool = Pool(driver, 1, lambda job: 0.1)
    pool.serve(200)
    share = pool.busy_s["a"] / sum(pool.busy_s.values())
    assert share == pytest.approx(0.5, abs=0.05), f"{share:.3f}"


def test_strict_shares_serve_the_queue_of_highest_weight_first() -> None:
    driver = driver_with({"low": 1, "high": 2, "highest": 10}, backlog=3, shares="strict")
    started = []
    while (job := driver.start_next()) is not None:
        started.append(job.spec.queue)
        if len(started) == 7:
            driver.submit(queue="highest")
    assert started == ["highest"] * 3 + ["high"] * 3 + ["low"] + ["highest"] + ["low"] * 2


def test_strict_shares_split_time_equally_among_queues_of_one_weight() -> None:
    driver = driver_with({"a": 5, "b": 5, "low": 1}, shares="strict")
    pool = Pool(driver, 2, lambda job: {"a": 0.1, "b": 0.3}[job.spec.queue])
    pool.serve(2000)
    assert pool.busy_s["a"] / pool.busy_s["b"] == pytest.approx(1.0, rel=0.05)
    assert pool.ran["low"] == 0


# -- limits and pauses


def test_a_queue_runs_at_most_its_workers_and_others_use_the_rest() -> None:
    driver = Driver(queues={"a": QueuePolicy(weight=9, workers=2), "b": QueuePolicy()})
    for name in "ab":
        for _ in range(50):
            driver.submit(queue=name)
    pool = Pool(driver, 8, lambda job: 0.1)
    pool.serve(1000)
    assert pool.most["a"] == 2
    assert pool.busy_s["a"] / sum(pool.busy_s.values()) == pytest.approx(2 / 8, rel=0.05)


def test_a_freed_slot_lets_a_held_back_job_start() -> None:
    driver = Driver(queues={"a": QueuePolicy(workers=2), "b": QueuePolicy()})
    ready = driver.engine.scheduler
    assert not ready.held_back("a"), "no job waits"
    running = [driver.submit(queue="a") for _ in range(2)]
    for job in running:
        driver.lease(job)
    driver.submit(queue="a")
    assert not ready.held_back("a"), "both workers of the queue are busy"
    driver.ack(running[0])
    assert ready.held_back("a")
    driver.ack(running[1])
    assert not ready.held_back("a"), "one slot was free before"
    driver.submit(queue="a")
    assert ready.held_back("a"), "a slot for each of two ready jobs, and none more"
    driver.engine.pauses.begin("a", now=0.0)
    assert not ready.held_back("a")
    assert not ready.held_back("b")


def test_a_freed_slot_does_not_start_jobs_that_wait_at_a_limiter() -> None:
    driver = Driver(queues={"a": QueuePolicy(workers=2)})
    one = Limits(concurrency=1)
    driver.lease(driver.submit(queue="a", type="slow", limits=one))
    parked, other = driver.submit(queue="a", type="slow", limits=one), driver.submit(queue="a")
    assert driver.start_next() is other
    driver.ack(other)
    assert parked.state is JobState.QUEUED
    assert not driver.engine.scheduler.held_back("a")


def test_the_length_of_the_scheduler_is_the_number_of_jobs_that_may_start() -> None:
    driver = Driver(queues={"a": QueuePolicy(workers=2), "b": QueuePolicy(workers=5)})
    ready = driver.engine.scheduler
    assert (len(ready), bool(ready)) == (0, False)
    for _ in range(3):
        driver.submit(queue="a")
        driver.submit(queue="b")
    assert (len(ready), ready.waiting("a"), ready.waiting("b")) == (5, 3, 3)
    driver.start_next()
    driver.start_next()
    assert (len(ready), ready.waiting("a"), ready.waiting("b")) == (3, 2, 2)
    driver.engine.pauses.begin("b", now=0.0)
    assert (len(ready), bool(ready)) == (1, True)
    driver.start_next()
    assert (len(ready), bool(ready)) == (0, False)
    with pytest.raises(IndexError):
        ready.pop(driver.now)


def test_a_paused_queue_accepts_jobs_and_starts_none() -> None:
    driver = Driver(queues=queues_of({"a": 1, "b": 1}))
    running = driver.submit(queue="a")
    driver.lease(running)
    driver.engine.pauses.begin("a", now=0.0)
    waiting, other = driver.submit(queue="a"), driver.submit(queue="b")
    assert driver.start_next() is other
    assert driver.start_next() is None
    driver.ack(running)
    assert running.state is JobState.SUCCEEDED, "the running job continues"
    driver.engine.pauses.end("a")
    assert driver.start_next() is waiting


def test_deadlines_of_jobs_apply_in_a_paused_queue() -> None:
    driver = Driver()
    driver.engine.pauses.begin("default", now=0.0)
    expiring, delayed = driver.submit(start_by_s=5.0), driver.submit(delay_s=5.0)
    driver.advance(5)
    assert expiring.state is JobState.EXPIRED
    assert delayed.state is JobState.QUEUED
    assert driver.start_next() is None


# -- settings that change while jobs wait


def policy_of(discipline: Discipline) -> QueuePolicy:
    return QueuePolicy(capacity=100, discipline=discipline, patience_s=3600.0)


def fill(driver: Driver) -> list[Job]:
    """Submit jobs of all priorities and groups, one a second; the first returns to the front, as after a crash."""
    jobs = []
    for n in range(60):
        driver.now += 1
        jobs.append(driver.submit(priority=n * 7 % 10, group=f"g{n % 4}", attempts_max=2))
    driver.lease(jobs[0])
    driver.nack(jobs[0], failure=CRASHED)
    driver.cancel(jobs.pop(17))
    return jobs


@pytest.mark.parametrize(("before", "after"), list(product(Discipline, repeat=2)))
def test_a_changed_discipline_keeps_every_job_and_the_counts(before: Discipline, after: Discipline) -> None:
    driver = Driver(queues={"default": policy_of(before)})
    jobs = fill(driver)
    engine, queue_state = driver.engine, driver.engine.queue_states["default"]
    driver.events.clear()
    engine.set_policy("default", policy_of(after), now=driver.now)
    driver.note_events()
    assert driver.events == [PolicyChanged("default", policy_of(after))]
    assert (len(engine.scheduler), engine.scheduler.waiting("default"), queue_state.counts[JobState.QUEUED]) == (
        59,
        59,
        59,
    )
    assert all(driver.is_ready(job) for job in jobs)
    started = []
    while (job := driver.start_next()) is not None:
        started.append(job)
    assert Counter(job.id for job in started) == Counter(job.id for job in jobs)
    assert not engine.scheduler.waiting("default")


@pytest.mark.parametrize("after", [each for each in Discipline if each is not Discipline.ADAPTIVE])
def test_a_changed_discipline_sorts_waiting_jobs_as_if_it_had_always_applied(after: Discipline) -> None:
    driver = Driver(queues={"default": QueuePolicy(capacity=100)})
    jobs = [job for job in fill(driver) if job.attempt == 0]
    driver.engine.set_policy("default", QueuePolicy(capacity=100, discipline=after), now=driver.now)
    always = make_order(QueuePolicy(discipline=after))
    for job in jobs:
        always.push(job, now=job.created_at)
    expected = [always.pop(driver.now) for _ in jobs]
    started = []
    while (job := driver.start_next()) is not None:
        if job.attempt == 1:
            started.append(job)
    if after is Discipline.FAIR:
        # The returned job is in the line of its group, too, so the rounds differ.
        for group in {job.spec.group for job in jobs}:
            assert [j for j in started if j.spec.group == group] == [j for j in expected if j.spec.group == group]
    else:
        assert started == expected


def test_jobs_age_from_the_time_they_became_ready_through_a_change_of_discipline() -> None:
    driver = Driver()
    low = driver.submit(priority=0)
    driver.now += 25
    high = driver.submit(priority=2)
    driver.now += 1
    driver.engine.set_policy(
        "default", QueuePolicy(capacity=10, discipline=Discipline.PRIORITY, aging_s=10.0), now=driver.now
    )
    assert driver.start_next() is low, "25 s of waiting are worth two and a half levels"
    assert driver.start_next() is high


def test_a_changed_discipline_reorders_jobs_that_wait_at_a_limiter() -> None:
    driver = Driver(queues={"default": QueuePolicy(capacity=100)})
    one = Limits(concurrency=1)
    first = driver.submit(limits=one)
    driver.lease(first)
    parked = [driver.submit(limits=one, priority=n) for n in range(5)]
    assert driver.start_next() is None
    for discipline in (Discipline.LIFO, Discipline.FAIR, Discipline.ADAPTIVE, Discipline.FIFO, Discipline.PRIORITY):
        driver.engine.set_policy("default", QueuePolicy(capacity=100, discipline=discipline), now=driver.now)
        driver.note_events()
    started = []
    job: Job | None = first
    while job is not None:
        driver.ack(job)
        job = driver.start_next()
        started += [job] if job is not None else []
    assert started == parked[::-1], "the highest first"


def test_a_reduced_capacity_keeps_live_jobs_and_rejects_new_ones() -> None:
    driver = Driver(capacity=10)
    jobs = [driver.submit() for _ in range(5)]
    driver.engine.set_policy("default", QueuePolicy(capacity=3), now=driver.now)
    assert driver.engine.queue_states["default"].live == 5
    for _ in range(3):
        with pytest.raises(QueueFull, match=r"holds [345] live jobs, and its capacity is 3"):
            driver.submit()
        job = driver.start_next()
        assert job is not None
        driver.ack(job)
    assert driver.submit()
    driver.engine.set_policy("default", QueuePolicy(capacity=100), now=driver.now)
    assert driver.submit()
    assert sum(job.live for job in jobs) == 2


def test_a_changed_number_of_workers_bounds_further_starts() -> None:
    driver = Driver()
    jobs = [driver.submit() for _ in range(6)]
    for _ in range(4):
        driver.start_next()
    driver.engine.set_policy("default", QueuePolicy(workers=2), now=driver.now)
    for job in jobs[:3]:
        assert driver.start_next() is None
        driver.ack(job)
    assert driver.start_next() is jobs[4]
    assert driver.start_next() is None
    driver.engine.set_policy("default", QueuePolicy(workers=3), now=driver.now)
    assert driver.start_next() is jobs[5]


# -- positions and orders


def test_only_a_ready_job_has_a_position() -> None:
    driver = Driver()
    first, second, third = (driver.submit() for _ in range(3))
    ready = driver.engine.scheduler
    assert [ready.position(job) for job in (first, second, third)] == [1, 2, 3]
    driver.start_next()
    driver.cancel(third)
    assert [ready.position(job) for job in (first, second, third)] == [None, 1, None]
    assert driver.of(Ended) == [Ended(third)]
    assert len(driver.of(Ready)) == 3


@pytest.mark.parametrize("discipline", Discipline)
def test_a_change_of_other_settings_keeps_the_order(discipline: Discipline) -> None:
    driver = Driver(queues={"default": policy_of(discipline)})
    fill(driver)
    order = driver.engine.scheduler._orders["default"]
    changed = msgspec.structs.replace(policy_of(discipline), workers=7, capacity=5, weight=3, retry_budget=1)
    driver.engine.set_policy("default", changed, now=driver.now)
    assert driver.engine.scheduler._orders["default"] is order, (
        "a new order would lose the job that was returned to the front"
    )


def test_an_adaptive_queue_stays_newest_first_when_its_workers_change() -> None:
    policy = QueuePolicy(capacity=100, discipline=Discipline.ADAPTIVE, patience_s=100.0)
    driver = Driver(queues={"default": policy})
    jobs = [driver.submit(start_by_s=1000.0) for _ in range(20)]
    for _ in range(3):
        driver.now += 60.0
        driver.start_next()
    assert driver.start_next() is jobs[-2], "the queue stands"
    driver.engine.set_policy("default", msgspec.structs.replace(policy, workers=300), now=driver.now)
    assert driver.start_next() is jobs[-3]
