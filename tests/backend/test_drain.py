"""Drains of a backend whose jobs outlive the process: what runs is given back, and what waits stays."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import msgspec
import pytest

from jobqueue import JobQueue
from jobqueue.config import QueueSettings, Settings
from jobqueue.config.settings import ServerSettings
from jobqueue.core.job import JobSpec, JobState
from jobqueue.core.report import ErrorCode, Failure, Success
from jobqueue.core.transitions import LEASE_GRACE_S
from jobqueue.errors import ConfigError, Draining
from jobqueue.testing import virtual_time
from tests.contract.backends import memory

if TYPE_CHECKING:
    from jobqueue.backend.memory import MemoryBackend
    from jobqueue.core.job_view import JobView

SPEC = JobSpec(type="t", attempts_max=2)


class NoWorkers:
    """Of a test that leases by itself."""

    def reinforce(self, jobs: int) -> None: ...

    def free(self) -> int:
        return 0

    def stop(self, job_id: str, attempt: int) -> None: ...

    def abandon(self, job_id: str, attempt: int) -> None: ...


async def keeping() -> MemoryBackend:
    backend = memory()
    backend.keeps = True
    await backend.start(NoWorkers())
    return backend


async def submit(backend: MemoryBackend, spec: JobSpec = SPEC) -> JobView:
    return (await backend.submit(spec)).job


async def state(backend: MemoryBackend, job: JobView) -> JobState:
    return (await backend.get(job.id)).state


def drain(backend: MemoryBackend, *, work_off: bool, told: list[int] | None = None) -> asyncio.Task[int]:
    told = [] if told is None else told
    return asyncio.create_task(backend.drain(10.0, lambda: told.append(backend.stats()[0].live), work_off=work_off))


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


@virtual_time
async def test_a_drain_that_keeps_jobs_starts_none_and_is_over_when_none_runs() -> None:
    backend = await keeping()
    runs, waits = await submit(backend), await submit(backend)
    lease = await backend.lease()
    told: list[int] = []
    start = asyncio.get_running_loop().time()
    draining = drain(backend, work_off=False, told=told)
    await settle()
    with pytest.raises(Draining):
        await backend.submit(SPEC)
    assert backend.lease_now() is None
    await backend.ack(runs.id, lease.attempt, Success(b"1"))
    assert await draining == 0
    assert asyncio.get_running_loop().time() == start, "waiting jobs are not waited for"
    assert told == [1]
    assert [await state(backend, job) for job in (runs, waits)] == [JobState.SUCCEEDED, JobState.QUEUED]
    await backend.stop()


@virtual_time
async def test_an_attempt_that_runs_at_the_end_of_the_drain_is_given_back() -> None:
    backend = await keeping()
    runs, waits = await submit(backend), await submit(backend)
    lease = await backend.lease()
    draining = drain(backend, work_off=False)
    await asyncio.sleep(9.9)
    assert (await backend.get(runs.id)).stopping is None
    await asyncio.sleep(0.2)
    await backend.stopped(runs.id, lease.attempt)
    assert await draining == 1
    kept = await backend.get(runs.id)
    assert (kept.state, kept.attempt, kept.attempts_max) == (JobState.QUEUED, 1, 3)
    assert await state(backend, waits) is JobState.QUEUED
    await backend.stop()


@virtual_time
async def test_a_handler_that_ignores_its_stop_is_given_back_after_the_grace() -> None:
    backend = await keeping()
    await submit(backend)
    await backend.lease()
    start = asyncio.get_running_loop().time()
    assert await drain(backend, work_off=False) == 1
    assert asyncio.get_running_loop().time() - start == pytest.approx(10.0 + LEASE_GRACE_S, abs=0.1)
    await backend.stop()


@virtual_time
async def test_a_failure_during_the_drain_leaves_its_job_for_the_next_run() -> None:
    backend = await keeping()
    fails = await submit(backend)
    lease = await backend.lease()
    start = asyncio.get_running_loop().time()
    draining = drain(backend, work_off=False)
    await settle()
    await backend.nack(fails.id, lease.attempt, Failure(ErrorCode.HANDLER_ERROR, "boom"))
    assert await draining == 0
    assert asyncio.get_running_loop().time() == start, "a backoff is not waited for"
    assert await state(backend, fails) is JobState.DELAYED
    await backend.stop()


@virtual_time
async def test_a_drain_that_works_off_starts_jobs_and_keeps_the_rest() -> None:
    backend = await keeping()
    first, second, far = (
        await submit(backend),
        await submit(backend),
        await submit(backend, JobSpec(type="t", delay_s=60)),
    )
    draining = drain(backend, work_off=True)
    lease = await backend.lease()
    await backend.ack(first.id, lease.attempt, Success(b"1"))
    lease = await backend.lease()
    assert lease.job_id == second.id
    await asyncio.sleep(10.1)
    await backend.stopped(second.id, lease.attempt)
    assert await draining == 1
    assert [await state(backend, job) for job in (first, second, far)] == [
        JobState.SUCCEEDED,
        JobState.QUEUED,
        JobState.DELAYED,
    ]
    assert backend.stats()[0].live == 2
    await backend.stop()


@virtual_time
async def test_jobs_that_can_not_start_now_are_kept_without_waiting_for_them() -> None:
    backend = await keeping()
    far, paused = (
        await submit(backend, JobSpec(type="t", delay_s=60)),
        await submit(backend, JobSpec(type="t", queue="small")),
    )
    await backend.pause("small")
    start = asyncio.get_running_loop().time()
    assert await drain(backend, work_off=True) == 0
    assert asyncio.get_running_loop().time() == start
    assert [await state(backend, job) for job in (far, paused)] == [JobState.DELAYED, JobState.QUEUED]
    await backend.stop()


# -- of a queue


def events_of(caplog: pytest.LogCaptureFixture) -> dict[str, str]:
    messages = [record.getMessage() for record in caplog.records]
    return {message.split(" ")[0]: message for message in messages}


@virtual_time
async def test_a_stop_logs_how_many_jobs_are_kept(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    settings = Settings(queues={"default": QueueSettings(workers=1)})
    queue = JobQueue(settings, drain_s=5.0)

    @queue.handler
    async def nap() -> None:
        await asyncio.sleep(3600)

    async with queue:
        queue.service.local.keeps = True
        kept = msgspec.structs.replace(settings.server, drain_mode="keep")
        queue.service.settings = msgspec.structs.replace(settings, server=kept)
        assert queue.service.keeps
        for _ in range(3):
            await queue.submit("nap")
        await queue.submit("nap", delay_s=60)
        await asyncio.sleep(1)
        start = asyncio.get_running_loop().time()
        assert await queue.drain(5.0) == {"waiting": 0, "delayed": 0, "queued": 0, "running": 0}, "none is lost"
        assert asyncio.get_running_loop().time() - start == pytest.approx(5.0, abs=0.2)
        assert queue.service.live_counts() == {"waiting": 0, "delayed": 1, "queued": 3, "running": 0}
    told = [message for name, message in events_of(caplog).items() if name.startswith("drain.")]
    assert told == ["drain.kept waiting=0 delayed=1 queued=2 running=1"]


@virtual_time
async def test_a_queue_without_a_journal_keeps_nothing_and_does_not_start() -> None:
    queue = JobQueue(Settings(server=ServerSettings(drain_mode="keep")))
    with pytest.raises(ConfigError) as raised:
        await queue.start()
    assert raised.value.faults == (
        "server.drain_mode: keep needs a journal, or the queued jobs would be lost: set journal.dir to a folder of "
        "this server's own, or drain_mode to work_off",
    )
