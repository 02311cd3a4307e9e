"""What the backend in memory owes beside the contract: whom it wakes, and when it asks for one more worker."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from jobqueue.backend.base import JobFilter
from jobqueue.backend.memory import MemoryBackend
from jobqueue.core.engine import Engine
from jobqueue.core.events import Ended, Event, Offered, Ready, Started, Submitted
from jobqueue.core.ids import RUNS, IdIssuer
from jobqueue.core.job import ErrorCode, Failure, JobSpec, JobState, Success
from jobqueue.core.policy import Discipline, Limits, QueuePolicy
from jobqueue.core.transitions import LEASE_GRACE_S
from jobqueue.core.tuning import TUNING
from jobqueue.testing import virtual_time
from tests.contract.backends import memory
from tests.contract.test_backend import SPEC, settle, submit, submit_failed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from jobqueue.core.job import Lease

DEFAULT, OTHER = JobSpec(type="t"), JobSpec(type="t", queue="other")
DONE = Success(b"1")
CRASH = Failure(ErrorCode.WORKER_CRASHED, "gone")
QUEUES = {"default": QueuePolicy(workers=1), "other": QueuePolicy(workers=1)}


def make_backend(queues: Mapping[str, QueuePolicy] = QUEUES) -> MemoryBackend:
    engine = Engine(queues=queues, ids=IdIssuer(secret=b"0123456789abcdef", run=RUNS[1]), rng=Random(1))
    return MemoryBackend(engine, now=asyncio.get_running_loop().time)


@contextmanager
def waiting(backend: MemoryBackend) -> Iterator[asyncio.Future[None]]:
    """Wait for a job, by hand; give what is done once the one who waits is woken."""
    lease = backend.lease()
    woken: Any = lease.send(None)
    try:
        yield woken
    finally:
        lease.close()


def leased(backend: MemoryBackend) -> Lease:
    """Take a job that must be there."""
    with pytest.raises(StopIteration) as taken:
        backend.lease().send(None)
    lease: Lease = taken.value.value
    return lease


@virtual_time
async def test_a_job_of_a_paused_queue_wakes_nobody_until_it_is_resumed() -> None:
    backend = make_backend()
    await backend.pause("default")
    with waiting(backend) as woken:
        backend.submit_now(DEFAULT)
        assert not woken.done()
        await backend.resume("default")
        assert woken.done()


@virtual_time
async def test_a_job_whose_queue_runs_as_many_as_it_may_wakes_nobody_until_one_ends() -> None:
    backend = make_backend()
    backend.submit_now(DEFAULT)
    lease = leased(backend)
    with waiting(backend) as woken:
        backend.submit_now(DEFAULT)
        assert not woken.done()
        await backend.ack(lease.job_id, 1, DONE)
        assert woken.done()


@virtual_time
async def test_a_job_whose_queue_runs_as_many_as_it_may_wakes_somebody_when_more_may_run() -> None:
    backend = make_backend()
    backend.submit_now(DEFAULT)
    leased(backend)
    with waiting(backend) as woken:
        backend.submit_now(DEFAULT)
        await backend.change_queue("default", QueuePolicy(workers=2))
        assert woken.done()


@virtual_time
async def test_a_job_of_another_queue_wakes_somebody_though_one_is_paused_and_one_is_full() -> None:
    backend = make_backend()
    await backend.pause("default")
    backend.submit_now(DEFAULT)
    with waiting(backend) as woken:
        backend.submit_now(OTHER)
        assert woken.done()


@virtual_time
async def test_the_end_of_a_run_wakes_nobody_while_its_queue_is_paused() -> None:
    backend = make_backend()
    backend.submit_now(DEFAULT)
    lease = leased(backend)
    backend.submit_now(DEFAULT)
    await backend.pause("default")
    with waiting(backend) as woken:
        await backend.ack(lease.job_id, 1, DONE)
        assert not woken.done()
        await backend.resume("default")
        assert woken.done()


@virtual_time
async def test_a_job_whose_worker_died_wakes_somebody_in_the_place_that_it_left() -> None:
    backend = make_backend()
    backend.submit_now(JobSpec(type="t", attempts_max=2))
    lease = leased(backend)
    with waiting(backend) as woken:
        await backend.nack(lease.job_id, 1, CRASH)
        assert woken.done()
    assert leased(backend).attempt == 2


@virtual_time
async def test_a_job_that_is_called_from_a_limiter_wakes_somebody_only_if_its_queue_goes_on() -> None:
    backend = make_backend()
    await backend.change_queue("default", QueuePolicy(workers=3))
    for _ in range(2):
        backend.submit_now(JobSpec(type="t", limits=Limits(concurrency=1)))
    lease = leased(backend)
    with waiting(backend) as woken:  # it finds the second job, which must wait at the limiter
        await backend.pause("default")
        await backend.ack(lease.job_id, 1, DONE)
        assert not woken.done()
        await backend.resume("default")
        assert woken.done()


@virtual_time
async def test_one_worker_is_called_for_each_job_that_may_be_taken_and_that_nobody_waits_for() -> None:
    backend, calls = make_backend(), 0

    def call() -> None:
        nonlocal calls
        calls += 1

    await backend.start(call)
    await backend.pause("other")
    backend.submit_now(OTHER)
    assert calls == 0, "it may not be taken"
    with waiting(backend):
        backend.submit_now(DEFAULT)
        assert calls == 0, "somebody waited for it"
        backend.submit_now(DEFAULT)
        assert calls == 1
    await backend.resume("other")
    assert calls == 3, "for the first of each queue; the second of `default` waits for the first"


@virtual_time
async def test_one_who_was_cancelled_while_it_waited_is_not_taken_for_one_who_waits() -> None:
    backend, called = make_backend(), asyncio.Event()
    await backend.start(called.set)
    worker = asyncio.create_task(backend.lease())
    await asyncio.sleep(0)
    worker.cancel()
    job = backend.submit_now(DEFAULT).job
    assert called.is_set()
    assert job.state is JobState.QUEUED


@virtual_time
async def test_several_leases_that_are_lost_at_once_wake_somebody_for_the_job_that_waited_for_a_place() -> None:
    backend = make_backend({"default": QueuePolicy(workers=2)})
    for _ in range(2):
        backend.submit_now(JobSpec(type="t", timeout_s=1.0))
        leased(backend)
    backend.submit_now(DEFAULT)
    await asyncio.sleep(1.0)
    backend.tick()  # both are told to stop, and don't
    await asyncio.sleep(LEASE_GRACE_S)
    with waiting(backend) as woken:
        backend.tick()
        assert woken.done()


# -- what it answers at once, and tells listeners


@virtual_time
async def test_a_search_stops_after_a_bounded_number_of_records_and_can_go_on() -> None:
    backend = memory()
    wanted = await submit(backend, JobSpec(type="wanted"))
    for _ in range(TUNING.page_scan_max):
        await backend.submit(SPEC)
    page = await backend.page(JobFilter(type="wanted"), limit=5, cursor=None)
    assert page.jobs == []
    assert page.cursor is not None
    page = await backend.page(JobFilter(type="wanted"), limit=5, cursor=page.cursor)
    assert [job.id for job in page.jobs] == [wanted.id]
    assert page.cursor is None


@virtual_time
async def test_listeners_hear_every_event_in_order_until_they_leave() -> None:
    backend = memory()
    heard: list[Event] = []
    leave = backend.subscribe(heard.append)
    job = await submit(backend)
    lease = await backend.lease()
    await backend.ack(job.id, lease.attempt, Success(b"1"))
    assert [type(event) for event in heard] == [Submitted, Ready, Started, Ended]
    leave()
    await backend.submit(SPEC)
    assert len(heard) == 4


@virtual_time
async def test_a_listener_hears_only_of_what_it_asked_for() -> None:
    backend = memory()
    heard: list[Started | Ended] = []
    leave = backend.subscribe(heard.append, Started, Ended)
    job = await submit_failed(backend)
    assert [(type(event), event.job.id) for event in heard] == [(Started, job.id), (Ended, job.id)]
    leave()
    await submit_failed(backend)
    assert len(heard) == 2


@virtual_time
async def test_listeners_hear_at_once_what_a_changed_queue_leads_to() -> None:
    backend = memory()
    spec = JobSpec(type="one", limits=Limits(concurrency=1))
    first, _, third = [await submit(backend, spec) for _ in range(3)]
    await backend.lease()
    worker = asyncio.create_task(backend.lease())
    await settle()
    worker.cancel()
    await backend.pause("default")
    await backend.ack(first.id, 1, Success(b"1"))
    heard: list[Any] = []
    backend.subscribe(heard.append)
    await backend.change_queue("default", QueuePolicy(discipline=Discipline.LIFO))
    assert [(type(event), event.job.id) for event in heard] == [(Offered, third.id)]


@virtual_time
async def test_it_is_closed_once_every_queue_is_full() -> None:
    backend = memory(default=QueuePolicy(capacity=1))
    backend.submit_now(DEFAULT)
    assert not backend.is_closed()
    backend.submit_now(JobSpec(type="t", queue="small"))
    assert backend.is_closed()
