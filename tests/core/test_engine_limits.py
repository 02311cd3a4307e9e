"""Jobs that wait for a permit, and types in quarantine, as the engine runs them."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from jobqueue.core.events import Ended, Expired, LeaseLost, Offered, Quarantined, Released
from jobqueue.core.job import Job, JobState
from jobqueue.core.policy import Discipline, Limits, QueuePolicy
from jobqueue.core.rate import Rate
from jobqueue.core.report import ErrorCode, Failure, JobError
from jobqueue.core.scheduling.eta import WaitingFor, WaitReason
from jobqueue.core.transitions import LEASE_GRACE_S
from jobqueue.errors import TypeQuarantined
from tests.core.making import CRASHED, FINAL, Driver

ONE = Limits(concurrency=1)
IN_ORDER = Limits(group_concurrency=1)


def start_all(driver: Driver) -> list[Job]:
    """Start jobs until none may start."""
    started = []
    while (job := driver.start_next()) is not None:
        started.append(job)
    return started


def all_limiters_are_idle(driver: Driver) -> bool:
    return all((limiter.held, limiter.waiting) == (0, 0) for limiter in driver.engine.limiters.stats())


# -- concurrency


def test_concurrency_bounds_the_running_jobs_of_a_type_and_does_not_delay_others() -> None:
    driver = Driver(capacity=100)
    few = [driver.submit(type="few", limits=Limits(concurrency=2)) for _ in range(5)]
    free = [driver.submit() for _ in range(3)]
    assert start_all(driver) == [few[0], few[1], *free]
    for n in range(5):
        driver.ack(few[n])
        assert start_all(driver) == few[n + 2 : n + 3]
    assert all_limiters_are_idle(driver)


def test_a_group_concurrency_of_one_runs_the_jobs_of_each_group_in_order() -> None:
    driver = Driver(capacity=100)
    jobs = [driver.submit(group=f"g{n % 3}", limits=IN_ORDER) for n in range(12)]
    free = driver.submit(limits=IN_ORDER)
    order: dict[str | None, list[Job]] = {"g0": [], "g1": [], "g2": [], None: []}
    running = start_all(driver)
    assert running == [*jobs[:3], free], "one of each group; a job without a group does not wait"
    while running:
        job = running.pop(Random(len(running)).randrange(len(running)))
        order[job.spec.group].append(job)
        driver.ack(job)
        running += start_all(driver)
        assert max(Counter(job.spec.group for job in running).values(), default=0) <= 1
    assert {group: list(done) for group, done in order.items()} == {
        "g0": jobs[0::3],
        "g1": jobs[1::3],
        "g2": jobs[2::3],
        None: [free],
    }


def test_a_sequential_group_keeps_its_order_through_crashes_and_skips_a_job_in_backoff() -> None:
    driver = Driver()
    first, second = (driver.submit(group="g", limits=IN_ORDER, attempts_max=3) for _ in range(2))
    assert start_all(driver) == [first]
    driver.nack(first, failure=CRASHED)
    assert start_all(driver) == [first], "it kept its position"
    driver.nack(first)
    assert start_all(driver) == [second], "a job in backoff does not delay others"
    driver.ack(second)
    driver.advance(60)
    assert start_all(driver) == [first]


def test_groups_of_the_same_name_are_separate_per_type() -> None:
    driver = Driver()
    jobs = [driver.submit(type=job_type, group="g", limits=IN_ORDER) for job_type in ("mail", "call")]
    assert start_all(driver) == jobs


@pytest.mark.parametrize("end", ["ack", "nack", "crash", "back off", "cancel", "time out", "lose its lease"])
def test_any_end_of_an_attempt_releases_its_permits(end: str) -> None:
    driver = Driver(pools={"thread": 1})
    spec = {"pool": "thread", "limits": Limits(concurrency=1, group_concurrency=1), "group": "g"}
    first = driver.submit(timeout_s=5.0, attempts_max=2 if end in ("crash", "back off") else 1, **spec)
    second = driver.submit(**spec)
    assert start_all(driver) == [first]
    match end:
        case "ack":
            driver.ack(first)
        case "nack":
            driver.nack(first, failure=FINAL)
        case "crash":
            driver.nack(first, failure=CRASHED)
            assert start_all(driver) == [first]
            driver.ack(first)
        case "back off":
            driver.nack(first)
        case "cancel":
            driver.cancel(first)
            driver.nack(first)
        case "time out":
            driver.advance(5)
            driver.nack(first)
        case "lose its lease":
            driver.advance(5 + LEASE_GRACE_S)
    assert start_all(driver) == [second]


def test_all_freed_permits_start_jobs_at_once_in_order() -> None:
    driver = Driver(capacity=1000)
    jobs = [driver.submit(limits=Limits(concurrency=100)) for _ in range(250)]
    first = start_all(driver)
    assert first == jobs[:100]
    for job in first:
        driver.ack(job)
    assert start_all(driver) == jobs[100:200], "without a tick, and in order"


# -- rates


def test_a_rate_spaces_the_starts_of_its_type_alone() -> None:
    driver = Driver(capacity=100)
    jobs = [driver.submit(type="slow", limits=Limits(rate=Rate(2, 1.0))) for _ in range(10)]
    free = driver.submit()
    assert start_all(driver) == [jobs[0], jobs[1], free]
    starts = []
    while len(starts) < 8:
        at = driver.engine.next_at()
        assert at is not None, "a job waits for a token"
        driver.now = at
        driver.tick()
        starts += [(job.id, driver.now) for job in start_all(driver)]
    assert [job_id for job_id, _ in starts] == [job.id for job in jobs[2:]]
    assert [at for _, at in starts] == pytest.approx([1000.0 + 0.5 * n for n in range(1, 9)])
    assert driver.engine.next_at() is None


def test_each_group_has_a_rate_of_its_own() -> None:
    driver = Driver(capacity=100)
    jobs = [driver.submit(group=f"g{n % 2}", limits=Limits(group_rate=Rate(1, 1.0))) for n in range(6)]
    assert start_all(driver) == jobs[:2]
    for n in (2, 4):
        driver.advance(1.0)
        assert sorted(job.id for job in start_all(driver)) == [job.id for job in jobs[n : n + 2]]


def test_only_a_start_spends_a_token() -> None:
    driver = Driver()
    rate = Limits(rate=Rate(1, 60.0))
    first, cancelled, expired, third = (driver.submit(limits=rate, start_by_s=s) for s in (None, None, 5.0, None))
    assert start_all(driver) == [first]
    driver.cancel(cancelled)
    driver.advance(5)
    assert expired.state is JobState.EXPIRED
    driver.advance(54.9)
    assert start_all(driver) == []
    driver.advance(0.1)
    assert start_all(driver) == [third]


# -- several at once


def test_a_job_that_waits_for_one_permit_holds_no_other() -> None:
    driver = Driver(pools={"process": 1}, capacity=100)
    both = Limits(concurrency=1)
    first = driver.submit(type="a", pool="process", limits=both)
    second = driver.submit(type="a", pool="process", limits=both)
    other = driver.submit(type="b", pool="process")
    assert start_all(driver) == [first]
    assert {limiter.name: (limiter.held, limiter.waiting) for limiter in driver.engine.limiters.stats()} == {
        "process": (1, 2),
        "a": (1, 0),
    }
    driver.ack(first)
    assert start_all(driver) == [second]
    driver.ack(second)
    assert start_all(driver) == [other]


@pytest.mark.parametrize("seed", range(5))
def test_limits_hold_and_all_jobs_end_through_random_histories(seed: int) -> None:
    """Random jobs, limits, ends, cancels, pauses and disciplines: finally, all jobs are terminal."""
    rng = Random(seed)
    driver = Driver(
        queues={name: QueuePolicy(capacity=1000, workers=6) for name in ("default", "other")},
        pools={"thread": 3, "process": 2},
    )
    kinds = [
        {"type": "plain"},
        {"type": "threads", "pool": "thread"},
        {"type": "few", "pool": "thread", "limits": Limits(concurrency=2)},
        {"type": "ordered", "limits": Limits(concurrency=4, group_concurrency=1)},
        {"type": "all", "pool": "process", "limits": Limits(concurrency=3, group_concurrency=1, rate=Rate(5, 1.0))},
    ]
    jobs: list[Job] = []
    for _ in range(1500):
        roll = rng.random()
        running = [job for job in jobs if job.state is JobState.RUNNING]
        waiting = [job for job in jobs if job.state is JobState.QUEUED]
        if roll < 0.35:
            spec = rng.choice(kinds)
            group = rng.choice(["x", "y", "z", None])
            start_by_s = rng.choice([None, None, 3.0])
            queue = rng.choice(["default", "other"])
            jobs.append(driver.submit(group=group, queue=queue, start_by_s=start_by_s, attempts_max=2, **spec))
        elif roll < 0.65:
            driver.start_next()
        elif roll < 0.85 and running:
            job = rng.choice(running)
            if rng.random() < 0.7:
                driver.ack(job)
            else:
                driver.nack(job, failure=rng.choice([CRASHED, FINAL]))
        elif roll < 0.9 and waiting:
            driver.cancel(rng.choice(waiting))
        elif roll < 0.93:
            policy = QueuePolicy(capacity=1000, workers=rng.randint(1, 6), discipline=rng.choice(list(Discipline)))
            driver.engine.set_policy(rng.choice(["default", "other"]), policy, now=driver.now)
            driver.note_events()
        elif roll < 0.96:
            name, pauses = rng.choice(["default", "other"]), driver.engine.pauses
            pauses.begin(name, now=driver.now) if rng.random() < 0.5 else pauses.end(name)
        else:
            driver.advance(rng.choice([0.1, 0.7]))
        bounds_hold(jobs)
    for name in ("default", "other"):
        driver.engine.pauses.end(name)
        driver.engine.set_policy(name, QueuePolicy(capacity=1000), now=driver.now)
        driver.note_events()
    for _ in range(2000):
        for job in [*start_all(driver), *(job for job in jobs if job.state is JobState.RUNNING)]:
            if job.state is JobState.RUNNING:
                driver.ack(job)
        driver.advance(0.2)
        if not any(job.live for job in jobs):
            break
    assert not [job for job in jobs if job.live]
    assert all_limiters_are_idle(driver)
    assert not driver.engine.scheduler.waiting("default")


def bounds_hold(jobs: list[Job]) -> None:
    running = [job.spec for job in jobs if job.state is JobState.RUNNING]
    pools = Counter(spec.pool for spec in running if spec.pool)
    assert pools["thread"] <= 3
    assert pools["process"] <= 2
    types = Counter(spec.type for spec in running)
    groups = Counter((spec.type, spec.group) for spec in running if spec.group)
    for spec in running:
        if spec.limits is not None:
            assert types[spec.type] <= (spec.limits.concurrency or 1000)
            assert spec.group is None or groups[spec.type, spec.group] <= (spec.limits.group_concurrency or 1000)


# -- jobs that wait at a limiter and leave, and offered ones that no worker takes


@pytest.mark.parametrize("offered", [False, True])
@pytest.mark.parametrize("how", ["cancel", "expire"])
def test_a_waiting_or_offered_job_that_ends_passes_its_permit_on(how: str, offered: bool) -> None:
    driver = Driver()
    first, second, third = (driver.submit(limits=ONE, start_by_s=s) for s in (None, 5.0, None))
    assert start_all(driver) == [first]
    driver.events.clear()
    if offered:
        driver.ack(first)
        assert driver.is_ready(second)
    if how == "cancel":
        driver.cancel(second)
    else:
        driver.advance(5)
    assert second.state == ("cancelled" if how == "cancel" else "expired")
    end = [Ended] if how == "cancel" else [Expired, Ended]
    assert [type(event) for event in driver.events if event.job is second] == (  # type: ignore[union-attr]  # events of jobs
        [Offered, *end] if offered else end
    )
    if not offered:
        driver.ack(first)
    assert start_all(driver) == [third]
    driver.ack(third)
    assert all_limiters_are_idle(driver)
    assert not driver.engine.scheduler.waiting("default")


def test_an_offered_job_past_its_start_by_expires_and_the_next_job_starts() -> None:
    driver = Driver()
    first, second, third = (driver.submit(limits=ONE, start_by_s=s) for s in (None, 5.0, None))
    start_all(driver)
    driver.ack(first)
    driver.now += 5  # before the next tick
    assert start_all(driver) == [third]
    assert second.state is JobState.EXPIRED


def test_a_permit_goes_to_another_queue_if_the_first_is_paused() -> None:
    driver = Driver()
    first = driver.submit(limits=ONE)
    start_all(driver)
    here, there = driver.submit(limits=ONE), driver.submit(limits=ONE, queue="other")
    assert start_all(driver) == []
    driver.engine.pauses.begin("default", now=0.0)
    driver.ack(first)
    assert start_all(driver) == [there]
    driver.engine.pauses.end("default")
    assert start_all(driver) == []
    driver.ack(there)
    assert start_all(driver) == [here]


def test_retried_jobs_and_jobs_run_now_wait_for_their_permits() -> None:
    driver = Driver()
    dead = driver.failed(FINAL, limits=ONE)
    delayed = driver.submit(limits=ONE, delay_s=60.0)
    first = driver.submit(limits=ONE)
    assert start_all(driver) == [first]
    driver.retry(dead)
    driver.run_now(delayed)
    assert start_all(driver) == []
    for job, after in ((first, dead), (dead, delayed)):
        driver.ack(job)
        assert start_all(driver) == [after]


def test_a_shutdown_cancels_jobs_that_wait_at_limiters() -> None:
    driver = Driver(pools={"thread": 1})
    jobs = [driver.submit(pool="thread", limits=Limits(concurrency=1, rate=Rate(1, 60.0))) for _ in range(5)]
    (running,) = start_all(driver)
    lost = driver.shut_down()
    assert lost == {JobState.WAITING: 0, JobState.DELAYED: 0, JobState.QUEUED: 4, JobState.RUNNING: 1}
    driver.nack(running)
    for job in jobs[1:]:
        assert job.state is JobState.CANCELLED
        assert job.error == JobError(ErrorCode.SHUTDOWN, "the server stopped while the job was queued")
    assert all_limiters_are_idle(driver)
    assert len(driver.engine.scheduler) == 0
    assert len(driver.of(Ended)) == 5


# -- quarantine


BUDGET = 3
DEFAULT = {"default": QueuePolicy(retry_budget=BUDGET), "other": QueuePolicy(retry_budget=BUDGET)}


def poison(driver: Driver, **options: object) -> None:
    """Let jobs of the type "bad" fail until the type is quarantined."""
    for n in range(BUDGET):
        assert not driver.of(Quarantined), f"{n} failures are not too many"
        driver.failed(Failure(ErrorCode.HANDLER_ERROR, f"boom {n}", final=True), type="bad", **options)


def test_consecutive_failures_quarantine_the_type_and_other_types_run() -> None:
    driver = Driver(queues=DEFAULT)
    poison(driver)
    (event,) = driver.of(Quarantined)
    assert (event.type, event.reason) == ("bad", "handler_error: boom 2")  # type: ignore[union-attr]  # all of one kind
    assert event.until > driver.now  # type: ignore[union-attr]  # all of one kind
    (known,) = driver.engine.quarantine.all()
    assert (known.type, known.since, known.until) == ("bad", driver.now, event.until)  # type: ignore[union-attr]  # all of one kind
    bad, elsewhere, good = driver.submit(type="bad"), driver.submit(type="bad", queue="other"), driver.submit()
    assert start_all(driver) == [good]
    assert (bad.state, elsewhere.state) == (JobState.QUEUED, JobState.QUEUED)


def test_a_success_resets_the_failure_count() -> None:
    driver = Driver(queues=DEFAULT)
    for _ in range(10):
        for _ in range(BUDGET - 1):
            driver.failed(FINAL)
        driver.done()
    assert not driver.of(Quarantined)


def test_each_failed_attempt_of_one_job_counts() -> None:
    driver = Driver(queues=DEFAULT)
    job = driver.submit(attempts_max=BUDGET)
    for _ in range(BUDGET):
        driver.lease(job)
        driver.nack(job)
        driver.advance(60)
    assert driver.of(Quarantined)


@pytest.mark.parametrize("code", list(ErrorCode))
def test_rejections_oversized_results_and_shutdowns_do_not_count_as_failures(code: ErrorCode) -> None:
    driver = Driver(queues=DEFAULT)
    for _ in range(BUDGET):
        driver.failed(Failure(code, "no", final=True))
    blameless = {ErrorCode.REJECTED, ErrorCode.RESULT_TOO_LARGE, ErrorCode.SHUTDOWN}
    assert bool(driver.of(Quarantined)) == (code not in blameless)


@pytest.mark.parametrize("own", [True, False])
def test_a_timeout_set_by_the_submission_does_not_count_as_a_failure(own: bool) -> None:
    driver = Driver(queues=DEFAULT)
    for _ in range(BUDGET):
        job = driver.submit(timeout_s=0.001, own_timeout=own)
        driver.lease(job)
        driver.advance(0.01)
        driver.nack(job)
        assert job.state is JobState.FAILED
    assert bool(driver.of(Quarantined)) == (not own)


def test_a_lease_lost_after_a_timeout_set_by_the_submission_does_not_count() -> None:
    driver = Driver(queues=DEFAULT)
    for _ in range(BUDGET):
        driver.lease(driver.submit(timeout_s=0.001, own_timeout=True))
        driver.advance(5.0)
    assert len(driver.of(LeaseLost)) == BUDGET
    assert not driver.of(Quarantined)


def test_cancelled_jobs_do_not_count_as_failures() -> None:
    driver = Driver(queues=DEFAULT)
    for _ in range(2 * BUDGET):
        job = driver.submit()
        driver.lease(job)
        driver.cancel(job)
        driver.nack(job)
    assert not driver.of(Quarantined)


def test_a_shutdown_quarantines_no_type() -> None:
    driver = Driver(queues=DEFAULT)
    jobs = [driver.submit(timeout_s=1.0) for _ in range(BUDGET)]
    assert start_all(driver) == jobs
    driver.advance(1)
    driver.shut_down()
    for job in jobs:
        driver.nack(job)
        assert job.state is JobState.FAILED
    assert not driver.of(Quarantined)


def test_the_budget_is_set_per_queue_and_zero_disables_the_quarantine() -> None:
    driver = Driver(queues={"default": QueuePolicy(retry_budget=0), "other": QueuePolicy(retry_budget=BUDGET)})
    for _ in range(20):
        driver.failed(FINAL)
    assert not driver.of(Quarantined)
    driver.failed(FINAL, queue="other")
    assert driver.of(Quarantined), "the failures are the type's, the budget is the queue's"


def test_one_probe_runs_when_it_is_due_and_its_success_releases_the_type() -> None:
    driver = Driver(queues=DEFAULT)
    poison(driver)
    waiting = [driver.submit(type="bad") for _ in range(4)]
    assert start_all(driver) == []
    until = driver.of(Quarantined)[0].until  # type: ignore[union-attr]  # all of one kind
    assert driver.engine.next_at() == until, "a tick is due then"
    driver.advance(until - driver.now - 0.001)
    assert start_all(driver) == []
    driver.advance(0.001)
    assert start_all(driver) == waiting[:1], "half open: one, and no more"
    driver.advance(100)
    assert start_all(driver) == []
    driver.ack(waiting[0])
    assert driver.of(Released) == [Released("bad")]
    assert driver.engine.quarantine.all() == []
    assert start_all(driver) == waiting[1:]


def test_each_failed_probe_doubles_the_probe_interval() -> None:
    driver = Driver(queues=DEFAULT)
    poison(driver)
    waits = [driver.of(Quarantined)[0].until - driver.now]  # type: ignore[union-attr]  # all of one kind
    for n in range(3):
        driver.advance(waits[-1])
        probe = driver.submit(type="bad")
        assert start_all(driver) == [probe]
        driver.nack(probe, failure=Failure(ErrorCode.HANDLER_ERROR, f"still {n}", final=True))
        event = driver.of(Quarantined)[-1]
        assert event.reason == f"handler_error: still {n}"  # type: ignore[union-attr]  # all of one kind
        waits.append(event.until - driver.now)  # type: ignore[union-attr]  # all of one kind
    assert waits == pytest.approx([waits[0], 2 * waits[0], 4 * waits[0], 8 * waits[0]])
    assert not driver.of(Released)


@pytest.mark.parametrize("how", ["cancelled", "rejected"])
def test_a_cancelled_or_rejected_probe_is_followed_by_another_probe(how: str) -> None:
    driver = Driver(queues=DEFAULT)
    poison(driver)
    first, second, third = (driver.submit(type="bad") for _ in range(3))
    driver.advance(60)
    assert start_all(driver) == [first]
    if how == "cancelled":
        driver.cancel(first)
        driver.nack(first)
    else:
        driver.nack(first, failure=Failure(ErrorCode.REJECTED, "no", final=True))
    assert start_all(driver) == [second]
    driver.ack(second)
    assert start_all(driver) == [third]


def test_a_probe_is_taken_from_another_caller_than_the_last_failure() -> None:
    driver = Driver(queues=DEFAULT)
    poison(driver, caller="hostile")
    bad = [driver.submit(type="bad", caller="hostile") for _ in range(50)]
    honest = driver.submit(type="bad", caller="honest")
    start_all(driver)
    driver.advance(60)
    assert start_all(driver) == [honest]
    driver.ack(honest)
    assert start_all(driver) == bad


def test_probes_alternate_among_callers_and_their_groups() -> None:
    driver = Driver(queues=DEFAULT)
    poison(driver, caller="a", group="x")
    for group in "xxxyy":
        driver.submit(type="bad", caller="a", group=group)
    for caller in "bbcc":
        driver.submit(type="bad", caller=caller)
    tried = []
    for _ in range(9):
        start_all(driver)
        driver.advance(60)
        (probe,) = start_all(driver)
        driver.nack(probe, failure=FINAL)
        tried.append((probe.caller or "") + (probe.spec.group or ""))
    assert tried == ["b", "c", "ay", "b", "c", "ax", "ay", "ax", "ax"]


def test_a_caller_with_many_groups_does_not_delay_the_probe_of_another_caller() -> None:
    driver = Driver(queues={"default": QueuePolicy(retry_budget=BUDGET, capacity=10_000)})
    poison(driver, caller="hostile", group="g")
    for n in range(500):
        driver.submit(type="bad", caller="hostile", group=f"g{n}")
    honest = driver.submit(type="bad", caller="honest")
    start_all(driver)
    driver.advance(60)
    assert start_all(driver) == [honest]


def test_jobs_that_wait_for_a_permit_when_their_type_is_quarantined_alternate_by_caller() -> None:
    driver = Driver(queues=DEFAULT)
    limits = Limits(concurrency=3)
    running = [driver.submit(type="bad", caller="hostile", limits=limits) for _ in range(BUDGET)]
    for _ in range(20):
        driver.submit(type="bad", caller="hostile", limits=limits)
    honest = driver.submit(type="bad", caller="honest", limits=limits)
    assert start_all(driver) == running
    driver.now += 61.0  # the honest caller was last seen long ago, so the failures of the other count alone
    for job in running:
        driver.nack(job, failure=FINAL)
    assert driver.of(Quarantined)
    driver.advance(60)
    assert start_all(driver) == [honest]


def test_the_estimate_of_a_queued_job_names_the_reason_it_waits() -> None:
    driver = Driver(queues=DEFAULT)
    engine = driver.engine

    def waiting_for(job: Job) -> WaitingFor | None:
        return engine.estimate(job, now=driver.now).waiting_for

    limited = [driver.submit(limits=ONE) for _ in range(2)]
    assert waiting_for(limited[1]) is None, "no worker has tried it yet"
    start_all(driver)
    assert [waiting_for(job) for job in limited] == [None, WaitingFor(WaitReason.LIMIT)]
    bad = driver.submit(type="bad")
    poison(driver)
    until = driver.of(Quarantined)[0].until  # type: ignore[union-attr]  # all of one kind
    assert waiting_for(bad) == WaitingFor(WaitReason.TYPE_QUARANTINED, until), "also before a worker has tried it"
    start_all(driver)
    assert waiting_for(bad) == WaitingFor(WaitReason.TYPE_QUARANTINED, until)
    assert engine.estimate(bad, now=driver.now).eta_s is None
    assert engine.estimate(bad, now=driver.now).poll_after_s == until - driver.now
    assert waiting_for(driver.submit(type="bad", delay_s=5.0)) is None, "its time hasn't come"
    engine.pauses.begin("default", now=0.0)
    assert waiting_for(bad) == WaitingFor(WaitReason.QUEUE_PAUSED)
    engine.pauses.end("default")
    driver.advance(until - driver.now)
    assert start_all(driver) == [bad]
    assert waiting_for(bad) is None
    driver.ack(bad)
    assert waiting_for(driver.submit(type="bad")) is None


def test_jobs_of_one_caller_of_a_quarantined_type_leave_slots_for_another_caller() -> None:
    driver = Driver(queues={"default": QueuePolicy(capacity=40, retry_budget=BUDGET)})
    poison(driver, caller="hostile")
    for _ in range(4):
        driver.submit(type="bad", caller="hostile")
        start_all(driver)
    with pytest.raises(TypeQuarantined):
        driver.submit(type="bad", caller="hostile")
    honest = driver.submit(type="bad", caller="honest")
    assert start_all(driver) == []
    with pytest.raises(TypeQuarantined):
        driver.submit(type="bad", caller="honest")
    for n in range(3):
        driver.submit(type="bad", caller=f"c{n}")
        start_all(driver)
    with pytest.raises(TypeQuarantined):
        driver.submit(type="bad", caller="one too many")
    driver.advance(60)
    assert start_all(driver) == [honest]


def test_outcomes_of_attempts_from_before_the_quarantine_do_not_change_it() -> None:
    driver = Driver(queues=DEFAULT)
    early = [driver.submit(type="bad") for _ in range(2)]
    assert start_all(driver) == early
    poison(driver)
    waiting = driver.submit(type="bad")
    driver.ack(early[0])
    driver.nack(early[1])
    assert not driver.of(Released)
    assert len(driver.of(Quarantined)) == 1
    assert start_all(driver) == []
    driver.advance(60)
    assert start_all(driver) == [waiting]


def test_a_quarantined_type_holds_at_most_one_slot_in_ten() -> None:
    driver = Driver(queues={"default": QueuePolicy(capacity=20, retry_budget=BUDGET)})
    poison(driver)
    waiting = [driver.submit(type="bad") for _ in range(2)]
    assert start_all(driver) == []
    with pytest.raises(TypeQuarantined, match=r"'bad' is in quarantine .*boom 2.*, and 2 of its jobs are") as refusal:
        driver.submit(type="bad")
    assert refusal.value.retry_after_s == pytest.approx(driver.of(Quarantined)[0].until - driver.now)  # type: ignore[union-attr]  # all of one kind
    assert driver.engine.queue_states["default"].refused_total == 1
    with pytest.raises(TypeQuarantined):
        driver.retry(next(job for job in driver.engine.newest_first(None) if job.state is JobState.FAILED))
    good = [driver.submit() for _ in range(18)]
    assert start_all(driver) == good
    driver.ack(good[0])
    driver.advance(60)
    assert start_all(driver) == waiting[:1]
    driver.ack(waiting[0])
    assert driver.submit(type="bad"), "it was released"


def test_a_quarantined_type_holds_one_slot_for_its_probe_in_a_small_queue() -> None:
    driver = Driver(queues={"default": QueuePolicy(capacity=5, retry_budget=BUDGET)})
    poison(driver)
    probe = driver.submit(type="bad")
    assert start_all(driver) == []
    with pytest.raises(TypeQuarantined):
        driver.submit(type="bad")
    driver.advance(60)
    assert start_all(driver) == [probe]


def test_jobs_of_a_quarantined_type_expire_and_can_be_cancelled() -> None:
    driver = Driver(queues=DEFAULT)
    poison(driver)
    expiring, cancelled = driver.submit(type="bad", start_by_s=0.5), driver.submit(type="bad")
    start_all(driver)
    driver.advance(0.5)
    driver.cancel(cancelled)
    assert (expiring.state, cancelled.state) == (JobState.EXPIRED, JobState.CANCELLED)
    late = driver.submit(type="bad")
    driver.advance(60)
    assert start_all(driver) == [late]


def test_a_retried_job_of_a_quarantined_type_waits_for_the_probe() -> None:
    driver = Driver(queues=DEFAULT)
    poison(driver)
    dead = next(driver.engine.newest_first(None))
    driver.retry(dead)
    assert start_all(driver) == []
    driver.advance(60)
    assert start_all(driver) == [dead]
    driver.ack(dead)
    assert driver.of(Released)


def test_a_released_type_keeps_its_other_limits() -> None:
    driver = Driver(queues=DEFAULT)
    poison(driver, limits=ONE)
    waiting = [driver.submit(type="bad", limits=ONE) for _ in range(3)]
    driver.advance(60)
    for n in range(3):
        assert start_all(driver) == waiting[n : n + 1]
        driver.ack(waiting[n])
    assert all_limiters_are_idle(driver)


def test_a_type_released_on_request_starts_all_its_waiting_jobs() -> None:
    driver = Driver(queues=DEFAULT)
    poison(driver)
    waiting = [driver.submit(type="bad") for _ in range(3)]
    assert start_all(driver) == []
    assert driver.engine.release("bad", now=driver.now)
    assert not driver.engine.release("bad", now=driver.now)
    assert start_all(driver) == waiting
    assert [event.on_request for event in driver.of(Released)] == [True]  # type: ignore[union-attr]  # all of one kind
    for job in waiting:
        driver.ack(job)
    assert all_limiters_are_idle(driver)
