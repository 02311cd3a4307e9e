"""Uniqueness: idempotency keys, unique values, and the quota of live jobs per caller."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from jobqueue.core.events import Debounced, Ended, Progressed, Ready, StopRequested, Submitted
from jobqueue.core.job import IdempotencyKey, JobSpec, JobState, StopReason, Unique, UniqueMode, Uniqueness
from jobqueue.core.policy import QueuePolicy
from jobqueue.core.quotas import Quota, Quotas
from jobqueue.core.record_size import held_bytes, key_bytes
from jobqueue.core.store_bounds import StoreBounds
from jobqueue.core.submit import SubmitResult
from jobqueue.core.uniqueness import SHARED_MAX, UniquenessIndex
from jobqueue.errors import (
    Draining,
    Duplicate,
    JobGone,
    KeyReused,
    QueueFull,
    RateLimited,
    StatusesFull,
)
from tests.core.making import CRASHED, FINAL, Driver


def snapshot(driver: Driver) -> object:
    """Return all state that a rejected submission must not change."""
    engine = driver.engine
    store, uniqueness_index = engine.store, engine._transitions.uniqueness_index
    return (
        engine.totals(),
        {job.id: (job.state, job.version, job.args, job.run_at, job.stopping) for job in engine.newest_first(None)},
        (store.live, store.terminal, store.live_bytes, store.bytes_used),
        (dict(uniqueness_index._by_key), dict(uniqueness_index._by_value)),
        {caller: store.holdings.live_of(caller) for caller in store.holdings.by_caller},
        {
            name: (dict(queue_state.counts), queue_state.submitted_total)
            for name, queue_state in engine.queue_states.items()
        },
        [(type(event), event) for event in driver.events],
    )


def uniqueness_index_is_empty(driver: Driver) -> bool:
    uniqueness_index = driver.engine._transitions.uniqueness_index
    return not (uniqueness_index._by_key or uniqueness_index._by_value)


def live_of(driver: Driver, caller: str | None) -> int:
    """Return the number of a caller's live jobs."""
    return driver.engine.store.holdings.live_of(caller)[0]


# -- idempotency keys


STATES = ["delayed", "queued", "running", "backing off", "succeeded", "failed", "cancelled", "expired"]


def bring_to(driver: Driver, state: str, **options: object) -> object:
    """Submit a job and bring it as far as `state`."""
    job = driver.submit(
        delay_s=60.0 if state == "delayed" else 0.0,
        start_by_s=5.0 if state == "expired" else None,
        attempts_max=2,
        **options,
    )
    if state in ("running", "backing off", "succeeded", "failed"):
        driver.lease(job)
    if state == "backing off":
        driver.nack(job)
    elif state == "succeeded":
        driver.ack(job)
    elif state == "failed":
        driver.nack(job, failure=FINAL)
    elif state == "cancelled":
        driver.cancel(job)
    elif state == "expired":
        driver.advance(5)
    assert job.state == {"backing off": "delayed"}.get(state, state)
    return job


@pytest.mark.parametrize("state", STATES)
def test_the_same_key_and_body_return_the_same_job_in_any_state(state: str) -> None:
    driver = Driver()
    job = bring_to(driver, state, args=b'{"a":1}', key="k")
    before = snapshot(driver)
    again = driver.admit(b'{"a":1}', key="k", delay_s=1.0)
    assert again.job is job
    assert again.duplicate
    assert snapshot(driver) == before
    assert driver.engine.queue_states["default"].refused_total == 0


@pytest.mark.parametrize("state", STATES)
def test_the_same_key_with_another_body_is_rejected_in_any_state(state: str) -> None:
    driver = Driver()
    bring_to(driver, state, args=b'{"a":1}', key="k")
    before = snapshot(driver)
    with pytest.raises(KeyReused, match="another submission"):
        driver.admit(b'{"a":2}', key="k")
    assert snapshot(driver) == before


def test_a_new_key_is_no_duplicate() -> None:
    driver = Driver()
    first, second = driver.admit(key="a"), driver.admit(key="b")
    assert not first.duplicate
    assert not second.duplicate
    assert first.job is not second.job


def test_keys_are_separate_per_caller_and_for_anonymous_submissions() -> None:
    driver = Driver()
    jobs = {caller: driver.submit(b"%d" % n, key="k", caller=caller) for n, caller in enumerate(["ann", "bob", None])}
    assert len({job.id for job in jobs.values()}) == 3
    for n, (caller, job) in enumerate(jobs.items()):
        assert driver.submit(b"%d" % n, key="k", caller=caller) is job
        with pytest.raises(KeyReused):
            driver.submit(b"9", key="k", caller=caller)


def evict_by_ttl(driver: Driver) -> None:
    driver.advance(8)


def evict_by_deleting(driver: Driver) -> None:
    for job in list(driver.engine.newest_first(None)):
        driver.engine.delete(job.id)
    driver.note_events()


def evict_by_the_bound_of_records(driver: Driver) -> None:
    for _ in range(3):
        driver.submit()


def evict_by_the_bound_of_bytes(driver: Driver) -> None:
    driver.submit(b"x" * 1000)


def evict_by_the_bound_of_dead_letters(driver: Driver) -> None:
    driver.failed()


@pytest.mark.parametrize(
    "evict",
    [
        evict_by_ttl,
        evict_by_deleting,
        evict_by_the_bound_of_records,
        evict_by_the_bound_of_bytes,
        evict_by_the_bound_of_dead_letters,
    ],
)
def test_a_key_is_kept_as_long_as_its_record(evict: Callable[[Driver], None]) -> None:
    driver = Driver(bounds=StoreBounds(jobs_max=3, bytes_max=1000, failed_max=1, ttl_s=5.0, failed_ttl_s=7.0))
    job = driver.failed(key="k", caller="ann", unique="u")
    driver.advance(5)
    assert driver.submit(key="k", caller="ann") is job
    evict(driver)
    with pytest.raises(JobGone):
        driver.engine.get(job.id)
    assert uniqueness_index_is_empty(driver)
    for live in [job for job in driver.engine.newest_first(None) if job.live]:
        driver.cancel(live)
    assert not driver.admit(b"something else", key="k", caller="ann").duplicate


def test_a_known_key_is_answered_when_new_submissions_are_rejected() -> None:
    driver = Driver(capacity=1, bounds=StoreBounds(jobs_max=1), caller_jobs_max=1)
    job = driver.submit(key="k", caller="ann")
    with pytest.raises(QueueFull):
        driver.submit(caller="bob")
    with pytest.raises(StatusesFull):
        driver.submit(caller="bob", queue="other")
    assert driver.submit(key="k", caller="ann") is job
    driver.engine.stop_admitting()
    with pytest.raises(Draining):
        driver.submit(caller="bob")
    assert driver.submit(key="k", caller="ann") is job
    assert driver.engine.queue_states["default"].refused_total == 2, "the rejections of new submissions"


def test_a_rejected_submission_does_not_occupy_its_key() -> None:
    driver = Driver(capacity=1)
    first = driver.submit()
    with pytest.raises(QueueFull):
        driver.submit(b"1", key="k", caller="ann", unique="u")
    assert uniqueness_index_is_empty(driver)
    driver.cancel(first)
    assert not driver.admit(b"2", key="k", caller="ann", unique="u").duplicate


def test_a_key_is_kept_through_a_retry() -> None:
    driver = Driver()
    job = driver.failed(key="k", caller="ann")
    driver.retry(job)
    assert driver.submit(key="k", caller="ann") is job
    driver.lease(job)
    driver.ack(job)
    assert driver.submit(key="k", caller="ann") is job
    driver.engine.delete(job.id)
    assert uniqueness_index_is_empty(driver)


def test_a_known_key_precedes_the_unique_value() -> None:
    driver = Driver()
    keyed = driver.done(key="k", unique="u")
    holder = driver.submit(unique="u")
    again = driver.admit(key="k", unique="u", mode="replace")
    assert again.job is keyed
    assert holder.state is JobState.QUEUED


# -- unique values


HOLDERS = ["delayed", "queued", "running"]
OUTCOMES = {
    # mode and holder: in the same queue, in another one
    ("return", "delayed"): ("the holder", "the holder"),
    ("return", "queued"): ("the holder", "the holder"),
    ("return", "running"): ("the holder", "the holder"),
    ("reject", "delayed"): ("refused", "refused"),
    ("reject", "queued"): ("refused", "refused"),
    ("reject", "running"): ("refused", "refused"),
    ("replace", "delayed"): ("new, the holder is cancelled", "new, the holder is cancelled"),
    ("replace", "queued"): ("new, the holder is cancelled", "new, the holder is cancelled"),
    ("replace", "running"): ("new, the holder is stopped", "new, the holder is stopped"),
    ("debounce", "delayed"): ("the holder, debounced", "new, the holder is cancelled"),
    ("debounce", "queued"): ("the holder, debounced", "new, the holder is cancelled"),
    ("debounce", "running"): ("new, the holder goes on", "new, the holder goes on"),
}


@pytest.mark.parametrize("queue", ["default", "other"])
@pytest.mark.parametrize(("mode", "state"), OUTCOMES)
def test_a_second_submission_of_a_unique_value_follows_its_mode(mode: str, state: str, queue: str) -> None:
    driver = Driver()
    holder = driver.submit(b"old", unique="u", delay_s=9.0 if state == "delayed" else 0.0)
    if state == "running":
        driver.lease(holder)
    driver.events.clear()
    outcome = OUTCOMES[mode, state][queue == "other"]  # type: ignore[index]  # a bool is an index

    if outcome == "refused":
        before = snapshot(driver)
        with pytest.raises(Duplicate) as duplicate:
            driver.admit(b"new", unique="u", mode=mode, queue=queue)
        assert duplicate.value.job_id == holder.id
        assert snapshot(driver) == before
        return
    submitted = driver.admit(b"new", unique="u", mode=mode, queue=queue)
    if outcome == "the holder":
        assert submitted.job is holder
        assert submitted.duplicate
        assert (holder.args, holder.version, driver.events) == (b"old", int(state == "running"), [])
    elif outcome == "the holder, debounced":
        assert submitted.job is holder
        assert submitted.duplicate
        assert (holder.args, holder.version) == (b"new", 1)
        assert driver.events == [Progressed(holder), Debounced(holder)]
    else:
        assert submitted.job is not holder
        assert not submitted.duplicate
        assert (submitted.job.args, submitted.job.spec.queue) == (b"new", queue)
        assert holder.state == ("cancelled" if outcome == "new, the holder is cancelled" else state)
        assert holder.stopping is (StopReason.CANCELLED if outcome == "new, the holder is stopped" else None)
        told = {"new, the holder is cancelled": Ended, "new, the holder is stopped": StopRequested}.get(outcome)
        assert [type(event) for event in driver.events if event.job is holder] == (  # type: ignore[union-attr]  # events of jobs
            [told] if told else []
        )
        assert driver.of(Submitted) == [Submitted(submitted.job)]
    assert driver.submit(unique="u") is submitted.job, "the returned job has the value now"


@pytest.mark.parametrize("mode", ["return", "reject", "replace", "debounce"])
def test_a_unique_value_is_released_by_a_terminal_job(mode: str) -> None:
    for state in ("succeeded", "failed", "cancelled", "expired"):
        driver = Driver()
        job = bring_to(driver, state, unique="u")
        again = driver.admit(unique="u", mode=mode)
        assert again.job is not job
        assert not again.duplicate


def test_a_unique_value_is_held_through_backoffs_and_crashes() -> None:
    driver = Driver()
    job = driver.submit(unique="u", attempts_max=3)
    driver.lease(job)
    driver.nack(job, failure=CRASHED)
    assert driver.submit(unique="u") is job
    driver.lease(job)
    driver.nack(job)
    assert driver.submit(unique="u") is job


def test_unique_values_are_separate_per_type() -> None:
    driver = Driver()
    mail, call = driver.submit(type="mail", unique="u"), driver.submit(type="call", unique="u")
    assert mail is not call
    assert driver.submit(type="call", unique="u") is call


def test_unique_values_are_shared_by_all_callers() -> None:
    driver = Driver()
    job = driver.submit(unique="u", caller="ann")
    assert driver.submit(unique="u", caller="bob") is job
    assert live_of(driver, "bob") == 0


def test_a_replaced_job_that_ends_late_does_not_release_the_value() -> None:
    driver = Driver()
    old = driver.submit(unique="u")
    driver.lease(old)
    successor = driver.submit(unique="u", mode="replace")
    driver.nack(old)
    assert old.state is JobState.CANCELLED
    assert driver.submit(unique="u") is successor
    driver.cancel(successor)
    driver.engine.delete(old.id)
    driver.engine.delete(successor.id)
    assert uniqueness_index_is_empty(driver)


def test_a_replacement_takes_the_slot_of_the_replaced_job() -> None:
    driver = Driver(capacity=1)
    old = driver.submit(unique="u")
    new = driver.submit(unique="u", mode="replace")
    assert (old.state, new.state) == (JobState.CANCELLED, JobState.QUEUED)
    with pytest.raises(QueueFull):
        driver.submit()


def test_a_replacement_takes_the_quota_of_the_replaced_job_of_its_caller() -> None:
    driver = Driver(caller_jobs_max=1)
    old = driver.submit(unique="u", caller="ann")
    new = driver.submit(unique="u", mode="replace", caller="ann")
    assert (old.state, new.state) == (JobState.CANCELLED, JobState.QUEUED)
    assert live_of(driver, "ann") == 1
    driver.submit(caller="bob")
    with pytest.raises(RateLimited):
        driver.submit(unique="u", mode="replace", caller="bob")
    assert new.state is JobState.QUEUED, "the quota that it would release is of another caller"


def test_a_replacement_can_use_the_space_of_the_replaced_job() -> None:
    held = held_bytes(JobSpec(type="t"), None, Uniqueness(unique=Unique("u")))
    driver = Driver(bounds=StoreBounds(jobs_max=2, bytes_max=100 + held))
    driver.submit(b"x" * 40)
    old = driver.submit(b"x" * 60, unique="u")
    new = driver.submit(b"y" * 60, unique="u", mode="replace")
    assert old.state is JobState.CANCELLED
    assert (len(driver.engine.store), driver.engine.store.bytes_used) == (2, 100 + held), "the old record was evicted"
    with pytest.raises(StatusesFull):
        driver.submit(b"z" * 61, unique="u", mode="replace")
    assert new.state is JobState.QUEUED


REFUSALS = {
    "the queue is full": QueueFull,
    "the job store is full": StatusesFull,
    "the caller is at its quota": RateLimited,
    "the server drains": Draining,
}


@pytest.mark.parametrize("why", REFUSALS)
@pytest.mark.parametrize("state", HOLDERS)
@pytest.mark.parametrize("mode", ["replace", "debounce"])
def test_a_rejected_replacement_changes_nothing(mode: str, state: str, why: str) -> None:
    driver = Driver(
        queues={"default": QueuePolicy(), "other": QueuePolicy(capacity=1)},
        bounds=StoreBounds(bytes_max=1000),
        caller_jobs_max=1,
    )
    holder = driver.submit(b"old", unique="u", caller="ann", delay_s=9.0 if state == "delayed" else 0.0)
    if state == "running":
        driver.lease(holder)
    args = b"x" * 2000 if why == "the job store is full" else b"new"
    if why == "the queue is full":
        driver.submit(queue="other")
    elif why == "the caller is at its quota":
        driver.submit(caller="bob")
    elif why == "the server drains":
        driver.engine.stop_admitting()
    before = snapshot(driver)
    with pytest.raises(REFUSALS[why]):
        driver.submit(args, unique="u", mode=mode, queue="other", caller="bob")
    assert snapshot(driver) == before
    assert driver.engine.queue_states["other"].refused_total == 1
    assert driver.submit(unique="u") is holder


# -- debounce


def test_each_debounced_submission_restarts_the_delay() -> None:
    driver = Driver()
    job = driver.submit(b"1", unique="u", mode="debounce", delay_s=10.0, start_by_s=15.0)
    for n in range(2, 6):
        driver.advance(6)
        assert driver.submit(b"%d" % n, unique="u", mode="debounce", delay_s=10.0, start_by_s=15.0) is job
    assert (job.run_at, job.start_by_at) == (1034.0, 1039.0)
    driver.advance(9.9)
    assert job.state is JobState.DELAYED
    driver.advance(0.1)
    assert (job.state, job.args) == (JobState.QUEUED, b"5")
    driver.advance(4.9)
    assert job.state is JobState.QUEUED
    driver.advance(0.1)
    assert job.state is JobState.EXPIRED


def test_a_debounced_job_takes_the_spec_of_the_newest_submission() -> None:
    driver = Driver(bounds=StoreBounds(jobs_max=2))
    over = driver.done()
    job = driver.submit(unique="u", delay_s=5.0, priority=1, attempts_max=1)
    driver.submit(unique="u", mode="debounce", delay_s=5.0, priority=7, attempts_max=3)
    assert (job.spec.priority, job.attempts_max) == (7, 3)
    assert driver.engine.get(over.id) is over, "no record was evicted for it"


def test_a_debounced_submission_without_a_delay_makes_the_job_ready() -> None:
    driver = Driver()
    job = driver.submit(unique="u", delay_s=60.0)
    driver.submit(b"now", unique="u", mode="debounce")
    driver.advance(0)
    assert (job.state, job.args) == (JobState.QUEUED, b"now")


def test_a_debounced_queued_job_keeps_its_position_and_its_start_by() -> None:
    driver = Driver()
    first, _ = driver.submit(b"old", unique="u", start_by_s=5.0), driver.submit()
    driver.advance(3)
    assert driver.submit(b"new", unique="u", mode="debounce", delay_s=10.0, start_by_s=20.0) is first
    assert (first.state, first.start_by_at) == (JobState.QUEUED, 1005.0)
    assert driver.start_next() is first


def test_a_debounced_job_in_backoff_keeps_its_run_at_with_the_new_arguments() -> None:
    driver = Driver()
    job = driver.submit(b"old", unique="u", attempts_max=2)
    driver.lease(job)
    driver.nack(job)
    run_at = job.run_at
    assert driver.submit(b"new", unique="u", mode="debounce", delay_s=500.0) is job
    assert (job.run_at, job.args) == (run_at, b"new")
    driver.advance(1)
    assert job.state is JobState.QUEUED


def test_a_debounced_job_counts_the_bytes_of_its_newest_arguments() -> None:
    held = held_bytes(JobSpec(type="t"), None, Uniqueness(unique=Unique("u")))
    driver = Driver(bounds=StoreBounds(bytes_max=100 + held))
    job = driver.submit(b"x" * 30, unique="u", delay_s=1.0)
    store = driver.engine.store
    for size in (10, 100, 0, 55):
        driver.submit(b"y" * size, unique="u", mode="debounce", delay_s=1.0)
        assert store.live_bytes == store.bytes_used == held + size
    driver.cancel(job)
    assert (store.live_bytes, store.bytes_used) == (0, held)


def test_shared_keys_count_bytes_and_are_rejected_over_the_bound() -> None:
    held = held_bytes(JobSpec(type="t"), None, Uniqueness(unique=Unique("u")))
    driver = Driver(bounds=StoreBounds(bytes_max=held + 2 + 2 * key_bytes("k0")))
    job = driver.submit(unique="u")
    store, uniqueness_index = driver.engine.store, driver.engine._transitions.uniqueness_index
    for n in range(2):
        assert driver.submit(unique="u", key=f"k{n}") is job
    for mode in ("return", "debounce"):
        with pytest.raises(StatusesFull):
            driver.submit(unique="u", key="k2", mode=mode)
    assert driver.submit(unique="u", key="k1") is job
    assert set(uniqueness_index._by_key) == {(None, "k0"), (None, "k1")}
    assert store.bytes_used == job.size_bytes == held + 2 + 2 * key_bytes("k0")
    driver.cancel(job)
    driver.advance(1000)
    assert store.bytes_used == 0
    many = Driver()
    job = many.submit(unique="u")
    for n in range(3 * SHARED_MAX):
        many.submit(unique="u", key=f"{n:04}")
    assert job.held_bytes == held + SHARED_MAX * key_bytes("0000"), "forgotten keys don't count"


def test_debounced_arguments_evict_terminal_records_and_no_live_ones() -> None:
    held = held_bytes(JobSpec(type="t"), None, Uniqueness(unique=Unique("u")))
    driver = Driver(bounds=StoreBounds(bytes_max=100 + held))
    over = driver.done()
    driver.submit(b"x" * 49)
    job = driver.submit(b"x" * 20, unique="u", delay_s=1.0)
    driver.submit(b"y" * 51, unique="u", mode="debounce")
    assert driver.engine.store.get(over.id) is None
    assert driver.engine.store.bytes_used == 100 + held
    before = snapshot(driver)
    with pytest.raises(StatusesFull):
        driver.submit(b"z" * 52, unique="u", mode="debounce")
    assert snapshot(driver) == before
    assert job.args == b"y" * 51
    assert driver.engine.queue_states["default"].refused_total == 1


# -- quotas of callers


def test_a_caller_over_its_quota_of_live_jobs_is_rejected() -> None:
    driver = Driver(caller_jobs_max=2)
    for delay_s in (0.0, 60.0):
        driver.submit(caller="ann", delay_s=delay_s, queue="other")
    with pytest.raises(RateLimited, match="has 2 live jobs, and the limit is 2") as refusal:
        driver.submit(caller="ann")
    assert refusal.value.retry_after_s >= 1.0
    assert driver.engine.queue_states["default"].refused_total == 1
    assert driver.submit(caller="bob")
    assert driver.submit()


@pytest.mark.parametrize("state", ["succeeded", "failed", "cancelled", "expired"])
def test_a_terminal_job_does_not_count_against_the_quota(state: str) -> None:
    driver = Driver(caller_jobs_max=1)
    bring_to(driver, state, caller="ann")
    assert driver.submit(caller="ann")
    assert live_of(driver, "ann") == 1


def test_a_job_that_runs_or_is_in_backoff_counts_against_the_quota() -> None:
    for state in ("running", "backing off"):
        driver = Driver(caller_jobs_max=1)
        bring_to(driver, state, caller="ann")
        with pytest.raises(RateLimited):
            driver.submit(caller="ann")


def test_a_retried_job_counts_against_the_quota_again() -> None:
    driver = Driver(caller_jobs_max=1)
    job = driver.failed(caller="ann")
    other = driver.submit(caller="ann")
    with pytest.raises(RateLimited):
        driver.retry(job)
    assert job.state is JobState.FAILED
    driver.cancel(other)
    driver.retry(job)
    with pytest.raises(RateLimited):
        driver.submit(caller="ann")
    driver.lease(job)
    driver.ack(job)
    assert live_of(driver, "ann") == 0


def test_each_terminal_job_reduces_the_count_of_its_caller_by_one() -> None:
    driver = Driver(caller_jobs_max=3)
    jobs = [driver.submit(caller="ann") for _ in range(3)]
    for left in (2, 1, 0):
        driver.cancel(jobs.pop())
        assert live_of(driver, "ann") == left


def test_a_replacement_releases_exactly_one_slot_and_one_job_of_the_quota() -> None:
    driver = Driver(capacity=3, caller_jobs_max=3)
    old = driver.submit(unique="u", caller="ann")
    for _ in range(2):
        driver.submit(caller="ann")
    driver.engine.set_policy("default", QueuePolicy(capacity=2), now=driver.now)
    with pytest.raises(QueueFull):
        driver.submit(unique="u", mode="replace", caller="ann")
    driver.engine.set_quotas(Quotas(Quota(jobs_max=2)))
    with pytest.raises(RateLimited):
        driver.submit(unique="u", mode="replace", caller="ann", queue="other")
    assert old.state is JobState.QUEUED


def test_a_changed_quota_applies_to_live_jobs() -> None:
    driver = Driver(caller_jobs_max=1)
    driver.submit(caller="ann")
    driver.engine.set_quotas(Quotas(Quota(jobs_max=2)))
    driver.submit(caller="ann")
    driver.engine.set_quotas(Quotas(Quota(jobs_max=1)))
    with pytest.raises(RateLimited, match="has 2 live jobs, and the limit is 1"):
        driver.submit(caller="ann")
    driver.engine.set_quotas(Quotas(Quota(jobs_max=None)))
    driver.submit(caller="ann")


def test_a_shutdown_releases_unique_values_and_quotas_and_keeps_keys_for_the_ttl() -> None:
    driver = Driver(bounds=StoreBounds(ttl_s=1.0))
    for state in ("delayed", "queued", "backing off", "running"):
        bring_to(driver, state, caller=state, unique=state, key=state)
    driver.shut_down()
    driver.advance(1)
    uniqueness_index = driver.engine._transitions.uniqueness_index
    assert (uniqueness_index._by_value, len(uniqueness_index._by_key)) == ({}, 4)
    assert not any(live_of(driver, caller) for caller in driver.engine.store.holdings.by_caller)
    driver.advance(2)
    assert uniqueness_index_is_empty(driver)


# -- the uniqueness index


def test_an_empty_uniqueness_index_finds_no_job() -> None:
    uniqueness_index = UniquenessIndex()
    assert uniqueness_index.under_key(Uniqueness(key=IdempotencyKey("k", b""))) is None
    assert uniqueness_index.under_key(Uniqueness()) is None
    assert uniqueness_index.holder("t", Uniqueness(unique=Unique("u"))) is None
    assert uniqueness_index.holder("t", Uniqueness()) is None
    assert uniqueness_index.values() == 0


def test_a_plain_job_adds_nothing_to_the_uniqueness_index() -> None:
    driver = Driver()
    driver.done()
    driver.submit()
    driver.submit(caller="ann")
    assert uniqueness_index_is_empty(driver)
    assert driver.of(Ready)


@pytest.mark.parametrize("field", [{"unique": "u"}, {"key": "k"}])
def test_unique_value_and_key_can_each_be_used_alone(field: dict[str, str]) -> None:
    driver = Driver()
    job = driver.submit(**field)
    assert not uniqueness_index_is_empty(driver)
    driver.cancel(job)
    driver.engine.delete(job.id)
    assert uniqueness_index_is_empty(driver)


# -- keys of submissions that returned a job by its unique value


@pytest.mark.parametrize("mode", ["return", "debounce"])
def test_a_key_submitted_with_a_live_unique_value_returns_that_job_from_then_on(mode: UniqueMode) -> None:
    driver = Driver(bounds=StoreBounds(ttl_s=1.0))
    holder = driver.submit(b"1", unique="u", delay_s=5.0)
    assert driver.admit(b"2", caller="ann", key="k", unique="u", mode=mode, delay_s=5.0).job is holder
    assert driver.admit(b"2", caller="ann", key="k", unique="u", mode=mode, delay_s=5.0) == SubmitResult(holder, True)
    with pytest.raises(KeyReused):
        driver.admit(b"3", caller="ann", key="k", delay_s=5.0)
    driver.cancel(holder)
    again = driver.admit(b"2", caller="ann", key="k", unique="u", mode=mode, delay_s=5.0)
    assert again.job is holder, "although it is terminal"
    driver.advance(2)
    assert driver.admit(b"3", caller="ann", key="k").duplicate is False
    driver.shut_down()
    driver.advance(2)
    assert uniqueness_index_is_empty(driver)
    assert not driver.engine._transitions.uniqueness_index._shared


def test_the_keys_that_share_a_job_are_bounded() -> None:
    driver = Driver(bounds=StoreBounds(ttl_s=1.0))
    holder = driver.submit(unique="u")
    for number in range(SHARED_MAX + 5):
        assert driver.admit(caller="ann", key=str(number), unique="u").job is holder
    assert len(driver.engine._transitions.uniqueness_index._by_key) == SHARED_MAX
    driver.cancel(holder)
    driver.advance(2)
    assert uniqueness_index_is_empty(driver)
