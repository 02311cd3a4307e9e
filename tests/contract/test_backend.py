"""The conformance suite of the Backend port. Another backend runs it by a line in `backends.py`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from itertools import pairwise
from typing import Any

import pytest

from jobqueue.backend.base import Backend, BulkCount, JobFilter
from jobqueue.core.job import (
    ErrorCode,
    Failure,
    IdempotencyKey,
    JobId,
    JobSpec,
    JobState,
    Progress,
    Success,
    Unique,
    Uniqueness,
)
from jobqueue.core.job_view import JobView
from jobqueue.core.policy import Discipline, Limits, QueuePolicy
from jobqueue.core.stats import QueueStats
from jobqueue.errors import (
    Draining,
    Duplicate,
    JobGone,
    JobNotFound,
    KeyReused,
    QueueFull,
    RateLimited,
    StaleLease,
    WrongState,
)
from jobqueue.testing import virtual_time
from tests.contract.backends import CAPACITY, Make

SPEC = JobSpec(type="t")
SMALL = JobSpec(type="t", queue="small")
BOOM = Failure(ErrorCode.HANDLER_ERROR, "boom")
Wait = Callable[[Backend, JobId], Coroutine[Any, Any, None]]


async def submit(backend: Backend, spec: JobSpec = SPEC, **options: Any) -> JobView:
    return (await backend.submit(spec, **options)).job


async def submit_failed(backend: Backend, spec: JobSpec = SPEC, **options: Any) -> JobView:
    """Submit a job, and let it fail for good; nothing else may be ready."""
    job = await submit(backend, spec, **options)
    lease = await backend.lease()
    assert lease.job_id == job.id
    await backend.nack(job.id, lease.attempt, BOOM)
    return job


async def states(backend: Backend, *jobs: JobView) -> list[str]:
    """Return the states of these jobs as they are now."""
    return [(await backend.get(job.id)).state for job in jobs]


def stats_of(backend: Backend, name: str = "default") -> QueueStats:
    (stats,) = [queue for queue in backend.stats()[1] if queue.name == name]
    return stats


async def settle() -> None:
    """Let every task go as far as it can: on the virtual clock a second passes once nothing else is left to do."""
    await asyncio.sleep(1)


async def one_turn() -> None:
    """Let every task take one step."""
    await asyncio.sleep(0)


async def wait_for_end(backend: Backend, job_id: JobId) -> None:
    await backend.wait(job_id)


async def wait_for_change(backend: Backend, job_id: JobId) -> None:
    await backend.wait_for_change([job_id])


@virtual_time
async def test_what_submit_returned_can_be_read_at_once(make: Make) -> None:
    backend = make()
    job = await submit(backend)
    assert (await backend.get(job.id)).state is JobState.QUEUED


@virtual_time
async def test_a_lease_waits_for_a_job_and_gives_it_to_one_worker_only(make: Make) -> None:
    backend = make()
    workers = [asyncio.create_task(backend.lease()) for _ in range(3)]
    await settle()
    assert not any(worker.done() for worker in workers)
    job = await submit(backend)
    await settle()
    leases = [worker.result() for worker in workers if worker.done()]
    assert [(lease.job_id, lease.attempt) for lease in leases] == [(job.id, 1)]
    for worker in workers:
        worker.cancel()


@virtual_time
async def test_a_worker_that_is_cancelled_while_it_waits_takes_no_job_with_it(make: Make) -> None:
    backend = make()
    waiting = asyncio.create_task(backend.lease())
    await settle()
    job = await submit(backend)
    waiting.cancel()
    assert (await backend.lease()).job_id == job.id


@virtual_time
async def test_outcomes_end_a_job_once(make: Make) -> None:
    backend = make()
    job = await submit(backend)
    lease = await backend.lease()
    await backend.report(job.id, lease.attempt, Progress(0.5))
    await backend.ack(job.id, lease.attempt, Success(b"1"))
    for late in (
        backend.ack(job.id, lease.attempt, Success(b"2")),
        backend.nack(job.id, lease.attempt, Failure(ErrorCode.HANDLER_ERROR, "no")),
        backend.report(job.id, lease.attempt, Progress(0.6)),
    ):
        with pytest.raises(StaleLease):
            await late
    assert (await backend.get(job.id)).result == b"1"


@virtual_time
async def test_waiters_are_told_the_moment_a_job_ends_and_late_ones_at_once(make: Make) -> None:
    backend = make()
    job = await submit(backend)
    waiters = [asyncio.create_task(backend.wait(job.id)) for _ in range(3)]
    lease = await backend.lease()
    await settle()
    assert not any(waiter.done() for waiter in waiters)
    await backend.nack(job.id, lease.attempt, Failure(ErrorCode.HANDLER_ERROR, "no"))
    for waiter in [*waiters, asyncio.create_task(backend.wait(job.id))]:
        assert (await waiter).state is JobState.FAILED


@pytest.mark.parametrize("wait", [wait_for_end, wait_for_change])
@virtual_time
async def test_one_who_gives_up_waiting_leaves_the_others_alone(make: Make, wait: Wait) -> None:
    backend = make()
    job = await submit(backend)
    first, second = [asyncio.create_task(wait(backend, job.id)) for _ in range(2)]
    await settle()
    first.cancel()
    await settle()
    await backend.cancel(job.id)
    await second


@pytest.mark.parametrize("wait", [wait_for_end, wait_for_change])
@virtual_time
async def test_thousands_who_wait_for_one_job_are_told_in_turn_so_that_others_go_on(make: Make, wait: Wait) -> None:
    backend = make()
    job = await submit(backend)
    waiting = [asyncio.create_task(wait(backend, job.id)) for _ in range(3000)]
    await settle()
    waiting[1].cancel()
    await backend.cancel(job.id)
    told = [0]
    for _ in range(100):
        await one_turn()
        told.append(sum(task.done() for task in waiting))
    assert told[-1] == 3000
    assert max(after - before for before, after in pairwise(told)) <= 500


@virtual_time
async def test_unknown_deleted_and_live_jobs_are_told_apart(make: Make) -> None:
    backend = make()
    for unknown in (backend.get("x"), backend.wait("x"), backend.cancel("x"), backend.delete("x")):
        with pytest.raises(JobNotFound):
            await unknown
    job = await submit(backend)
    with pytest.raises(WrongState):
        await backend.delete(job.id)
    await backend.cancel(job.id)
    await backend.delete(job.id)
    with pytest.raises(JobGone):
        await backend.get(job.id)


@virtual_time
async def test_a_cancelled_job_leaves_no_trace_in_its_ready_queue(make: Make) -> None:
    backend = make()
    first, second = await submit(backend), await submit(backend)
    await backend.cancel(first.id)
    assert (await backend.lease()).job_id == second.id


@virtual_time
async def test_a_refusal_keeps_nothing_and_is_counted(make: Make) -> None:
    backend = make()
    await backend.submit(SMALL)
    with pytest.raises(QueueFull):
        await backend.submit(SMALL)
    statuses, small = backend.stats()[0], stats_of(backend, "small")
    assert (statuses.accepted_total, small.live, small.submitted_total, small.refused_total) == (1, 1, 1, 1)


@virtual_time
async def test_pages_go_through_all_that_match_newest_first(make: Make) -> None:
    backend = make()
    odd, even = JobSpec(type="odd", group="g"), JobSpec(type="even")
    ids = [(await submit(backend, odd if n % 2 else even)).id for n in range(25)]
    seen: list[str] = []
    cursor = None
    while True:
        page = await backend.page(JobFilter(type="odd"), limit=5, cursor=cursor)
        assert len(page.jobs) <= 5
        seen += [job.id for job in page.jobs]
        cursor = page.cursor
        if cursor is None:
            break
    assert seen == ids[1::2][::-1]
    for job_filter, count in (
        (JobFilter(state=JobState.QUEUED), 25),
        (JobFilter(state=JobState.RUNNING), 0),
        (JobFilter(queue="default"), 25),
        (JobFilter(queue="small"), 0),
        (JobFilter(group="g"), 12),
        (JobFilter(group="g", type="even"), 0),
    ):
        assert len((await backend.page(job_filter, limit=100, cursor=None)).jobs) == count


@virtual_time
async def test_the_last_page_knows_that_it_is_the_last(make: Make) -> None:
    backend = make()
    assert (await backend.page(JobFilter(), limit=5, cursor=None)).cursor is None
    for _ in range(5):
        await backend.submit(SPEC)
    assert (await backend.page(JobFilter(), limit=5, cursor=None)).cursor is None
    assert (await backend.page(JobFilter(), limit=4, cursor=None)).cursor is not None


# -- records


@virtual_time
async def test_a_record_that_was_given_out_does_not_change_any_more(make: Make) -> None:
    backend = make()
    submitted = await submit(backend, JobSpec(type="t", attempts_max=2))
    lease = await backend.lease()
    await backend.report(submitted.id, lease.attempt, Progress(0.5))
    running = await backend.get(submitted.id)
    (listed,) = (await backend.page(JobFilter(), limit=1, cursor=None)).jobs
    stopping = await backend.cancel(submitted.id)
    await backend.nack(submitted.id, lease.attempt, BOOM)
    given = (submitted, running, listed, stopping)
    assert [job.state for job in given] == ["queued", "running", "running", "running"]
    assert [job.progress for job in given] == [None, Progress(0.5), Progress(0.5), Progress(0.5)]
    assert [job.stopping is not None for job in given] == [False, False, False, True]
    assert (await backend.wait(submitted.id)).state is JobState.CANCELLED
    with pytest.raises(AttributeError):
        running.state = JobState.SUCCEEDED


@virtual_time
async def test_the_estimate_of_a_record_that_is_over_meanwhile_promises_nothing(make: Make) -> None:
    backend = make()
    job = await submit(backend)
    assert backend.estimate(job).position == 1
    await backend.cancel(job.id)
    assert (backend.estimate(job).position, backend.estimate(job).eta_s) == (None, None)


# -- the end


@virtual_time
async def test_a_drain_rejects_submissions_and_returns_once_the_jobs_are_worked_off(make: Make) -> None:
    backend = make()
    job = await submit(backend)
    lease = await backend.lease()
    left: list[int] = []
    draining = asyncio.create_task(backend.drain(10.0, lambda: left.append(stats_of(backend).live)))
    await settle()
    with pytest.raises(Draining):
        await backend.submit(SPEC)
    assert not draining.done()
    await backend.ack(job.id, lease.attempt, Success(b"1"))
    await draining
    assert left == [0]
    assert (await backend.get(job.id)).state is JobState.SUCCEEDED


@virtual_time
async def test_a_drain_ends_at_its_deadline_what_is_left(make: Make) -> None:
    backend = make()
    running, waiting = await submit(backend), await submit(backend)
    lease = await backend.lease()
    left: list[int] = []
    draining = asyncio.create_task(backend.drain(10.0, lambda: left.append(stats_of(backend).live)))
    await asyncio.sleep(10.5)
    assert left == [2], "they are counted before the first of them ends"
    await backend.stopped(running.id, lease.attempt)
    await draining
    for job_id in (running.id, waiting.id):
        ended = await backend.get(job_id)
        assert (ended.state, ended.error and ended.error.code) == (JobState.CANCELLED, ErrorCode.SHUTDOWN)


@virtual_time
async def test_a_lower_maximum_of_live_jobs_of_a_caller_counts_from_the_next_submission_on(make: Make) -> None:
    backend = make()
    first = await submit(backend, uniqueness=Uniqueness("ann"))
    await submit(backend, uniqueness=Uniqueness("ann"))
    await backend.set_caller_jobs_max(1)
    with pytest.raises(RateLimited):
        await backend.submit(SPEC, uniqueness=Uniqueness("ann"))
    assert (await backend.get(first.id)).state is JobState.QUEUED


# -- the same job once


@virtual_time
async def test_a_submission_that_is_the_same_job_leads_to_it_and_says_so(make: Make) -> None:
    backend = make()
    uniqueness = Uniqueness("ann", Unique("u"), IdempotencyKey("k", b"1"))
    first = await backend.submit(SPEC, b"{}", None, uniqueness)
    again = await backend.submit(SPEC, b"{}", None, uniqueness)
    other = await backend.submit(SPEC, b"{}", None, Uniqueness("bob", Unique("u")))
    assert [submitted.duplicate for submitted in (first, again, other)] == [False, True, True]
    assert first.job.id == again.job.id == other.job.id
    with pytest.raises(KeyReused):
        await backend.submit(SPEC, b"{}", None, Uniqueness("ann", None, IdempotencyKey("k", b"2")))
    with pytest.raises(Duplicate) as duplicate:
        await backend.submit(SPEC, b"{}", None, Uniqueness("bob", Unique("u", "reject")))
    assert duplicate.value.job_id == first.job.id
    assert backend.stats()[0].accepted_total == 1


@virtual_time
async def test_a_replaced_job_is_told_to_those_who_wait_for_it(make: Make) -> None:
    backend = make()
    old = await submit(backend, uniqueness=Uniqueness(unique=Unique("u")))
    waiter = asyncio.create_task(backend.wait(old.id))
    await settle()
    new = await submit(backend, uniqueness=Uniqueness(unique=Unique("u", "replace")))
    assert (await waiter).state is JobState.CANCELLED
    assert (await backend.lease()).job_id == new.id


@virtual_time
async def test_a_caller_has_a_quota_of_live_jobs(make: Make) -> None:
    backend = make(caller_jobs_max=1)
    await backend.submit(SPEC, uniqueness=Uniqueness("ann"))
    with pytest.raises(RateLimited):
        await backend.submit(SPEC, uniqueness=Uniqueness("ann"))
    await backend.submit(SPEC, uniqueness=Uniqueness("bob"))


@virtual_time
async def test_what_every_submission_would_be_refused_with_is_known_before_it_is_read(make: Make) -> None:
    backend = make(default=QueuePolicy(capacity=1))
    assert backend.refuse_unseen() is None
    await backend.submit(SPEC)
    assert backend.refuse_unseen() is None
    await backend.submit(SMALL)
    refusal = backend.refuse_unseen()
    assert isinstance(refusal, QueueFull)
    assert refusal.retry_after_s >= 1.0
    assert sum(queue.refused_total for queue in backend.stats()[1]) == 1


# -- one pool for all queues


@virtual_time
async def test_a_worker_serves_all_queues(make: Make) -> None:
    backend = make()
    jobs = [await submit(backend, SMALL), await submit(backend), await submit(backend)]
    leased = [(await backend.lease()).job_id for _ in jobs]
    assert sorted(leased) == sorted(job.id for job in jobs)


@virtual_time
async def test_no_queue_runs_more_at_once_than_its_workers_however_many_wait(make: Make) -> None:
    backend = make(default=QueuePolicy(workers=2))
    for _ in range(5):
        await backend.submit(SPEC)
    workers = [asyncio.create_task(backend.lease()) for _ in range(4)]
    await settle()
    assert sum(worker.done() for worker in workers) == 2
    leased = [worker.result() for worker in workers if worker.done()]
    await backend.ack(leased[0].job_id, 1, Success(b"1"))
    await settle()
    assert sum(worker.done() for worker in workers) == 3, "the one that waited was woken by the end of the other"
    await backend.nack(leased[1].job_id, 1, BOOM)
    await settle()
    assert all(worker.done() for worker in workers)


@virtual_time
async def test_of_two_places_that_come_free_at_once_each_wakes_one_who_waits(make: Make) -> None:
    backend = make(default=QueuePolicy(workers=2))
    for _ in range(4):
        await backend.submit(SPEC)
    workers = [asyncio.create_task(backend.lease()) for _ in range(4)]
    await settle()
    first, second = [worker.result() for worker in workers if worker.done()]
    await backend.ack(first.job_id, 1, Success(b"1"))
    await backend.nack(second.job_id, 1, BOOM)
    await settle()
    assert all(worker.done() for worker in workers)


@virtual_time
async def test_a_paused_queue_starts_nothing_until_it_is_resumed(make: Make) -> None:
    backend = make()
    workers = [asyncio.create_task(backend.lease()) for _ in range(3)]
    await backend.pause("default")
    for _ in range(3):
        await backend.submit(SPEC)
    await settle()
    assert not any(worker.done() for worker in workers)
    assert stats_of(backend).paused
    small = await submit(backend, SMALL)
    await settle()
    assert [worker.result().job_id for worker in workers if worker.done()] == [small.id]
    await backend.resume("default")
    await settle()
    assert all(worker.done() for worker in workers)
    assert not stats_of(backend).paused


@virtual_time
async def test_a_queue_can_be_changed_while_workers_wait_for_it(make: Make) -> None:
    backend = make(default=QueuePolicy(workers=1))
    jobs = [await submit(backend) for _ in range(4)]
    workers = [asyncio.create_task(backend.lease()) for _ in range(3)]
    await settle()
    policy = QueuePolicy(capacity=4, workers=3, discipline=Discipline.LIFO)
    await backend.change_queue("default", policy)
    await settle()
    assert [worker.result().job_id for worker in workers] == [jobs[0].id, jobs[3].id, jobs[2].id]
    assert stats_of(backend).policy == policy
    with pytest.raises(QueueFull):
        await backend.submit(SPEC)
    assert stats_of(backend).live == 4


@virtual_time
async def test_a_queue_that_changes_while_jobs_wait_at_a_limiter_calls_the_best_of_them_anew(make: Make) -> None:
    backend = make()
    spec = JobSpec(type="one", limits=Limits(concurrency=1))
    first, second, third = [await submit(backend, spec) for _ in range(3)]
    workers = [asyncio.create_task(backend.lease()) for _ in range(3)]
    await settle()
    assert [worker.result().job_id for worker in workers if worker.done()] == [first.id]
    await backend.change_queue("default", QueuePolicy(discipline=Discipline.LIFO))
    for job, after in ((first, third), (third, second)):
        await backend.ack(job.id, 1, Success(b"1"))
        await settle()
        assert (await backend.get(after.id)).state is JobState.RUNNING
    assert all(worker.done() for worker in workers)


@virtual_time
async def test_a_worker_that_is_cancelled_amid_those_who_must_wait_leaves_the_rest_to_others(make: Make) -> None:
    backend = make(default=QueuePolicy(capacity=CAPACITY, workers=2))
    spec = JobSpec(type="one", limits=Limits(concurrency=1))
    await backend.submit(spec)
    await backend.lease()
    await backend.pause("default")
    for _ in range(2000):
        await backend.submit(spec)
    free = await submit(backend)
    workers = [asyncio.create_task(backend.lease()) for _ in range(2)]
    await settle()
    await backend.resume("default")
    await one_turn()
    await one_turn()
    workers[0].cancel()
    await settle()
    assert workers[1].result().job_id == free.id


@virtual_time
async def test_a_worker_that_finds_thousands_who_must_wait_lets_others_go_on(make: Make) -> None:
    backend = make()
    spec = JobSpec(type="one", limits=Limits(concurrency=1))
    await backend.pause("default")
    for _ in range(2000):
        await backend.submit(spec)
    free = await submit(backend)
    await backend.resume("default")
    await backend.lease()
    worker = asyncio.create_task(backend.lease())
    turns = 0
    while not worker.done():
        turns += 1
        await one_turn()
    assert worker.result().job_id == free.id
    assert 10 <= turns <= 200


# -- dead letters, and delayed jobs


@virtual_time
async def test_a_failed_job_can_be_retried_and_those_who_wait_learn_its_new_end(make: Make) -> None:
    backend = make()
    job = await submit_failed(backend, args=b"7")
    assert (await backend.wait(job.id)).state is JobState.FAILED
    again = await backend.retry(job.id)
    assert (again.id, again.state, again.args) == (job.id, JobState.QUEUED, b"7")
    waiter = asyncio.create_task(backend.wait(job.id))
    lease = await backend.lease()
    assert lease.attempt == 2
    with pytest.raises(StaleLease):
        await backend.ack(job.id, 1, Success(b"old"))
    assert not waiter.done()
    await backend.ack(job.id, 2, Success(b"1"))
    assert (await waiter).state is JobState.SUCCEEDED
    assert (stats_of(backend).retried_total, backend.stats()[0].accepted_total) == (1, 1)
    with pytest.raises(WrongState):
        await backend.retry(job.id)


@virtual_time
async def test_a_retry_for_which_there_is_no_slot_is_refused(make: Make) -> None:
    backend = make()
    job = await submit_failed(backend, SMALL)
    await backend.submit(SMALL)
    with pytest.raises(QueueFull):
        await backend.retry(job.id)
    assert (await backend.get(job.id)).state is JobState.FAILED


@virtual_time
async def test_a_delayed_job_can_be_run_now_and_wakes_a_worker(make: Make) -> None:
    backend = make()
    worker = asyncio.create_task(backend.lease())
    job = await submit(backend, JobSpec(type="t", delay_s=3600.0))
    await settle()
    assert not worker.done()
    assert (await backend.run_now(job.id)).state is JobState.QUEUED
    assert (await worker).job_id == job.id
    with pytest.raises(WrongState):
        await backend.run_now(job.id)


@virtual_time
async def test_what_is_not_there_can_neither_be_retried_nor_run(make: Make) -> None:
    backend = make()
    job = await submit_failed(backend)
    await backend.delete(job.id)
    for act in (backend.retry, backend.run_now):
        with pytest.raises(JobNotFound):
            await act("x")
        with pytest.raises(JobGone):
            await act(job.id)


# -- in bulk


@virtual_time
async def test_a_bulk_action_takes_those_that_match_and_no_others(make: Make) -> None:
    backend = make()
    jobs = {}
    for group in "ab":
        for job_type in ("mail", "call"):
            job = await submit(backend, JobSpec(type=job_type, group=group))
            jobs[job_type + group] = job
            await asyncio.sleep(1)
    small = await submit(backend, SMALL)
    middle = jobs["maila"].created_at + 1.5

    async def cancelled(job_filter: JobFilter) -> tuple[BulkCount, list[str]]:
        before = {name for name, job in jobs.items() if not (await backend.get(job.id)).live}
        count = await backend.bulk("cancel", job_filter)
        return count, [
            name for name, job in jobs.items() if name not in before and not (await backend.get(job.id)).live
        ]

    assert await cancelled(JobFilter(type="mail", group="b")) == (BulkCount(1, 0), ["mailb"])
    assert await cancelled(JobFilter(created_before=middle, group="a", type="call")) == (BulkCount(1, 0), ["calla"])
    assert await cancelled(JobFilter(created_before=jobs["maila"].created_at)) == (BulkCount(0, 0), [])
    assert await cancelled(JobFilter(state=JobState.RUNNING)) == (BulkCount(0, 0), [])
    assert await cancelled(JobFilter(queue="default")) == (BulkCount(2, 0), ["maila", "callb"])
    assert (await backend.get(small.id)).live
    assert await cancelled(JobFilter()) == (BulkCount(1, 0), [])
    assert not (await backend.get(small.id)).live


@virtual_time
async def test_each_bulk_action_counts_only_jobs_in_a_state_that_it_is_for(make: Make) -> None:
    backend = make()
    failed = await submit_failed(backend)
    running = await submit(backend)
    lease = await backend.lease()
    queued = await submit(backend)
    over = await submit(backend)
    await backend.cancel(over.id)
    assert await backend.bulk("retry", JobFilter()) == BulkCount(1, 0)
    assert await states(backend, failed) == ["queued"]
    assert await backend.bulk("cancel", JobFilter()) == BulkCount(3, 0)
    assert await states(backend, failed, queued, running) == ["cancelled", "cancelled", "running"]
    await backend.nack(running.id, lease.attempt, BOOM)
    assert await states(backend, running) == ["cancelled"]
    assert await backend.bulk("delete", JobFilter()) == BulkCount(4, 0)
    assert backend.stats()[0].terminal == 0


@virtual_time
async def test_a_bulk_retry_skips_those_that_it_can_not_take_and_they_stay_failed(make: Make) -> None:
    backend = make(default=QueuePolicy(capacity=3))
    jobs = [await submit_failed(backend) for _ in range(5)]
    unique = await submit_failed(backend, uniqueness=Uniqueness(unique=Unique("u")))
    holder = await submit(backend, uniqueness=Uniqueness(unique=Unique("u")))
    assert await backend.bulk("retry", JobFilter()) == BulkCount(count=2, skipped=4)
    assert await states(backend, *jobs) == ["failed"] * 3 + ["queued"] * 2, "the newest first"
    assert await states(backend, unique, holder) == ["failed", "queued"]


@virtual_time
async def test_a_bulk_retry_into_a_full_queue_sends_no_client_farther_away(make: Make) -> None:
    waits = []
    for dead in (0, 1000):
        backend = make(default=QueuePolicy(capacity=1))
        for _ in range(dead):
            await submit_failed(backend, JobSpec(type=str(_)))
            await asyncio.sleep(0.01)
        await backend.submit(SPEC)
        await backend.submit(SMALL)
        assert await backend.bulk("retry", JobFilter(state=JobState.FAILED)) == BulkCount(0, dead)
        with pytest.raises(QueueFull) as refusal:
            await backend.submit(SPEC)
        waits.append(refusal.value.retry_after_s)
    assert waits[1] <= waits[0] + 1.0


@virtual_time
async def test_a_bulk_action_lets_others_go_on_and_meets_no_job_that_comes_meanwhile(make: Make) -> None:
    backend = make()
    there = [await submit(backend) for _ in range(3000)]
    bulk = asyncio.create_task(backend.bulk("cancel", JobFilter()))
    await one_turn()
    came = []
    while not bulk.done():
        came.append(await submit(backend))
        await one_turn()
    assert bulk.result() == BulkCount(3000, 0)
    assert set(await states(backend, *there)) == {"cancelled"}
    assert len(came) >= 5
    assert set(await states(backend, *came)) == {"queued"}


@virtual_time
async def test_a_bulk_retry_meets_a_job_once_though_it_fails_again_meanwhile(make: Make) -> None:
    backend = make()
    for _ in range(20):
        await submit_failed(backend, JobSpec(type=str(_)))

    async def work() -> None:
        while True:
            lease = await backend.lease()
            await backend.nack(lease.job_id, lease.attempt, BOOM)

    worker = asyncio.create_task(work())
    assert await backend.bulk("retry", JobFilter()) == BulkCount(20, 0)
    await settle()
    worker.cancel()
    assert stats_of(backend).failed_total == 40


# -- what a live job may expect


@virtual_time
async def test_an_estimate_without_any_experience_only_knows_the_position(make: Make) -> None:
    backend = make()
    first, second = await submit(backend), await submit(backend)
    for job, position in ((first, 1), (second, 2)):
        estimate = backend.estimate(job)
        assert (estimate.position, estimate.eta_s) == (position, None)
        assert 0.1 <= estimate.poll_after_s <= 3.0


async def run_some(backend: Backend, count: int, run_s: float) -> None:
    for _ in range(count):
        job = await submit(backend)
        lease = await backend.lease()
        await asyncio.sleep(run_s)
        await backend.ack(job.id, lease.attempt, Success(b"1"))


@virtual_time
async def test_an_estimate_is_made_from_how_fast_jobs_have_ended(make: Make) -> None:
    backend = make()
    await run_some(backend, 100, 0.5)
    running = await submit(backend)
    await backend.lease()
    queued = [await submit(backend) for _ in range(20)]
    delayed = await submit(backend, JobSpec(type="t", delay_s=60.0))

    estimate = backend.estimate(running)
    assert estimate.position is None
    assert estimate.eta_s == pytest.approx(0.5)
    estimate = backend.estimate(queued[9])
    assert estimate.position == 10
    assert estimate.eta_s == pytest.approx(9 / 2.0 + 0.5, rel=0.05)
    estimate = backend.estimate(queued[2])
    assert estimate.poll_after_s == estimate.eta_s == pytest.approx(2 / 2.0 + 0.5, rel=0.05)
    estimate = backend.estimate(delayed)
    assert estimate.position is None
    assert estimate.eta_s == pytest.approx(60 + 20 / 2.0 + 0.5, rel=0.1)
    assert estimate.poll_after_s == 3.0, "no client is told to look away for longer"
    await asyncio.sleep(0.3)
    assert backend.estimate(running).eta_s == pytest.approx(0.2)
    await asyncio.sleep(0.3)
    assert backend.estimate(running).eta_s is None, "it takes longer than its like"
    assert backend.estimate(running).poll_after_s == pytest.approx(0.3)
    await asyncio.sleep(60)
    assert backend.estimate(running).poll_after_s == 3.0


@virtual_time
async def test_what_a_job_may_expect_is_by_the_runs_of_its_own_type(make: Make) -> None:
    backend = make(default=QueuePolicy(workers=2))
    await run_some(backend, 100, 0.001)
    slow = [await submit(backend, JobSpec(type="slow")) for _ in range(5)]
    leases = [await backend.lease() for _ in range(2)]
    for job in slow:
        assert backend.estimate(job).eta_s is None, "none of its type has ended so far"
        assert backend.estimate(job).poll_after_s == 1.0
    await asyncio.sleep(3.0)
    await backend.ack(slow[0].id, leases[0].attempt, Success(b"1"))
    await backend.lease()
    assert backend.estimate(slow[1]).eta_s == pytest.approx(0.0, abs=1e-6)
    assert backend.estimate(slow[2]).eta_s == pytest.approx(3.0)
    assert backend.estimate(slow[3]).eta_s == pytest.approx(3.0 / 2 + 3.0)
    assert backend.estimate(slow[4]).eta_s == pytest.approx(2 * 3.0 / 2 + 3.0)
    quick = await submit(backend)
    assert (backend.estimate(quick).eta_s or 0.0) > 3.0, "it comes after those"


@virtual_time
async def test_a_lone_job_of_an_idle_queue_is_expected_at_once(make: Make) -> None:
    backend = make()
    await run_some(backend, 10, 0.5)
    await asyncio.sleep(3600)
    job = await submit(backend)
    assert backend.estimate(job).eta_s == pytest.approx(0.5)
    assert backend.estimate(job).poll_after_s == pytest.approx(0.5)
    await submit(backend)
    third = await submit(backend)
    assert backend.estimate(third).eta_s == pytest.approx(3 * 0.5), "one worker is there, for all that is known"


@virtual_time
async def test_where_all_workers_are_busy_one_of_them_must_end_first(make: Make) -> None:
    backend = make(default=QueuePolicy(workers=2))
    await run_some(backend, 10, 3.0)
    for _ in range(2):
        await submit(backend)
        await backend.lease()
    job = await submit(backend)
    assert backend.estimate(job).eta_s == pytest.approx(3.0 / 2 + 3.0), "two workers of 3 s each"


@virtual_time
async def test_a_paused_queues_jobs_may_expect_nothing(make: Make) -> None:
    backend = make()
    await run_some(backend, 10, 0.5)
    job = await submit(backend)
    await backend.pause("default")
    estimate = backend.estimate(job)
    assert (estimate.position, estimate.eta_s) == (1, None)


@virtual_time
async def test_an_estimate_where_runs_are_known_but_nothing_has_ever_ended(make: Make) -> None:
    backend = make()
    job = await submit(backend, JobSpec(type="t", attempts_max=2))
    lease = await backend.lease()
    await asyncio.sleep(2)
    await backend.nack(job.id, lease.attempt, Failure(ErrorCode.HANDLER_ERROR, "boom", retry_after_s=10.0))
    assert backend.estimate(job).eta_s == pytest.approx(10 + 2)
    waiting = await submit(backend)
    assert backend.estimate(waiting).eta_s == pytest.approx(2), "no worker is busy, so it may start now"


# -- waiting for any change


@virtual_time
async def test_whoever_watches_a_job_is_told_of_every_change_of_it(make: Make) -> None:
    backend = make()
    job = await submit(
        backend, JobSpec(type="t", attempts_max=2), uniqueness=Uniqueness(unique=Unique("u", "debounce"))
    )
    boom = Failure(ErrorCode.HANDLER_ERROR, "boom", retry_after_s=60.0)
    steps: list[Callable[[], Any]] = [
        lambda: backend.submit(SPEC, b"new", None, Uniqueness(unique=Unique("u", "debounce"))),
        lambda: backend.lease(),
        lambda: backend.report(job.id, 1, Progress(0.5)),
        lambda: backend.nack(job.id, 1, boom),
        lambda: backend.run_now(job.id),
        lambda: backend.lease(),
        lambda: backend.nack(job.id, 2, boom),
        lambda: backend.retry(job.id),
        lambda: backend.lease(),
        lambda: backend.cancel(job.id),
        lambda: backend.ack(job.id, 3, Success(b"1")),
        lambda: backend.delete(job.id),
    ]
    for n, step in enumerate(steps):
        watcher = asyncio.create_task(backend.wait_for_change([job.id]))
        await settle()
        await step()
        await settle()
        assert watcher.done(), f"step {n}"
        await watcher


@virtual_time
async def test_a_watcher_of_several_jobs_is_told_of_the_first_change_of_any_and_of_no_others(make: Make) -> None:
    backend = make()
    first, second, other = await submit(backend), await submit(backend), await submit(backend)
    watcher = asyncio.create_task(backend.wait_for_change([first.id, second.id]))
    both = asyncio.create_task(backend.wait_for_change([second.id, second.id]))
    await settle()
    await backend.cancel(other.id)
    await settle()
    assert not watcher.done()
    await backend.cancel(second.id)
    await asyncio.gather(watcher, both)
    await backend.cancel(first.id)


# -- counts


@virtual_time
async def test_a_queues_figures_tell_how_fast_it_drains_and_what_is_in_quarantine(make: Make) -> None:
    backend = make(default=QueuePolicy(retry_budget=3))
    assert (stats_of(backend).drain_rate_per_s, stats_of(backend).drain_s, stats_of(backend).quarantined) == (
        0.0,
        None,
        [],
    )
    await run_some(backend, 100, 0.5)
    for _ in range(10):
        await submit(backend)
    stats = stats_of(backend)
    assert stats.drain_rate_per_s == pytest.approx(2.0, rel=0.05)
    assert stats.drain_s == pytest.approx(10 / 2.0, rel=0.05)
    await backend.bulk("cancel", JobFilter())
    for _ in range(3):
        await submit_failed(backend, JobSpec(type="bad"))
    for name in ("default", "small"):
        (quarantined,) = stats_of(backend, name).quarantined
        assert (quarantined.type, quarantined.since) == ("bad", backend.now())
        assert quarantined.until > backend.now()
        assert "boom" in quarantined.reason
