"""Results: encodes a handler's return value as JSON bytes, and turns its exception into a failure.

Rules for exceptions:

1. A handler's exception is the handler's code: whatever is asked of it (attributes, `__str__`, `__cause__`) may raise
   anything, SystemExit included. This module never raises; unreadable parts are left out.
2. Exception groups are searched, nested ones too, and so is the origin of an exception: its `__cause__`, or
   the `__context__` unless `from None` suppressed it. The search ends at a `Reject` or a `Retry`: the outer one counts.
3. Any `Reject` wins; then any `Retry`, of several the one with the longest wait. Else `reject_on` decides: of a group,
   one such exception is enough; then `retry_on`.
4. An exception matches `retry_on` by its own class or by that of one it was raised from; a group if all in it match.
5. A `Retry` with a wait that is no duration from 0 to 30 days is an error of the handler, and final: the wait can't be
   kept, and any other would be a guess. An unreadable wait is left to the backoff.
"""

from __future__ import annotations

import inspect
import traceback
from asyncio import CancelledError
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from jobqueue.context import printable
from jobqueue.core.policy import DURATION_S_MAX
from jobqueue.core.report import MESSAGE_LENGTH_MAX, ErrorCode, Failure
from jobqueue.duration import seconds
from jobqueue.encoder import encode
from jobqueue.errors import Reject, Retry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Trace = Callable[[BaseException], str]

T = TypeVar("T")

TRACE_LENGTH_MAX = 10_000

EXCEPTIONS_MAX = 1000
"""Maximum number of exceptions of one chain or tree that are read."""

TRACE_EXCEPTIONS_MAX = 100
"""Maximum number of them in a traceback."""

_CAUSE = BaseException.__dict__["__cause__"].__get__
_CONTEXT = BaseException.__dict__["__context__"].__get__
_SUPPRESSED = BaseException.__dict__["__suppress_context__"].__get__
_TRACEBACK = BaseException.__dict__["__traceback__"].__get__
_MEMBERS = BaseExceptionGroup.__dict__["exceptions"].__get__


class BadResult(Exception):
    """A handler returned a value without a JSON form."""


class ResultTooLarge(Exception):
    """A handler returned more bytes than a result may have."""


def encode_result(value: Any, *, bytes_max: int) -> bytes:
    """Encode a handler's return value as JSON bytes.

    Raises:
        BadResult: It has no JSON form: an unknown type, NaN, an infinity, a lone surrogate, an integer beyond 64 bits,
            two keys that are the same text.
        ResultTooLarge: It has more than `bytes_max` bytes.
    """
    try:
        encoded = encode(value)
    except ValueError as error:
        if inspect.iscoroutine(value):
            value.close()  # else Python warns of it, at a time and place of its own
        hint = (
            ": nothing awaits it; decorate async functions with functools.wraps" if inspect.isawaitable(value) else ""
        )
        raise BadResult(f"the handler returned a value that JSON can't represent: {error}{hint}") from error
    if len(encoded) > bytes_max:
        raise ResultTooLarge(f"the handler returned {len(encoded)} bytes, and the maximum is {bytes_max}")
    return encoded


def failure_of(
    error: BaseException,
    retry_on: Sequence[type[BaseException]] | None = None,
    reject_on: tuple[type[BaseException], ...] = (),
    *,
    trace: Trace | None = None,
) -> Failure:
    """Turn a handler's exception into a failure. Raises nothing, whatever the exception does.

    Args:
        retry_on: The exceptions after which another attempt makes sense; None: all.
        reject_on: The exceptions that mean what `Reject` does, alone or in a group. They go before `retry_on`.
        trace: Gives an exception's traceback as text. Defaults to `trace_of`.
    """
    trace = trace or trace_of
    if isinstance_of(error, (BadResult, ResultTooLarge)):
        code = ErrorCode.BAD_RESULT if isinstance_of(error, BadResult) else ErrorCode.RESULT_TOO_LARGE
        return Failure(code, _text(error), final=True)
    asked = list(_asked(error))
    for one in asked:
        if isinstance_of(one, Reject):
            message = _message(one, "the handler rejected the job")
            return Failure(ErrorCode.REJECTED, message, final=True, traceback=None if one is error else trace(error))
    if asked:
        return _retry_of(asked, error, trace)
    rejects = _tried(lambda: any([isinstance_of(one, reject_on) for one in (error, *_leaves(error))]), False)
    if rejects:
        return Failure(ErrorCode.REJECTED, described(error), final=True, traceback=trace(error))
    # A cancellation that gets here is of something that the handler awaited: an error like any other.
    ordinary = isinstance_of(error, (Exception, CancelledError))
    code = ErrorCode.HANDLER_ERROR if ordinary else ErrorCode.WORKER_CRASHED
    final = retry_on is not None and not _tried(lambda: _matches(error, tuple(retry_on), {}), False)
    return Failure(code, described(error), final=final, traceback=trace(error))


def isinstance_of(error: BaseException, kinds: type[BaseException] | tuple[type[BaseException], ...]) -> bool:
    """Whether an exception's real class is of these kinds: `isinstance` reads `__class__`, which may be a property."""
    return issubclass(type(error), kinds)


def described(error: BaseException) -> str:
    """Return an exception's class and text, and of a group those of the first ones in it."""
    return "; ".join([_told(error), *map(_told, islice(_leaves(error), 3))])[:MESSAGE_LENGTH_MAX]


def _told(error: BaseException) -> str:
    name = _tried(lambda: _text(type(error).__name__), "an exception")
    text = _text(error)
    return f"{name}: {text}" if text else name


def _leaves(error: BaseException) -> Iterator[BaseException]:
    """Yield the exceptions in a group, nested groups flattened; nothing for other exceptions."""
    stack = list(reversed(_members(error)))
    for _ in range(EXCEPTIONS_MAX):
        if not stack:
            return
        one = stack.pop()
        if members := _members(one):
            stack.extend(reversed(members))
        else:
            yield one


def _retry_of(retries: list[BaseException], error: BaseException, trace: Trace) -> Failure:
    """Return the failure of one or more `Retry`: the longest wait, or the error of the first invalid one."""
    longest, wait_s = retries[0], None
    for retry in retries:
        after_s = _attribute(retry, "after_s")
        if after_s is None:
            continue
        try:
            asked_s = seconds(after_s)
            if not 0 <= asked_s <= DURATION_S_MAX:
                raise ValueError(f"a wait is from 0 to {DURATION_S_MAX} seconds (30 days)")
        except BaseException as fault:
            message = f"the handler asked for a retry after {_shown(after_s)}: {_text(fault)}"
            return Failure(ErrorCode.HANDLER_ERROR, message, final=True, traceback=trace(error))
        if wait_s is None or asked_s > wait_s:
            longest, wait_s = retry, asked_s
    message = _message(longest, "the handler asked for a retry")
    around = None if longest is error else trace(error)  # alone it needs none
    return Failure(ErrorCode.HANDLER_ERROR, message, retry_after_s=wait_s, traceback=around)


def _asked(error: BaseException) -> Iterator[BaseException]:
    """Yield every `Reject` and `Retry` in an exception, in the order of a traceback turned round."""
    seen: set[int] = set()
    stack = [error]
    while stack and len(seen) < EXCEPTIONS_MAX:
        one = stack.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance_of(one, (Reject, Retry)):
            yield one
            continue
        if (source := _source(one)) is not None:
            stack.append(source)
        stack.extend(reversed(_members(one)))


def _matches(error: BaseException, kinds: tuple[type[BaseException], ...], known: dict[int, bool]) -> bool:
    """Whether an exception, one it was raised from, or all of a group's members are of these kinds."""
    if id(error) not in known:
        known[id(error)] = False  # for a chain that comes round to itself
        members, source = _members(error), _source(error)
        known[id(error)] = (
            isinstance_of(error, kinds)
            or (bool(members) and all(_matches(member, kinds, known) for member in members))
            or (source is not None and _matches(source, kinds, known))
        )
    return known[id(error)]


def _source(error: BaseException) -> BaseException | None:
    """Return the origin of an exception, read past any names that its own class overrides."""
    cause: BaseException | None = _CAUSE(error)
    if cause is None and not _SUPPRESSED(error):
        cause = _CONTEXT(error)
    return cause


def _members(error: BaseException) -> tuple[BaseException, ...]:
    members: tuple[BaseException, ...] = _MEMBERS(error) if isinstance_of(error, BaseExceptionGroup) else ()
    return members


def _message(error: BaseException, otherwise: str) -> str:
    """Return the message of a `Reject` or `Retry`: its attribute, or its text where a subclass has set none."""
    message = _attribute(error, "message")
    return _text(error if message is None else message) or otherwise


def _attribute(error: BaseException, name: str) -> object:
    return _tried(lambda: getattr(error, name), None)


def _shown(value: object) -> str:
    return _tried(lambda: _text(repr(value))[:100], "what can't be shown")


def _text(message: object) -> str:
    """Convert a handler's message to a text that is valid in JSON."""
    # By the base class: what `__str__` returns may be a subclass with methods of its own.
    cut = _tried(lambda: str.__getitem__(str(message), slice(MESSAGE_LENGTH_MAX)), None)
    return "(its text is not available)" if cut is None else printable(cut)


def trace_of(error: BaseException) -> str:
    """Return the end of an exception's traceback as text."""

    def made() -> str:
        if _size(error) <= TRACE_EXCEPTIONS_MAX:
            lines = traceback.format_exception(error, limit=-20)
        else:  # to format thousands of them would hold the loop up
            lines = [*traceback.format_tb(_TRACEBACK(error), limit=-20), described(error)]
        return printable("".join(lines)[-TRACE_LENGTH_MAX:])

    return _tried(made, "(its traceback is not available)")


def _size(error: BaseException) -> int:
    """Count the exceptions that a traceback would show, as far as it matters."""
    count, stack = 0, [error]
    while stack and count <= TRACE_EXCEPTIONS_MAX:
        one = stack.pop()
        count += 1
        source = _source(one)
        stack += _members(one) if source is None else (source, *_members(one))
    return count


def _tried(read: Callable[[], T], otherwise: T) -> T:
    """Call code of a handler's own object. A KeyboardInterrupt from there is the handler's as well."""
    try:
        return read()
    except BaseException:
        return otherwise
