"""The memory backend beyond the contract: the workers that it wakes, and its calls for more workers."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from jobqueue.backend.memory import MemoryBackend
from jobqueue.backend.waits import TOLD_AT_ONCE
from jobqueue.core.engine import Engine
from jobqueue.core.events import Ended, Event, Offered, PolicyChanged, Ready, Started, Submitted
from jobqueue.core.ids import RUNS, IdIssuer
from jobqueue.core.job import JobSpec, JobState, Unique, Uniqueness
from jobqueue.core.lineage import Link
from jobqueue.core.policy import Discipline, Limits, QueuePolicy
from jobqueue.core.report import ErrorCode, Failure, Success
from jobqueue.core.submit import SubmitReceipt
from jobqueue.core.transitions import LEASE_GRACE_S
from jobqueue.errors import JobNotFound
from jobqueue.testing import virtual_time
from tests.contract.backends import memory
from tests.contract.test_backend import SPEC, Workers, settle, submit, submit_failed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from jobqueue.core.job import Lease
    from jobqueue.core.job_view import AnyJob

DEFAULT, OTHER = JobSpec(type="t"), JobSpec(type="t", queue="other")
DONE = Success(b"1")
CRASH = Failure(ErrorCode.WORKER_CRASHED, "gone")
QUEUES = {"default": QueuePolicy(workers=1), "other": QueuePolicy(workers=1)}


def make_backend(queues: Mapping[str, QueuePolicy] = QUEUES) -> MemoryBackend:
    engine = Engine(queues=queues, ids=IdIssuer(secret=b"0123456789abcdef", run=RUNS[1]), rng=Random(1))
    return MemoryBackend(engine, now=asyncio.get_running_loop().time)


@contextmanager
def waiting(backend: MemoryBackend) -> Iterator[asyncio.Future[None]]:
    """Start a lease that waits, by hand; yield the future that is done once the lease is woken."""
    lease = backend.lease()
    woken: Any = lease.send(None)
    try:
        yield woken
    finally:
        lease.close()


def leased(backend: MemoryBackend) -> Lease:
    """Lease a job that must be ready."""
    with pytest.raises(StopIteration) as taken:
        backend.lease().send(None)
    lease: Lease = taken.value.value
    return lease


@virtual_time
async def test_a_job_of_a_paused_queue_wakes_no_worker_until_it_is_resumed() -> None:
    backend = make_backend()
    await backend.pause("default")
    with waiting(backend) as woken:
        backend.submit_now(DEFAULT)
        assert not woken.done()
        await backend.resume("default")
        assert woken.done()


@virtual_time
async def test_a_job_of_a_queue_at_its_worker_limit_wakes_no_worker_until_a_job_ends() -> None:
    backend = make_backend()
    backend.submit_now(DEFAULT)
    lease = leased(backend)
    with waiting(backend) as woken:
        backend.submit_now(DEFAULT)
        assert not woken.done()
        await backend.ack(lease.job_id, 1, DONE)
        assert woken.done()


@virtual_time
async def test_a_job_of_a_queue_at_its_worker_limit_wakes_a_worker_when_the_limit_is_raised() -> None:
    backend = make_backend()
    backend.submit_now(DEFAULT)
    leased(backend)
    with waiting(backend) as woken:
        backend.submit_now(DEFAULT)
        await backend.change_queue("default", QueuePolicy(workers=2))
        assert woken.done()


@virtual_time
async def test_a_job_wakes_a_worker_while_another_queue_is_paused() -> None:
    backend = make_backend()
    await backend.pause("default")
    backend.submit_now(DEFAULT)
    with waiting(backend) as woken:
        backend.submit_now(OTHER)
        assert woken.done()


@virtual_time
async def test_the_end_of_a_job_wakes_no_worker_while_its_queue_is_paused() -> None:
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
async def test_a_crashed_job_wakes_a_worker_for_its_next_attempt() -> None:
    backend = make_backend()
    backend.submit_now(JobSpec(type="t", attempts_max=2))
    lease = leased(backend)
    with waiting(backend) as woken:
        await backend.nack(lease.job_id, 1, CRASH)
        assert woken.done()
    assert leased(backend).attempt == 2


@virtual_time
async def test_an_offered_job_of_a_paused_queue_wakes_no_worker_until_it_is_resumed() -> None:
    backend = make_backend()
    await backend.change_queue("default", QueuePolicy(workers=3))
    for _ in range(2):
        backend.submit_now(JobSpec(type="t", limits=Limits(concurrency=1)))
    lease = leased(backend)
    with waiting(backend) as woken:  # the lease finds the second job, which must wait at the limiter
        await backend.pause("default")
        await backend.ack(lease.job_id, 1, DONE)
        assert not woken.done()
        await backend.resume("default")
        assert woken.done()


class Heard:
    """Listens for a job's end, and notes its state."""

    def __init__(self) -> None:
        self.states: list[str] = []

    def ended(self, job: AnyJob) -> None:
        self.states.append(job.state)


@virtual_time
async def test_a_listener_hears_of_an_end_within_its_step_unless_it_is_forgotten() -> None:
    backend = memory()
    job = backend.submit_now(DEFAULT).job
    told, forgotten = Heard(), Heard()
    backend.when_ended(job.id, told)
    backend.when_ended(job.id, forgotten)
    backend.forget(job.id, forgotten)
    backend.forget(job.id, forgotten)
    await backend.cancel(job.id)  # without a turn of the loop
    assert (told.states, forgotten.states) == (["cancelled"], [])
    backend.forget(job.id, told)


@virtual_time
async def test_many_listeners_of_one_job_hear_in_portions_of_the_record_at_its_end() -> None:
    backend = memory()
    job = backend.submit_now(DEFAULT).job
    listeners = [Heard() for _ in range(2 * TOLD_AT_ONCE + 1)]
    for listener in listeners:
        backend.when_ended(job.id, listener)
    await backend.lease()
    await backend.nack(job.id, 1, CRASH)
    await backend.retry(job.id)
    counts = []
    for _ in range(4):
        counts.append(sum(len(listener.states) for listener in listeners))
        await asyncio.sleep(0)
    assert counts == [100, 200, 201, 201]
    assert all(listener.states == ["failed"] for listener in listeners)


@virtual_time
async def test_a_cancelled_wait_leaves_nothing_behind() -> None:
    backend = memory()
    job = backend.submit_now(DEFAULT).job
    waits = [
        asyncio.create_task(backend.wait(job.id)),
        asyncio.create_task(backend.wait_for_change({job.id: job.version})),
    ]
    ending = backend.ending(job.id)
    await settle()
    assert [len(listeners) for listeners in backend._waits.ends.values()] == [2]
    for wait in (*waits, ending):
        wait.cancel()
    await settle()
    assert (backend._waits.ends, backend._waits.changes) == ({}, {})


@virtual_time
async def test_a_worker_is_called_for_a_job_that_no_worker_waits_for() -> None:
    backend, workers = make_backend(), Workers()
    await backend.start(workers)
    await backend.pause("other")
    backend.submit_now(OTHER)
    assert workers.calls == [], "its queue is paused"
    with waiting(backend):
        backend.submit_now(DEFAULT)
        assert workers.calls == [], "a worker waited for it"
    backend.pass_on()
    assert workers.calls == [1]
    await backend.resume("other")
    assert workers.calls == [1, 2], "for the first of each queue"


@virtual_time
async def test_the_worker_of_a_burst_is_the_only_one_until_it_passes_on() -> None:
    backend, workers = make_backend({"default": QueuePolicy(workers=5)}), Workers()
    await backend.start(workers)
    with waiting(backend) as woken:
        for _ in range(3):
            backend.submit_now(DEFAULT)
        assert woken.done()
        assert workers.calls == []
    assert backend.lease_now() is not None
    backend.submit_now(DEFAULT)
    assert workers.calls == []
    backend.pass_on()
    assert workers.calls == [3]


@virtual_time
async def test_a_worker_that_found_no_job_is_woken_by_the_next() -> None:
    backend, workers = make_backend({"default": QueuePolicy(workers=5)}), Workers()
    await backend.start(workers)
    backend.submit_now(DEFAULT)
    assert workers.calls == [1]
    assert backend.lease_now() is not None
    with waiting(backend) as woken:
        backend.submit_now(DEFAULT)
        assert woken.done()


@virtual_time
async def test_a_worker_woken_for_a_job_that_was_cancelled_meanwhile_is_woken_by_the_next() -> None:
    backend = make_backend()
    worker = asyncio.create_task(backend.lease())
    await asyncio.sleep(0)
    await backend.cancel(backend.submit_now(DEFAULT).job.id)
    await asyncio.sleep(0)
    job = backend.submit_now(DEFAULT).job
    assert (await worker).job_id == job.id


@virtual_time
async def test_a_worker_cancelled_while_it_waited_is_not_taken_for_one_that_waits() -> None:
    backend, workers = make_backend(), Workers()
    await backend.start(workers)
    worker = asyncio.create_task(backend.lease())
    await asyncio.sleep(0)
    worker.cancel()
    job = backend.submit_now(DEFAULT).job
    assert workers.calls == [1]
    assert job.state is JobState.QUEUED


@virtual_time
async def test_leases_lost_together_wake_a_worker_for_a_waiting_job() -> None:
    backend = make_backend({"default": QueuePolicy(workers=2)})
    for _ in range(2):
        backend.submit_now(JobSpec(type="t", timeout_s=1.0))
        leased(backend)
    backend.submit_now(DEFAULT)
    await asyncio.sleep(1.0)
    backend.tick()  # both handlers ignore the requested stop
    await asyncio.sleep(LEASE_GRACE_S)
    with waiting(backend) as woken:
        backend.tick()
        assert woken.done()


# -- pages and listeners


@virtual_time
async def test_a_listener_sees_each_of_many_jobs_before_a_later_one_replaces_it() -> None:
    backend = memory()
    told: list[tuple[str, str, str]] = []
    backend.subscribe(
        lambda event: told.append((type(event).__name__, event.job.id, event.job.state)), Submitted, Ended
    )
    unique = Uniqueness("ann", unique=Unique("u", "replace"))
    first, second = await backend.submit_many([(JobSpec(type="t"), b"{}", None, unique)] * 2)
    assert isinstance(first, SubmitReceipt)
    assert isinstance(second, SubmitReceipt)
    assert told == [
        ("Submitted", first.id, "queued"),
        ("Ended", first.id, "cancelled"),
        ("Submitted", second.id, "queued"),
    ]


@virtual_time
async def test_a_listener_gets_every_event_in_order_until_it_unsubscribes() -> None:
    backend = memory()
    received: list[Event] = []
    leave = backend.subscribe(received.append)
    job = await submit(backend)
    lease = await backend.lease()
    await backend.ack(job.id, lease.attempt, Success(b"1"))
    assert [type(event) for event in received] == [Submitted, Ready, Started, Ended]
    leave()
    await backend.submit(SPEC)
    assert len(received) == 4


@virtual_time
async def test_a_listener_gets_only_events_of_its_types() -> None:
    backend = memory()
    received: list[Started | Ended] = []
    leave = backend.subscribe(received.append, Started, Ended)
    job = await submit_failed(backend)
    assert [(type(event), event.job.id) for event in received] == [(Started, job.id), (Ended, job.id)]
    leave()
    await submit_failed(backend)
    assert len(received) == 2


@virtual_time
async def test_a_listener_gets_events_of_a_changed_policy_immediately() -> None:
    backend = memory()
    spec = JobSpec(type="one", limits=Limits(concurrency=1))
    first, _, third = [await submit(backend, spec) for _ in range(3)]
    await backend.lease()
    worker = asyncio.create_task(backend.lease())
    await settle()
    worker.cancel()
    await backend.pause("default")
    await backend.ack(first.id, 1, Success(b"1"))
    received: list[Any] = []
    backend.subscribe(received.append)
    policy = QueuePolicy(discipline=Discipline.LIFO)
    await backend.change_queue("default", policy)
    assert received[0] == PolicyChanged("default", policy)
    assert [(type(event), event.job.id) for event in received[1:]] == [(Offered, third.id)]


@virtual_time
async def test_the_backend_is_closed_once_every_queue_is_full() -> None:
    backend = memory(default=QueuePolicy(capacity=1))
    backend.submit_now(DEFAULT)
    assert not backend.is_closed()
    backend.submit_now(JobSpec(type="t", queue="small"))
    assert backend.is_closed()


@virtual_time
async def test_the_work_before_a_retry_of_a_flow_is_done_in_portions_and_none_for_an_unknown_flow() -> None:
    backend = make_backend({"default": QueuePolicy(capacity=3000)})
    many = [(DEFAULT, b"{}", None, None)] * 2501
    flow = (await backend.submit_flow(many, [Link(), *[Link(beside=(0,))] * 2500])).flow
    lease = leased(backend)
    await backend.nack(lease.job_id, lease.attempt, Failure(ErrorCode.HANDLER_ERROR, "no", final=True))
    with pytest.raises(JobNotFound):
        await backend.retry_flow("nothing")
    waiting_jobs = [2500]
    retry = asyncio.create_task(backend.retry_flow(flow.id))
    while not retry.done():
        count = (await backend.flow(flow.id)).counts.get(JobState.WAITING, 0)
        if count != waiting_jobs[-1]:
            waiting_jobs.append(count)
        await asyncio.sleep(0)
    assert waiting_jobs == [2500, 1500, 500, 0]
    assert retry.result().counts == {JobState.WAITING: 2500, JobState.QUEUED: 1}
