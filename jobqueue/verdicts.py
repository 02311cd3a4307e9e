"""Verdicts: what a handler returned becomes JSON bytes, and what it raised becomes a failure.

Owns how strict a result is taken and what a failure tells. It runs nothing and knows no handlers.
"""

from __future__ import annotations

import json
import traceback
from typing import TYPE_CHECKING, Any

import msgspec
import orjson

from jobqueue.context import printable
from jobqueue.core.job import MESSAGE_LENGTH_MAX, ErrorCode, Failure
from jobqueue.core.policy import DURATION_S_MAX
from jobqueue.errors import Reject, Retry

if TYPE_CHECKING:
    from collections.abc import Sequence

TRACE_LENGTH_MAX = 10_000


class BadResult(Exception):
    """A handler returned what JSON can't say."""


class ResultTooLarge(Exception):
    """A handler returned more bytes than a result may have."""


def encode_result(value: Any, *, bytes_max: int) -> bytes:
    """Turn what a handler returned into JSON bytes.

    Raises:
        BadResult: JSON can't say it: an unknown type, NaN, an infinity, a lone surrogate, an integer beyond 64 bits.
        ResultTooLarge: It can, in more than `bytes_max` bytes.
    """
    try:
        encoded = encode_strictly(value)
    except ValueError as error:
        raise BadResult(f"the handler returned what JSON can't say: {error}") from error
    if len(encoded) > bytes_max:
        raise ResultTooLarge(f"the handler returned {len(encoded)} bytes, and a result may have {bytes_max}")
    return encoded


def encode_strictly(value: Any) -> bytes:
    """Turn a value into JSON bytes, without changing what it says.

    Raises:
        ValueError: JSON can't say it.
    """
    if value is None:  # what many handlers return
        return b"null"
    try:
        encoded = orjson.dumps(value, default=_plain)
        if encoded.find(b"null") >= 0:  # `in` makes and drops an exception first: four times as slow
            # orjson writes NaN as null; only a stricter writer tells that from None.
            json.dumps(value, default=_plain_or_text, allow_nan=False)
    except (TypeError, RecursionError) as error:
        raise ValueError(str(error)) from error
    # A true copy: orjson leaves the block of some KiB that it wrote into behind a result of a few bytes.
    return b"%b" % encoded


def _plain(value: Any) -> Any:
    if isinstance(value, msgspec.Struct):
        return msgspec.to_builtins(value)
    raise TypeError(f"Type is not JSON serializable: {type(value).__name__}")


def _plain_or_text(value: Any) -> Any:
    """As `_plain`, but the rest that orjson knows (dates, UUIDs, dataclasses, …) must not fail a second time."""
    return msgspec.to_builtins(value)


def failure_of(error: BaseException, retry_on: Sequence[type[BaseException]] | None = None) -> Failure:
    """Turn what a handler raised into a verdict.

    Args:
        retry_on: The exceptions after which another attempt makes sense; None: all.
    """
    match error:
        case Retry():
            return Failure(ErrorCode.HANDLER_ERROR, _cut(error.message), retry_after_s=_wait_s(error.after_s))
        case Reject():
            return Failure(ErrorCode.REJECTED, _cut(error.message), final=True)
        case BadResult():
            return Failure(ErrorCode.BAD_RESULT, str(error), final=True)
        case ResultTooLarge():
            return Failure(ErrorCode.RESULT_TOO_LARGE, str(error), final=True)
    code = ErrorCode.HANDLER_ERROR if isinstance(error, Exception) else ErrorCode.WORKER_CRASHED
    final = retry_on is not None and not isinstance(error, tuple(retry_on))
    return Failure(code, _describe(error), final=final, traceback=_trace(error))


def _describe(error: BaseException) -> str:
    text = _cut(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _cut(message: object) -> str:
    """Make whatever a handler gave as a message a text that every client can be told."""
    try:
        return printable(str(message)[:MESSAGE_LENGTH_MAX])
    except Exception:  # a broken __str__ is the handler's fault, and not a reason to lose the verdict
        return "(its text can't be made)"


def _trace(error: BaseException) -> str:
    try:
        return printable("".join(traceback.format_exception(error, limit=-20))[-TRACE_LENGTH_MAX:])
    except Exception:  # as above: even an exception that can't be printed has been raised
        return "(its traceback can't be made)"


def _wait_s(after_s: object) -> float | None:
    """Return a wait that can be kept; what is no number of seconds leaves it to the backoff."""
    try:
        wait_s = float(msgspec.convert(after_s, float))
    except msgspec.ValidationError:
        return None
    return wait_s if 0 <= wait_s <= DURATION_S_MAX else None
