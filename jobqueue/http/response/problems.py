"""Problems: the one table from exception types to problem+json (RFC 9457), their count and their line in the log.

Rules:

1. A status of 4xx or 5xx has a row here, on every path. An exception that has none is a 500, INTERNAL, and logged.
2. What is rejected is decided where the exception is raised; how a problem is sent is `reply`'s.
3. `refuse` is called once for each problem that answers a request, or an item of one; or its counter, in `COUNTERS`.
"""

from __future__ import annotations

import time
from typing import Annotated, Any, NotRequired, TypedDict

import msgspec
import orjson
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from jobqueue import errors
from jobqueue.http.errors import (
    BodyTooLarge,
    BodyTooSlow,
    CallerLimitExceeded,
    CrossOrigin,
    HeadTooLarge,
    InsufficientScope,
    InvalidRequest,
    MalformedJson,
    MalformedRequest,
    MethodNotAllowed,
    MisdirectedRequest,
    NotMeasuredYet,
    NotServed,
    PathNotFound,
    QueueNotFound,
    SimulatorInUse,
    TooManyConnections,
    TooManyLongPolls,
    TypeNotFound,
    Unauthorized,
    UnknownExpectation,
    UnknownTransferCoding,
    UnsupportedMediaType,
)
from jobqueue.http.response.durations import to_milliseconds, whole_seconds
from jobqueue.log import Counter, EventLogger, event_logger

GONE_REASON = "Job-Gone-Reason"
"""The header of a 410 with its `reason`, `evicted` or `earlier-run`, since a HEAD has no body."""

DETAIL_LENGTH_MAX = 1000
"""Maximum length of a problem's detail, in characters."""

FAILURES_MAX = 100
"""Maximum number of kinds of failures with counts of their own; further ones are counted as one."""

OUT_OF_MEMORY_RETRY_AFTER_S = 2.0

_FAILED_EVERY_S = 10.0

_REFUSED_EVERY_S = 10.0
_GONE = {
    "earlier-run": "an earlier run of this server issued the id; its jobs ended with it",
    "evicted": "the record was evicted: its TTL expired, a limit of the job store was reached, or it was deleted",
}


class Row(msgspec.Struct, frozen=True, eq=False):
    """One kind of problem; hashed by identity, which costs less than by its texts."""

    slug: str
    title: str
    status: int


TABLE: dict[type[BaseException], Row] = {
    MalformedRequest: Row("malformed-request", "Malformed request", 400),
    # aiohttp's errors of a broken body, in a host application without its C parser.
    HttpProcessingError: Row("malformed-request", "Malformed request", 400),
    MalformedJson: Row("malformed-json", "Invalid JSON body", 400),
    Unauthorized: Row("unauthorized", "API key required", 401),
    InsufficientScope: Row("insufficient-scope", "API key lacks a scope", 403),
    CrossOrigin: Row("cross-origin", "Cross-origin request rejected", 403),
    PathNotFound: Row("not-found", "Not found", 404),
    errors.JobNotFound: Row("job-not-found", "Job not found", 404),
    QueueNotFound: Row("queue-not-found", "Queue not found", 404),
    errors.ScheduleNotFound: Row("schedule-not-found", "Schedule not found", 404),
    TypeNotFound: Row("type-not-found", "Job type not found", 404),
    MethodNotAllowed: Row("method-not-allowed", "Method not allowed", 405),
    BodyTooSlow: Row("body-too-slow", "Request body timeout", 408),
    errors.WrongState: Row("wrong-state", "Not possible in the job's current state", 409),
    errors.Duplicate: Row("duplicate", "Duplicate unique value", 409),
    errors.ScheduleFixed: Row("schedule-fixed", "Schedule defined in code or settings", 409),
    NotMeasuredYet: Row("not-measured", "Too little measured", 409),
    NotServed: Row("not-served", "Not possible where the API is mounted", 409),
    errors.JobGone: Row("job-gone", "Job record no longer available", 410),
    BodyTooLarge: Row("too-large", "Request too large", 413),
    UnsupportedMediaType: Row("unsupported-media-type", "Unsupported media type or encoding", 415),
    UnknownExpectation: Row("unknown-expectation", "Unsupported expectation", 417),
    MisdirectedRequest: Row("misdirected-request", "Misdirected request", 421),
    errors.UnknownType: Row("unknown-type", "Unknown job type", 422),
    errors.InvalidSubmission: Row("invalid-submission", "Invalid submission", 422),
    InvalidRequest: Row("invalid-request", "Invalid request", 422),
    errors.ConfigError: Row("invalid-settings", "Invalid settings", 422),
    errors.KeyReused: Row("idempotency-key-reused", "Idempotency key reused", 422),
    errors.RateLimited: Row("quota-exceeded", "Caller quota exceeded", 429),
    HeadTooLarge: Row("head-too-large", "Request head too large", 431),
    UnknownTransferCoding: Row("unknown-transfer-coding", "Unsupported transfer coding", 501),
    errors.NotInStore: Row("not-in-store", "Not possible with a shared store", 501),
    errors.QueueFull: Row("queue-full", "Queue full", 503),
    errors.TypeQuarantined: Row("type-quarantined", "Job type quarantined", 503),
    errors.StatusesFull: Row("statuses-full", "Job store full", 503),
    errors.SpoolFull: Row("spool-full", "Spool full", 503),
    errors.JournalFull: Row("journal-full", "Journal full", 503),
    errors.StoreUnavailable: Row("store-unavailable", "Store unavailable", 503),
    errors.JournalFailed: Row("journal-failed", "Journal can't be written", 503),
    errors.Overloaded: Row("overloaded", "Server overloaded", 503),
    TooManyLongPolls: Row("too-many-long-polls", "Too many open long polls and streams", 503),
    SimulatorInUse: Row("simulator-in-use", "Another simulation runs", 503),
    errors.Draining: Row("draining", "Server shutting down", 503),
    errors.Recovering: Row("recovering", "Server recovering its jobs", 503),
    errors.Refused: Row("refused", "Temporarily unavailable", 503),
    TooManyConnections: Row("too-many-connections", "Too many connections", 503),
}


TABLE[MemoryError] = TABLE[errors.Overloaded]


class _FailureKind:
    """One kind of failure, with a logger and counts of its own."""

    __slots__ = ("due_at", "log")

    def __init__(self, log: EventLogger) -> None:
        self.log = log
        self.due_at = 0.0


INTERNAL = Row("internal", "Internal server error", 500)


class FaultDocument(TypedDict):
    """One fault of a request's document.

    Attributes:
        pointer: JSON pointer (RFC 6901) to the faulty member; empty: the whole document.
        detail: What is wrong, and what would be right.
    """

    pointer: str
    detail: str


class ProblemDocument(TypedDict):
    """A problem (RFC 9457): why a request was not answered as it asked.

    Attributes:
        type: The kind of problem, for programs.
        title: The kind of problem, for readers.
        status: The status code.
        detail: What is wrong, and what would be right.
        errors: All faults of the request's document. Of `invalid-submission`, `invalid-request` and `unknown-type`.
        faults: All faults of the settings. Of a reload.
        id: The job that has the unique value. Of `duplicate`.
        reason: Why there is no record. Of `job-gone`.
        retry_after_s: Seconds after which to try again. Of every 429 and 503.
        scope: The scope that the key lacks. Of `insufficient-scope`.
        state: The state of the job. Of `wrong-state`.
    """

    type: str
    title: str
    status: Annotated[int, msgspec.Meta(ge=400, le=599)]
    detail: str
    errors: NotRequired[list[FaultDocument]]
    faults: NotRequired[list[str]]
    id: NotRequired[str]
    reason: NotRequired[str]
    retry_after_s: NotRequired[Annotated[float, msgspec.Meta(ge=0.0)]]
    scope: NotRequired[str]
    state: NotRequired[str]


class Problem(msgspec.Struct, frozen=True):
    """A problem: the document's members, and headers."""

    row: Row
    members: dict[str, Any]
    headers: dict[str, str]

    @property
    def json(self) -> bytes:
        """The document."""
        return orjson.dumps(self.members)


def row_of(error: BaseException) -> Row:
    """Look up an exception in the table; INTERNAL if neither it nor a base class is there."""
    row = TABLE.get(type(error))
    return row if row is not None else next((TABLE[kind] for kind in type(error).__mro__ if kind in TABLE), INTERNAL)


def problem_of(error: BaseException) -> Problem:
    """Return the problem of an exception; an unknown one is a 500 without detail."""
    row = row_of(error)
    members = members_of(row, "unexpected error; see the server's log" if row is INTERNAL else str(error))
    headers: dict[str, str] = {}
    match error:  # the most frequent first
        case errors.JobNotFound():
            pass
        case errors.Refused():
            members["retry_after_s"] = to_milliseconds(error.retry_after_s)
            headers["Retry-After"] = str(whole_seconds(error.retry_after_s))
            if isinstance(error, CallerLimitExceeded):
                headers |= error.headers
        case errors.InvalidSubmission():
            if error.errors:
                members["detail"] = _first_fault(error)
            members["errors"] = [{"pointer": fault.pointer, "detail": fault.detail} for fault in error.errors]
            if error.more:
                members["errors"].append({"pointer": "", "detail": f"and {error.more:,} more"})
        case errors.ConfigError():
            members["detail"] = _first_of(error.faults)
            members["faults"] = [errors.shown(fault, DETAIL_LENGTH_MAX) for fault in error.faults[: errors.FAULTS_MAX]]
        case errors.JobGone():
            members["detail"] = _GONE.get(error.reason, error.reason)
            members["reason"] = headers[GONE_REASON] = error.reason
        case errors.WrongState():
            members["state"] = headers["Job-State"] = error.state
        case errors.Duplicate():
            members["id"] = error.job_id
        case Unauthorized():
            headers["WWW-Authenticate"] = error.challenge
        case InsufficientScope():
            headers["WWW-Authenticate"] = error.challenge
            members["scope"] = error.scope
        case MethodNotAllowed():
            headers["Allow"] = error.allowed
        case UnsupportedMediaType():
            headers |= error.headers
        case MemoryError():
            members["detail"] = "the server is out of memory"
            members["retry_after_s"] = OUT_OF_MEMORY_RETRY_AFTER_S
            headers["Retry-After"] = str(whole_seconds(OUT_OF_MEMORY_RETRY_AFTER_S))
    return Problem(row, members, headers)


def members_of(row: Row, detail: str) -> dict[str, Any]:
    """Return the members that every problem has."""
    return {
        "type": f"/problems/{row.slug}",
        "title": row.title,
        "status": row.status,
        "detail": detail if len(detail) <= DETAIL_LENGTH_MAX else errors.shown(detail, DETAIL_LENGTH_MAX),
    }


def _first_of(faults: tuple[str, ...]) -> str:
    return f"{faults[0]}; and {len(faults) - 1:,} more" if len(faults) > 1 else "".join(faults)


def _first_fault(error: errors.InvalidSubmission) -> str:
    """Return the first fault, and the number of others: all are in the member `errors`."""
    others = len(error.errors) - 1 + error.more
    return f"{error.errors[0]}; and {others:,} more" if others else str(error.errors[0])


def without_errors(problem: Problem) -> bytes:
    """Return the body of a problem without its list of faults."""
    members = {name: value for name, value in problem.members.items() if name != "errors"}
    members["detail"] = errors.shown(members["detail"])
    return orjson.dumps(members)


def refuse(error: BaseException, fields: dict[str, object] | None = None) -> Problem:
    """Return the problem that answers an exception, and count it; log it if it is INTERNAL.

    The count is logged now and then (`http.refused`): there is no line for each problem.

    Args:
        fields: Of the line in the log: what the exception was raised for.
    """
    problem = problem_of(error)
    if problem.row is INTERNAL:
        _log_internal(error, fields or {})
    COUNTERS[problem.row].add()
    return problem


def _log_internal(error: BaseException, about_request: dict[str, object]) -> None:
    """Log the cause of a 500: the first of a kind with its traceback, further ones soon after by their count."""
    at = error.__traceback__
    while at is not None and at.tb_next is not None:
        at = at.tb_next
    where = "" if at is None else f"{at.tb_frame.f_code.co_filename}:{at.tb_lineno}"
    kind = f"{type(error).__name__} {where}"
    sample = _failures.get(kind)
    if sample is None:
        if len(_failures) >= FAILURES_MAX:
            kind = ""
        sample = _failures.setdefault(kind, _FailureKind(event_logger(__name__)))
    now = time.monotonic()
    if now >= sample.due_at:
        sample.due_at = now + _FAILED_EVERY_S
        sample.log.error("http.internal_error", exc=error, **about_request)
    else:  # without the exception, which would keep its frames, and so its request, until the count is logged
        sample.log.sampled(
            "http.internal_error", every_s=_FAILED_EVERY_S, error=type(error).__name__, at=where, **about_request
        )


def header_text(value: str) -> str:
    """Quote a header's value for a message: in ASCII, and of bounded length."""
    return ascii(value if len(value) <= errors.SHOWN_MAX else f"{value[: errors.SHOWN_MAX - 3]}...")


def error_of(raised: web.HTTPException, request: web.BaseRequest) -> errors.JobQueueError:
    """Convert an exception of aiohttp (routing, Expect) to one of ours."""
    match raised:
        case web.HTTPMethodNotAllowed():
            return MethodNotAllowed(errors.shown(raised.method), ", ".join(sorted(raised.allowed_methods)))
        case web.HTTPExpectationFailed():
            return UnknownExpectation("the only supported expectation is 100-continue")
        case web.HTTPNotFound():
            return PathNotFound(f"no resource has the path {errors.shown(request.path)}")
        case _:
            return MalformedRequest(raised.text or raised.reason)


def _counter_of(row: Row) -> Counter:
    log = event_logger(__name__)
    return log.counter("http.refused", every_s=_REFUSED_EVERY_S, problem=row.slug, status=row.status)


_failures: dict[str, _FailureKind] = {}

COUNTERS: dict[Row, Counter] = {row: _counter_of(row) for row in (*TABLE.values(), INTERNAL)}
"""One for each kind, so that each has a count of its own."""
