"""JSON bodies: from bytes to a submission, a batch, or another request's struct.

It accepts strict JSON only; `handlers.validation` finds the faults. A submission's arguments stay the bytes that were
sent.
"""

from __future__ import annotations

import functools
import gc
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec
import orjson

from jobqueue.api_limits import BATCH_MAX
from jobqueue.errors import FAULTS_MAX, InvalidField, InvalidSubmission
from jobqueue.handlers import ObjectCheck, PlainSubmission, Submission
from jobqueue.handlers.flow_submission import FlowSubmission, NamedSubmission, ValidFlow
from jobqueue.http.errors import InvalidRequest, MalformedJson
from jobqueue.http.request.batch import Batch, PlainBatch, ValidBatch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


DEPTH_MAX: Final = 32
INTEGER_MIN: Final = -(2**63)
INTEGER_MAX: Final = 2**64 - 1
MANY_BRACKETS: Final = 1000

_LONG_DIGITS: Final = re.compile(rb"\d{19,}+")
_TO_ZERO: Final = bytes.maketrans(b"123456789", b"000000000")
_ZEROS: Final = b"0" * 19
_FEW_MARKS: Final = 19  # fewer than the digits of an integer that is too long, and than DEPTH_MAX
_TOO_DEEP_BYTES_MIN: Final = 2 * (DEPTH_MAX + 1)  # a pair of brackets for each level
_NO_MARKS: Final = bytes(set(range(256)) - set(b"[]{}0123456789"))
_NO_OPENINGS: Final = bytes(set(range(256)) - set(b"[{"))
_IN_FLOAT: Final = frozenset({b".", b"e", b"E", b"+"})
_TO_SQUARE: Final = bytes.maketrans(b"{}", b"[]")
_NEITHER_BRACKET_NOR_QUOTE: Final = bytes(set(range(256)) - set(b'[]{}"'))
_DIGITS_MAX: Final = len(str(INTEGER_MAX)) + 1

_PASSED_THROUGH: Final = (msgspec.Raw, list[msgspec.Raw])

# The message of orjson, which has no exception type for it.
_NO_MEMORY: Final = "Not enough memory"

_parse = orjson.loads
_decode_plain: Final = msgspec.json.Decoder(PlainSubmission).decode

T = TypeVar("T", bound=msgspec.Struct)


class BatchItem:
    """One submission of a batch that has an invalid one: parsed, and as its bytes."""

    __slots__ = ("document", "raw")

    def __init__(self, document: Any, raw: msgspec.Raw) -> None:
        self.document = document
        self.raw = raw

    def submission(self) -> Submission:
        """Decode it. Raises InvalidSubmission, with pointers from the submission's own root."""
        return _convert(bytes(self.raw), self.document, Submission)


def decode_submission(body: bytes | bytearray) -> Submission:
    """Decode a submission; of duplicate keys the last wins.

    Raises:
        MalformedJson: Not JSON, or JSON with a number or a depth beyond the limits.
        InvalidSubmission: A field is unknown, missing or invalid; all faults, with pointers.
    """
    return _convert(body, _loads(body), Submission)


def decode_one(body: bytes | bytearray) -> PlainSubmission | Submission:
    """As `decode_submission`; a plain one, as most are, in less time."""
    document = _loads(body)
    members = len(document) if isinstance(document, dict) else 0
    if (members == 1 and "type" in document) or (members == 2 and "type" in document and "args" in document):
        try:
            return _decode_plain(body)
        except msgspec.DecodeError:
            return _convert(body, document, Submission)  # finds all faults
    return _convert(body, document, Submission)


def has_parents(submission: PlainSubmission | Submission) -> bool:
    """Whether a job comes after others, so that the stock path submits it."""
    # Not by `Submission`: of structs, only that an object is one of exactly this class is told at once.
    return not isinstance(submission, PlainSubmission) and bool(submission.after)


def decode_batch(body: bytes) -> Sequence[PlainSubmission | Submission | BatchItem]:
    """Decode a batch, if all of it is acceptable JSON. If an item is invalid, they are to be decoded one by one.

    Raises:
        MalformedJson: As `decode_submission`.
        InvalidRequest: It is not an object with one list, or the list is too long.
    """
    document = _loads(body)
    jobs = document.get("jobs", []) if isinstance(document, dict) else []
    if not isinstance(jobs, list) or len(jobs) > BATCH_MAX:
        given = f"{len(jobs)} of them" if isinstance(jobs, list) else "something else"
        detail = f"expected a list of at most {BATCH_MAX} submissions, got {given}"
        raise InvalidRequest(InvalidField(pointer="/jobs", detail=detail))
    # Most batches are valid, and plain: all at once takes a third of the time.
    with suppress(msgspec.DecodeError):
        plain: PlainBatch = _decoder(PlainBatch).decode(body)
        return plain.jobs
    with suppress(msgspec.DecodeError):
        valid: ValidBatch = _decoder(ValidBatch).decode(body)
        return valid.jobs
    batch = _convert(body, document, Batch)
    return [BatchItem(*pair) for pair in zip(document["jobs"], batch.jobs, strict=True)]


def decode_flow(body: bytes) -> ValidFlow:
    """Decode a flow: the names of its jobs, and what they come after, are not looked at.

    Raises:
        MalformedJson: As `decode_submission`.
        InvalidRequest: It is not an object with one list, or the list is empty or too long.
        InvalidSubmission: A job is invalid; the faults of all of them, with pointers from the flow's root.
    """
    document = _loads(body)
    with suppress(msgspec.DecodeError):
        whole: ValidFlow = _decoder(ValidFlow).decode(body)
        return whole
    flow = _convert(body, document, FlowSubmission)
    jobs: list[NamedSubmission] = []
    faults: list[InvalidField] = []
    more = 0
    for number, (member, raw) in enumerate(zip(document["jobs"], flow.jobs, strict=True)):
        try:
            jobs.append(_convert(bytes(raw), member, NamedSubmission))
        except InvalidSubmission as invalid:
            below = invalid.below(f"/jobs/{number}")
            more += below.more + max(0, len(faults) + len(below.errors) - FAULTS_MAX)
            faults = [*faults, *below.errors][:FAULTS_MAX]
    if faults:
        raise InvalidSubmission(*faults, more=more)
    return ValidFlow(jobs=jobs)


def decode(body: bytes, kind: type[T]) -> T:
    """Decode another request's struct. Raises MalformedJson, InvalidRequest."""
    return _convert(body, _loads(body), kind)


def _convert(body: bytes | bytearray, document: Any, kind: type[T]) -> T:
    """Convert acceptable JSON to a struct; `document` is the parsed body."""
    try:
        decoded: T = _decoder(kind).decode(body)
        return decoded
    except msgspec.ValidationError as fault:
        last_ones = _check(kind).last_ones(body, fault, document)
    except msgspec.DecodeError as fault:
        raise MalformedJson(f"the body is not JSON: {fault}") from None
    return _convert(last_ones, document, kind)


@functools.cache
def _decoder(kind: type[T]) -> msgspec.json.Decoder[T]:
    return msgspec.json.Decoder(kind)


@functools.cache
def _check(kind: type[msgspec.Struct]) -> ObjectCheck:
    fields = msgspec.structs.fields(kind)
    names = ", ".join(field.name for field in fields)
    needed = ", ".join(f'"{field.name}"' for field in fields if field.required)
    inside = "; a handler's arguments stand in args" if "args" in names else ""
    return ObjectCheck(
        fields=fields,
        base="",
        called="field",
        shape=f"expected an object with {f'at least the field {needed}' if needed else f'fields of: {names}'}",
        unknown=f"unknown field; known: {names}{inside}",
        not_checked=_PASSED_THROUGH,
        refusal=InvalidSubmission if kind in (Submission, NamedSubmission) else InvalidRequest,
    )


def _loads(body: bytes | bytearray) -> Any:
    """Parse a document, strictly: an accepted one has the same meaning in every parser."""
    if len(body) < _TOO_DEEP_BYTES_MIN:
        if body.translate(_TO_ZERO).find(_ZEROS) < 0:
            return _parsed(body, _parse)
    elif len(body.translate(None, _NO_MARKS)) < _FEW_MARKS:
        # Most bodies: too few brackets to nest too deep, and too few digits for too long an integer.
        return _parsed(body, _parse)
    brackets = len(body.translate(None, _NO_OPENINGS))
    document = _parsed(body, _parse if brackets < MANY_BRACKETS else _parse_without_collector)
    if brackets > DEPTH_MAX:
        _check_depth(body)
    if body.translate(_TO_ZERO).find(_ZEROS) >= 0:  # twenty times as fast as the expression
        _check_integers(body)
    return document


def _parsed(body: bytes | bytearray, parse: Callable[[bytes | bytearray], Any]) -> Any:
    try:
        return parse(body)
    except orjson.JSONDecodeError as error:
        if error.msg.startswith(_NO_MEMORY):
            raise MemoryError from None
        raise MalformedJson(f"the body is not JSON: {error}") from None


def _parse_without_collector(body: bytes | bytearray) -> Any:
    # A megabyte of brackets is 350,000 new lists, over which the collector would run 500 times.
    collected = gc.isenabled()
    gc.disable()
    try:
        return _parse(body)
    finally:
        if collected:
            gc.enable()


def _check_depth(body: bytes | bytearray) -> None:
    marks = _without_escapes(body).translate(_TO_SQUARE, _NEITHER_BRACKET_NOR_QUOTE)
    # Strings without brackets are pairs of quotes now; taking them away leaves few to split at.
    brackets = b"".join(marks.replace(b'""', b"").split(b'"')[::2])
    for _ in range(DEPTH_MAX):
        # Each round takes the innermost pairs away: in valid JSON they are balanced.
        brackets = brackets.replace(b"[]", b"")
        if not brackets:
            return
    if brackets:
        raise MalformedJson(f"the body is nested more than {DEPTH_MAX} levels deep")


def _check_integers(body: bytes | bytearray) -> None:
    outside_strings = b'"'.join(_without_escapes(body).split(b'"')[::2])
    for run in _LONG_DIGITS.finditer(outside_strings):
        start, end = run.span()
        # Not from -1 on: compiled, a slice of bytes from the end to the front is an error, not empty.
        sign = outside_strings[max(0, start - 1) : start]
        before = outside_strings[max(0, start - 2) : start - 1] if sign == b"-" else sign
        # Digits of a fraction or an exponent, or in front of one, are a float's.
        if before in _IN_FLOAT or outside_strings[end : end + 1] in _IN_FLOAT:
            continue
        digits = (b"-" if sign == b"-" else b"") + run[0]
        if not _fits(digits):
            shown = digits[:40].decode() + ("…" if len(digits) > 40 else "")
            raise MalformedJson(f"the integer {shown} is outside of {INTEGER_MIN} … {INTEGER_MAX}: send it as a string")


def _without_escapes(body: bytes | bytearray) -> bytes:
    """Remove escaped backslashes and quotes: every remaining quote begins or ends a string."""
    return bytes(body).replace(b"\\\\", b"").replace(b'\\"', b"") if body.find(b"\\") >= 0 else bytes(body)


def _fits(digits: bytes) -> bool:
    return len(digits) <= _DIGITS_MAX and INTEGER_MIN <= int(digits) <= INTEGER_MAX
