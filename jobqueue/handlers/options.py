"""Options of `@queue.handler`, checked at registration."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar

import msgspec

from jobqueue.core.backoff import Backoff
from jobqueue.core.policy import DURATION_S_MAX, Limits
from jobqueue.core.rate import RATE_EXPECTED, Rate
from jobqueue.duration import Duration, seconds
from jobqueue.handlers.callee import callee_of
from jobqueue.handlers.redaction import Redaction, fault_of
from jobqueue.handlers.registry import Handler, Registry, RunIn
from jobqueue.handlers.signature import members_of, read_signature
from jobqueue.handlers.submission import ATTEMPTS_MAX, Name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from jobqueue.handlers.signature import Signature

F = TypeVar("F", bound="Callable[..., Any]")


HANDLER_TIMEOUT_S = 300.0


class HandlerOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The options of one handler, as given; `JobQueue.handler` describes each."""

    name: str | None = None
    timeout_s: Duration | None = HANDLER_TIMEOUT_S
    run_in: RunIn | None = None
    attempts_max: int = 1
    queue: str = "default"
    rate: str | None = None
    concurrency: int | None = None
    group_rate: str | None = None
    group_concurrency: int | None = None
    backoff: Backoff | None = None
    retry_on: type[BaseException] | tuple[type[BaseException], ...] | None = None
    reject_on: type[BaseException] | tuple[type[BaseException], ...] | None = None
    redact: tuple[str, ...] | None = None


class HandlerKeywords(TypedDict, total=False):
    """The same as keyword arguments."""

    name: str | None
    timeout_s: Duration | None
    run_in: RunIn | None
    attempts_max: int
    queue: str
    rate: str | None
    concurrency: int | None
    group_rate: str | None
    group_concurrency: int | None
    backoff: Backoff | None
    retry_on: type[BaseException] | tuple[type[BaseException], ...] | None
    reject_on: type[BaseException] | tuple[type[BaseException], ...] | None
    redact: tuple[str, ...] | None


def refuse_unknown(what: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Raise TypeError for unknown keyword arguments, and suggest those that were probably meant."""
    known = tuple(known)
    for name in given:
        if name in known:
            continue
        if near := _near(name, known):
            hint = f"; did you mean {near!r}?"
        elif what == "submit":
            hint = f"; a handler's arguments go together: submit(type, {{{name!r}: ...}})"
        else:
            hint = f"; there are: {', '.join(sorted(known))}"
        raise TypeError(f"{what}() has no option {name!r}{hint}")


def _near(name: str, known: tuple[str, ...]) -> str | None:
    words = set(name.lower().split("_"))
    for option in known:
        if set(option.split("_")) - words <= {"s"}:
            return option
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.75)
    return near[0] if near else None


def register(registry: Registry, func: F, options: HandlerOptions) -> F:
    """Check a handler's options and register it, for `@queue.handler`.

    Raises:
        ValueError: As `handler_of`, or its type is taken.
    """
    registry.add(handler_of(func, options))
    return func


def handler_of(func: Callable[..., Any], options: HandlerOptions) -> Handler:
    """Make a handler of a function.

    Raises:
        ValueError: An option or the signature is invalid; the message says which, and what is valid.
    """
    label = _label_of(func, options)
    try:
        callee = callee_of(func)
        signature = read_signature(callee)
    except ValueError as error:
        raise ValueError(f"handler {label!r}: {error}") from error
    chosen: RunIn = options.run_in if options.run_in is not None else ("loop" if callee.is_async else "thread")
    if chosen not in ("loop", "thread", "process"):
        raise ValueError(f"handler {label!r}: run_in is 'loop', 'thread' or 'process', got {options.run_in!r}")
    # A plain wrapper around an async function may run it by itself, and says so by where it is to run.
    if callee.is_async != (chosen == "loop") and not callee.is_wrapped:
        kind = (
            "an async function runs in 'loop'" if callee.is_async else "a plain function runs in 'thread' or 'process'"
        )
        raise ValueError(f"handler {label!r}: {kind}, got run_in={options.run_in!r}")
    attempts_max = options.attempts_max
    if not _is_count(attempts_max) or attempts_max > ATTEMPTS_MAX:
        raise ValueError(f"handler {label!r}: attempts_max is 1 to {ATTEMPTS_MAX}, got {attempts_max!r}")
    return Handler(
        callee,
        signature,
        name=label,
        run_in=chosen,
        timeout_s=_timeout_of(options, label),
        attempts_max=attempts_max,
        queue=options.queue,
        limits=_limits_of(options, label),
        backoff=_backoff_of(options, label),
        retry_on=_kinds_of(options.retry_on, "retry_on", label),
        reject_on=_kinds_of(options.reject_on, "reject_on", label) or (),
        redaction=_redaction_of(options, signature, label),
    )


def _label_of(func: Any, options: HandlerOptions) -> str:
    if not callable(func) and options.name is None:
        name = f"name={func!r:.100}" if isinstance(func, str) else "its options by name"
        raise ValueError(f"a handler is a function, not {func!r:.100}: write @queue.handler({name})")
    label = options.name if options.name is not None else getattr(func, "__name__", None)
    if label is None:
        raise ValueError(f"a {type(func).__name__} has no name of its own: register it with name=")
    try:
        return str(msgspec.convert(label, Name))
    except msgspec.ValidationError:
        raise ValueError(f"a type is 1 to 100 letters, digits, '_', '.' or '-', got {label!r}") from None


def _timeout_of(options: HandlerOptions, label: str) -> float | None:
    if options.timeout_s is None:
        return None
    try:
        timeout_s = seconds(options.timeout_s)
    except ValueError as fault:
        raise ValueError(f"handler {label!r}: timeout_s: {fault}") from None
    if not 0 < timeout_s <= DURATION_S_MAX:
        raise ValueError(f"handler {label!r}: timeout_s is more than 0 and at most {DURATION_S_MAX}, got {timeout_s!r}")
    return timeout_s


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _limits_of(options: HandlerOptions, label: str) -> Limits | None:
    for name in ("concurrency", "group_concurrency"):
        permits = getattr(options, name)
        if permits is not None and not _is_count(permits):
            raise ValueError(f"handler {label!r}: {name} is a whole number from 1, got {permits!r}")
    rates: dict[str, Rate | None] = {"rate": None, "group_rate": None}
    for name in rates:
        text = getattr(options, name)
        if text is not None:
            try:
                rates[name] = Rate.parse(text)
            except (ValueError, TypeError):
                raise ValueError(f"handler {label!r}: {name} must be {RATE_EXPECTED}, got {text!r}") from None
    limits = Limits(
        concurrency=options.concurrency,
        rate=rates["rate"],
        group_concurrency=options.group_concurrency,
        group_rate=rates["group_rate"],
    )
    return None if limits == Limits() else limits


def _backoff_of(options: HandlerOptions, label: str) -> Backoff | None:
    backoff = options.backoff
    if backoff is None:
        return None
    try:
        fits = 0 <= seconds(backoff.backoff_s_base) <= seconds(backoff.backoff_s_max) <= DURATION_S_MAX
    except (ValueError, AttributeError):
        fits = False
    if not isinstance(backoff, Backoff) or not fits:
        raise ValueError(
            f"handler {label!r}: backoff is a Backoff with 0 <= backoff_s_base <= backoff_s_max <= {DURATION_S_MAX},"
            f" got {backoff!r}"
        )
    return backoff


def _redaction_of(options: HandlerOptions, signature: Signature, label: str) -> Redaction | None:
    if options.redact is None:
        return None
    if (fault := fault_of(options.redact, members_of(signature))) is not None:
        raise ValueError(f"handler {label!r}: {fault}")
    return Redaction(options.redact)


def _kinds_of(
    given: type[BaseException] | tuple[type[BaseException], ...] | None, option: str, label: str
) -> tuple[type[BaseException], ...] | None:
    if given is None:
        return None
    kinds = given if isinstance(given, tuple) else (given,)
    if not all(isinstance(kind, type) and issubclass(kind, BaseException) for kind in kinds):
        raise ValueError(f"handler {label!r}: {option} is an exception class, or a tuple of them, got {given!r}")
    return kinds
