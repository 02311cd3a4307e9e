"""Fair eviction: at a bound of the store the caller that holds most loses its oldest terminal record.

The naive model keeps all records in a list, and finds the largest holding by counting.
"""

from __future__ import annotations

import contextlib
import math
from typing import NamedTuple

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from jobqueue.core.events import Evicted
from jobqueue.core.holdings import PARTS
from jobqueue.core.job import FAILED, RUNNING, Job, JobSpec, UniqueMode, Uniqueness
from jobqueue.core.job_store import EXPIRY_BUCKET_S, SORTED_MAX
from jobqueue.core.quotas import Quota, Quotas
from jobqueue.core.report import Progress, Success
from jobqueue.core.store_bounds import StoreBounds
from jobqueue.errors import JobGone, JobQueueError
from tests.core.making import CRASHED, FINAL, Driver

MANY = 10**6
CALLERS = ("elephant", "mouse", "shrew", None)


def driver_of(**bounds: float) -> Driver:
    return Driver(capacity=MANY, bounds=StoreBounds(**bounds))  # type: ignore[arg-type]  # any bound


def held(driver: Driver, jobs: list[Job]) -> list[Job]:
    return [job for job in jobs if driver.engine.store.get(job.id) is job]


# -- the rule


def test_a_caller_that_fills_the_store_evicts_only_its_own_records() -> None:
    driver = driver_of(jobs_max=20)
    mouse = [driver.done(caller="mouse") for _ in range(3)]
    driver.advance(1)
    elephant = [driver.done(caller="elephant") for _ in range(200)]
    assert held(driver, mouse) == mouse
    assert held(driver, elephant) == elephant[-17:]


def test_a_caller_that_fills_the_store_with_bytes_evicts_only_its_own_records() -> None:
    driver = driver_of(bytes_max=10_000)
    results = [driver.submit(caller="mouse") for _ in range(30)]
    for job in results:
        driver.lease(job)
        driver.ack(job, success=Success(b"1" * 100))
    driver.advance(1)
    for _ in range(50):
        job = driver.submit(b"x" * 1000, caller="elephant")
        driver.lease(job)
        driver.ack(job, success=Success(b"1" * 1000))
    assert held(driver, results) == results


def test_a_caller_with_failing_jobs_evicts_only_its_own_failed_records() -> None:
    driver = driver_of(failed_max=10)
    mouse = [driver.failed(FINAL, caller="mouse") for _ in range(2)]
    elephant = [driver.failed(FINAL, caller="elephant") for _ in range(30)]
    assert held(driver, mouse) == mouse
    assert held(driver, elephant) == elephant[-8:]


def test_a_single_caller_loses_its_oldest_records() -> None:
    driver = driver_of(jobs_max=10)
    jobs = []
    for _ in range(30):
        jobs.append(driver.done(caller="only"))
        driver.advance(0.2)
    assert held(driver, jobs) == jobs[-10:]


def test_a_late_caller_gets_its_share_of_the_store() -> None:
    driver = driver_of(jobs_max=100)
    first = [driver.done(caller="first") for _ in range(100)]
    second = [driver.done(caller="second") for _ in range(200)]
    left = held(driver, first)
    assert 49 <= len(left) <= 51
    assert left == first[-len(left) :]
    assert len(held(driver, second)) == 100 - len(left)


def test_live_records_count_and_are_not_evicted() -> None:
    driver = driver_of(jobs_max=20)
    live = [driver.submit(caller="elephant") for _ in range(12)]
    mouse = [driver.done(caller="mouse") for _ in range(5)]
    over = [driver.done(caller="elephant") for _ in range(40)]
    assert held(driver, live) == live
    assert held(driver, mouse) == mouse
    assert held(driver, over) == over[-3:]


def test_records_of_a_caller_with_live_jobs_only_are_ranked_once_they_end() -> None:
    driver = driver_of(jobs_max=20)
    live = [driver.submit(caller="elephant") for _ in range(15)]
    mouse = [driver.done(caller="mouse") for _ in range(8)]
    assert held(driver, mouse) == mouse[-5:], "the elephant has nothing that may be evicted"
    for job in live:
        driver.lease(job)
        driver.ack(job)
    again = [driver.done(caller="mouse") for _ in range(4)]
    assert held(driver, mouse) == mouse[-5:]
    assert held(driver, again) == again
    assert held(driver, live) == live[4:]


def test_a_record_that_ends_beside_evicted_ones_is_evicted_in_its_turn() -> None:
    driver = driver_of(jobs_max=4)
    mouse = driver.done(caller="mouse", ttl_s=10.0)
    for ttl_s in (10.0, 20.0, 10.0):  # the bucket of the last one is the older one
        driver.done(caller="elephant", ttl_s=ttl_s)
    again = [driver.submit(caller="elephant", ttl_s=10.0) for _ in range(3)]
    for job in again[:2]:
        driver.lease(job)
        driver.ack(job)
    driver.submit(caller="elephant")
    assert held(driver, [mouse, *again]) == [mouse, *again[1:]]


def test_records_evicted_for_another_caller_say_so_and_are_counted() -> None:
    driver = driver_of(jobs_max=10)
    elephant = [driver.done(caller="elephant") for _ in range(10)]
    driver.submit(caller="mouse")
    with pytest.raises(JobGone) as gone:
        driver.engine.get(elephant[0].id)
    assert gone.value.reason == "evicted"
    totals = driver.engine.totals()
    assert (totals.evicted, totals.evicted_early) == (1, 1)
    assert [event.early for event in driver.of(Evicted)] == [True]


def test_of_small_callers_the_oldest_record_of_all_is_evicted() -> None:
    driver = driver_of(jobs_max=PARTS)
    jobs = [driver.done(caller=f"c{number}") for number in range(PARTS)]
    driver.submit(caller="new")
    assert held(driver, jobs) == jobs[1:]
    assert driver.engine.store.holdings.by_records.first() is None


# -- its cost in memory


def test_a_caller_without_records_takes_no_memory() -> None:
    driver = driver_of(jobs_max=1000, ttl_s=5)
    for number in range(500):
        driver.done(caller=f"c{number}")
    assert len(driver.engine.store.holdings) == 500
    driver.advance(6)
    assert len(driver.engine.store.holdings) == 0
    driver.done(caller="one")
    assert len(driver.engine.store.holdings.by_records._heap) <= 64 + 500


def test_a_bucket_with_a_few_records_left_between_evicted_ones_is_small() -> None:
    driver = driver_of(jobs_max=900, ttl_s=3600)
    mouse = [driver.done(caller="mouse" if number == 10 else "elephant") for number in range(800)][10]
    (bucket,) = driver.engine.store._by_number.values()
    full = bucket.jobs.__sizeof__()
    for _ in range(30):
        driver.advance(1)
        for _ in range(100):
            driver.done(caller="elephant")
    assert list(bucket.jobs) == [mouse.id]
    assert bucket.jobs.__sizeof__() < full / 8


def test_few_buckets_are_held_sorted_by_caller() -> None:
    driver = driver_of(jobs_max=600, ttl_s=30)
    for _ in range(200):
        driver.done(caller="mouse")
        for _ in range(9):
            driver.done(caller="elephant")
        driver.advance(0.25)
    store = driver.engine.store
    assert sum(bucket.by_caller is not None for bucket in store._by_number.values()) == SORTED_MAX
    for caller in ("mouse", "elephant"):
        holding = store.holdings.by_caller.get(caller)
        assert holding is not None
        assert len(holding.buckets or ()) <= 2 * holding.records + 2


# -- against the model


class Kept(NamedTuple):
    """A record as the model keeps it."""

    job: Job
    caller: str | None
    size_bytes: int
    ended: int | None
    failed: bool


def snapshot(driver: Driver) -> list[Kept]:
    kept = []
    for job in driver.engine.newest_first(None):
        ended = None if job.finished_at is None else math.floor(job.finished_at / EXPIRY_BUCKET_S)
        kept.append(Kept(job, job.caller, job.size_bytes, ended, job.state is FAILED))
    return kept


def amounts(kept: list[Kept], kind: str) -> dict[str | None, int]:
    """Return what each caller with terminal records holds."""
    found: dict[str | None, int] = {each.caller: 0 for each in kept if each.ended is not None}
    for each in kept:
        if each.caller in found:
            found[each.caller] += {"records": 1, "bytes": each.size_bytes, "failed": each.failed}[kind]
    return found


def check_evicted(views: list[tuple[str, list[Kept]]], job: Job) -> None:
    """Check that the model evicts this record, too.

    Args:
        views: The bounds that may have been reached, each with the records of then.
    """
    seen = []
    for kind, kept in views:
        (victim,) = [each for each in kept if each.job is job]
        found = amounts(kept, kind)
        peers = [
            each.ended
            for each in kept
            if each.caller == victim.caller and each.ended is not None and (kind != "failed" or each.failed)
        ]
        seen.append((kind, victim.caller, found, victim.ended, peers))
        if victim.ended is not None and victim.ended == min(peers) and found[victim.caller] == max(found.values()):
            break
    else:
        raise AssertionError(seen)
    for _, kept in views:
        kept[:] = [each for each in kept if each.job is not job]


def check_counts(driver: Driver) -> None:
    store = driver.engine.store
    by_caller: dict[str | None, list[Kept]] = {}
    for each in snapshot(driver):
        by_caller.setdefault(each.caller, []).append(each)
    assert len(store.holdings) == len(by_caller)
    for caller, kept in by_caller.items():
        holding = store.holdings.by_caller.get(caller)
        assert holding is not None
        ended = [each for each in kept if each.ended is not None]
        assert (holding.records, holding.terminal) == (len(kept), len(ended))
        assert holding.size_bytes == sum(each.size_bytes for each in kept)
        assert holding.terminal_bytes == sum(each.size_bytes for each in ended)
        assert len(holding.failed or ()) == sum(each.failed for each in kept)


ACTS = ("submit", "submit", "submit", "finish", "finish", "fail", "cancel", "delete", "retry", "wait")
STEPS = st.lists(st.tuples(st.sampled_from(ACTS), st.integers(0, 3), st.integers(0, 40)), max_size=200)


# The record that fails last is no older than the others of its caller.
@example(
    steps=[("submit", 0, 1), ("submit", 2, 0), ("submit", 2, 0), ("fail", 0, 0), ("fail", 0, 1), ("fail", 0, 0)],
    jobs_max=4,
    bytes_max=150,
    failed_max=2,
)
@settings(max_examples=150, deadline=None)
@given(
    steps=STEPS, jobs_max=st.integers(4, 14), bytes_max=st.sampled_from((150, 400, 10**6)), failed_max=st.integers(1, 5)
)
def test_early_evictions_are_those_of_the_naive_model(
    steps: list[tuple[str, int, int]], jobs_max: int, bytes_max: int, failed_max: int
) -> None:
    driver = driver_of(jobs_max=jobs_max, bytes_max=bytes_max, failed_max=failed_max, ttl_s=5, failed_ttl_s=7)
    for act, number, size in steps:
        kept, known = snapshot(driver), len(driver.events)
        views = [("bytes", kept)]
        if act == "submit" and sum(each.size_bytes for each in kept) + size <= bytes_max:
            views = [("records", kept)]
        elif act == "submit":  # of the two bounds, bytes come first
            views.append(("records", kept.copy()))
        job = step(driver, kept, act, CALLERS[number], size)
        if act == "fail" and job is not None:
            now = math.floor(driver.now / EXPIRY_BUCKET_S)
            views.append(
                ("failed", [each._replace(ended=now, failed=True) if each.job is job else each for each in kept])
            )
        for event in driver.events[known:]:
            if isinstance(event, Evicted) and event.early:
                for out in event.jobs:
                    check_evicted(views, out)  # type: ignore[arg-type]  # as the engine's events have
        check_counts(driver)


def step(driver: Driver, kept: list[Kept], act: str, caller: str | None, size: int) -> Job | None:
    """Take a step if it is possible; return the job of it."""
    store = driver.engine.store
    if act == "submit":
        own = {"ttl_s": 3.0} if size % 3 == 0 else {}
        return driver.submit(b"x" * size, caller=caller, **own) if store.has_room_for(size) else None
    if act == "wait":
        driver.advance(size / 10)
        return None
    live = act in ("finish", "fail", "cancel")
    jobs = [each.job for each in kept if (each.ended is None) is live and (act != "retry" or each.failed)]
    if not jobs:
        return None
    job = jobs[size % len(jobs)]
    if act == "cancel":
        driver.cancel(job)
    elif act == "delete":
        driver.engine.delete(job.id)
    elif act == "retry":
        if store.has_room_for(job.size_bytes):
            driver.retry(job)
    elif not driver.try_lease(job):
        return None
    elif act == "finish":
        driver.ack(job, success=Success(b"1" * (size + 10)))
    else:
        driver.nack(job, failure=FINAL)
    return job


# -- after any steps

QUOTAS = (
    Quotas(),
    Quotas(Quota(jobs_max=2, records_max=4, bytes_max=300)),
    Quotas(Quota(bytes_max=80), {"mouse": Quota(records_max=2)}),
)
MODES: tuple[UniqueMode, ...] = ("return", "reject", "replace", "debounce")
ANY_ACTS = (
    *("submit", "submit", "unique", "unique", "key", "row", "finish", "finish", "fail", "crash", "lose"),
    *("cancel", "delete", "retry", "run now", "report", "wait", "quotas"),
)


@settings(max_examples=300, deadline=None)
@given(
    steps=st.lists(st.tuples(st.sampled_from(ANY_ACTS), st.integers(0, 3), st.integers(0, 40)), max_size=120),
    bytes_max=st.sampled_from((150, 600, 10**6)),
)
def test_holdings_are_those_of_a_recount_after_any_steps(steps: list[tuple[str, int, int]], bytes_max: int) -> None:
    driver = driver_of(jobs_max=12, bytes_max=bytes_max, failed_max=4, ttl_s=5, failed_ttl_s=7)
    for act, number, size in steps:
        with contextlib.suppress(JobQueueError):
            any_step(driver, act, CALLERS[number], size)
        driver.note_events()
        check_counts(driver)
    driver.advance(3600)
    driver.shut_down()
    check_counts(driver)


def any_step(driver: Driver, act: str, caller: str | None, size: int) -> None:
    args = b"x" * size
    if act == "wait":
        driver.advance(size / 10)
    elif act == "quotas":
        driver.engine.set_quotas(QUOTAS[size % len(QUOTAS)])
    elif act == "row":
        row = [args, args[1:], b""]
        uniqueness = None if caller is None else Uniqueness(caller=caller)
        driver.engine.submit_row(JobSpec(type="t"), row, uniqueness, now=driver.now)
    elif act in ("submit", "unique", "key"):
        own: dict[str, object] = {}
        if act == "unique":
            own = {"unique": "u" * (1 + size % 2), "mode": MODES[size % 4], "delay_s": float(size % 3)}
        if act != "submit" and size % 5 < 3:
            own["key"] = "k" * (1 + size % 7)
        driver.submit(args, caller=caller, timeout_s=2.0, attempts_max=1 + size % 2, **own)
    else:
        jobs = list(driver.engine.newest_first(None))
        if jobs:
            act_on(driver, act, jobs[size % len(jobs)], size)


def act_on(driver: Driver, act: str, job: Job, size: int) -> None:
    if act == "cancel":
        driver.cancel(job)
    elif act == "delete":
        driver.engine.delete(job.id)
    elif act == "retry":
        driver.retry(job)
    elif act == "run now":
        driver.run_now(job)
    elif job.state is not RUNNING and not (job.live and driver.try_lease(job)):
        return
    elif act == "finish":
        driver.ack(job, success=Success(b"1" * 3 * size))
    elif act == "report":
        driver.engine.report(job.id, attempt=job.attempt, progress=Progress(0.5, "n" * size))
    elif act != "lose":  # its lease runs out
        driver.nack(job, failure=FINAL if act == "fail" else CRASHED)
