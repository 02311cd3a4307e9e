"""Answers with a job and the parts of its record that the request includes.

Rules:

1. The document is that of any other answer, byte for byte, and the included members follow.
2. The entity tag is the job's version and a digest of the included members: their changes are seen by a condition, the
   estimates of a live job are not, as everywhere.
3. Arguments are written from the record's own bytes; long ones are sent in pieces, and count in the in-flight budget.
   Those that the handler redacts are made anew, within `REDACTED_BYTES_MAX`.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import msgspec
from aiohttp import web

from jobqueue.core.job import RUNNING
from jobqueue.handlers.redaction import HIDDEN
from jobqueue.http.resources.included_document import (
    FileDocument,
    LineageDocument,
    ResultFileDocument,
    SpecDocument,
    UniqueDocument,
    WorkerDocument,
)
from jobqueue.http.response.long_response import (
    PIECE_BYTES,
    WHOLE_BYTES_MAX,
    LongResponse,
    document_pieces,
    whole_answer,
)
from jobqueue.http.response.reply import ANY_TAG, NO_TAGS, RESULT_BYTES_MAX, job_reply, names_tag
from jobqueue.http.response.responses import known_tags
from jobqueue.http.response.timestamps import timestamp

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping

    from jobqueue.core.job_view import JobView
    from jobqueue.core.lineage import Lineage
    from jobqueue.handlers import RunIn
    from jobqueue.service import Service

PARENTS_SHOWN_MAX = 1000
"""Parents of a job whose ids are told."""

_encode = msgspec.json.Encoder().encode
_HIDDEN = _encode(HIDDEN)


def included_answer(
    request: web.Request,
    job: JobView,
    service: Service,
    names: frozenset[str],
    events_of: Callable[[str], bytes],
    more: Mapping[str, str],
) -> web.StreamResponse:
    """Answer with a job and the included members.

    Args:
        names: Of `INCLUDABLE`.
        events_of: Returns the recorded events of a job, as JSON.
        more: Headers beside those of every answer with a job.
    """
    members, args = _members(job, service, names, events_of), b""
    if "args" in names:
        members += b',"args":'
        args = shown_args(job, service)
    opaque_tag = f'"{job.version}-{zlib.crc32(args, zlib.crc32(members)):x}"'
    told = {"ETag": f"W/{opaque_tag}", **more}
    estimate = service.backend.estimate(job) if job.live else None
    if names_tag(known_tags(request), opaque_tag):
        unchanged = job_reply(job, estimate, ANY_TAG, True, service)
        return web.Response(status=unchanged.head.status, headers={**unchanged.headers, **told})
    reply = job_reply(job, estimate, NO_TAGS, False, service)
    assert reply.body is not None, "only an unchanged job has no document"
    status, headers = reply.head.status, {**reply.headers, **told}
    document = reply.body[:-1] + members
    result_bytes = len(job.result or b"")
    if len(document) + len(args) <= WHOLE_BYTES_MAX and result_bytes <= RESULT_BYTES_MAX:
        return whole_answer(request, document + args + b"}", headers, status=status)
    size_bytes = reply.size_bytes - 1 + len(members) + len(args)  # that size has a line break, and the brace
    pieces = _pieces(service, document, job.id, result_bytes, args)
    held_bytes = len(document) + len(args)
    return LongResponse(request, pieces, headers, status=status, size_bytes=size_bytes, held_bytes=held_bytes)


async def _pieces(
    service: Service, document: bytes, job_id: str, result_bytes: int, args: bytes
) -> AsyncGenerator[bytes]:
    if result_bytes > RESULT_BYTES_MAX:
        async for piece in document_pieces(service, document, job_id, result_bytes):
            yield piece
    else:
        yield document
    for at in range(0, len(args), PIECE_BYTES):
        yield args[at : at + PIECE_BYTES]
    yield b"}"


def _members(job: JobView, service: Service, names: frozenset[str], events_of: Callable[[str], bytes]) -> bytes:
    """Return the included members but for the arguments, which may be long: each begins with a comma."""
    written = b""
    if "spec" in names:
        written += b',"spec":' + _encode(_spec(job, service))
    if "files" in names:
        file = job.file
        result_file = None if file is None else ResultFileDocument(file.media_type, file.size_bytes)
        written += b',"files":%b,"result_file":%b' % (_encode(_files(job)), _encode(result_file))
    if "events" in names:
        written += b',"events":' + events_of(job.id)
    return written


def shown_args(job: JobView, service: Service) -> bytes:
    """Return a job's arguments as they are shown, as JSON: redacted; null, where they were released."""
    if not job.args:  # a terminal job that no retry can need them for has released them
        return b"null"
    handler = service.registry.find(job.spec.type)
    if handler is None:  # so it isn't known what it redacts
        return _HIDDEN
    return job.args if handler.redaction is None else handler.redaction.apply(job.args)


def _spec(job: JobView, service: Service) -> SpecDocument:
    spec, uniqueness = job.spec, job.uniqueness
    unique = None if uniqueness is None else uniqueness.unique
    key = None if uniqueness is None else uniqueness.key
    run_in: RunIn = "loop" if spec.pool is None else "process" if spec.pool == "process" else "thread"
    return SpecDocument(
        run_in=run_in,
        timeout_s=spec.timeout_s,
        start_by_at=None if job.start_by_at is None else timestamp(service.wall(job.start_by_at)),
        ttl_s=spec.ttl_s,
        unique=None if unique is None else UniqueDocument(unique.value, unique.mode),
        idempotency_key=None if key is None else key.key,
        caller=job.caller,
        worker=WorkerDocument(run_in, service.pid_of(job.id, run_in)) if job.state is RUNNING else None,
        lineage=None if job.lineage is None else _lineage(job.lineage),
    )


def _lineage(lineage: Lineage) -> LineageDocument:
    parents = lineage.parents
    return LineageDocument(
        flow=lineage.flow,
        name=lineage.name,
        after=parents[:PARENTS_SHOWN_MAX],
        after_count=len(parents),
        on_failure=lineage.on_failure,
    )


def _files(job: JobView) -> list[FileDocument]:
    parts = {} if job.upload is None else job.upload.files
    return [
        FileDocument(part, file.filename or None, file.media_type, file.size_bytes)
        for part, files in parts.items()
        for file in files
    ]
