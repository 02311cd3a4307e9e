"""Deferred answers: of requests that the fast path has begun, to be answered later, by a callback.

No task waits for them. `connection` keeps the order of the answers; what ends the wait is the business of a `Deferred`.

Rules:

1. A connection has one at most. Requests behind it are parsed until aiohttp's queue of them is full (32), then reading
   pauses; they are answered after it.
2. It is answered once, by `finish` or `hand_over`, or dropped with its connection. Either way nothing refers to it any
   more, so the connection is free at once; one that is lost while a commit is under way, with the end of that
   (`kept_answers`).
3. An answer that is sent in pieces is handed over to the stock path, with what was waited for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, Union, final

from jobqueue.core.job_view import view_of
from jobqueue.http.streams.waiters import Waited
from jobqueue.http.transport.aiohttp_compat import parse_head

if TYPE_CHECKING:
    from multidict import CIMultiDictProxy

    from jobqueue.backend.local import LocalBackend
    from jobqueue.core.job import Job, JobId, Uniqueness
    from jobqueue.core.job_view import AnyJob
    from jobqueue.core.submit import SubmitResult
    from jobqueue.errors import JournalFailed
    from jobqueue.http.request.grant import Grant
    from jobqueue.http.streams.deadlines import DurationQueue
    from jobqueue.http.transport.head_cache import WaitHead
    from jobqueue.http.transport.parsed_head import ParsedHead

LATER = b""
"""Stands for an answer that comes later: its connection has got a `Deferred`."""

JOBS_PATH = "/v1/jobs"

Asking = Union[bytes, "ParsedHead"]
"""A request as the fast path got it: its bytes, which begin with the head, or the parsed head."""


class Deferred(Protocol):
    """An answer that comes later, as its connection sees it."""

    def leave(self) -> None:
        """Answer now, with the present state: the client has shut its sending side."""
        ...

    def drop(self) -> None:
        """The connection is lost: end what was begun."""
        ...


class Client(Protocol):
    """A connection, as far as the fast path needs it.

    Attributes:
        uniqueness: Its caller's plain one; None: not made yet.
        counted_for: The caller whose connections it counts among; None: none yet; `MANY`: it is a listed proxy's.
        deferred: The answer that is due; None: there is none.
    """

    uniqueness: Uniqueness | None
    counted_for: str | None
    deferred: Deferred | None

    def make_uniqueness(self) -> Uniqueness: ...

    def uniqueness_behind(self, headers: CIMultiDictProxy[str]) -> Uniqueness:
        """Return the plain one of the client that a request with these headers comes from."""
        ...

    def time(self) -> float:
        """Return the loop's time."""
        ...

    def finish(self, answer: bytes, now: float) -> None:
        """Send the deferred answer, and go on with the requests behind it."""
        ...

    def hand_over(self, message: ParsedHead, waited: Waited) -> None:
        """Have the deferred request answered by the stock path, and then those behind it."""
        ...


class Answers(Protocol):
    """Writes the answers to requests that have waited."""

    def answer_wait(self, wait: JobWait, job: AnyJob, now: float) -> bytes | None:
        """Return the whole answer; None: it is sent in pieces. Must not raise."""
        ...

    def wait_for(
        self,
        job: Job,
        head_only: bool,
        head: WaitHead,
        lines: bytes,
        client: Client,
        now: float,
        caller: str | None = None,
    ) -> bytes | None:
        """Return the whole answer of a request that waits for the end of a job, or LATER; None: as `answer_wait`."""
        ...

    def applied(self, head: WaitHead) -> bytes:
        """Return the header line that tells of a granted wait."""
        ...

    def refuse(self, error: Exception, head_only: bool, now: float, caller: str | None = None) -> bytes:
        """Return the whole answer to what is rejected. Args: caller: That of a submission, if it is limited."""
        ...


def caller_at(grant: Grant, client: Client) -> str:
    """Return the caller of a request with a grant over a connection."""
    caller = (grant.uniqueness or client.uniqueness or client.make_uniqueness()).caller
    assert caller is not None, "each request has a caller"
    return caller


def headers_of(lines: bytes) -> dict[str, str]:
    """Return header lines by name."""
    return dict(line.split(": ", 1) for line in lines.decode().splitlines())


@final
class JobWait:
    """A request that waits for the end of a job.

    Args:
        answers: Writes the answer.
        local: Keeps the job.
        head: The request's head, with what it says.
        head_only: The request is a HEAD.
        lines: Header lines of the answer, beside those of every answer with a job.
        limited: The caller of a submission, if it is limited, so that the answer tells it the quota.
        caller: The caller, if its waits are limited.

    Attributes:
        queue: Its place among the waits; to be set before anything else happens.
    """

    __slots__ = ("_answers", "_client", "_job_id", "_local", "caller", "head", "head_only", "limited", "lines", "queue")

    queue: DurationQueue

    def __init__(
        self,
        answers: Answers,
        local: LocalBackend,
        client: Client,
        job_id: JobId,
        head: WaitHead,
        head_only: bool,
        lines: bytes,
        limited: str | None = None,
        caller: str | None = None,
    ) -> None:
        self.limited = limited
        self.caller = caller
        self._answers = answers
        self._local = local
        self._client: Client | None = client
        self._job_id = job_id
        self.head = head
        self.head_only = head_only
        self.lines = lines

    @property
    def revoked(self) -> bool:
        return self.head.grant.revoked

    def ended(self, job: AnyJob) -> None:
        """The job has ended."""
        self.queue.remove(self)
        self._answer(job)

    def time_over(self) -> None:
        """The time of the wait is over."""
        job = self._local.find(self._job_id)
        if job is not None:  # else it has ended, and been evicted: among very many waits, this one is told next
            self._local.forget(self._job_id, self)
            self._answer(job)

    def leave(self) -> None:
        self.queue.remove(self)
        self.time_over()

    def drop(self) -> None:
        self._client = None
        self.queue.remove(self)
        self._local.forget(self._job_id, self)

    def _answer(self, job: AnyJob) -> None:
        client, self._client = self._client, None
        if client is None:  # dropped, or answered, before it was told
            return
        now = client.time()
        answer = self._answers.answer_wait(self, job, now)
        if answer is not None:
            client.finish(answer, now)
        else:
            client.hand_over(self._message(), Waited(headers_of(self.lines), view_of(job)))

    @property
    def submitted(self) -> bool:
        """Whether the request is the job's submission."""
        return self.lines.startswith(b"Location: ")

    def _message(self) -> ParsedHead:
        target = f"POST {JOBS_PATH}" if self.submitted else f"GET {JOBS_PATH}/{self._job_id}"
        return parsed_line(target, self.head)


@final
class CommitWait:
    """A submission that waits for the end of its job, and until then waits for its job to be kept.

    Its job stays accepted if the client leaves or is lost meanwhile.

    Args:
        answers: Writes the answer.
        local: Has accepted the job.
        submitted: The job's live record, and whether it was there before; a new one that can't be kept is withdrawn.
        limited: As of `JobWait`.
        head: That of the request, with what it says.
        lines: Header lines of its answer, as of `JobWait`.
    """

    __slots__ = ("_answers", "_client", "_head", "_left", "_limited", "_lines", "_local", "_submitted")

    def __init__(
        self,
        answers: Answers,
        local: LocalBackend,
        client: Client,
        submitted: SubmitResult[Job],
        limited: str | None,
        head: WaitHead,
        lines: bytes,
    ) -> None:
        self._answers = answers
        self._local = local
        self._client: Client | None = client
        self._submitted = submitted
        self._limited = limited
        self._head = head
        self._lines = lines
        self._left = False

    def kept(self, error: JournalFailed | None) -> None:
        """The job is kept; or it can't be, and is gone."""
        client, self._client = self._client, None
        if error is not None and not self._submitted.duplicate:
            self._local.withdraw(self._submitted.job.id)
        if client is None:
            return
        now, answers, head, job = client.time(), self._answers, self._head, self._submitted.job
        if error is not None:
            client.finish(answers.refuse(error, False, now, self._limited), now)
            return
        try:
            answer = answers.wait_for(job, False, head, self._lines, client, now, self._limited)
        except Exception as failure:
            answer = answers.refuse(failure, False, now, self._limited)
        if answer is None:
            # It is over already, so its wait was granted.
            waited = Waited(headers_of(self._lines + answers.applied(head)), view_of(job))
            client.hand_over(parsed_line(f"POST {JOBS_PATH}", head), waited)
        elif answer is not LATER:
            client.finish(answer, now)
        elif self._left and client.deferred is not None:
            client.deferred.leave()

    def leave(self) -> None:
        self._left = True

    def drop(self) -> None:
        self._client = None


def wait_when_kept(
    answers: Answers,
    local: LocalBackend,
    client: Client,
    submitted: SubmitResult[Job],
    limited: str | None,
    head: WaitHead,
    lines: bytes,
) -> bytes:
    """Let a submission wait for the end of its job once that is kept; return LATER. Args: As of `CommitWait`."""
    client.deferred = commit = CommitWait(answers, local, client, submitted, limited, head, lines)
    local.when_kept(commit.kept)
    return LATER


def parsed(request: Asking) -> ParsedHead:
    """Return the parsed head of a request."""
    return parse_head(request[: request.find(b"\r\n\r\n") + 4]) if isinstance(request, bytes) else request


def parsed_line(line: str, head: WaitHead) -> ParsedHead:
    """Parse a request again, since only little of it was held; only a GET or a submission is handed over."""
    return parse_head(b"%b HTTP/1.1\r\n%b" % (line.encode(), head.lines))
