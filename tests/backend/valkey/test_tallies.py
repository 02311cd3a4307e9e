"""What a process counts of its own events is what the engine counts of them."""

from __future__ import annotations

import asyncio
from random import Random

import msgspec
import pytest

from jobqueue.backend.memory import MemoryBackend
from jobqueue.backend.valkey.tallies import Tallies
from jobqueue.core.counting.counts import QueueCounts
from jobqueue.core.engine import Engine
from jobqueue.core.events import Requeued
from jobqueue.core.ids import RUNS, IdIssuer
from jobqueue.core.job import Job, JobSpec, JobState
from jobqueue.core.policy import QueuePolicy
from jobqueue.core.report import ErrorCode, Failure, Success
from jobqueue.core.transitions import LEASE_GRACE_S
from jobqueue.errors import QueueFull, WrongState
from jobqueue.testing import virtual_time

BOOM = Failure(ErrorCode.HANDLER_ERROR, "boom")
OTHER_FAILURES = (
    Failure(ErrorCode.HANDLER_ERROR, "later", retry_after_s=0.5),
    Failure(ErrorCode.REJECTED, "no", final=True),
    Failure(ErrorCode.WORKER_CRASHED, "gone"),
)
SPECS = (
    JobSpec(type="plain"),
    JobSpec(type="slow", timeout_s=2.0, attempts_max=3),
    JobSpec(type="late", delay_s=1.5, queue="small", start_by_s=3.0, ttl_s=4.0),
)


def memory() -> MemoryBackend:
    queues = {"default": QueuePolicy(retry_budget=0), "small": QueuePolicy(capacity=3, retry_budget=0)}
    engine = Engine(queues=queues, ids=IdIssuer(secret=b"0123456789abcdef", run=RUNS[1]), rng=Random(1))
    return MemoryBackend(engine, now=asyncio.get_running_loop().time)


def tallied(backend: MemoryBackend) -> Tallies:
    tallies = Tallies(("default", "small"), backend.now)
    backend.subscribe(tallies.hear)
    return tallies


def told(counts: QueueCounts) -> object:
    """Counts without what only the engine has: rejections, which are no events, and waits of crashed jobs."""
    return msgspec.structs.replace(counts, refused={}, waits=counts.waits.count)


class Workers:
    def __init__(self) -> None:
        self.stopping: list[tuple[str, int]] = []

    def reinforce(self, jobs: int) -> None:
        """No worker waits."""

    def free(self) -> int:
        return 0

    def stop(self, job_id: str, attempt: int) -> None:
        self.stopping.append((job_id, attempt))

    def abandon(self, job_id: str, attempt: int) -> None:
        """The attempt is lost."""


async def take_a_step(backend: MemoryBackend, rng: Random, leased: list[tuple[str, int]], jobs: list[Job]) -> None:
    """Do something at random that a client, a worker or time does."""
    match rng.randrange(6):
        case 0 | 1:
            try:
                jobs.append((await backend.submit(rng.choice(SPECS))).job)  # type: ignore[arg-type]  # only its id is read
            except QueueFull:
                return
        case 2 | 3:
            lease = backend.lease_now()
            if lease is not None:
                leased.append((lease.job_id, lease.attempt))
        case 4 if leased:
            job_id, attempt = leased.pop(rng.randrange(len(leased)))
            held = backend.find(job_id)
            if held is None or held.state is not JobState.RUNNING or held.attempt != attempt:
                return
            if held.stopping is not None:
                await backend.stopped(held.id, attempt)
            elif rng.random() < 0.5:
                await backend.ack(held.id, attempt, Success(b"1"))
            else:
                await backend.nack(held.id, attempt, rng.choice((BOOM, *OTHER_FAILURES)))
        case 5 if jobs:
            held = backend.find(rng.choice(jobs).id)
            if held is not None:
                try:
                    await (backend.cancel(held.id) if held.live else backend.retry(held.id))
                except (WrongState, QueueFull):
                    return
        case _:
            await asyncio.sleep(rng.choice((0.1, 1.0, 2.0 + LEASE_GRACE_S)))


@pytest.mark.parametrize("seed", range(20))
@virtual_time
async def test_the_tallies_of_a_process_are_the_counts_of_the_engine(seed: int) -> None:
    backend, rng = memory(), Random(seed)
    tallies = tallied(backend)
    await backend.start(Workers())
    leased: list[tuple[str, int]] = []
    jobs: list[Job] = []
    for _ in range(300):
        await take_a_step(backend, rng, leased, jobs)
    for name, queue in tallies.queues.items():
        assert told(queue.counts()) == told(backend.counts(name))
    ends = sum(
        each.succeeded_total + each.failed_total + each.cancelled_total + each.expired_total
        for each in backend.stats()[1]
    )
    assert ends == sum(queue.ends for queue in tallies.queues.values()) > 0
    assert tallies.totals().accepted == backend.stats()[0].accepted_total
    assert tallies.totals().evicted == backend.stats()[0].evicted_total
    of_type, waits = tallies.of_type("slow", "default")
    assert of_type == backend.type_counts("slow", "default")[0]
    assert waits.count == backend.counts("default").waits.count
    await backend.stop()


@virtual_time
async def test_waits_are_from_when_a_job_is_due_to_its_start() -> None:
    backend = memory()
    tallies = tallied(backend)
    await backend.submit(JobSpec(type="t"))
    await asyncio.sleep(0.3)
    assert backend.lease_now() is not None
    assert tallies.queues["default"].counts().waits == backend.counts("default").waits


@virtual_time
async def test_an_attempt_that_is_given_back_counts_as_cancelled_once() -> None:
    backend = memory()
    tallies = tallied(backend)
    await backend.submit(JobSpec(type="t"))
    lease = backend.lease_now()
    assert lease is not None
    job = backend.find(lease.job_id)
    assert job is not None
    tallies.hear(Requeued(job))
    tallies.hear(Requeued(job))
    assert tallies.queues["default"].counts().types["t"].runs["cancelled"].count == 1


@virtual_time
async def test_a_job_that_another_process_submitted_leaves_no_negative_count() -> None:
    backend = memory()
    await backend.submit(JobSpec(type="t"))
    tallies = tallied(backend)
    lease = backend.lease_now()
    assert lease is not None
    await backend.ack(lease.job_id, lease.attempt, Success(b"1"))
    counts = tallies.queues["default"].counts().types["t"]
    assert (counts.submitted_total, counts.started_total, counts.succeeded_total, counts.waiting) == (0, 1, 1, 0)


@virtual_time
async def test_rejections_and_submissions_answered_with_an_existing_job_are_counted() -> None:
    tallies = Tallies(("default",), asyncio.get_running_loop().time)
    tallies.shared("default", "t", by_key=True)
    tallies.shared("default", "t", by_key=False)
    tallies.queues["default"].refuse(QueueFull)
    counts = tallies.queues["default"].counts()
    assert (counts.types["t"].same_key_total, counts.types["t"].same_value_total) == (1, 1)
    assert counts.refused == {QueueFull: 1}
