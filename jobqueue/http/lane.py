"""The fast lane: looks at a status, and small JSON submissions, answered straight from what the parser made of them.

No task, no Request, no Response, no routing: that is most of what a request costs. It owns which requests
are plain enough for it and the bytes of their answers. Everything else is None here, and takes the stock path. Both
give the same bytes: a differential test sends the same streams through both.

It must not know connections: `protocol` asks it, in the order in which requests came, and writes what it says.
"""

from __future__ import annotations

import math
import re
import time
from http import HTTPStatus
from typing import TYPE_CHECKING

from aiohttp import HttpVersion11, hdrs
from aiohttp.helpers import rfc822_formatted_time
from aiohttp.streams import EMPTY_PAYLOAD
from multidict import istr

from jobqueue.core.ids import ID_LENGTH
from jobqueue.http.answers import DEDUPLICATED, JSON
from jobqueue.http.documents import etag, job_document
from jobqueue.http.idempotency import IDEMPOTENCY_KEY
from jobqueue.http.preferences import PREFER
from jobqueue.http.problems import INTERNAL, count, headers_of, problem_of
from jobqueue.http.wire import decode_submission
from jobqueue.log import event_logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp import StreamReader
    from aiohttp.http_parser import RawRequestMessage

    from jobqueue.app import JobQueue
    from jobqueue.core.job import Job
    from jobqueue.http.submissions import Submissions

PREFIX = "/v1/jobs/"
PREFIX_LENGTH = len(PREFIX)
PATH_LENGTH = PREFIX_LENGTH + ID_LENGTH
HEADS_MAX = 1024

_ID = re.compile(rf"[-0-9A-Z_a-z]{{{ID_LENGTH}}}")
_PREFER, _KEY = istr(PREFER), istr(IDEMPOTENCY_KEY)
# What a plain request has nothing of: each of these changes what the answer is, or how it is framed.
_NOT_TO_LOOK = (_PREFER, hdrs.IF_NONE_MATCH, hdrs.EXPECT)
_NOT_TO_SUBMIT = (_PREFER, _KEY, hdrs.EXPECT, hdrs.CONTENT_ENCODING, hdrs.TRANSFER_ENCODING)

log = event_logger(__name__)


class FastLane:
    """Args:
    queue: Runs on a local backend, or this is no use.
    submissions: The stock path's judge of submissions, whose early refusals hold here, too.

    Attributes:
        in_use: Whether a server asks it: for `/v1/queues`, which tells.
    """

    def __init__(self, queue: JobQueue, submissions: Submissions) -> None:
        self.in_use = False
        self._queue = queue
        self._submissions = submissions
        self._heads: dict[tuple[str, int], bytes] = {}
        self._second = 0
        self._date = b""
        self._common = "".join(f"{name}: {value}\r\n" for name, value in JSON.items())

    def answer(self, message: RawRequestMessage, payload: StreamReader) -> bytes | None:
        """Return the whole answer to a request; None: it isn't plain, and nothing was done about it."""
        if message.version != HttpVersion11 or message.should_close or message.upgrade:
            return None
        path, method = message.path, message.method
        if method == "HEAD" or method == "GET":
            if payload is not EMPTY_PAYLOAD or len(path) != PATH_LENGTH or path[:PREFIX_LENGTH] != PREFIX:
                return None
            headers = message.headers
            for name in _NOT_TO_LOOK:
                if name in headers:
                    return None
            return self._look(path[PREFIX_LENGTH:], method == "GET")
        if method == "POST" and path == "/v1/jobs":
            return self._submit(message, payload)
        return None

    # -- looks

    def _look(self, job_id: str, whole: bool) -> bytes | None:
        local = self._queue.local
        job = local.find(job_id)
        if job is None:
            if not _ID.fullmatch(job_id):  # an escaped one, perhaps, or another resource's path
                return None
            return self._answered(lambda: self._job_answer(local.look(job_id), whole, b""), whole)
        return self._job_answer(job, whole, b"")

    def _job_answer(self, job: Job, whole: bool, more: bytes) -> bytes:
        head = self._heads.get((job.state, job.version))
        if head is None:
            head = self._make_head(job)
        outlook = None
        if job.live:
            outlook = self._queue.backend.outlook(job)
            more += b"Retry-After: %d\r\n" % max(1, math.ceil(outlook.poll_after_s))
        if not whole:
            return b"%b%bDate: %b\r\n\r\n" % (head, more, self._date_now())
        body = job_document(job, self._queue, outlook)
        return b"%b%bContent-Length: %d\r\nDate: %b\r\n\r\n%b" % (head, more, len(body), self._date_now(), body)

    def _make_head(self, job: Job) -> bytes:
        """Make the part of a head that is the same for all jobs in this state and version."""
        status = HTTPStatus.ACCEPTED if job.live else HTTPStatus.OK
        head = (
            f"HTTP/1.1 {status} {status.phrase}\r\n{self._common}Job-State: {job.state}\r\nETag: {etag(job)}\r\n"
        ).encode()
        if len(self._heads) < HEADS_MAX:
            self._heads[job.state, job.version] = head
        return head

    # -- submissions

    def _submit(self, message: RawRequestMessage, payload: StreamReader) -> bytes | None:
        limits = self._queue.settings.limits
        headers = message.headers
        if (
            headers.get(hdrs.CONTENT_TYPE) != "application/json"
            or payload is EMPTY_PAYLOAD
            or not payload.is_eof()
            or payload.exception() is not None
            or payload.total_bytes > limits.body_bytes
            or limits.caller_rate is not None
            or limits.caller_queued is not None
        ):
            return None
        for name in _NOT_TO_SUBMIT:
            if name in headers:
                return None
        return self._answered(lambda: self._accept(payload.read_nowait()), True)

    def _accept(self, body: bytes) -> bytes:
        self._submissions.refuse_unread()
        admission = self._queue.accept_now(decode_submission(body))
        job = admission.job
        location = f"Location: /v1/jobs/{job.id}\r\n"
        if admission.duplicate:
            location += "".join(f"{name}: {value}\r\n" for name, value in DEDUPLICATED.items())
        return self._job_answer(job, True, location.encode())

    # -- what they share

    def _answered(self, act: Callable[[], bytes], whole: bool) -> bytes:
        """Return the answer that `act` makes, or the one to what it raises."""
        try:
            return act()
        except Exception as error:
            problem = problem_of(error)
            if problem.row is INTERNAL:
                log.error("http.failed", exc=error)
            count(problem)
        status = HTTPStatus(problem.row.status)
        head = "".join(f"{name}: {value}\r\n" for name, value in headers_of(problem).items())
        body = problem.body
        return b"HTTP/1.1 %d %b\r\n%bContent-Length: %d\r\nDate: %b\r\n\r\n%b" % (
            status,
            status.phrase.encode(),
            head.encode(),
            len(body),
            self._date_now(),
            body if whole else b"",
        )

    def _date_now(self) -> bytes:
        second = int(time.time())
        if second != self._second:
            self._second, self._date = second, rfc822_formatted_time().encode()
        return self._date
