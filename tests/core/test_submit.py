"""Submissions: their defaults, the order of rejections, and rejections before the body is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jobqueue.core.events import Event, Evicted, Quarantined, Released
from jobqueue.core.job import IdempotencyKey, JobSpec, JobState, Unique, Uniqueness
from jobqueue.core.policy import Discipline, QueuePolicy
from jobqueue.core.quotas import Quota, Quotas
from jobqueue.core.report import ErrorCode, Failure
from jobqueue.core.store_bounds import StoreBounds
from jobqueue.errors import Draining, QueueFull, RateLimited, StatusesFull
from tests.core.making import Driver

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jobqueue.core.job import JobId

PLAIN = Uniqueness("ann", plain=True)
ADAPTIVE = QueuePolicy(capacity=10, discipline=Discipline.ADAPTIVE, patience_s=30.0)

# -- the patience of an adaptive queue


def test_jobs_of_an_adaptive_queue_expire_after_its_patience() -> None:
    driver = Driver(queues={"default": ADAPTIVE, "other": QueuePolicy()})
    job, other = driver.submit(), driver.submit(queue="other")
    assert (job.start_by_at, other.start_by_at) == (1030.0, None)
    driver.advance(29.9)
    assert job.state is JobState.QUEUED
    driver.advance(0.1)
    assert job.state is JobState.EXPIRED
    assert other.state is JobState.QUEUED


def test_patience_begins_at_run_at() -> None:
    driver = Driver(queues={"default": ADAPTIVE})
    job = driver.submit(delay_s=100.0)
    driver.advance(129.9)
    assert job.state is JobState.QUEUED
    driver.advance(0.1)
    assert job.state is JobState.EXPIRED


@pytest.mark.parametrize("start_by_s", [5.0, 500.0])
def test_the_start_by_of_a_submission_overrides_the_patience(start_by_s: float) -> None:
    driver = Driver(queues={"default": ADAPTIVE})
    job = driver.submit(start_by_s=start_by_s)
    assert job.start_by_at == 1000.0 + start_by_s


def test_other_disciplines_set_no_start_by_deadline() -> None:
    for discipline in set(Discipline) - {Discipline.ADAPTIVE}:
        driver = Driver(queues={"default": QueuePolicy(discipline=discipline)})
        assert driver.submit().start_by_at is None


def test_a_job_keeps_the_patience_of_its_acceptance() -> None:
    driver = Driver(queues={"default": ADAPTIVE})
    before = driver.submit()
    driver.engine.set_policy("default", QueuePolicy(), now=driver.now)
    after = driver.submit()
    assert (before.start_by_at, after.start_by_at) == (1030.0, None)


# -- the order of rejections


def test_a_rejection_has_the_broadest_of_several_reasons() -> None:
    driver = Driver(capacity=1, bounds=StoreBounds(jobs_max=1), caller_jobs_max=1)
    job = driver.submit(caller="ann")
    engine = driver.engine
    engine.stop_admitting()
    with pytest.raises(Draining):
        driver.submit(caller="ann")
    engine.admission.open = True
    with pytest.raises(QueueFull):
        driver.submit(caller="ann")
    with pytest.raises(StatusesFull):
        driver.submit(caller="ann", queue="other")
    driver.cancel(job)
    driver.submit(caller="ann")
    roomy = Driver(caller_jobs_max=1)
    roomy.submit(caller="ann")
    with pytest.raises(RateLimited):
        roomy.submit(caller="ann")


def test_each_rejection_is_counted_once_at_its_queue() -> None:
    driver = Driver(capacity=1, caller_jobs_max=1)
    driver.submit(caller="ann")
    for refused in (QueueFull, QueueFull):
        with pytest.raises(refused):
            driver.submit(caller="bob")
    with pytest.raises(RateLimited):
        driver.submit(caller="ann", queue="other")
    driver.engine.stop_admitting()
    with pytest.raises(Draining):
        driver.submit(queue="other")
    totals = {name: queue_state.refused_total for name, queue_state in driver.engine.queue_states.items()}
    assert totals == {"default": 2, "other": 2}
    assert driver.engine.totals().accepted == 1


def test_retry_after_of_a_caller_over_its_quota_is_the_estimated_end_of_one_of_its_jobs() -> None:
    driver = Driver(capacity=100, caller_jobs_max=4)
    for _ in range(100):
        job = driver.submit()
        driver.lease(job)
        driver.now += 0.5
        driver.ack(job)
    for n in range(40):
        driver.submit(caller=f"caller {n // 4}")
    driver.start_next()
    with pytest.raises(RateLimited) as refusal:
        driver.submit(caller="caller 0")
    assert refusal.value.retry_after_s == pytest.approx(40 / 4 / 2.0, rel=0.1), "one job in ten is its own"


# -- rejections before the body is read


def test_an_unread_submission_is_rejected_only_if_every_queue_is_full() -> None:
    driver = Driver(capacity=1)
    engine = driver.engine
    assert engine.refuse_unseen(now=driver.now) is None
    driver.submit()
    assert engine.refuse_unseen(now=driver.now) is None, "it may be for the other queue"
    job = driver.submit(queue="other")
    refusal = engine.refuse_unseen(now=driver.now)
    assert isinstance(refusal, QueueFull)
    assert refusal.retry_after_s >= 1.0
    driver.cancel(job)
    assert engine.refuse_unseen(now=driver.now) is None


def test_a_rejection_without_a_queue_names_none_and_counts_at_the_fastest_queue() -> None:
    driver = Driver(queues={name: QueuePolicy(capacity=1) for name in ("slow", "fast", "last")})
    for name, run_s in (("slow", 60.0), ("fast", 2.0), ("last", 20.0)):
        job = driver.submit(queue=name)
        driver.lease(job)
        driver.advance(run_s)
        driver.ack(job)
        driver.lease(driver.submit(queue=name))
    refusal = driver.engine.refuse_unseen(now=driver.now)
    assert isinstance(refusal, QueueFull)
    assert not any(name in str(refusal) for name in ("slow", "fast", "last"))
    assert {name: queue_state.refused_total for name, queue_state in driver.engine.queue_states.items()} == {
        "slow": 0,
        "fast": 1,
        "last": 0,
    }


def test_an_unread_submission_is_not_rejected_while_a_unique_value_is_live() -> None:
    driver = Driver(capacity=1)
    driver.submit(queue="other")
    job = driver.submit(unique="u")
    assert driver.engine.refuse_unseen(now=driver.now) is None
    assert driver.submit(unique="u") is job
    driver.cancel(job)
    driver.submit()
    assert isinstance(driver.engine.refuse_unseen(now=driver.now), QueueFull)


def test_only_submissions_that_may_have_a_live_unique_value_escape_an_early_rejection() -> None:
    driver = Driver(capacity=1)
    driver.submit(queue="other")
    job = driver.submit(unique="u")
    engine, now = driver.engine, driver.now
    assert isinstance(engine.refuse_unseen(may_be_unique=False, now=now), QueueFull)
    assert engine.refuse_unseen(may_be_unique=True, now=now) is None
    for job_type, value, refused in (("t", "u", False), ("t", "v", True), ("other", "u", True)):
        uniqueness = Uniqueness("ann", unique=Unique(value))
        refusal = engine.refuse_unseen("default", uniqueness, job_type=job_type, now=now)
        assert isinstance(refusal, QueueFull) == refused
    engine.stop_admitting()
    assert isinstance(engine.refuse_unseen("default", Uniqueness(unique=Unique("v")), job_type="t", now=now), Draining)
    assert driver.submit(unique="u") is job


def test_an_unread_submission_of_a_known_queue_is_rejected_by_that_queue_alone() -> None:
    driver = Driver(capacity=1)
    driver.submit(unique="u")
    engine = driver.engine
    assert isinstance(engine.refuse_unseen("default", now=driver.now), QueueFull)
    assert engine.refuse_unseen("other", now=driver.now) is None
    assert (engine.queue_states["default"].refused_total, engine.queue_states["other"].refused_total) == (1, 0)
    engine.stop_admitting()
    assert isinstance(engine.refuse_unseen("other", now=driver.now), Draining)


def test_an_unread_submission_with_a_known_key_is_not_rejected() -> None:
    driver = Driver(capacity=1)
    driver.submit(key="k", caller="ann")
    driver.submit(queue="other")
    engine = driver.engine
    known, new = IdempotencyKey("k", b"not looked at"), IdempotencyKey("l", b"")
    for stop in (lambda: None, engine.stop_admitting):
        stop()
        assert engine.refuse_unseen(uniqueness=Uniqueness("ann", key=known), now=driver.now) is None
        assert engine.refuse_unseen("default", Uniqueness("ann", key=known), now=driver.now) is None
        for uniqueness in (Uniqueness("ann", key=new), Uniqueness("bob", key=known), Uniqueness("ann")):
            assert engine.refuse_unseen(uniqueness=uniqueness, now=driver.now) is not None


def test_a_drain_rejects_unread_submissions() -> None:
    driver = Driver()
    driver.engine.stop_admitting()
    assert isinstance(driver.engine.refuse_unseen(now=driver.now), Draining)


def test_early_rejections_are_counted_once_and_get_retry_slots() -> None:
    driver = Driver(queues={"default": QueuePolicy(capacity=1)})
    driver.submit()
    queue_state = driver.engine.queue_states["default"]
    retry_slots = []
    for n in range(1, 6):
        refusal = driver.engine.refuse_unseen(now=driver.now)
        assert refusal is not None
        retry_slots.append(refusal.retry_after_s)
        assert queue_state.refused_total == n
    assert retry_slots[-1] > retry_slots[0]
    driver.engine.stop_admitting()
    driver.engine.refuse_unseen(now=driver.now)
    assert sum(queue_state.refused_total for queue_state in driver.engine.queue_states.values()) == 6, (
        "rejections of a drain count, too"
    )


def test_a_key_has_one_retry_slot_before_and_after_the_body_is_read_until_it_is_accepted() -> None:
    driver = Driver(capacity=1)
    queue_state, holder = driver.engine.queue_states["default"], driver.submit()
    uniqueness = [Uniqueness("ann", key=IdempotencyKey(f"k{n}", b"")) for n in range(6)]
    for each in uniqueness:
        assert driver.engine.refuse_unseen("default", each, now=driver.now) is not None
    given = queue_state.retry_after.waiting

    assert driver.engine.refuse_unseen("default", uniqueness[2], now=driver.now) is not None
    with pytest.raises(QueueFull):
        driver.engine.submit(JobSpec(type="t"), b"{}", None, uniqueness=uniqueness[3], now=driver.now)
    assert queue_state.retry_after.waiting == given == 6

    driver.lease(holder)
    driver.ack(holder)
    driver.engine.submit(JobSpec(type="t"), b"{}", None, uniqueness=uniqueness[4], now=driver.now)
    assert queue_state.retry_after.waiting == 5


def test_an_early_retry_slot_is_released_by_an_acceptance_in_any_queue() -> None:
    driver = Driver(capacity=1)
    holders = [driver.submit(), driver.submit(queue="other")]
    uniqueness = [Uniqueness("ann", key=IdempotencyKey(f"k{n}", b"")) for n in range(6)]
    for each in uniqueness:
        assert driver.engine.refuse_unseen(uniqueness=each, now=driver.now) is not None
    waiting = sum(each.retry_after.waiting for each in driver.engine.queue_states.values())

    for holder in holders:
        driver.lease(holder)
        driver.ack(holder)
    driver.engine.submit(JobSpec(type="t"), b"{}", None, uniqueness[3], now=driver.now)
    driver.engine.submit(JobSpec(type="t", queue="other"), b"{}", None, uniqueness[4], now=driver.now)

    assert sum(each.retry_after.waiting for each in driver.engine.queue_states.values()) == waiting - 2


# -- rows


def told(events: list[Event]) -> Iterator[tuple[str, JobId]]:
    """Yield what events tell, however many records one of them evicts."""
    for event in events:
        assert not isinstance(event, (Quarantined, Released))
        for job in event.jobs if isinstance(event, Evicted) else (event.job,):
            yield type(event).__name__, job.id


def left_by(driver: Driver) -> tuple[object, ...]:
    """Return all that submissions leave in an engine, but for their events."""
    engine = driver.engine
    driver.note_events()
    return (
        engine.stats(driver.now),
        engine.totals(),
        list(engine.newest_first(None)),
        engine.next_at(),
        engine.store.live_bytes,
        engine.store.bytes_used,
        [state.arrivals.per_s(driver.now) for state in engine.queue_states.values()],
        [list(state.waiting.items()) for state in engine.queue_states.values()],
    )


@pytest.mark.parametrize(
    "spec",
    [
        JobSpec(type="t"),
        JobSpec(type="t", start_by_s=5.0),
        JobSpec(type="t", delay_s=5.0),
        JobSpec(type="t", queue="adaptive", group="g"),
    ],
)
@pytest.mark.parametrize("uniqueness", [PLAIN, None])
@pytest.mark.parametrize("bounds", [StoreBounds(jobs_max=8), StoreBounds(bytes_max=50), StoreBounds()])
def test_a_row_and_the_same_jobs_submitted_one_by_one_leave_the_same(
    spec: JobSpec, uniqueness: Uniqueness | None, bounds: StoreBounds
) -> None:
    by_row, one_by_one = drivers = [
        Driver(queues={"default": QueuePolicy(capacity=6), "adaptive": ADAPTIVE}, bounds=bounds) for _ in range(2)
    ]
    for driver in drivers:
        for _ in range(4):
            driver.done()
        driver.submit(caller="bob")
        driver.events.clear()
    row = [b'{"n":%d}' % n for n in range(5)]

    jobs = by_row.engine.submit_row(spec, row, uniqueness, now=by_row.now)

    singles = [one_by_one.engine.submit(spec, args, None, uniqueness, now=one_by_one.now).job for args in row]
    assert jobs == singles
    assert [job.args for job in singles] == row
    assert left_by(by_row) == left_by(one_by_one)
    assert sorted(told(by_row.events)) == sorted(told(one_by_one.events)), "they differ by the order of evictions only"
    for driver in drivers:
        driver.advance(6.0)
    assert [by_row.start_next() for _ in row] == [one_by_one.start_next() for _ in row]


def full(driver: Driver) -> None:
    for _ in range(3):
        driver.submit()


def statuses_full(driver: Driver) -> None:
    driver.submit(b"x" * 990, queue="other")


def draining(driver: Driver) -> None:
    driver.engine.stop_admitting()


def limited(driver: Driver) -> None:
    driver.engine.set_quotas(Quotas(Quota(jobs_max=100)))


def rejected_before(driver: Driver) -> None:
    driver.submit()
    driver.engine.set_policy("default", QueuePolicy(capacity=1), now=driver.now)
    with pytest.raises(QueueFull):
        driver.submit(caller="ann")
    driver.engine.set_policy("default", QueuePolicy(capacity=5), now=driver.now)


def in_quarantine(driver: Driver) -> None:
    budget = driver.engine.queue_states["default"].policy.retry_budget
    for _ in range(budget):
        driver.failed(failure=Failure(ErrorCode.HANDLER_ERROR, "no", final=True))
    assert driver.engine.quarantine.count == 1


@pytest.mark.parametrize("doubt", [full, statuses_full, draining, limited, rejected_before, in_quarantine])
def test_a_row_of_which_any_might_be_rejected_changes_nothing(doubt: Callable[[Driver], None]) -> None:
    driver = Driver(capacity=5, bounds=StoreBounds(bytes_max=1000))
    doubt(driver)
    before, count = left_by(driver), len(driver.events)
    assert driver.engine.submit_row(JobSpec(type="t"), [b"{1234}", b"{}", b"{56}"], PLAIN, now=driver.now) is None
    assert left_by(driver) == before
    assert len(driver.events) == count


def test_a_caller_that_submits_a_row_counts_as_a_user_of_its_type() -> None:
    driver = Driver(queues={"default": QueuePolicy(retry_budget=5)})
    for caller in ("ann", "bob"):
        driver.engine.submit_row(JobSpec(type="t"), [b"{}"] * 5, Uniqueness(caller, plain=True), now=driver.now)
    for _ in range(5):
        job = driver.start_next()
        assert job is not None
        assert job.caller == "ann"
        driver.nack(job, failure=Failure(ErrorCode.HANDLER_ERROR, "no", final=True))
    assert driver.engine.quarantine.count == 0, "one caller alone can't pause a type that others use"
