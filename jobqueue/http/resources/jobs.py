"""One job as a resource: read, wait, cancel, retry, run, delete, and its result."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from aiohttp import hdrs, web

from jobqueue.core.job import JobState
from jobqueue.errors import JobGone, Refused, WrongState
from jobqueue.files.media import media_type_or_default
from jobqueue.http.request.auth import GRANT
from jobqueue.http.request.include import included_in
from jobqueue.http.request.prefer import preferred_wait_s
from jobqueue.http.resources.included import included_answer
from jobqueue.http.response.long_response import WHOLE_BYTES_MAX, LongResponse, result_pieces, whole_answer
from jobqueue.http.response.reply import COMMON, JSON
from jobqueue.http.response.responses import job_answer
from jobqueue.http.streams.waiters import WAITED

if TYPE_CHECKING:
    from jobqueue.core.job import JobId
    from jobqueue.core.job_view import JobView
    from jobqueue.core.stored_file import StoredFile
    from jobqueue.http.response.descriptors import Descriptors
    from jobqueue.http.streams.event_log import EventLog
    from jobqueue.http.streams.shared_log import SharedLog
    from jobqueue.http.streams.waiters import Waiters
    from jobqueue.service import Service

CHUNK_BYTES = 256 * 1024


class Jobs:
    """The handlers of `/v1/jobs/{id}` and what is below it."""

    def __init__(
        self, service: Service, waiters: Waiters, descriptors: Descriptors, event_log: EventLog | SharedLog
    ) -> None:
        self._event_log = event_log
        self._descriptors = descriptors
        self._service = service
        self._waiters = waiters

    async def look(self, request: web.Request) -> web.StreamResponse:
        """GET or HEAD /v1/jobs/{id}: 202 while live, 200 once terminal; with `Prefer: wait=N`, it waits for the end."""
        names = included_in(request)
        if (waited := request.get(WAITED)) is not None and waited.job is not None:
            return job_answer(request, waited.job, self._service, waited.headers)
        job = await self._job(request)
        wait_s = preferred_wait_s(request.headers)
        if not names:
            return await answer_at_end(request, wait_s, job, self._service, self._waiters)
        job, applied = await job_at_end(request, wait_s, job, self._service, self._waiters)
        return included_answer(request, job, self._service, names, self._event_log.of_job, applied)

    async def cancel(self, request: web.Request) -> web.StreamResponse:
        """POST /v1/jobs/{id}:cancel: 200 if it is cancelled, 202 while its handler still has to stop."""
        job_id = await self._own_id(request)
        return job_answer(request, await self._service.backend.cancel(job_id), self._service)

    async def retry(self, request: web.Request) -> web.StreamResponse:
        """POST /v1/jobs/{id}:retry: retry a failed job."""
        job_id = await self._own_id(request)
        return job_answer(request, await self._service.backend.retry(job_id), self._service)

    async def run(self, request: web.Request) -> web.StreamResponse:
        """POST /v1/jobs/{id}:run: queue a delayed job now."""
        job_id = await self._own_id(request)
        return job_answer(request, await self._service.backend.run_now(job_id), self._service)

    async def delete(self, request: web.Request) -> web.Response:
        """DELETE /v1/jobs/{id}"""
        await self._service.backend.delete(await self._own_id(request))
        return web.Response(status=204, headers=COMMON)

    async def result(self, request: web.Request) -> web.StreamResponse:
        """GET /v1/jobs/{id}/result: the result file if there is one, or else the JSON."""
        job = await self._job(request)
        if job.state is not JobState.SUCCEEDED:
            raise WrongState(f"the job is {job.state}, so it has no result", state=job.state)
        headers = {**JSON, "Job-State": job.state}
        if job.file is None:
            return self._send_json(request, job, headers)
        return await self._send_file(request, job.file, headers)

    async def _job(self, request: web.Request) -> JobView:
        """Return the job of a request, if it may see it. Raises JobNotFound, JobGone."""
        return await self._service.backend.get(request.match_info["id"], request[GRANT].sees)

    async def _own_id(self, request: web.Request) -> str:
        """Return the id of a request's job, if it may change it: no id passes to another owner. Raises as `_job`."""
        job_id: str = request.match_info["id"]
        if request[GRANT].sees is not None:
            await self._job(request)
        return job_id

    def _send_json(self, request: web.Request, job: JobView, headers: dict[str, str]) -> web.StreamResponse:
        result = job.result or b"null"
        if len(result) <= WHOLE_BYTES_MAX:
            return whole_answer(request, result, headers)
        pieces = result_pieces(self._service, job.id, len(result))
        return LongResponse(request, pieces, headers, size_bytes=len(result))

    async def _send_file(self, request: web.Request, file: StoredFile, headers: dict[str, str]) -> web.StreamResponse:
        with self._descriptors.file():
            return await self._send_open_file(request, file, headers)

    async def _send_open_file(
        self, request: web.Request, file: StoredFile, headers: dict[str, str]
    ) -> web.StreamResponse:
        in_thread = self._service.spool.in_thread
        try:
            fd, size_bytes = await in_thread(partial(_open_file, file.path))
        except FileNotFoundError:
            raise JobGone("evicted") from None
        except OSError as error:
            raise Refused(f"the file can't be opened now: {error.strerror}", retry_after_s=1.0) from error
        try:
            headers |= {
                "Content-Type": media_type_or_default(file.media_type),
                "Content-Length": str(size_bytes),
                # Content of a handler or a client must never run as a page of this server.
                "Content-Security-Policy": "sandbox",
                "X-Content-Type-Options": "nosniff",
                # Nor be embedded in another origin's page, if a browser sends no Fetch Metadata.
                "Cross-Origin-Resource-Policy": "same-origin",
            }
            response = web.StreamResponse(headers=headers)
            await response.prepare(request)
            if request.method != hdrs.METH_HEAD:
                at = 0
                # pread, because an abandoned read must not move the position of another one.
                while chunk := await in_thread(partial(os.pread, fd, CHUNK_BYTES, at)):
                    await response.write(chunk)
                    at += len(chunk)
            await response.write_eof()
            return response
        finally:
            os.close(fd)


async def answer_at_end(
    request: web.Request,
    preferred_s: int | None,
    job: JobView,
    service: Service,
    waiters: Waiters,
    more: dict[str, str] | None = None,
) -> web.StreamResponse:
    """Answer with a job: at its end, if the request prefers to wait and it comes in time, else in its present state.

    Args:
        preferred_s: As `Waiters.wait`.
        more: Additional headers.
    """
    job, applied = await job_at_end(request, preferred_s, job, service, waiters)
    return job_answer(request, job, service, {**(more or {}), **applied})


async def job_at_end(
    request: web.Request, preferred_s: int | None, job: JobView, service: Service, waiters: Waiters
) -> tuple[JobView, dict[str, str]]:
    """Wait for the end of a job, as `answer_at_end`; return its record, and the headers that tell of the wait."""
    ending: asyncio.Future[JobView] | None = None

    async def end() -> None:
        nonlocal ending
        # Not cancelled with the wait: it has the record of an end that comes just when the time is over.
        with suppress(JobGone):  # it has ended, and been evicted, while its submission was made durable
            ending = service.backend.ending(job.id)
            await asyncio.wait([ending])

    try:
        applied = await waiters.wait(request, preferred_s, end if job.live else None)
        if ending is not None:
            job = await _record_of(job.id, ending, service)
    finally:
        if ending is not None:
            ending.cancel()
    return job, applied


async def _record_of(job_id: JobId, ending: asyncio.Future[JobView], service: Service) -> JobView:
    """Return the record at the job's end if that has come, else as it is now."""
    if ending.done():
        return ending.result()
    try:
        return await service.backend.get(job_id)
    except JobGone:  # ended and evicted since: its end is about to be told
        return await ending


def _open_file(path: str) -> tuple[int, int]:
    # Neither a link to another file nor a pipe without a writer.
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    return fd, os.fstat(fd).st_size
