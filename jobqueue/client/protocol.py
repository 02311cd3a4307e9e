"""The client's protocol without I/O: requests, answers, and their meaning as documents or exceptions of `errors`.

Each call is a generator (`Steps`): it yields a `Request`, is sent the `Answer`, or thrown the `NoAnswer`, and
returns the call's result. `async_client` and `sync_client` carry the requests.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import TypeVar

import msgspec

from jobqueue import errors
from jobqueue.client.credentials import without_keys
from jobqueue.client.multipart import Multipart
from jobqueue.client.retry_after import PAUSE_S_MIN, pause_s_of, retry_after_s
from jobqueue.encoder import encode

T = TypeVar("T")

PAUSE_S = 1.0  # before the next try, where the server doesn't say
RETRY_READS_FOR_S = 5.0  # a read that is not answered changes nothing, and may be repeated
JITTER = 0.2  # maximum random extension, as a share of a pause: spreads clients that were rejected together
PROBLEMS = "/problems/"  # in the type of every problem document of this API
EXCERPT_LENGTH = 200  # of a page that is not this server's
REFUSALS: dict[str, type[errors.Refused]] = {
    "queue-full": errors.QueueFull,
    "statuses-full": errors.StatusesFull,
    "spool-full": errors.SpoolFull,
    "journal-full": errors.JournalFull,
    "journal-failed": errors.JournalFailed,
    "store-unavailable": errors.StoreUnavailable,
    "overloaded": errors.Overloaded,
    "type-quarantined": errors.TypeQuarantined,
    "draining": errors.Draining,
    "recovering": errors.Recovering,
}


class ErrorAnswer(errors.JobQueueError):
    """The server answered with an error of no other type."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(f"HTTP {status}: {detail}")
        self.status = status
        self.detail = detail


class NoAnswer(errors.JobQueueError):
    """The server did not answer: the connection broke, it kept silent, or something else answered, such as a proxy.

    The request may be repeated.

    Attributes:
        status: The HTTP status of the proxy's answer; None: there was none.
        retry_after_s: The pause that it asked for, if any.
    """

    status: int | None = None
    retry_after_s: float | None = None


class Unreachable(NoAnswer):
    """No connection could be made: nothing was sent."""


class FateUnknown(NoAnswer):
    """A POST was sent, and no answer of the server came: it may or may not have acted on it.

    `idempotency_key` is the key of a submission: submitted again with the same key
    and unchanged otherwise, it becomes no second job while the first one's record is held.
    """

    idempotency_key: str | None = None


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """A request, to be sent after a pause of `after_s`.

    Attributes:
        quiet_s: Extra time without a byte from the server, such as a requested wait, beside the client's timeout.
        save_to: The file for a 200's body.
    """

    method: str
    target: str
    headers: Mapping[str, str] = {}
    body: bytes | Multipart | None = None
    after_s: float = 0.0
    quiet_s: float = 0.0
    save_to: Path | None = None

    def with_headers(self, headers: Mapping[str, str]) -> Request:
        """Return the same request with more headers; these win."""
        names = {name.lower() for name in headers}
        kept = {name: value for name, value in self.headers.items() if name.lower() not in names}
        return msgspec.structs.replace(self, headers={**kept, **headers})


class Answer(msgspec.Struct, frozen=True):
    """An answer; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @classmethod
    def of(cls, document: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
        """Return an answer with a JSON document, for a `transport=` of tests."""
        return cls(status, {"content-type": "application/json", **(headers or {})}, encode(document))

    @property
    def retry_after_s(self) -> float | None:
        return retry_after_s(self.headers.get("retry-after", ""), self.headers.get("date", ""))


Steps = Generator[Request, Answer, T]


class Patience:
    """The time in which a call is repeated: `for_s` from now on."""

    def __init__(self, for_s: float) -> None:
        self._until = time.monotonic() + for_s

    def pause_s(self, failure: errors.Refused | NoAnswer) -> float | None:
        """Return the pause before the next try, never less than the server asked for; None: give up."""
        asked_s = PAUSE_S if failure.retry_after_s is None else failure.retry_after_s
        if time.monotonic() + asked_s > self._until:
            return None
        return max(PAUSE_S_MIN, asked_s) * (1 + JITTER * random.random())  # noqa: S311  # spreads clients, hides nothing


def persistent(steps: Steps[T], *, reads_for_s: float) -> Steps[T]:
    """Let a call see only this server's answers, and repeat its reads.

    Args:
        reads_for_s: How long a GET or HEAD that is not answered is repeated; one that could not be sent is not.
    """
    try:
        request = next(steps)
        while True:
            try:
                answer = yield from _answered(request, reads_for_s)
            except NoAnswer as failure:
                request = steps.throw(failure)
            else:
                request = steps.send(answer)
    except StopIteration as end:
        result: T = end.value
        return result


def _answered(request: Request, reads_for_s: float) -> Steps[Answer]:
    patience: Patience | None = None
    while True:
        try:
            answer = yield request
            refuse_foreign(request.method, answer)
        except NoAnswer as failure:
            patience = patience or Patience(reads_for_s if request.method in ("GET", "HEAD") else 0.0)
            pause_s = None if isinstance(failure, Unreachable) else patience.pause_s(failure)
            if pause_s is None:
                raise
            request = msgspec.structs.replace(request, after_s=pause_s)
        else:
            return answer


def refuse_foreign(method: str, answer: Answer) -> None:
    """Raise NoAnswer if a proxy answered in the server's place.

    Those are the statuses of gateways without a problem document of this API. A HEAD has none in any case, so only
    502 and 504, which the server never sends, are judged.
    """
    foreign = answer.status in (502, 504) if method == "HEAD" else answer.status in (408, 425) or answer.status >= 500
    if not foreign or _problem_in(answer) is not None:
        return
    detail = f"HTTP {answer.status}, not from the job server, perhaps from a proxy in front of it{_excerpt(answer)}"
    failure = FateUnknown(f"{detail}; the POST may have taken effect") if method == "POST" else NoAnswer(detail)
    failure.status, failure.retry_after_s = answer.status, answer.retry_after_s
    raise failure


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
    scope: str | None = None
    id: str | None = None
    retry_after_s: float | None = None
    errors: tuple[_Fault, ...] = ()
    faults: tuple[str, ...] = ()


def decoded(answer: Answer, kind: type[T]) -> T:
    """Return a good answer's body as a struct. Raises what `error_in` returns."""
    try:
        return parsed(good(answer).body, kind)
    except msgspec.DecodeError as error:
        media_type = answer.headers.get("content-type", "").partition(";")[0]
        if media_type and "json" not in media_type:
            error_text = f"{media_type:.100} instead of JSON; this URL is not the job server's{_excerpt(answer)}"
        else:
            error_text = f"not an answer of this API: {error}"
        raise ErrorAnswer(answer.status, error_text) from error


def parsed(body: bytes | str, kind: type[T]) -> T:
    """Return JSON as a struct, or another type. Raises msgspec.DecodeError, whatever is wrong with it."""
    try:
        return msgspec.json.decode(body, type=kind)
    except (UnicodeDecodeError, RecursionError) as error:
        raise msgspec.DecodeError(str(error)) from None


def good(answer: Answer) -> Answer:
    """Return an answer that is no error. Raises what `error_in` returns."""
    if 200 <= answer.status < 300:
        return answer
    raise error_in(answer)


def error_in(answer: Answer) -> errors.JobQueueError:
    """Return the exception of an answer."""
    problem = _problem_in(answer)
    if problem is not None:
        return error_of(answer.status, problem, answer.headers.get("job-state"), answer.retry_after_s)
    if answer.status == 429:  # a proxy's own limit: the server got nothing
        return errors.RateLimited(f"HTTP 429{_excerpt(answer)}", retry_after_s=answer.retry_after_s or PAUSE_S)
    if 300 <= answer.status < 400 and (location := answer.headers.get("location")):
        return ErrorAnswer(answer.status, f"redirected to {without_keys(location):.200}; give the client that URL")
    return ErrorAnswer(answer.status, f"not from the job server, perhaps from a proxy in front of it{_excerpt(answer)}")


def _problem_in(answer: Answer) -> Problem | None:
    """Return the problem document of this API; None if the answer has none, and so is not this server's."""
    try:
        problem = parsed(answer.body, Problem)
    except msgspec.DecodeError:
        return None
    return problem if PROBLEMS in problem.type else None


def _excerpt(answer: Answer) -> str:
    """Return the beginning of a page's text, without its markup."""
    text = answer.body[:4096].decode(errors="replace")
    words = " ".join(re.sub(r"<(style|script)\b.*?</\1>|<[^<>]*>", " ", text, flags=re.DOTALL).split())
    words = without_keys(words)
    return f": {words[:EXCERPT_LENGTH]}" if words else ""


def error_of(
    status: int, problem: Problem, state: str | None = None, retry_after_s: float | None = None
) -> errors.JobQueueError:
    """Return the exception of a problem document, which is more precise than the headers beside it."""
    name = problem.type.rpartition("/")[2]
    detail = without_keys(problem.detail or problem.title or "no detail")
    match status:
        case 401:
            return errors.Unauthorized(detail)
        case 403 if name != "cross-origin":
            return errors.Forbidden(detail, scope=problem.scope)
        case 404 if name == "schedule-not-found":
            return errors.ScheduleNotFound(detail)
        case 404 if name not in ("queue-not-found", "type-not-found"):
            return errors.JobNotFound(detail)
        case 410:
            return errors.JobGone(problem.reason)
        case 409 if name == "schedule-fixed":
            return errors.ScheduleFixed(detail)
        case 409 if problem.id is not None:
            return errors.Duplicate(problem.id)
        case 409 if known := problem.state or state:
            return errors.WrongState(detail, state=known)
        case 422 if name == "invalid-settings":
            return errors.ConfigError(*problem.faults or (detail,))
        case 422 if name == "idempotency-key-reused":
            return errors.KeyReused(detail)
        case 422:
            faults = (errors.InvalidField(pointer=fault.pointer, detail=fault.detail) for fault in problem.errors)
            return (errors.UnknownType if name == "unknown-type" else errors.InvalidSubmission)(*faults)
        case 501 if name == "not-in-store":
            return errors.NotInStore(detail)
        case 429 | 503:
            refusal = REFUSALS.get(name, errors.RateLimited if status == 429 else errors.Refused)
            return refusal(detail, retry_after_s=pause_s_of(problem.retry_after_s) or retry_after_s or PAUSE_S)
        case _:
            return ErrorAnswer(status, detail)
