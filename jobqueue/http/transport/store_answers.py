"""Answers that need the store: of requests that the fast path has begun, where jobs are kept outside this process.

They come within the call that begins them, if the store need not be asked, or later, as every `Deferred`.

Rules:

1. A request is answered once: by what comes first, or not at all if its connection is lost.
2. A job that was accepted is told, whatever becomes of the wait for its end: where the store can't be asked then, as it
   was when it was accepted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, Protocol, TypeVar, final

from msgspec.structs import replace

from jobqueue.core.job_view import JobView, view_of
from jobqueue.http.streams.waiters import Waited
from jobqueue.http.transport.deferred import JOBS_PATH, LATER, headers_of, parsed, parsed_line

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobqueue.backend.store import StoreBackend
    from jobqueue.core.job import JobId
    from jobqueue.core.job_view import AnyJob
    from jobqueue.core.submit import SubmitResult
    from jobqueue.errors import JobGone
    from jobqueue.http.streams.deadlines import DurationQueue
    from jobqueue.http.transport.deferred import Asking, Client
    from jobqueue.http.transport.head_cache import WaitHead


T = TypeVar("T", JobView, "SubmitResult[JobView]")


class Answers(Protocol):
    """Writes the answers to requests that have waited."""

    def write_end(self, wait: StoreWait, found: JobView | Exception, now: float) -> bytes | None:
        """Return the whole answer, given what a look has found; None: it is sent in pieces. Must not raise."""
        ...


@final
class Pending(Generic[T]):
    """A request that needs the store's reply to be answered, or to begin a wait.

    What it has asked for is done all the same if its client leaves or is lost meanwhile.

    Args:
        write: Returns the whole answer, given the reply, or LATER; None: it is sent in pieces. Must not raise.
        in_pieces: Returns what the stock path needs to send it so.
    """

    __slots__ = ("_begun", "_client", "_in_pieces", "_left", "_reply", "_request", "_write")

    def __init__(
        self,
        client: Client,
        request: Asking,
        write: Callable[[T | Exception, Client, float], bytes | None],
        in_pieces: Callable[[T], Waited],
    ) -> None:
        self._client: Client | None = client
        self._request = request
        self._write: Callable[[T | Exception, Client, float], bytes | None] = write
        self._in_pieces: Callable[[T], Waited] = in_pieces
        self._reply: T | Exception | None = None
        self._begun = self._left = False

    def begin(self, now: float) -> bytes | None:
        """Return the whole answer, if the reply is there already, or LATER; None: it is sent in pieces."""
        client, reply = self._client, self._reply
        assert client is not None, "it has just been made"
        if reply is not None:
            return self._write(reply, client, now)
        self._begun = True
        client.deferred = self
        return LATER

    def replied(self, reply: T | Exception) -> None:
        """The store has answered."""
        if not self._begun:
            self._reply = reply
            return
        client, self._client = self._client, None
        if client is None:
            return
        now = client.time()
        answer = self._write(reply, client, now)
        if answer is None:
            assert not isinstance(reply, Exception), "a problem is never sent in pieces"
            client.hand_over(parsed(self._request), self._in_pieces(reply))
        elif answer:
            client.finish(answer, now)
        elif self._left and client.deferred is not None:
            client.deferred.leave()

    def leave(self) -> None:
        self._left = True

    def drop(self) -> None:
        self._client = None


@final
class StoreWait:
    """A request that waits for the end of a job.

    Args:
        job: As it was last seen.
        lines, limited, caller: As of `JobWait`.

    Attributes:
        accepted: The record of a job that this request has submitted, as it was accepted, without its arguments.
        queue: Its place among the waits; to be set before anything else happens.
    """

    __slots__ = (
        *("_answers", "_asked", "_client", "_job_id", "_store", "accepted", "caller", "head", "head_only", "limited"),
        *("lines", "queue"),
    )

    queue: DurationQueue

    def __init__(
        self,
        answers: Answers,
        store: StoreBackend,
        client: Client,
        job: JobView,
        head: WaitHead,
        head_only: bool,
        lines: bytes,
        limited: str | None,
        caller: str | None,
        *,
        submitted: bool,
    ) -> None:
        self._answers = answers
        self._store = store
        self._client: Client | None = client
        self._job_id: JobId = job.id
        self.accepted = replace(job, args=b"") if submitted else None
        self.head = head
        self.head_only = head_only
        self.lines = lines
        self.limited = limited
        self.caller = caller
        self._asked = False

    @property
    def revoked(self) -> bool:
        return self.head.grant.revoked

    def ended(self, job: AnyJob) -> None:
        self.queue.remove(self)
        self._answer(job if isinstance(job, JobView) else view_of(job))

    def gone(self, error: JobGone) -> None:
        self.queue.remove(self)
        self._answer(error)

    def time_over(self) -> None:
        """The time of the wait is over: tell how the job is now, or its end, if that comes first."""
        if self._asked:
            return
        self._asked = True
        try:
            self._store.look_soon(self._job_id, self.head.grant.sees, self._answer)
        except Exception as error:
            self._answer(error)

    def leave(self) -> None:
        self.queue.remove(self)
        self.time_over()

    def drop(self) -> None:
        self._client = None
        self.queue.remove(self)
        self._store.forget(self._job_id, self)

    def _answer(self, found: JobView | Exception) -> None:
        client, self._client = self._client, None
        if client is None:  # dropped, or answered, before it was told
            return
        self._store.forget(self._job_id, self)
        now = client.time()
        answer = self._answers.write_end(self, found, now)
        if answer is not None:
            client.finish(answer, now)
        else:
            assert isinstance(found, JobView), "a problem is never sent in pieces"
            line = f"POST {JOBS_PATH}" if self.accepted is not None else f"GET {JOBS_PATH}/{self._job_id}"
            client.hand_over(parsed_line(line, self.head), Waited(headers_of(self.lines), found))
