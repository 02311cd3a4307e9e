"""Leases of processes that share a store: places, hints, polling, permits."""

from __future__ import annotations

import asyncio

import pytest

from jobqueue.core.job import JobSpec, JobState, Lease
from jobqueue.core.policy import Limits, QueuePolicy
from jobqueue.core.report import ErrorCode, Failure, Success
from jobqueue.runtime.workers import WorkerPool
from jobqueue.testing import virtual_time
from tests.backend.valkey.backends import SPEC, Fleet, Server, pass_time


async def submit_some(server: Server, count: int, spec: JobSpec = SPEC) -> list[str]:
    return [(await server.submit(spec)).id for _ in range(count)]


async def running(server: Server, *job_ids: str) -> int:
    """Return how many of these jobs run anywhere."""
    records = await server.backend.get_many(job_ids)
    return sum(not isinstance(job, Exception) and job.state is JobState.RUNNING for job in records)


@virtual_time
async def test_a_process_takes_one_job_for_each_of_its_places(fleet: Fleet) -> None:
    server = await fleet.server(places=3)
    jobs = await submit_some(server, 5)
    await pass_time(3)
    assert await running(server, *jobs) == 3
    assert server.places.called, "workers are called for them"
    assert [lease.job_id for lease in iter(server.backend.lease_now, None)] == jobs[:3]


@virtual_time
async def test_one_worker_is_called_for_the_jobs_of_a_lease_and_others_when_it_passes_on(fleet: Fleet) -> None:
    server = await fleet.server(places=3)
    jobs = [job.id for job in await asyncio.gather(*(server.submit() for _ in range(3)))]
    await pass_time(0.1)
    assert server.places.called == [1]
    first = server.backend.lease_now()
    server.backend.pass_on()
    assert server.places.called == [1, 1]
    assert first is not None
    assert [first.job_id, *(lease.job_id for lease in iter(server.backend.lease_now, None))] == jobs
    server.backend.pass_on()
    assert server.places.called == [1, 1], "nothing is left"


class Failing:
    """An executor: its jobs fail in their first step, and the store freezes with the first one."""

    def __init__(self, server: Server) -> None:
        self.begun: list[str] = []
        self._server = server

    async def run(self, lease: Lease) -> Failure:
        self._server.freeze()
        self.begun.append(lease.job_id)
        return Failure(ErrorCode.HANDLER_ERROR, "boom")


@virtual_time
async def test_all_jobs_of_a_lease_begin_though_the_store_answers_no_failure(fleet: Fleet) -> None:
    server = await fleet.server()
    failing = Failing(server)
    pool = WorkerPool(20, backend=server.backend, executor=failing, abandoned_min=20)
    jobs = [job.id for job in await asyncio.gather(*(server.submit() for _ in range(20)))]
    await server.backend.start(pool)
    pool.start()
    await pass_time(0.1)
    assert failing.begun == jobs
    await pool.close()


@virtual_time
async def test_a_place_that_is_free_again_is_filled_without_a_hint(fleet: Fleet) -> None:
    server = await fleet.server(places=1)
    jobs = await submit_some(server, 2)
    await pass_time(0.1)
    server.calls.deaf = True
    assert (await server.leased()) == jobs[0]
    server.places.count = 0
    await pass_time(0.1)
    server.places.count = 1
    await server.backend.ack(jobs[0], 1, Success(b"1"))  # type: ignore[arg-type]  # an id
    await pass_time(0.1)
    lease = server.backend.lease_now()
    assert lease is not None
    assert lease.job_id == jobs[1]


@virtual_time
async def test_two_processes_share_the_jobs_and_none_runs_twice(fleet: Fleet) -> None:
    servers = [await fleet.server(places=10) for _ in range(2)]
    jobs = await submit_some(servers[0], 20)
    await pass_time(2)
    leased = [lease.job_id for server in servers for lease in iter(server.backend.lease_now, None)]
    assert sorted(leased) == sorted(jobs)


@virtual_time
async def test_an_idle_process_is_woken_for_a_job_of_another(fleet: Fleet) -> None:
    submitting, idle = await fleet.server(), await fleet.server()
    waiting = asyncio.create_task(idle.backend.lease())
    await pass_time(0.5)
    job = await submitting.submit()
    await pass_time(0.01)
    assert waiting.result().job_id == job.id


@virtual_time
async def test_a_job_is_found_within_a_second_where_the_hint_is_lost(fleet: Fleet) -> None:
    submitting, idle = await fleet.server(), await fleet.server()
    waiting = asyncio.create_task(idle.backend.lease())
    await pass_time(0.5)
    idle.calls.deaf = True
    job = await submitting.submit()
    await pass_time(0.01)
    assert not waiting.done()
    await pass_time(1.0)
    assert waiting.result().job_id == job.id


@virtual_time
async def test_an_idle_process_asks_about_once_a_second(fleet: Fleet) -> None:
    server = await fleet.server(places=5)
    await pass_time(0.5)
    before = server.calls.asked.count("lease")
    await pass_time(20)
    assert 18 <= server.calls.asked.count("lease") - before <= 22


@virtual_time
async def test_a_process_without_places_asks_for_nothing(fleet: Fleet) -> None:
    server = await fleet.server()
    await submit_some(server, 3)
    await pass_time(5)
    assert "lease" not in server.calls.asked


@virtual_time
async def test_the_jobs_of_one_turn_are_leased_by_one_call(fleet: Fleet) -> None:
    server = await fleet.server()
    jobs = await asyncio.gather(*(server.submit() for _ in range(40)))
    leased = await asyncio.gather(*(server.leased() for _ in range(40)))
    assert set(leased) == {job.id for job in jobs}
    assert (server.calls.asked.count("submit"), server.calls.asked.count("lease")) == (1, 1)


@virtual_time
async def test_a_pool_without_permits_leaves_its_jobs_to_a_process_that_has_some(fleet: Fleet) -> None:
    full, free = await fleet.server(pools={"process": 1}), await fleet.server(pools={"process": 1})
    spec = JobSpec(type="p", pool="process")
    first, second = await submit_some(full, 2, spec)
    assert await full.leased() == first
    waiting = asyncio.create_task(full.backend.lease())
    await pass_time(2)
    assert not waiting.done()
    assert await free.leased() == second
    third = await full.submit(spec)
    full.calls.deaf = True
    await full.backend.nack(first, 1, Failure(ErrorCode.REJECTED, "no", final=True))  # type: ignore[arg-type]  # an id
    await pass_time(0.1)
    assert waiting.result().job_id == third.id


@virtual_time
async def test_another_process_is_woken_for_a_job_of_a_pool_without_permits_here(fleet: Fleet) -> None:
    full, free = await fleet.server(places=50, pools={"process": 0}), await fleet.server(pools={"process": 1})
    waiting = asyncio.create_task(free.backend.lease())
    await pass_time(0.5)
    job = await full.submit(JobSpec(type="p", pool="process"))
    await pass_time(0.01)
    assert waiting.result().job_id == job.id


@virtual_time
async def test_the_limit_of_a_type_and_the_workers_of_a_queue_hold_over_all_processes(fleet: Fleet) -> None:
    queues = {"default": QueuePolicy(workers=3)}
    one = JobSpec(type="one", limits=Limits(concurrency=1))
    servers = [await fleet.server(places=10, queues=queues) for _ in range(2)]
    limited, plain = await submit_some(servers[0], 3, one), await submit_some(servers[1], 5)
    await pass_time(3)
    assert await running(servers[0], *limited) == 1
    assert await running(servers[0], *limited, *plain) == 3
    held = [(server, lease) for server in servers for lease in iter(server.backend.lease_now, None)]
    for server, lease in held:
        await server.backend.ack(lease.job_id, lease.attempt, Success(b"1"))
    await pass_time(3)
    assert await running(servers[0], *limited) == 1
    assert await running(servers[0], *limited, *plain) == 3


@virtual_time
async def test_a_type_without_a_handler_here_is_left_to_others(fleet: Fleet) -> None:
    knows, other = await fleet.server(types=[SPEC]), await fleet.server(types=[JobSpec(type="other")])
    job = await other.submit()
    waiting = [asyncio.create_task(server.backend.lease()) for server in (other, knows)]
    await pass_time(3)
    assert [task.done() for task in waiting] == [False, True]
    assert waiting[1].result().job_id == job.id


@virtual_time
async def test_a_job_of_a_cancelled_worker_is_kept_for_the_next_one(fleet: Fleet) -> None:
    server = await fleet.server()
    waiting = asyncio.create_task(server.backend.lease())
    await pass_time(0.5)
    job = await server.submit()
    while server.calls.asked.count("lease") != 2:
        await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    lease = await server.backend.lease()
    assert (lease.job_id, lease.attempt) == (job.id, 1)


@virtual_time
async def test_an_unstarted_job_that_is_cancelled_never_begins(fleet: Fleet) -> None:
    server = await fleet.server(places=1)
    job = await server.submit()
    await pass_time(0.5)
    await server.backend.cancel(job.id)
    assert server.backend.lease_now() is None
    await pass_time(0.5)
    assert (await server.backend.get(job.id)).state is JobState.CANCELLED


@virtual_time
async def test_a_delayed_job_begins_in_time_in_a_process_that_did_not_submit_it(fleet: Fleet) -> None:
    submitting, idle = await fleet.server(), await fleet.server()
    waiting = asyncio.create_task(idle.backend.lease())
    job = await submitting.submit(JobSpec(type="t", delay_s=5.0))
    await pass_time(4.9)
    assert not waiting.done()
    await pass_time(0.2)
    assert waiting.result().job_id == job.id


@virtual_time
async def test_a_lease_that_fails_in_the_store_is_tried_again(fleet: Fleet) -> None:
    server = await fleet.server(places=1)
    server.calls.fails = lambda function: function == "lease"
    job = await server.submit()
    await pass_time(1)
    server.calls.fails = lambda function: False
    await pass_time(5)
    lease = server.backend.lease_now()
    assert lease is not None
    assert lease.job_id == job.id
