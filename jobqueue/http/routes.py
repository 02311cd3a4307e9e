"""The resources of the API: one method each, from a request to the answer that the contract names.

It owns paths, status codes and headers. It asks the queue and the backend; what JSON looks
like is `wire`'s, what a refusal looks like is `problems`', which bodies are read is `limits`'.
"""

from __future__ import annotations

import os
import re
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING

from aiohttp import hdrs, web

from jobqueue.backend.base import JobFilter
from jobqueue.core.ids import ID_LENGTH
from jobqueue.core.job import JobId, JobState
from jobqueue.errors import Draining, JobGone, JobNotFound, JobQueueError, Refused, WrongState
from jobqueue.http import uploads, wire
from jobqueue.http.limits import Bodies, BodyKind, answer_expectation, check_head
from jobqueue.http.problems import (
    CACHE_CONTROL,
    INTERNAL,
    SERVER,
    MalformedRequest,
    QueueNotFound,
    error_of,
    response_to,
    row_of,
)
from jobqueue.log import event_logger

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from jobqueue.app import JobQueue
    from jobqueue.core.job import Job, StoredFile
    from jobqueue.handlers import Submission

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

IDS_MAX = 100
PAGE_DEFAULT, PAGE_MAX = 50, 100
WHOLE_BYTES_MAX = 256 * 1024
"""A list with more bytes of results than this is sent document by document, so that none of it waits in memory."""

CHUNK_BYTES = 256 * 1024

_LIST_PARAMETERS = ("state", "type", "queue", "group", "limit", "cursor")
_CURSOR = re.compile(rf"[-0-9A-Z_a-z]{{{ID_LENGTH}}}")
_ETAG = re.compile(r'"([^"]*)"')
_COMMON = {"Server": SERVER, "Cache-Control": CACHE_CONTROL}
_JSON = {**_COMMON, "Content-Type": "application/json"}

log = event_logger(__name__)


class Api:
    """The handlers of all resources of one queue."""

    def __init__(self, queue: JobQueue) -> None:
        self._queue = queue
        self._bodies = Bodies(queue.settings.limits)

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Register every resource."""

        async def expect(request: web.Request) -> web.Response | None:
            return await answer_expectation(request)

        async def expect_submission(request: web.Request) -> web.Response | None:
            return await answer_expectation(request, self._check_submission)

        job = "/v1/jobs/{id:[^/:]+}"
        router.add_post("/v1/jobs", self.submit, expect_handler=expect_submission)
        for path, handler in (
            ("/v1/jobs", self.list_jobs),
            (f"{job}/result", self.result),
            ("/v1/queues", self.list_queues),
            ("/v1/queues/{name}", self.one_queue),
            ("/livez", self.livez),
            ("/readyz", self.readyz),
        ):
            router.add_get(path, handler, expect_handler=expect)
        router.add_get(job, self.document, allow_head=False, expect_handler=expect)
        router.add_head(job, self.status, expect_handler=expect)
        router.add_delete(job, self.delete, expect_handler=expect)
        router.add_post(f"{job}:cancel", self.cancel, expect_handler=expect)

    # -- submitting

    async def submit(self, request: web.Request) -> web.Response:
        """POST /v1/jobs: 202 once the job is held; its status is readable from then on."""
        kind = self._check_submission(request)
        if kind is BodyKind.JSON:
            job = await self._queue.accept(wire.decode_submission(await self._bodies.read(request.content)))
        else:
            job = await self._submit_form(request)
        resource = request.match_info.route.resource
        assert resource is not None
        headers = self._job_headers(job)
        # The resource's own path, because it has the prefix under which the API is mounted.
        headers["Location"] = f"{resource.canonical}/{job.id}"
        return web.Response(status=202, body=wire.job_document(job, self._queue), headers=headers)

    def _check_submission(self, request: web.Request) -> BodyKind:
        """Refuse what can be refused before the body is read."""
        if self._queue.draining:
            raise Draining
        kind = check_head(request, self._queue.settings.limits)
        if kind is BodyKind.MULTIPART:
            self._queue.spool.check_room(request.content_length or 0)
        return kind

    async def _submit_form(self, request: web.Request) -> Job:
        async with self._queue.spool.new_upload() as upload:
            limits = self._queue.settings.limits
            submission = await uploads.receive(request, limits, self._bodies, upload, self._check_job)
            received = upload.received()
            if received is None:
                return await self._queue.accept(submission)
            job = await self._queue.accept(submission, folder=received.folder, files=received.files)
            upload.keep()
            return job

    def _check_job(self, submission: Submission) -> None:
        self._queue.registry.check(submission, wall_now=self._queue.wall(self._queue.backend.now()))

    # -- one job

    async def status(self, request: web.Request) -> web.Response:
        """HEAD /v1/jobs/{id}: the code says whether it is over; no JSON is built."""
        job = await self._job(request)
        headers = self._job_headers(job)
        if _matches(request, headers["ETag"]):
            return _not_modified(headers)
        return web.Response(status=202 if job.live else 200, headers=headers)

    async def document(self, request: web.Request) -> web.Response:
        """GET /v1/jobs/{id}"""
        job = await self._job(request)
        headers = self._job_headers(job)
        if _matches(request, headers["ETag"]):
            return _not_modified(headers)
        return self._job_response(job, headers)

    async def cancel(self, request: web.Request) -> web.Response:
        """POST /v1/jobs/{id}:cancel: 200 if it is cancelled, 202 while its handler still has to stop."""
        job = await self._queue.backend.cancel(request.match_info["id"])
        return self._job_response(job, self._job_headers(job))

    async def delete(self, request: web.Request) -> web.Response:
        """DELETE /v1/jobs/{id}"""
        await self._queue.backend.delete(request.match_info["id"])
        return web.Response(status=204, headers=_COMMON)

    async def result(self, request: web.Request) -> web.StreamResponse:
        """GET /v1/jobs/{id}/result: the result file if there is one, or else the JSON."""
        job = await self._job(request)
        if job.state is not JobState.SUCCEEDED:
            raise WrongState(f"the job is {job.state}, so it has no result", state=job.state)
        headers = {**_JSON, "Job-State": job.state}
        if job.file is None:
            return web.Response(body=job.result, headers=headers)
        return await self._send_file(request, job.file, headers)

    async def _job(self, request: web.Request) -> Job:
        return await self._queue.backend.get(request.match_info["id"])

    def _job_headers(self, job: Job) -> dict[str, str]:
        headers = {**_JSON, "Job-State": job.state, "ETag": wire.etag(job)}
        if job.live:
            headers["Retry-After"] = str(wire.POLL_AFTER_S)
        return headers

    def _job_response(self, job: Job, headers: dict[str, str]) -> web.Response:
        body = wire.job_document(job, self._queue)
        return web.Response(status=202 if job.live else 200, body=body, headers=headers)

    async def _send_file(self, request: web.Request, file: StoredFile, headers: dict[str, str]) -> web.StreamResponse:
        in_thread = self._queue.spool.in_thread
        try:
            fd, size_bytes = await in_thread(partial(_open_file, file.path))
        except FileNotFoundError:
            raise JobGone("evicted") from None
        except OSError as error:
            raise Refused(f"the file can't be opened now: {error.strerror}", retry_after_s=1.0) from error
        try:
            headers |= {
                "Content-Type": uploads.media_type_or_default(file.media_type),
                "Content-Length": str(size_bytes),
                # What a handler or a client wrote must never run as a page of this server.
                "Content-Security-Policy": "sandbox",
                "X-Content-Type-Options": "nosniff",
            }
            response = web.StreamResponse(headers=headers)
            await response.prepare(request)
            if request.method != hdrs.METH_HEAD:
                at = 0
                # pread, because a read that nobody waits for any more must not move another's file.
                while chunk := await in_thread(partial(os.pread, fd, CHUNK_BYTES, at)):
                    await response.write(chunk)
                    at += len(chunk)
            await response.write_eof()
            return response
        finally:
            os.close(fd)

    # -- many jobs

    async def list_jobs(self, request: web.Request) -> web.StreamResponse:
        """GET /v1/jobs: those in `ids`, or a page of those that match."""
        given = _parameters(request, ("ids", *_LIST_PARAMETERS))
        if "ids" in given:
            if len(given) > 1:
                raise MalformedRequest("ids stands alone: it can't be combined with a filter")
            jobs = [await self._job_or_error(job_id) for job_id in _ids(given["ids"])]
            return await self._send_list(request, jobs, b"]}")
        limit, cursor = _limit(given.get("limit")), _cursor(given.get("cursor"))
        page = await self._queue.backend.page(_filter(given), limit=limit, cursor=cursor)
        end = b'],"next_cursor":' + (b"null}" if page.cursor is None else f'"{page.cursor}"}}'.encode())
        return await self._send_list(request, page.jobs, end)

    async def _job_or_error(self, job_id: str) -> Job | tuple[str, JobQueueError]:
        try:
            return await self._queue.backend.get(job_id)
        except (JobNotFound, JobGone) as error:
            return job_id, error

    async def _send_list(
        self, request: web.Request, jobs: Sequence[Job | tuple[str, JobQueueError]], end: bytes
    ) -> web.StreamResponse:
        results_bytes = sum(len(job.result or b"") for job in jobs if not isinstance(job, tuple))
        documents = self._documents(jobs)
        if results_bytes <= WHOLE_BYTES_MAX:
            return web.Response(body=b'{"jobs":[' + b",".join(documents) + end, headers=_JSON)
        response = web.StreamResponse(headers=_JSON)
        await response.prepare(request)
        if request.method != hdrs.METH_HEAD:
            before = b'{"jobs":['
            for document in documents:
                await response.write(before + document)
                before = b","
            await response.write(end)
        await response.write_eof()
        return response

    def _documents(self, jobs: Iterable[Job | tuple[str, JobQueueError]]) -> Iterable[bytes]:
        for job in jobs:
            if isinstance(job, tuple):
                yield wire.missing_document(*job)
            else:
                yield wire.job_document(job, self._queue)

    # -- queues and health

    async def list_queues(self, request: web.Request) -> web.Response:
        """GET /v1/queues"""
        queues = [wire.queue_document(stats, self._queue) for stats in self._queue.backend.stats()[1]]
        return web.Response(body=b'{"queues":[' + b",".join(queues) + b"]}", headers=_JSON)

    async def one_queue(self, request: web.Request) -> web.Response:
        """GET /v1/queues/{name}"""
        name = request.match_info["name"]
        for stats in self._queue.backend.stats()[1]:
            if stats.name == name:
                return web.Response(body=wire.queue_document(stats, self._queue), headers=_JSON)
        raise QueueNotFound(f"there is no queue {name!r}; there are: {', '.join(self._queue.settings.queues)}")

    async def livez(self, request: web.Request) -> web.Response:
        """GET /livez: the loop turns."""
        return web.Response(body=b'{"status":"alive"}', headers=_JSON)

    async def readyz(self, request: web.Request) -> web.Response:
        """GET /readyz: jobs are admitted. A full queue is ready, a draining server is not."""
        if self._queue.draining:
            raise Draining
        return web.Response(body=b'{"status":"ready"}', headers=_JSON)


@web.middleware
async def answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn whatever a handler raises into its answer."""
    try:
        return await handler(request)
    except web.HTTPException as raised:
        error: Exception = error_of(raised, request)
    except Exception as raised:
        error = raised
    if request.transport is None or request.transport.is_closing():
        return _unheard(request)
    if row_of(error) is INTERNAL:
        log.error("http.failed", exc=error, method=request.method, path=request.path)
    if request.writer.output_size > 0:  # the answer had begun: only a broken connection can still tell that it is none
        request.transport.abort()
        return _unheard(request)
    response = response_to(error)
    if not request.content.is_eof() or request.content.exception() is not None:
        # What follows a body that nobody read can't be told from the next request.
        response.force_close()
    return response


def _unheard(request: web.Request) -> web.Response:
    """Return an answer that nobody will get, since the connection is gone; aiohttp finds that out quietly."""
    request.protocol.force_close()
    return web.Response(status=499)


def _open_file(path: str) -> tuple[int, int]:
    # Neither a link to elsewhere nor a pipe that nobody fills, should something have put one there.
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    return fd, os.fstat(fd).st_size


def _matches(request: web.Request, etag: str) -> bool:
    """Tell whether If-None-Match names the tag, by weak comparison (RFC 9110, 13.1.2)."""
    given = request.headers.get(hdrs.IF_NONE_MATCH)
    if given is None:
        return False
    if given == etag:
        return True
    fields = request.headers.getall(hdrs.IF_NONE_MATCH)
    return any(field.strip() == "*" or etag[3:-1] in _ETAG.findall(field) for field in fields)


def _not_modified(headers: dict[str, str]) -> web.Response:
    del headers["Content-Type"]
    return web.Response(status=304, headers=headers)


def _parameters(request: web.Request, known: Sequence[str]) -> dict[str, str]:
    given: dict[str, str] = {}
    for name, value in request.query.items():
        if name not in known:
            raise MalformedRequest(f"unknown query parameter {name!r}; known: {', '.join(known)}")
        if name in given:
            raise MalformedRequest(f"the query parameter {name} is there twice")
        given[name] = value
    return given


def _ids(text: str) -> list[str]:
    ids = [job_id.strip() for job_id in text.split(",")]
    if len(ids) > IDS_MAX or not all(ids):
        raise MalformedRequest(f"ids takes 1 to {IDS_MAX} job ids, separated by commas; got {len(ids)}")
    return ids


def _limit(text: str | None) -> int:
    if text is None:
        return PAGE_DEFAULT
    if not text.isascii() or not text.isdecimal() or len(text) > 3 or not 1 <= int(text) <= PAGE_MAX:
        raise MalformedRequest(f"limit is a number from 1 to {PAGE_MAX}, got {text[:100]!r}")
    return int(text)


def _cursor(text: str | None) -> JobId | None:
    if text is not None and not _CURSOR.fullmatch(text):
        raise MalformedRequest(f"cursor is the next_cursor of an earlier page, got {text[:100]!r}")
    return None if text is None else JobId(text)


def _filter(given: dict[str, str]) -> JobFilter:
    state = given.get("state")
    if state is not None and state not in JobState.__members__.values():
        raise MalformedRequest(f"state is one of {', '.join(JobState)}, got {state[:100]!r}")
    return JobFilter(
        state=None if state is None else JobState(state),
        type=given.get("type"),
        queue=given.get("queue"),
        group=given.get("group"),
    )
