"""Questions of a handler in a process to its queue, and the answers: their form in transit.

Rules:

1. A process is untrusted (`messages.py`): a question is decoded to one of three forms, and is for the job of the call
   that the process has; an id in it is no other job's way in.
2. An error comes as the name of its class and its texts, never as a pickle; the process makes the same class of it.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import msgspec

from jobqueue import errors
from jobqueue.duration import as_seconds
from jobqueue.errors import InvalidField, InvalidSubmission, JobQueueError, Refused, shown
from jobqueue.handlers.child_submission import child_of
from jobqueue.parents import ParentRecord
from jobqueue.runtime.pools.messages import QUESTION_BYTES_MAX, SMALL_BYTES_MAX, InvalidMessage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

CHILD_BYTES_MAX = QUESTION_BYTES_MAX - SMALL_BYTES_MAX
"""Maximum length of a child's submission, as JSON."""

ERROR_LENGTH_MAX = 2000


class ParentsQuestion(msgspec.Struct, frozen=True, tag="parents"):
    """Asks for the parents of the job."""


class ResultQuestion(msgspec.Struct, frozen=True, tag="result"):
    """Asks for the result of one of them."""

    parent_id: str


class SubmitQuestion(msgspec.Struct, frozen=True, tag="submit"):
    """Asks to submit a child: its submission, as JSON."""

    child: bytes


class PublishQuestion(msgspec.Struct, frozen=True, tag="publish"):
    """Asks to publish data, which is JSON."""

    topic: str
    data: bytes
    key: str | None


Question = ParentsQuestion | ResultQuestion | SubmitQuestion | PublishQuestion


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """An error in transit.

    Attributes:
        kind: The name of its class in `jobqueue.errors`; another one is an internal error of the server.
        fields: Of an invalid submission: the pointers, with the details.
        reason: Of a record that is gone.
        retry_after_s: Of a rejection.
        job_id: Of a duplicate: the live job.
    """

    kind: str
    detail: str
    fields: tuple[tuple[str, str], ...] = ()
    reason: str | None = None
    retry_after_s: float | None = None
    job_id: str | None = None


class Answered(msgspec.Struct, frozen=True):
    """An answer in transit: the encoded value, or the error in its place."""

    value: bytes = b""
    refusal: Refusal | None = None


_decode_question = msgspec.msgpack.Decoder(Question).decode
_decode_answer = msgspec.msgpack.Decoder(Answered).decode
_encode = msgspec.msgpack.encode


def question_of(body: bytes) -> Question:
    """Check a question. Raises InvalidMessage."""
    try:
        question: Question = _decode_question(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidMessage(f"an invalid question: {error}") from None
    return question


def answer(value: Sequence[ParentRecord] | Sequence[str] | bytes | str) -> bytes:
    """Encode an answer."""
    return _encode(Answered(_encode(value)))


def refusal(error: Exception) -> bytes:
    """Encode an error as an answer; of one that is not jobqueue's own, only its class is told."""
    if not isinstance(error, JobQueueError):
        return _encode(Answered(refusal=Refusal(kind="", detail=f"the server failed: {type(error).__name__}")))
    fields = error.errors if isinstance(error, InvalidSubmission) else ()
    told = Refusal(
        kind=type(error).__name__,
        detail=shown(str(error), ERROR_LENGTH_MAX),
        fields=tuple((fault.pointer, fault.detail) for fault in fields),
        reason=getattr(error, "reason", None),
        retry_after_s=error.retry_after_s if isinstance(error, Refused) else None,
        job_id=getattr(error, "job_id", None),
    )
    return _encode(Answered(refusal=told))


class ProcessReach:
    """The way of handlers in a process: each call is a question, and the handler waits for the answer.

    Args:
        ask: Sends a question of a call, and returns the answer to it.
    """

    def __init__(self, ask: Callable[[bytes], bytes]) -> None:
        self._ask = ask
        self._one_at_a_time = threading.Lock()
        self._closed = False

    def close(self) -> None:
        """Take no more questions: the call has ended. Waits for the answer to the one under way."""
        with self._one_at_a_time:
            self._closed = True

    def parents(self, job_id: str) -> Sequence[ParentRecord]:
        """Return the parents of a job."""
        return msgspec.msgpack.decode(self._answer(ParentsQuestion()), type=list[ParentRecord])

    def result(self, parent_id: str) -> bytes:
        """Return the result of one of them."""
        return msgspec.msgpack.decode(self._answer(ResultQuestion(parent_id)), type=bytes)

    def submit(self, job_id: str, attempt: int, fields: dict[str, Any]) -> str:
        """Submit a job; return its id."""
        child = child_of({name: as_seconds(value) if name.endswith("_s") else value for name, value in fields.items()})
        question = SubmitQuestion(msgspec.json.encode(child))
        _check_size(question.child, "/args")
        return msgspec.msgpack.decode(self._answer(question), type=str)

    def publish(self, job_id: str, attempt: int, topic: str, data: bytes, key: str | None) -> list[str]:
        """Publish data; return the ids of its jobs."""
        _check_size(data, "/data")
        return msgspec.msgpack.decode(self._answer(PublishQuestion(topic, data, key)), type=list[str])

    def _answer(self, question: Question) -> bytes:
        with self._one_at_a_time:
            if self._closed:  # a thread that the handler has left behind
                raise RuntimeError("the attempt is over")
            answered = _decode_answer(self._ask(_encode(question)))
        if answered.refusal is not None:
            raise _error_of(answered.refusal)
        return answered.value


def _check_size(data: bytes, pointer: str) -> None:
    """Raise InvalidSubmission if JSON is too long for a question."""
    if len(data) > CHILD_BYTES_MAX:
        detail = f"a handler in a process submits at most {CHILD_BYTES_MAX:,} bytes at a time"
        raise InvalidSubmission(InvalidField(pointer=pointer, detail=detail))


def _error_of(told: Refusal) -> Exception:
    kind = getattr(errors, told.kind, None) if told.kind else None
    if not (isinstance(kind, type) and issubclass(kind, JobQueueError)):
        return RuntimeError(told.detail)
    if issubclass(kind, InvalidSubmission):
        return kind(*(InvalidField(pointer=pointer, detail=detail) for pointer, detail in told.fields))
    if issubclass(kind, Refused):
        return kind(told.detail, retry_after_s=told.retry_after_s or 0.0)
    if issubclass(kind, errors.JobGone):
        return kind(told.reason or told.detail)
    if issubclass(kind, errors.WrongState):
        return kind(told.detail, state="")
    if issubclass(kind, errors.Duplicate):
        return kind(told.job_id or "")
    return kind(told.detail)
