"""The fast path: looks at a status, and small JSON submissions, answered straight from what the parser made of them.

No task, no Request, no Response, no routing: that is most of what a request costs. It owns which requests
are plain enough for it and the bytes of their answers. Everything else is None here, and takes the stock path. Both
give the same bytes: a differential test sends the same streams through both.

It must not know connections: `connection` asks it, in the order in which requests came, and writes what it says. A
request that came as one it has answered before (`head_cache`) needs no parser at all.
"""

from __future__ import annotations

import functools
import time
from http import HTTPStatus
from math import ceil
from typing import TYPE_CHECKING, Protocol

from aiohttp import HttpVersion11, hdrs
from aiohttp.helpers import rfc822_formatted_time
from aiohttp.streams import EMPTY_PAYLOAD
from multidict import istr

from jobqueue.core.ids import ID_LENGTH, is_well_formed
from jobqueue.http.in_flight import SMALL_BYTES
from jobqueue.http.request.idempotency import IDEMPOTENCY_KEY
from jobqueue.http.request.json_body import decode_submission
from jobqueue.http.request.prefer import PREFER
from jobqueue.http.response.documents import etag, job_document
from jobqueue.http.response.problems import INTERNAL, count, problem_of, raw_head, report
from jobqueue.http.response.responses import COMMON, DEDUPLICATED, JSON
from jobqueue.http.transport.head_cache import NO_TAG, HeadCache, known_tag
from jobqueue.log import event_logger

if TYPE_CHECKING:
    from aiohttp import StreamReader
    from aiohttp.http_parser import RawRequestMessage

    from jobqueue.app import JobQueue
    from jobqueue.core.job import Job, JobState, Uniqueness
    from jobqueue.http.request.origins import OriginPolicy
    from jobqueue.http.resources.submissions import Submissions

PREFIX = "/v1/jobs/"
PREFIX_LENGTH = len(PREFIX)
PATH_LENGTH = PREFIX_LENGTH + ID_LENGTH
JOB_HEADS_MAX = 1024


_PREFER, _KEY = istr(PREFER), istr(IDEMPOTENCY_KEY)
# What a plain submission has none of: each of these changes what the answer is, or how the body is framed.
_NOT_TO_SUBMIT = (_PREFER, _KEY, hdrs.EXPECT, hdrs.CONTENT_ENCODING, hdrs.TRANSFER_ENCODING)
_DEDUPLICATED = "".join(f"{name}: {value}\r\n" for name, value in DEDUPLICATED.items()).encode()


class Client(Protocol):
    """A connection, as the fast path sees it. `uniqueness`: that of its caller, plain; None: not made yet."""

    uniqueness: Uniqueness | None

    def make_uniqueness(self) -> Uniqueness: ...


Heads = tuple[bool, str, bytes, bytes]
"""Of a job in some state and version: whether it is live, its entity tag, and the heads of a document and of a 304."""

log = event_logger(__name__)


class FastPath:
    """Answers plain requests straight from what the parser made of them.

    Args:
        queue: Runs on a local backend, or this is no use.
        submissions: The stock path's judge of submissions, whose early refusals hold here, too.
        policy: Tells what came from no foreign page; the stock path refuses or allows anything else.

    Attributes:
        in_use: Whether a server asks it: for `/v1/queues`, which tells.
    """

    def __init__(self, queue: JobQueue, submissions: Submissions, policy: OriginPolicy) -> None:
        self.in_use = False
        self._queue = queue
        self._submissions = submissions
        self._policy = policy
        self._vary = "Vary: Origin\r\n" if policy.origins else ""
        self._head_cache = HeadCache()
        self._heads: dict[tuple[JobState, int], Heads] = {}
        self._dated = b""
        self._dated_until = 0.0

    def recall(self, data: bytes, client: Client, now: float) -> bytes | None:
        """Return the whole answer to a request with a learned head; None: it is none, and nothing was done about it.

        Args:
            data: All that came, with nothing before it on its connection that the parser is still busy with.
            client: The connection that it came over.
            now: The loop's time.
        """
        look = self._head_cache.look(data)
        if look is not None:
            job_id, whole, tag = look
            return self._look(job_id, whole, tag, now)
        body = self._head_cache.submission(data)
        return self._accept(body, client, now) if body is not None and self._takes(len(body)) else None

    def learn(self, data: bytes, message: RawRequestMessage, head_bytes: int) -> None:
        """Recall such a request from now on, if its head is one to be learned; `answer` has answered it.

        Args: As `HeadCache.learn`.
        """
        self._head_cache.learn(data, message, head_bytes)

    def answer(self, message: RawRequestMessage, payload: StreamReader, client: Client, now: float) -> bytes | None:
        """Return the whole answer to a request; None: it isn't plain, and nothing was done about it.

        Args:
            client: The connection that it came over.
            now: The loop's time.
        """
        if message.version is not HttpVersion11 or message.should_close or message.upgrade:
            return None
        path, method = message.path, message.method
        if method == "HEAD" or method == "GET":
            if payload is not EMPTY_PAYLOAD or len(path) != PATH_LENGTH or path[:PREFIX_LENGTH] != PREFIX:
                return None
            headers = message.headers
            if _PREFER in headers or hdrs.EXPECT in headers or not self._policy.is_plain(headers):
                return None
            tag = known_tag(message) if hdrs.IF_NONE_MATCH in headers else NO_TAG
            return None if tag is None else self._look(path[PREFIX_LENGTH:], method == "GET", tag, now)
        if method == "POST" and path == "/v1/jobs":
            return self._submit(message, payload, client, now)
        return None

    # -- looks

    def _look(self, job_id: str, whole: bool, tag: str, now: float) -> bytes | None:
        job = self._queue.local.find(job_id)
        if job is not None:
            return self._job_answer(job, whole, tag, self._date(now)) or None
        if not is_well_formed(job_id):  # an escaped one, perhaps, or another resource's path
            return None
        try:
            return self._job_answer(self._queue.local.look(job_id), whole, tag, self._date(now))
        except Exception as error:
            return self._refuse(error, whole, now)

    def _job_answer(self, job: Job, whole: bool, tag: str, end: bytes) -> bytes:
        """Return the answer with a job; the end of its head is given. Empty: it is over, and its document is long.

        Args:
            whole: With the document: not for a HEAD.
            tag: The entity tag that the client has: a 304 if it is this one's.
        """
        live, own_tag, head, unchanged = self._heads.get((job.state, job.version)) or self._make_heads(job)
        estimate = None
        if live:
            estimate = self._queue.local.estimate(job)
            end = _retry_after(ceil(estimate.poll_after_s)) + end
        if tag == own_tag:
            return unchanged + end
        if not whole:
            return head + end
        body = job_document(job, self._queue, estimate)
        size_bytes = len(body) + 1
        if size_bytes > SMALL_BYTES and not live:
            return b""
        return b"".join((head, _content_length(size_bytes), end, body, b"\n"))

    def _make_heads(self, job: Job) -> Heads:
        """Make the part of the heads that is the same for all jobs in this state and version."""
        status = HTTPStatus.ACCEPTED if job.live else HTTPStatus.OK
        lines = f"Job-State: {job.state}\r\nETag: {etag(job)}\r\n"
        # The tag as it is compared: without W/ and quotes.
        heads = (job.live, etag(job)[3:-1], _head(status, JSON, lines), _head(HTTPStatus.NOT_MODIFIED, COMMON, lines))
        if len(self._heads) < JOB_HEADS_MAX:
            self._heads[job.state, job.version] = heads
        return heads

    # -- submissions

    def _submit(self, message: RawRequestMessage, payload: StreamReader, client: Client, now: float) -> bytes | None:
        headers = message.headers
        if (
            payload is EMPTY_PAYLOAD
            or not payload.is_eof()
            or payload.exception() is not None
            or headers.get(hdrs.CONTENT_TYPE) != "application/json"
            or not self._takes(payload.total_bytes)
        ):
            return None
        for name in _NOT_TO_SUBMIT:
            if name in headers:
                return None
        if not self._policy.is_plain(headers):
            return None
        # aiohttp: the pieces of a body that nobody has read. Its own reading would ask the parser for more of it.
        return self._accept(b"".join(payload._buffer), client, now)

    def _takes(self, size_bytes: int) -> bool:
        """Tell whether a body of this size is small enough, and no caller has a quota that its answer must tell."""
        limits = self._queue.settings.limits
        return size_bytes <= limits.body_bytes and limits.caller_rate is None and limits.caller_queued is None

    def _accept(self, body: bytes, client: Client, now: float) -> bytes:
        try:
            uniqueness = client.uniqueness or client.make_uniqueness()
            self._submissions.refuse_late(uniqueness)
            if self._queue.local.is_closed():
                self._refuse_unread(body, uniqueness)
            submitted = self._queue.accept_now(decode_submission(body), uniqueness)
            job = submitted.job
            duplicate = _DEDUPLICATED if submitted.duplicate else b""
            end = b"".join((b"Location: /v1/jobs/", job.id.encode(), b"\r\n", duplicate, self._date(now)))
            return self._job_answer(job, True, NO_TAG, end)
        except Exception as error:
            return self._refuse(error, True, now)

    def _refuse_unread(self, body: bytes, uniqueness: Uniqueness) -> None:
        # The name in JSON, plain or with escapes. By `find`: `in` makes and drops an exception first.
        may_be_unique = body.find(b"unique") >= 0 or body.find(b"\\u") >= 0
        refusal = self._queue.local.refuse_unseen(None, uniqueness, may_be_unique=may_be_unique)
        if refusal is not None:
            raise refusal

    # -- what they share

    def _refuse(self, error: Exception, whole: bool, now: float) -> bytes:
        problem = problem_of(error)
        if problem.row is INTERNAL:
            report(error)
        count(problem)
        body = problem.body
        return b"".join((raw_head(problem), _content_length(len(body)), self._date(now), body if whole else b""))

    def _date(self, now: float) -> bytes:
        """Return the end of a head, with the date. It is written once a second, however many ask."""
        if now >= self._dated_until:
            self._dated_until = now + 1.0 - time.time() % 1.0
            self._dated = f"{self._vary}Date: {rfc822_formatted_time()}\r\n\r\n".encode()
        return self._dated


# There are few lengths and few waits, and to format a number takes longer than all else of an answer's head.


@functools.lru_cache(maxsize=1024)
def _content_length(size_bytes: int) -> bytes:
    return b"Content-Length: %d\r\n" % size_bytes


@functools.lru_cache(maxsize=1024)
def _retry_after(seconds: int) -> bytes:
    return b"Retry-After: %d\r\n" % seconds


def _head(status: HTTPStatus, headers: dict[str, str], more: str) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} {status.phrase}\r\n{lines}{more}".encode()
