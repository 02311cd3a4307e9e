"""Requests to send, answers that came, and what an answer means: a document, or one of the exceptions of `errors`.

Each call is a generator (`Steps`): it yields a `Request`, is sent the `Answer`, or thrown the `NoAnswer`, and
returns what the caller asked for. `asynchronous` and `blocking` carry the requests; nothing here opens
a connection or sleeps.
"""

from __future__ import annotations

import random
import time
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import TypeVar

import msgspec

from jobqueue import errors
from jobqueue.client.multipart import Multipart

T = TypeVar("T")

PAUSE_S = 1.0  # before the next try, where the server doesn't say
JITTER = 0.2  # of a pause: up to so much longer, so that many who were refused together don't come back together
REFUSALS: dict[str, type[errors.Refused]] = {
    "queue-full": errors.QueueFull,
    "statuses-full": errors.StatusesFull,
    "spool-full": errors.SpoolFull,
    "draining": errors.Draining,
}


class ErrorAnswer(errors.JobQueueError):
    """The server answered with an error that no other type stands for."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(f"HTTP {status}: {detail}")
        self.status = status
        self.detail = detail


class NoAnswer(errors.JobQueueError):
    """The connection broke, or the server kept silent; the request changed nothing and may be repeated."""


class Unreachable(NoAnswer):
    """No connection could be made: nothing was sent."""


class FateUnknown(NoAnswer):
    """The connection broke after a POST was sent: the server may or may not have acted on it.

    `idempotency_key` is what a submission was sent under: submitted again with the same key
    and unchanged otherwise, it becomes no second job while the first one's record is held.
    """

    idempotency_key: str | None = None


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What to send, after a pause of `after_s`.

    Attributes:
        quiet_s: So long the server may say nothing, because it waits for something, beside the client's timeout.
        save_to: The file that a 200's body goes to.
    """

    method: str
    target: str
    headers: Mapping[str, str] = {}
    body: bytes | Multipart | None = None
    after_s: float = 0.0
    quiet_s: float = 0.0
    save_to: Path | None = None


class Answer(msgspec.Struct, frozen=True):
    """What came back; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def retry_after_s(self) -> float | None:
        seconds = self.headers.get("retry-after", "")
        return float(seconds) if seconds.isdecimal() else None


Steps = Generator[Request, Answer, T]


class Patience:
    """How long a caller goes on trying.

    Args:
        for_s: From now on.
    """

    def __init__(self, for_s: float) -> None:
        self._until = time.monotonic() + for_s

    def pause_s(self, failure: errors.Refused | NoAnswer) -> float | None:
        """Return how long to wait before the next try, never less than the server asked for; None: give up."""
        asked_s = failure.retry_after_s if isinstance(failure, errors.Refused) else PAUSE_S
        if time.monotonic() + asked_s > self._until:
            return None
        return asked_s * (1 + JITTER * random.random())


class _Fault(msgspec.Struct, frozen=True):
    pointer: str
    detail: str


class Problem(msgspec.Struct, frozen=True):
    """A problem document (RFC 9457) with the members that this server adds."""

    type: str = ""
    title: str = ""
    detail: str = ""
    reason: str = "unknown"
    state: str | None = None
    id: str | None = None
    retry_after_s: float | None = None
    errors: tuple[_Fault, ...] = ()


def decoded(answer: Answer, kind: type[T]) -> T:
    """Return a good answer's body as a struct. Raises what `error_in` returns."""
    try:
        return msgspec.json.decode(good(answer).body, type=kind)
    except msgspec.DecodeError as error:
        raise ErrorAnswer(answer.status, f"not what this server's API says: {error}") from error


def good(answer: Answer) -> Answer:
    """Return an answer that is no error. Raises what `error_in` returns."""
    if 200 <= answer.status < 300:
        return answer
    raise error_in(answer)


def error_in(answer: Answer) -> errors.JobQueueError:
    """Return the exception that an answer stands for."""
    try:
        problem = msgspec.json.decode(answer.body, type=Problem)
    except msgspec.DecodeError:  # not this server's: a proxy's, perhaps
        problem = Problem(detail=answer.body[:200].decode(errors="replace"))
    return error_of(answer.status, problem, answer.headers.get("job-state"), answer.retry_after_s)


def error_of(
    status: int, problem: Problem, state: str | None = None, retry_after_s: float | None = None
) -> errors.JobQueueError:
    """Return the exception that a problem stands for; the problem knows better than the headers beside it."""
    name = problem.type.rpartition("/")[2]
    detail = problem.detail or problem.title or "no detail"
    match status:
        case 404 if name != "queue-not-found":
            return errors.JobNotFound(detail)
        case 410:
            return errors.JobGone(problem.reason)
        case 409 if problem.id is not None:
            return errors.Duplicate(problem.id)
        case 409 if known := problem.state or state:
            return errors.WrongState(detail, state=known)
        case 422 if name == "idempotency-key-reused":
            return errors.KeyReused(detail)
        case 422:
            faults = (errors.InvalidField(pointer=fault.pointer, detail=fault.detail) for fault in problem.errors)
            return (errors.UnknownType if name == "unknown-type" else errors.InvalidSubmission)(*faults)
        case 429 | 503:
            refusal = REFUSALS.get(name, errors.RateLimited if status == 429 else errors.Refused)
            return refusal(detail, retry_after_s=problem.retry_after_s or retry_after_s or PAUSE_S)
        case _:
            return ErrorAnswer(status, detail)
