"""Responses: replies as aiohttp's responses, and the handling of a rejected request's connection."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import hdrs, web

from jobqueue.errors import Refused
from jobqueue.http.cut import cut
from jobqueue.http.response.long_response import LongResponse, document_pieces, whole_answer
from jobqueue.http.response.problems import refuse
from jobqueue.http.response.reply import NO_TAGS, RESULT_BYTES_MAX, job_reply, opaque_tags, problem_reply

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jobqueue.core.job_view import AnyJob
    from jobqueue.http.response.problems import Problem
    from jobqueue.service import Service

SMALL_BODY_BYTES = 64 * 1024
"""An unread body up to this length is skipped after a rejection, if it comes soon, and the connection is kept."""

_NO_HEADERS: Mapping[str, str] = {}


def job_answer(
    request: web.Request, job: AnyJob, service: Service, more: Mapping[str, str] = _NO_HEADERS
) -> web.StreamResponse:
    """Answer with a job: the status code says whether it is terminal, or that the client has this version of it.

    Args:
        more: Headers beside those of every such answer.
    """
    estimate = service.backend.estimate(job) if job.live else None
    reply = job_reply(job, estimate, known_tags(request), request.method == hdrs.METH_HEAD, service)
    status, headers, body = reply.head.status, {**reply.headers, **more}, reply.body
    if body is None:
        return web.Response(status=status, headers=headers)
    if job.result is None or len(job.result) <= RESULT_BYTES_MAX:
        return whole_answer(request, body, headers, status=status)
    pieces = document_pieces(service, body, job.id, len(job.result))
    return LongResponse(request, pieces, headers, status=status, size_bytes=reply.size_bytes - 1)


def known_tags(request: web.Request) -> tuple[str, ...]:
    """Return the entity tags that a GET or HEAD names in If-None-Match; other methods name none."""
    if hdrs.IF_NONE_MATCH not in request.headers or request.method not in (hdrs.METH_GET, hdrs.METH_HEAD):
        return NO_TAGS
    return opaque_tags(request.headers.getall(hdrs.IF_NONE_MATCH))


def problem_response(problem: Problem) -> web.Response:
    """Answer with a problem."""
    reply = problem_reply(problem)
    assert reply.body is not None, "every problem has a document"
    return web.Response(status=reply.head.status, body=reply.body + b"\n", headers=reply.headers)


def closing_problem(error: BaseException) -> web.Response:
    """Answer with a problem, and close the connection: what follows can't be told from the request's body."""
    response = problem_response(refuse(error))
    response.force_close()
    return response


def error_answer(request: web.Request, error: Exception) -> web.Response:
    """Return the response of a handler's exception."""
    if request.transport is None or request.transport.is_closing():
        return _unheard(request)
    problem = refuse(error, {"method": request.method, "path": request.path})
    if request.writer.output_size > 0:  # the response had begun: only a cut can still mark it as incomplete
        cut(request.transport)
        return _unheard(request)
    response = problem_response(problem)
    if getattr(request.protocol, "refused", False):
        response.force_close()
    elif not request.content.is_eof() or request.content.exception() is not None:
        length = request.content_length
        small = isinstance(error, Refused) and length is not None and length <= SMALL_BODY_BYTES
        if not small or request.content.exception() is not None:
            # The rest of an unread body can't be told from the next request.
            response.force_close()
    return response


def _unheard(request: web.Request) -> web.Response:
    """Return a response for a lost connection: it is never sent, and aiohttp ignores that quietly."""
    request.protocol.force_close()
    return web.Response(status=499)
