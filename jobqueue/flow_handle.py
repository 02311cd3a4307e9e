"""FlowHandle: access to a submitted flow in the same process."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import orjson

from jobqueue.core.job import EXPIRED, FAILED, JobId
from jobqueue.core.job_view import JobView
from jobqueue.duration import seconds
from jobqueue.errors import JobFailed
from jobqueue.flows import last_jobs, until_ended
from jobqueue.handle import JobHandle

if TYPE_CHECKING:
    from jobqueue.backend.base import Backend
    from jobqueue.core.flow import FlowView
    from jobqueue.duration import Duration


class FlowHandle:
    """A submitted flow, as its submitter in the same process sees it."""

    __slots__ = ("_backend", "id")

    def __init__(self, flow_id: JobId, backend: Backend) -> None:
        self.id = flow_id
        self._backend = backend

    async def status(self) -> FlowView:
        """Return the flow as it is now: state, counts, jobs. Raises JobGone once it is forgotten."""
        return await self._backend.flow(self.id)

    async def job(self, name: str) -> JobHandle:
        """Return a handle on one of its jobs, by name. Raises KeyError: It has none of this name."""
        flow = await self.status()
        for job in flow.jobs:
            if job.name == name:
                return JobHandle(job.id, self._backend)
        known = ", ".join(job.name for job in flow.jobs[:20] if job.name is not None)
        raise KeyError(f"flow {self.id} has no job {name!r}; the first ones: {known}")

    async def wait(self, timeout_s: Duration | None = None) -> FlowView:
        """Return the flow once all its jobs have ended.

        Raises:
            TimeoutError: They haven't after `timeout_s` seconds; the flow goes on.
            JobGone: It is forgotten.
        """
        if timeout_s is None:
            return await until_ended(self._backend, self.id)
        for_s = seconds(timeout_s)
        try:
            async with asyncio.timeout(for_s):
                return await until_ended(self._backend, self.id)
        except TimeoutError:
            raise TimeoutError(f"flow {self.id} still runs after {for_s:g} s") from None

    async def result(self, timeout_s: Duration | None = None) -> Any:
        """Wait for the flow's end and return the result of its last job, the one without children.

        Of several last jobs, all results: a dict by name, or by id where a job has none.

        Raises:
            JobFailed: A job failed or expired, or else was cancelled; of the first of them.
            TimeoutError, JobGone: As `wait`.
        """
        flow = await self.wait(timeout_s)
        if flow.state != "succeeded":
            raise await self._failure(flow)
        last = last_jobs(flow)
        records = await self._backend.get_many([job.id for job in last])
        results: dict[str, Any] = {}
        for job, record in zip(last, records, strict=True):
            if not isinstance(record, JobView):
                raise record
            results[job.name or job.id] = orjson.loads(record.result or b"null")
        return next(iter(results.values())) if len(results) == 1 else results

    async def cancel(self) -> FlowView:
        """Cancel all its live jobs. Raises WrongState: It has ended."""
        return await self._backend.cancel_flow(self.id)

    async def retry(self) -> FlowView:
        """Run it again from what has not succeeded.

        Raises:
            WrongState: It runs, or has succeeded.
            Refused: There are not slots for all of it now.
        """
        return await self._backend.retry_flow(self.id)

    async def _failure(self, flow: FlowView) -> JobFailed:
        """Return the error of the first job that failed or expired, else of the first that was cancelled."""
        ended = [job for job in flow.jobs if job.state in (FAILED, EXPIRED)]
        ended = ended or [job for job in flow.jobs if job.state == "cancelled"]
        if not ended:
            return JobFailed(flow.state, None, None)
        job = ended[0]
        (record,) = await self._backend.get_many([job.id])
        error = record.error if isinstance(record, JobView) else None
        message = f"job {job.name or job.id}: {error.message}" if error else None
        return JobFailed(job.state, error.code if error else None, message)
