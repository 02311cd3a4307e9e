"""Replies: the content of a response with a job or a problem, in the form common to both HTTP paths.

A reply is made once, by `job_reply` or `problem_reply`, and written out by one of two serialisers: `raw_reply` gives
the bytes that the fast path sends, `responses` makes what aiohttp sends.

Rules:

1. A job's status code is 202 while it is live, 200 once it is terminal, and 304 if the request names its entity tag.
2. The entity tag is the job's version, and weak: hints in its document change without it. Tags are compared weakly, by
   the quoted part, quotes included (RFC 9110, sections 8.8.3.2 and 13.1.2).
3. `Retry-After` is a whole number of seconds, rounded up, 1 at the least. Only live jobs and rejections have one.
4. All that is the same for every job in one state and version is made once, in both forms, and shared.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, final

import orjson
from msgspec.structs import replace
from mypy_extensions import mypyc_attr

from jobqueue import caches
from jobqueue.core.job import LIVE, JobState
from jobqueue.core.job_view import view_of
from jobqueue.core.record import Record
from jobqueue.http.response.documents import job_document
from jobqueue.http.response.durations import to_milliseconds, whole_seconds
from jobqueue.http.response.problems import (
    COUNTERS,
    INTERNAL,
    TABLE,
    members_of,
    row_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jobqueue.core.job import Job
    from jobqueue.core.job_view import AnyJob
    from jobqueue.core.scheduling.eta import Estimate
    from jobqueue.errors import Refused
    from jobqueue.http.response.problems import Problem
    from jobqueue.log import Counter
    from jobqueue.service import Service

SERVER: Final = "jobqueue"
COMMON: Final = {"Server": SERVER, "Cache-Control": "private, no-cache"}
JSON: Final = {**COMMON, "Content-Type": "application/json"}
PROBLEM: Final = {
    "Content-Type": "application/problem+json",
    "Cache-Control": COMMON["Cache-Control"],
    "Server": SERVER,
}
DEDUPLICATED: Final = {"Job-Deduplicated": "true"}

RESULT_BYTES_MAX: Final = 256 * 1024
"""A longer result is left out of the body: it is sent after it in pieces, as the client takes them."""

JOB_HEADS_MAX: Final = 1024
"""Heads of jobs that are kept for each state: one for each version."""

REFUSALS_MAX: Final = 256
"""Rejections that are kept of each kind: at one time, few differ in more than their wait."""

LINES_MAX: Final = 1024
"""Header lines that are kept of each kind. What is kept is cleared when it is full."""

NO_TAGS: Final[tuple[str, ...]] = ()
"""The request has no If-None-Match: the answer is the job whatever its version."""

ANY_TAG: Final[tuple[str, ...]] = ("*",)
"""The request's If-None-Match is `*`: every tag is in it (`names_tag`). No opaque tag equals it: those have quotes."""

_dumps: Final = orjson.dumps
_OPAQUE_TAG: Final = re.compile(r'"[^"]*"')


@final
@mypyc_attr(acyclic=True)
class ReplyHead(Record):
    """The part of a head that many replies share, in both forms.

    Attributes:
        raw: The status line and the header lines as they are sent.
    """

    status: int
    headers: dict[str, str]
    raw: bytes

    def __init__(self, status: int, headers: dict[str, str], raw: bytes) -> None:
        self.status = status
        self.headers = headers
        self.raw = raw


@final
@mypyc_attr(acyclic=True)
class Reply(Record):
    """An answer without the lines of its length and its date.

    Attributes:
        retry_after_s: Whole seconds of `Retry-After`; 0: there is none.
        body: JSON, without the line break that follows it; None: there is none, as for a HEAD and with a 304.
        size_bytes: Length of the body as it is sent: with the line break, and with the result that `body` lacks if that
            is over RESULT_BYTES_MAX.
        more: Headers beside those of the head.
    """

    head: ReplyHead
    retry_after_s: int
    body: bytes | None
    size_bytes: int
    more: dict[str, str] | None

    def __init__(
        self,
        head: ReplyHead,
        retry_after_s: int = 0,
        body: bytes | None = None,
        size_bytes: int = 0,
        more: dict[str, str] | None = None,
    ) -> None:
        self.head = head
        self.retry_after_s = retry_after_s
        self.body = body
        self.size_bytes = size_bytes
        self.more = more

    @property
    def headers(self) -> dict[str, str]:
        """All headers, for a serialiser that takes them by name."""
        headers = {**self.head.headers, **(self.more or {})}
        if self.retry_after_s:
            headers["Retry-After"] = str(self.retry_after_s)
        return headers


@final
@mypyc_attr(acyclic=True)
class _JobHead(Record):
    """What all replies with jobs in one state and version share.

    Attributes:
        opaque_tag: The entity tag as it is compared: with its quotes, without `W/`.
        raw: The head of `reply` as it is sent.
        reply: To a HEAD; of a terminal job it is whole.
        unchanged: The 304.
    """

    opaque_tag: str
    raw: bytes
    reply: Reply
    unchanged: Reply

    def __init__(self, opaque_tag: str, raw: bytes, reply: Reply, unchanged: Reply) -> None:
        self.opaque_tag = opaque_tag
        self.raw = raw
        self.reply = reply
        self.unchanged = unchanged


_job_heads: Final[dict[JobState, dict[int, _JobHead]]] = {state: {} for state in JobState}


def job_reply(
    job: AnyJob, estimate: Estimate | None, known_tags: tuple[str, ...], head_only: bool, service: Service
) -> Reply:
    """Return the reply with a job.

    Args:
        estimate: Of a live job; None for a terminal one.
        known_tags: The tags that the request names, as `opaque_tags` returns them.
        head_only: The request is a HEAD: no document is made.
        service: Has the wall clock, and the setting of tracebacks in documents.
    """
    known = _job_heads[job.state].get(job.version) or _make_job_head(job.state, job.version)
    reply = known.reply
    if known_tags and (known.opaque_tag in known_tags or known_tags == ANY_TAG):  # inline, as it runs for most polls
        reply = known.unchanged
    elif not head_only:
        retry_after_s = 0 if estimate is None else whole_seconds(estimate.poll_after_s)
        result = job.result
        if result is None or len(result) <= RESULT_BYTES_MAX:
            body = job_document(job, service, estimate)
            return Reply(reply.head, retry_after_s, body, len(body) + 1)
        body = job_document(replace(view_of(job), result=None), service, estimate)
        return Reply(reply.head, retry_after_s, body, len(body) - len(b"null") + len(result) + 1)
    return reply if estimate is None else Reply(reply.head, whole_seconds(estimate.poll_after_s))


@final
@mypyc_attr(acyclic=True)
class _Refusal(Record):
    """What rejections of one kind and detail share.

    Attributes:
        head: The begin of the head.
        start: The document up to the client's wait.
    """

    counter: Counter
    head: bytes
    start: bytes

    def __init__(self, counter: Counter, head: bytes, start: bytes) -> None:
        self.counter = counter
        self.head = head
        self.start = start


_refusals: Final[dict[type[Refused], dict[str, _Refusal]]] = caches.table()


def problem_reply(problem: Problem) -> Reply:
    """Return the reply with a problem."""
    body = problem.json
    return Reply(_PROBLEM_HEADS[problem.row], 0, body, len(body) + 1, problem.headers)


def raw_reply(reply: Reply, end: bytes, head_only: bool = False) -> bytes:
    """Return a reply as it is sent. Its result, if the body lacks it, is not in it.

    Args:
        end: The last lines of the head, with the date and the empty line.
        head_only: Leave the body out, but keep its length.
    """
    head, body = reply.head.raw, reply.body
    if reply.retry_after_s:
        head += _retry_after.get(reply.retry_after_s) or _write_retry_after(reply.retry_after_s)
    if body is None:
        return head + end
    if reply.more:
        for name, value in reply.more.items():
            head += f"{name}: {value}\r\n".encode()
    length = _content_length.get(reply.size_bytes) or _write_content_length(reply.size_bytes)
    return b"".join((head, length, end)) if head_only else b"".join((head, length, end, body, b"\n"))


def raw_job_head(job: Job, estimate: Estimate | None) -> bytes:
    """Return the reply to a HEAD that names no tags, up to its last lines: as `raw_reply(job_reply(…))`.

    No reply is made: a HEAD is the most frequent request.
    """
    known = _job_heads[job.state].get(job.version) or _make_job_head(job.state, job.version)
    if estimate is None:
        return known.raw
    seconds = whole_seconds(estimate.poll_after_s)
    return known.raw + (_retry_after.get(seconds) or _write_retry_after(seconds))


def raw_refusal(error: Refused, end: bytes) -> bytes:
    """Return the reply to a rejection as it is sent, and count it: as `raw_reply(problem_reply(refuse(error)), end)`.

    Of shared parts, at a third of the cost: an overloaded server sends more of these than of anything else.
    """
    kind, detail, wait_s = type(error), str(error), error.retry_after_s
    known = _refusals.get(kind)
    refusal = None if known is None else known.get(detail)
    if refusal is None:
        refusal = _make_refusal(error, detail)
    refusal.counter.add()
    told_s, seconds = _dumps(to_milliseconds(wait_s)), whole_seconds(wait_s)
    start = refusal.start
    size_bytes = len(start) + len(told_s) + 2
    length = _content_length.get(size_bytes) or _write_content_length(size_bytes)
    retry_after = _retry_after.get(seconds) or _write_retry_after(seconds)
    return b"".join((refusal.head, retry_after, length, end, start, told_s, b"}\n"))


def _make_refusal(error: Refused, detail: str) -> _Refusal:
    row = row_of(error)
    members = {**members_of(row, detail), "retry_after_s": 0}
    refusal = _Refusal(COUNTERS[row], _PROBLEM_HEADS[row].raw, _dumps(members)[: -len("0}")])
    made = _refusals.setdefault(type(error), {})
    if len(made) >= REFUSALS_MAX:
        made.clear()
    made[detail] = refusal
    return refusal


def opaque_tags(lines: Iterable[str]) -> tuple[str, ...]:
    """Return the opaque tags in all lines of an If-None-Match, or ANY_TAG.

    Invalid tags are ignored, so an unreadable header names none, and the response is whole.
    """
    found: list[str] = []
    for line in lines:
        if line.strip() == "*":
            return ANY_TAG
        found += _OPAQUE_TAG.findall(line)
    return tuple(found)


def names_tag(known_tags: tuple[str, ...], opaque_tag: str) -> bool:
    """Whether an opaque tag is among those that a request names."""
    return opaque_tag in known_tags or known_tags == ANY_TAG


def _make_job_head(state: JobState, version: int) -> _JobHead:
    """Make the common part of all replies with jobs in one state and version."""
    opaque_tag = f'"{version}"'
    told = {"Job-State": state.value, "ETag": f"W/{opaque_tag}"}
    status = HTTPStatus.ACCEPTED if state in LIVE else HTTPStatus.OK
    found, unchanged = reply_head(status, {**JSON, **told}), reply_head(HTTPStatus.NOT_MODIFIED, {**COMMON, **told})
    made = _job_heads[state]
    if len(made) >= JOB_HEADS_MAX:
        made.clear()
    head = made[version] = _JobHead(opaque_tag, found.raw, Reply(found), Reply(unchanged))
    return head


def reply_head(status: HTTPStatus, headers: dict[str, str]) -> ReplyHead:
    """Return a head in both forms."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return ReplyHead(status.value, headers, f"HTTP/1.1 {status} {status.phrase}\r\n{lines}".encode())


_PROBLEM_HEADS: Final = {row: reply_head(HTTPStatus(row.status), PROBLEM) for row in (*TABLE.values(), INTERNAL)}


# Cached: there are few lengths and few waits, and formatting a number takes longer than the rest of a head.
_content_length: Final[dict[int, bytes]] = caches.table()
_retry_after: Final[dict[int, bytes]] = caches.table()


def _write_content_length(size_bytes: int) -> bytes:
    if len(_content_length) >= LINES_MAX:
        _content_length.clear()
    line = _content_length[size_bytes] = b"Content-Length: %d\r\n" % size_bytes
    return line


def _write_retry_after(seconds: int) -> bytes:
    if len(_retry_after) >= LINES_MAX:
        _retry_after.clear()
    line = _retry_after[seconds] = b"Retry-After: %d\r\n" % seconds
    return line
