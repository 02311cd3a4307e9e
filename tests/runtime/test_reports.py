"""Workers report an outcome at once where the backend can, wait for it where it can't, and survive a stale one."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from jobqueue.core.job import JobId, JobSpec, Lease
from jobqueue.core.report import ErrorCode, Failure, Success
from jobqueue.errors import StaleLease
from jobqueue.runtime.workers import WorkerPool
from jobqueue.testing import virtual_time

either = pytest.mark.parametrize(
    "outcome", [Success(b"1"), Failure(ErrorCode.HANDLER_ERROR, "boom")], ids=["success", "failure"]
)


class Reported:
    """A backend with some jobs, which keeps the order of the calls."""

    def __init__(self, jobs: int, *, at_once: bool = True, stale: bool = False) -> None:
        self.calls: list[str] = []
        self.passed_on = 0
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

    def pass_on(self) -> None:
        self.passed_on += 1

    def end_now(self, job_id: JobId, attempt: int, outcome: Success | Failure) -> bool:
        self.tasks.add(id(asyncio.current_task()))
        if self._stale:
            raise StaleLease(job_id)
        self.calls += [f"{job_id} at once"] if self._at_once else []
        return self._at_once

    async def nack(self, job_id: JobId, attempt: int, failure: Failure) -> None:
        await self.ack(job_id, attempt, Success(b""))

    async def ack(self, job_id: JobId, attempt: int, success: Success) -> None:
        await asyncio.sleep(1)
        if self._stale:
            raise StaleLease(job_id)
        self.calls.append(job_id)


class Ending:
    """An executor: its jobs end in their first step."""

    def __init__(self, outcome: Success | Failure) -> None:
        self._outcome = outcome

    async def run(self, lease: Lease) -> Success | Failure:
        return self._outcome


async def serve(backend: Any, outcome: Success | Failure) -> None:
    """Have one worker serve jobs for a while."""
    pool = WorkerPool(1, backend=backend, executor=Ending(outcome), abandoned_min=1)
    pool.start()
    await asyncio.sleep(10)
    await pool.close()


@either
@virtual_time
async def test_an_outcome_is_reported_at_once_where_the_backend_can(outcome: Success | Failure) -> None:
    backend = Reported(2)
    await serve(backend, outcome)
    assert backend.calls == ["job-0 at once", "job-1 at once"]
    assert len(backend.tasks) == 1


@either
@virtual_time
async def test_a_worker_waits_for_the_report_where_the_backend_takes_longer_and_others_take_jobs_meanwhile(
    outcome: Success | Failure,
) -> None:
    backend = Reported(2, at_once=False)
    await serve(backend, outcome)
    assert backend.calls == ["job-0", "job-1"]
    assert backend.passed_on >= 2, "one time for each report"
    assert len(backend.tasks) == 1, "the handlers have not suspended, so the task went on"


@either
@virtual_time
async def test_a_stale_outcome_is_logged_and_its_worker_goes_on(
    outcome: Success | Failure, caplog: pytest.LogCaptureFixture
) -> None:
    backend = Reported(2, stale=True)
    with caplog.at_level(logging.WARNING):
        await serve(backend, outcome)
    stale = [record for record in caplog.records if record.getMessage().startswith("attempt.stale_result")]
    assert len(stale) == 2
    assert len(backend.tasks) == 1
