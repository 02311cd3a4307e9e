"""The JSON of the API: a submission from bytes, and a job, a queue or a time to bytes.

It owns what counts as acceptable JSON, and the form of every document. It must not know
requests and responses, nor what a handler's arguments may be.

A submission's arguments, and a job's result, pass through as the bytes that they are.
"""

from __future__ import annotations

import functools
import gc
import math
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec
import orjson

from jobqueue.errors import InvalidField, InvalidSubmission, JobQueueError
from jobqueue.handlers import Submission, escape, field_of
from jobqueue.http.problems import MalformedJson, problem_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jobqueue.app import JobQueue
    from jobqueue.backend.base import QueueStats
    from jobqueue.core.job import Job

DEPTH_MAX = 32
INTEGER_MIN, INTEGER_MAX = -(2**63), 2**64 - 1
FAULTS_MAX = 50
MANY_BRACKETS = 1000
POLL_AFTER_S = 1
"""How long a client should wait before it looks at a live job again."""

_LONG_DIGITS = re.compile(rb"\d{19,}+")
_IN_FLOAT = frozenset({b".", b"e", b"E", b"+"})
_TO_SQUARE = bytes.maketrans(b"{}", b"[]")
_NEITHER_BRACKET_NOR_QUOTE = bytes(set(range(256)) - set(b'[]{}"'))
_DIGITS_MAX = len(str(INTEGER_MAX)) + 1

_parse = orjson.loads
_decoder = msgspec.json.Decoder(Submission)


# -- from bytes


def decode_submission(body: bytes | bytearray) -> Submission:
    """Read a submission; of duplicate keys the last wins.

    Raises:
        MalformedJson: Not JSON, or JSON with a number or a depth that could not be kept as it is.
        InvalidSubmission: A field is unknown, missing, or not as it must be; all faults, with pointers.
    """
    document = _loads(body)
    try:
        return _decoder.decode(body)
    except msgspec.ValidationError as fault:
        faults = _faults(document)
        if faults:
            raise InvalidSubmission(*faults) from None
        # Only the earlier values of duplicate keys were wrong, and the last ones count.
        last_ones = orjson.dumps(document)
        if last_ones == body:
            raise InvalidSubmission(field_of(fault)) from None
        return decode_submission(last_ones)
    except msgspec.DecodeError as fault:
        raise MalformedJson(f"the body is not JSON: {fault}") from None


def _loads(body: bytes | bytearray) -> Any:
    """Parse a document, strictly: what gets past here has one meaning, in every parser."""
    brackets = body.count(b"[") + body.count(b"{")
    try:
        document = _parse(body) if brackets < MANY_BRACKETS else _parse_without_collector(body)
    except orjson.JSONDecodeError as error:
        raise MalformedJson(f"the body is not JSON: {error}") from None
    if brackets > DEPTH_MAX:
        _check_depth(body)
    if _LONG_DIGITS.search(body):
        _check_integers(body)
    return document


def _parse_without_collector(body: bytes | bytearray) -> Any:
    # A megabyte of brackets is 350,000 new lists, over which the collector would run 500 times.
    collected = gc.isenabled()
    gc.disable()
    try:
        return _parse(body)
    finally:
        if collected:
            gc.enable()


def _check_depth(body: bytes | bytearray) -> None:
    marks = _without_escapes(body).translate(_TO_SQUARE, _NEITHER_BRACKET_NOR_QUOTE)
    # Strings without brackets are pairs of quotes now; taking them away leaves few to split at.
    brackets = b"".join(marks.replace(b'""', b"").split(b'"')[::2])
    for _ in range(DEPTH_MAX):
        # Each round takes the innermost pairs away: in valid JSON they are balanced.
        brackets = brackets.replace(b"[]", b"")
    if brackets:
        raise MalformedJson(f"the body is nested more than {DEPTH_MAX} levels deep")


def _check_integers(body: bytes | bytearray) -> None:
    outside_strings = b'"'.join(_without_escapes(body).split(b'"')[::2])
    for run in _LONG_DIGITS.finditer(outside_strings):
        start, end = run.span()
        sign = outside_strings[start - 1 : start]
        before = outside_strings[start - 2 : start - 1] if sign == b"-" else sign
        # Digits of a fraction or an exponent, or in front of one, are a float's.
        if before in _IN_FLOAT or outside_strings[end : end + 1] in _IN_FLOAT:
            continue
        digits = (b"-" if sign == b"-" else b"") + run[0]
        if not _fits(digits):
            shown = digits[:40].decode() + ("…" if len(digits) > 40 else "")
            raise MalformedJson(f"the integer {shown} is outside of {INTEGER_MIN} … {INTEGER_MAX}: send it as a string")


def _without_escapes(body: bytes | bytearray) -> bytes:
    """Take the escaped backslashes and quotes out: every quote that is left begins or ends a string."""
    return bytes(body).replace(b"\\\\", b"").replace(b'\\"', b"")


def _fits(digits: bytes) -> bool:
    return len(digits) <= _DIGITS_MAX and INTEGER_MIN <= int(digits) <= INTEGER_MAX


def _faults(document: Any) -> list[InvalidField]:
    """Find every fault of a submission, field by field: msgspec stops at the first."""
    if not isinstance(document, dict):
        return [InvalidField(pointer="", detail='expected an object with at least the field "type"')]
    faults = []
    for fault in _field_faults(document):
        faults.append(fault)
        if len(faults) == FAULTS_MAX:
            break
    return faults


def _field_faults(document: dict[str, Any]) -> Iterator[InvalidField]:
    fields = {field.name: field for field in msgspec.structs.fields(Submission)}
    for name, value in document.items():
        field = fields.get(name)
        if field is None:
            yield InvalidField(pointer=f"/{escape(name)}", detail=f"unknown field; known: {', '.join(fields)}")
        elif field.type is not msgspec.Raw:
            try:
                msgspec.convert(value, field.type)
            except msgspec.ValidationError as fault:
                yield field_of(fault, f"/{name}")
    for name, field in fields.items():
        if field.required and name not in document:
            yield InvalidField(pointer=f"/{name}", detail="missing; this field is required")


# -- to bytes


def job_document(job: Job, queue: JobQueue) -> bytes:
    """Return a job's document; its result stands in it as the bytes that it is."""
    spec, progress, error = job.spec, job.progress, job.error
    members = {
        "id": job.id,
        "type": spec.type,
        "queue": spec.queue,
        "state": job.state,
        "attempt": job.attempt,
        "attempts_max": spec.attempts_max,
        "priority": spec.priority,
        "group": spec.group,
        "created_at": timestamp(queue.wall(job.created_at)),
        "run_at": timestamp(queue.wall(job.run_at)),
        "started_at": None if job.started_at is None else timestamp(queue.wall(job.started_at)),
        "finished_at": None if job.finished_at is None else timestamp(queue.wall(job.finished_at)),
        "progress": None if progress is None else {"fraction": progress.fraction, "note": progress.note},
        "position": None,
        "eta_s": None,
        "poll_after_ms": POLL_AFTER_S * 1000 if job.live else None,
        "result": None if job.result is None else orjson.Fragment(job.result),
        "error": None if error is None else {"code": error.code, "message": error.message},
    }
    return orjson.dumps(members)


def missing_document(job_id: str, error: JobQueueError) -> bytes:
    """Return what stands in a list in the place of a job that can't be told."""
    problem = problem_of(error)
    head = orjson.dumps({"id": job_id, "status": problem.row.status})
    return head[:-1] + b',"problem":' + problem.body + b"}"


def queue_document(stats: QueueStats, queue: JobQueue) -> bytes:
    """Return a queue's document: its size, what it holds now, and its counters since start."""
    oldest_at = stats.oldest_queued_at
    settings = queue.settings.queues[stats.name]
    return orjson.dumps(
        {
            "name": stats.name,
            "workers": settings.workers,
            "capacity": stats.capacity,
            "delayed": stats.delayed,
            "queued": stats.queued,
            "running": stats.running,
            "oldest_queued_at": None if oldest_at is None else timestamp(queue.wall(oldest_at)),
            "oldest_queued_s": None if oldest_at is None else round(queue.backend.now() - oldest_at, 3),
            "submitted_total": stats.submitted_total,
            "refused_total": stats.refused_total,
            "succeeded_total": stats.succeeded_total,
            "failed_total": stats.failed_total,
            "cancelled_total": stats.cancelled_total,
            "expired_total": stats.expired_total,
        }
    )


def etag(job: Job) -> str:
    """Return the entity tag of a job's document: weak, because hints in it change without the job."""
    return f'W/"{job.version}"'


def timestamp(seconds: float) -> str:
    """Write Unix seconds as RFC 3339, in UTC, with milliseconds."""
    whole = math.floor(seconds)
    return f"{_second(whole)}.{int((seconds - whole) * 1000):03d}Z"


@functools.lru_cache(maxsize=1024)
def _second(seconds: int) -> str:
    # Kept, because the times of a job, and of jobs that are asked for together, share their seconds.
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
