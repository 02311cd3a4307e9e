"""Answers: what every resource that answers with a job has in common, and every one that doesn't.

It owns the headers and the status code of an answer with a job, the comparison of entity tags, and what
becomes of a connection whose request was refused. What a document looks like is `documents`', what a
refusal looks like is `problems`'.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from aiohttp import hdrs, web
from msgspec.structs import replace

from jobqueue.errors import Refused
from jobqueue.http.cut import cut
from jobqueue.http.response.documents import etag, job_document
from jobqueue.http.response.long_response import WHOLE_BYTES_MAX, LongResponse, document_pieces, whole_answer
from jobqueue.http.response.problems import CACHE_CONTROL, INTERNAL, SERVER, report, response_to, row_of
from jobqueue.log import event_logger

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jobqueue.app import JobQueue
    from jobqueue.core.job import Job

COMMON = {"Server": SERVER, "Cache-Control": CACHE_CONTROL}
JSON = {**COMMON, "Content-Type": "application/json"}
DEDUPLICATED = {"Job-Deduplicated": "true"}

SMALL_BODY_BYTES = 64 * 1024
"""A body of this length that a refusal leaves unread is passed over, if it comes soon, and the connection is kept."""

_ETAG = re.compile(r'"([^"]*)"')
_NO_HEADERS: Mapping[str, str] = {}

log = event_logger(__name__)


def job_answer(
    request: web.Request, job: Job, queue: JobQueue, more: Mapping[str, str] = _NO_HEADERS
) -> web.StreamResponse:
    """Answer a look at a job: the code says whether it is over; 304 if the client has this version of it.

    A HEAD gets the same, and no JSON is built for it.

    Args:
        more: Headers beside those of every such answer.
    """
    estimate = queue.backend.estimate(job) if job.live else None
    headers = {**JSON, "Job-State": job.state, "ETag": etag(job), **more}
    if estimate is not None:
        headers["Retry-After"] = str(max(1, math.ceil(estimate.poll_after_s)))
    if matches(request, headers["ETag"]):
        return not_modified(headers)
    status = 202 if job.live else 200
    if request.method == hdrs.METH_HEAD:
        return web.Response(status=status, headers=headers)
    result_bytes = len(job.result or b"")
    if result_bytes <= WHOLE_BYTES_MAX:
        return whole_answer(request, job_document(job, queue, estimate), headers, status=status)
    document = job_document(replace(job, result=None), queue, estimate)
    size_bytes = len(document) - len(b"null") + result_bytes
    pieces = document_pieces(queue, document, job.id, result_bytes)
    return LongResponse(request, pieces, headers, status=status, size_bytes=size_bytes)


def matches(request: web.Request, tag: str) -> bool:
    """Tell whether the If-None-Match of a GET or HEAD names the tag, by weak comparison (RFC 9110, 13.1.2)."""
    given = request.headers.get(hdrs.IF_NONE_MATCH)
    if given is None or request.method not in (hdrs.METH_GET, hdrs.METH_HEAD):
        return False
    if given == tag:
        return True
    fields = request.headers.getall(hdrs.IF_NONE_MATCH)
    return any(field.strip() == "*" or tag[3:-1] in _ETAG.findall(field) for field in fields)


def not_modified(headers: dict[str, str]) -> web.Response:
    """Answer that nothing has changed."""
    del headers["Content-Type"]
    return web.Response(status=304, headers=headers)


def error_answer(request: web.Request, error: Exception) -> web.Response:
    """Answer whatever a handler raised."""
    if request.transport is None or request.transport.is_closing():
        return _unheard(request)
    if row_of(error) is INTERNAL:
        report(error, method=request.method, path=request.path)
    if request.writer.output_size > 0:  # the answer had begun: only a broken connection can still tell that it is none
        cut(request.transport)
        return _unheard(request)
    response = response_to(error)
    if getattr(request.protocol, "deaf", False):
        response.force_close()
    elif not request.content.is_eof() or request.content.exception() is not None:
        length = request.content_length
        small = isinstance(error, Refused) and length is not None and length <= SMALL_BODY_BYTES
        if not small or request.content.exception() is not None:
            # What follows a body that nobody read can't be told from the next request.
            response.force_close()
    return response


def _unheard(request: web.Request) -> web.Response:
    """Return an answer that nobody will get, since the connection is gone; aiohttp finds that out quietly."""
    request.protocol.force_close()
    return web.Response(status=499)
