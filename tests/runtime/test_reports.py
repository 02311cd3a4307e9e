"""Workers report a success at once where the backend can, wait for it where it can't, and survive a stale one."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from jobqueue.core.job import JobId, JobSpec, Lease
from jobqueue.core.report import Success
from jobqueue.errors import StaleLease
from jobqueue.runtime.workers import WorkerPool
from jobqueue.testing import virtual_time

if TYPE_CHECKING:
    import pytest


class Reported:
    """A backend with some jobs, which keeps the order of the calls."""

    def __init__(self, jobs: int, *, at_once: bool = True, stale: bool = False) -> None:
        self.calls: list[str] = []
        self.tasks: set[int] = set()  # by id: a reference would end a task
        self._jobs = list(range(jobs))
        self._at_once = at_once
        self._stale = stale

    def lease_now(self) -> Lease | None:
        if not self._jobs:
            return None
        return Lease(JobId(f"job-{self._jobs.pop(0)}"), 1, JobSpec(type="t"), b"{}", None)

    async def lease(self) -> Lease:
        await asyncio.Future()
        raise AssertionError("nothing ends that")

    def pass_on(self) -> None: ...

    def ack_now(self, job_id: JobId, attempt: int, success: Success) -> bool:
        self.tasks.add(id(asyncio.current_task()))
        if self._stale:
            raise StaleLease(job_id)
        self.calls += [f"{job_id} at once"] if self._at_once else []
        return self._at_once

    async def ack(self, job_id: JobId, attempt: int, success: Success) -> None:
        await asyncio.sleep(1)
        if self._stale:
            raise StaleLease(job_id)
        self.calls.append(job_id)


class Succeeding:
    """An executor whose jobs succeed in their first step."""

    async def run(self, lease: Lease) -> Success:
        return Success(b"1")


async def serve(backend: Any) -> None:
    """Have one worker serve jobs for a while."""
    pool = WorkerPool(1, backend=backend, executor=Succeeding(), abandoned_min=1)
    pool.start()
    await asyncio.sleep(10)
    await pool.close()


@virtual_time
async def test_a_success_is_reported_at_once_where_the_backend_can() -> None:
    backend = Reported(2)
    await serve(backend)
    assert backend.calls == ["job-0 at once", "job-1 at once"]
    assert len(backend.tasks) == 1


@virtual_time
async def test_a_worker_waits_for_the_report_of_a_success_where_the_backend_takes_longer() -> None:
    backend = Reported(2, at_once=False)
    await serve(backend)
    assert backend.calls == ["job-0", "job-1"]
    assert len(backend.tasks) == 1, "the handlers have not suspended, so the task went on"


@virtual_time
async def test_a_stale_success_is_logged_and_its_worker_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    backend = Reported(2, stale=True)
    with caplog.at_level(logging.WARNING):
        await serve(backend)
    stale = [record for record in caplog.records if record.getMessage().startswith("attempt.stale_result")]
    assert len(stale) == 2
    assert len(backend.tasks) == 1
