"""Messages between the process pool and its processes: framing, and validation of a process's messages.

Rules:

1. Each message starts with a token of 8 random bytes, which the pool sent with the command that it belongs to.
   A process echoes it. So neither stray bytes nor a former call's answer can pass for the answer of a call.
2. A process's messages are untrusted: kind, length, form and each value are checked before use. A message that
   fails the check raises `InvalidMessage`, and the pool kills the process.
3. A result file's path and size are not taken from the process: the pool knows the path, and reads the size.
"""

from __future__ import annotations

import math
import os
import stat
import struct
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from jobqueue.context import NOTE_LENGTH_MAX, RESULT_PREFIX
from jobqueue.core.policy import DURATION_S_MAX
from jobqueue.core.report import MESSAGE_LENGTH_MAX, ErrorCode, Failure, Success
from jobqueue.core.stored_file import StoredFile
from jobqueue.handlers.result import TRACE_LENGTH_MAX

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jobqueue.runtime.pools.call import Call

TOKEN_BYTES = 8
HEAD = struct.Struct(f">{TOKEN_BYTES}sIc")
"""Token, length of the body, kind."""

# From the pool: what is to be done before the first call, a call, and the answer to a question within it.
PREPARE, CALL, ANSWER = b"b", b"c", b"a"
# From a process: the answer to PREPARE, or FAILURE; a call's progress, a question within it (`questions.py`), and its
# outcome; log records, and how many were dropped, at any time.
READY, PROGRESS, QUESTION, SUCCESS, FAILURE, RECORD, DROPPED = b"r", b"p", b"q", b"s", b"f", b"l", b"d"

SMALL_BYTES_MAX = 128 * 2**10
"""Maximum length of messages other than results: room for the longest failure in the widest characters."""

QUESTION_BYTES_MAX = 2**20 + SMALL_BYTES_MAX
"""Maximum length of a question: a child's submission, with its arguments."""

TEXT_LENGTH_MAX = 2 * MESSAGE_LENGTH_MAX
"""Maximum length of a failure's message in transit; the record keeps less."""

MEDIA_TYPE_LENGTH_MAX = 1000

HANDLERS_CODES = frozenset(
    {
        ErrorCode.HANDLER_ERROR,
        ErrorCode.WORKER_CRASHED,
        ErrorCode.REJECTED,
        ErrorCode.BAD_RESULT,
        ErrorCode.RESULT_TOO_LARGE,
    }
)
"""Error codes that a process may report; only the server sets the others."""

_decode_progress = msgspec.msgpack.Decoder(tuple[float, str | None]).decode
_decode_success = msgspec.msgpack.Decoder(Success).decode
_decode_failure = msgspec.msgpack.Decoder(Failure).decode
_skim_json = msgspec.json.Decoder(msgspec.Raw).decode


class Preparations(msgspec.Struct, frozen=True):
    """The command before a process's first call: load modules, and call `init`, a pickled function, if any."""

    log_level: int
    modules: list[str]
    init: bytes | None = None


class InvalidMessage(Exception):
    """A process sent an invalid message."""


class Inbox:
    """The bytes that came from one process, cut into messages."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def feed(self, data: bytes, bounds: dict[bytes, int]) -> Iterator[tuple[bytes, bytes, bytes]]:
        """Add bytes, and yield (token, kind, body) of each message that is whole now.

        Args:
            bounds: The tokens that are valid, each with the longest result that may come under it. Read again
                for each message, so the caller may change it in between.

        Raises:
            InvalidMessage: At the first byte that can't belong to a message.
        """
        held = self._bytes
        held += data
        while len(held) >= TOKEN_BYTES:
            bytes_max = bounds.get(bytes(held[:TOKEN_BYTES]))
            if bytes_max is None:
                raise InvalidMessage("bytes outside of a call")
            if len(held) < HEAD.size:
                return
            token, length, kind = HEAD.unpack_from(held)
            if length > _length_max(kind, bytes_max):
                raise InvalidMessage(f"a message of {length} bytes")
            if len(held) < HEAD.size + length:
                return
            body = bytes(held[HEAD.size : HEAD.size + length])
            del held[: HEAD.size + length]
            yield token, kind, body


def _length_max(kind: bytes, result_bytes_max: int) -> int:
    if kind == SUCCESS:
        return max(SMALL_BYTES_MAX, result_bytes_max)
    return QUESTION_BYTES_MAX if kind == QUESTION else SMALL_BYTES_MAX


def encode_outcome(outcome: Success | Failure) -> tuple[bytes, bytes]:
    """Return kind and body of a call's answer, its texts cut. Raises TypeError, ValueError, OverflowError."""
    if isinstance(outcome, Success):
        return SUCCESS, msgspec.msgpack.encode(outcome)
    trace = outcome.traceback
    cut = msgspec.structs.replace(
        outcome,
        message=outcome.message[:TEXT_LENGTH_MAX],
        traceback=trace if trace is None else trace[-TRACE_LENGTH_MAX:],
    )
    return FAILURE, msgspec.msgpack.encode(cut)


def progress_of(body: bytes) -> tuple[float, str | None]:
    """Check a report of progress. Raises InvalidMessage."""
    try:
        fraction, note = _decode_progress(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidMessage(f"an invalid progress: {error}") from None
    if not (math.isfinite(fraction) and 0.0 <= fraction <= 1.0) or len(note or "") > NOTE_LENGTH_MAX:
        raise InvalidMessage("a progress outside its bounds")
    return fraction, note


def failure_of_body(body: bytes) -> Failure:
    """Check a failure. Raises InvalidMessage."""
    try:
        return _checked_failure(_decode_failure(body))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidMessage(f"an invalid answer: {error}") from None


def outcome_of(kind: bytes, body: bytes, call: Call) -> Success | Failure:
    """Check the answer to a call. Raises InvalidMessage."""
    if kind == FAILURE:
        return failure_of_body(body)
    if kind == SUCCESS:
        try:
            return _checked_success(_decode_success(body), call)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise InvalidMessage(f"an invalid answer: {error}") from None
    raise InvalidMessage(f"a message of an unknown kind, {kind!r}")


def _checked_success(success: Success, call: Call) -> Success:
    if len(success.result) > call.result_bytes_max:
        raise InvalidMessage(f"a result of {len(success.result)} bytes, where {call.result_bytes_max} are allowed")
    try:
        success.result.decode()  # skimming doesn't look into strings
        _skim_json(success.result)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidMessage(f"a result that is not JSON: {error}") from None
    return success if success.file is None else Success(success.result, _checked_file(success.file, call))


def _checked_file(file: StoredFile, call: Call) -> StoredFile:
    path = str(Path(call.folder) / f"{RESULT_PREFIX}{call.attempt}")
    if file.path != path or len(file.media_type) > MEDIA_TYPE_LENGTH_MAX:
        raise InvalidMessage("a result file of another attempt")
    try:
        found = os.lstat(path)
    except OSError as error:
        raise InvalidMessage(f"a missing result file: {error}") from None
    if not stat.S_ISREG(found.st_mode):
        raise InvalidMessage("a result file that is not a regular file")
    return StoredFile(path, file.media_type, found.st_size)


def _checked_failure(failure: Failure) -> Failure:
    wait_s = failure.retry_after_s
    if failure.code not in HANDLERS_CODES:
        raise InvalidMessage(f"a failure with the code {failure.code}")
    if len(failure.message) > TEXT_LENGTH_MAX or len(failure.traceback or "") > TRACE_LENGTH_MAX:
        raise InvalidMessage("a failure with too long a text")
    if wait_s is not None and not 0.0 <= wait_s <= DURATION_S_MAX:  # a NaN isn't either
        raise InvalidMessage(f"a failure that is to be retried after {wait_s} s")
    return failure
