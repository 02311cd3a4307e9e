"""JobHandle: access to a submitted job in the same process."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import orjson

from jobqueue.core.job import JobId, JobState
from jobqueue.duration import seconds
from jobqueue.errors import JobFailed

if TYPE_CHECKING:
    from jobqueue.backend.base import Backend
    from jobqueue.core.job_view import JobView
    from jobqueue.duration import Duration


class JobHandle:
    """A submitted job, as its submitter in the same process sees it."""

    __slots__ = ("_backend", "id")

    def __init__(self, job_id: JobId, backend: Backend) -> None:
        self.id = job_id
        self._backend = backend

    async def status(self) -> JobView:
        """Return the job's record. Raises JobGone once it has been evicted."""
        return await self._backend.get(self.id)

    async def wait(self, timeout_s: Duration | None = None) -> JobView:
        """Return the record once the job is terminal.

        Raises:
            TimeoutError: It isn't after `timeout_s` seconds; the job goes on.
            JobGone: The record has been evicted.
        """
        if timeout_s is None:
            return await self._backend.wait(self.id)
        for_s = seconds(timeout_s)
        try:
            async with asyncio.timeout(for_s):
                return await self._backend.wait(self.id)
        except TimeoutError:
            state = (await self._backend.get(self.id)).state
            raise TimeoutError(f"job {self.id} is still {state} after {for_s:g} s") from None

    async def result(self, timeout_s: Duration | None = None) -> Any:
        """Wait for the job's end and return its result, decoded from JSON.

        Raises:
            JobFailed: The job failed, was cancelled, or expired; its code and message say why.
            TimeoutError, JobGone: As `wait`.
        """
        job = await self.wait(timeout_s)
        if job.state is not JobState.SUCCEEDED:
            error = job.error
            raise JobFailed(job.state, error.code if error else None, error.message if error else None)
        assert job.result is not None
        return orjson.loads(job.result)

    async def cancel(self) -> JobView:
        """Cancel the job: at once if it waits; if it runs, as soon as its handler has stopped.

        Raises:
            WrongState: The job is terminal.
        """
        return await self._backend.cancel(self.id)

    async def retry(self) -> JobView:
        """Retry a failed job: the same id and arguments, a new series of attempts.

        Raises:
            WrongState: The job has not failed.
            Refused: There is no slot for it now.
        """
        return await self._backend.retry(self.id)

    async def run_now(self) -> JobView:
        """Queue a delayed job now. Raises WrongState if it isn't delayed."""
        return await self._backend.run_now(self.id)
