"""Handlers: the functions that do jobs' work, registered under their types.

Owns what a handler is, how its signature becomes the check of a submission's arguments, and what a submission
is and asks for. What a handler returns or raises is judged in `verdicts`. It runs nothing.
"""

from __future__ import annotations

import functools
import inspect
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, get_type_hints

import msgspec
import msgspec.inspect

from jobqueue.context import JobContext
from jobqueue.core.backoff import Backoff
from jobqueue.core.bucket import RATE_EXPECTED, Rate
from jobqueue.core.claims import Unique, UniqueMode
from jobqueue.core.job import JobSpec
from jobqueue.core.order import PRIORITY_MAX
from jobqueue.core.policy import DURATION_S_MAX, Limits
from jobqueue.errors import InvalidField, InvalidSubmission, UnknownType

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

F = TypeVar("F", bound="Callable[..., Any]")
RunIn = Literal["loop", "thread", "process"]

ATTEMPTS_MAX = 100
NAME_PATTERN = r"^[A-Za-z0-9_.-]{1,100}$"

Name = Annotated[str, msgspec.Meta(pattern=NAME_PATTERN)]
Seconds = Annotated[float, msgspec.Meta(ge=0, le=DURATION_S_MAX)]
PositiveSeconds = Annotated[float, msgspec.Meta(gt=0, le=DURATION_S_MAX)]
UniqueValue = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


class UniqueSubmission(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A unique value and what is to happen if a live job of the type has it; a text alone means `return`."""

    value: UniqueValue
    mode: UniqueMode = "return"


class Submission(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What a client asks for, as it stands in `POST /v1/jobs`; only `type` is needed. None: the handler's default."""

    type: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    args: msgspec.Raw = msgspec.Raw(b"{}")
    queue: Name | None = None
    priority: Annotated[int, msgspec.Meta(ge=0, le=PRIORITY_MAX)] = 0
    delay_s: Seconds | None = None
    run_at: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    start_by_s: PositiveSeconds | None = None
    timeout_s: PositiveSeconds | None = None
    attempts_max: Annotated[int, msgspec.Meta(ge=1, le=ATTEMPTS_MAX)] | None = None
    group: Annotated[str, msgspec.Meta(min_length=1, max_length=200)] | None = None
    unique: UniqueSubmission | UniqueValue | None = None
    ttl_s: PositiveSeconds | None = None

    @property
    def plain(self) -> bool:
        """Whether it says its type and its arguments, and nothing else, as most do."""
        return (
            self.queue is None
            and self.priority == 0
            and self.delay_s is None
            and self.run_at is None
            and self.start_by_s is None
            and self.timeout_s is None
            and self.attempts_max is None
            and self.group is None
            and self.unique is None
            and self.ttl_s is None
        )


class Handler:
    """A registered function and its options.

    Raises:
        ValueError: The function's signature can't be a job's; the message says why.
    """

    def __init__(
        self,
        func: Callable[..., Any],
        *,
        name: str,
        run_in: RunIn,
        timeout_s: float | None,
        attempts_max: int,
        queue: str,
        limits: Limits | None = None,
        backoff: Backoff | None = None,
        retry_on: tuple[type[BaseException], ...] | None = None,
    ) -> None:
        self.func = func
        self.name = name
        self.run_in = run_in
        self.timeout_s = timeout_s
        self.attempts_max = attempts_max
        self.queue = queue
        self.retry_on = retry_on
        self._context_name, self._arguments, self._takes_more = _read_signature(func, name)
        self._decode = msgspec.json.Decoder(self._arguments).decode
        self._names = self._arguments.__struct_fields__
        self.wants_context = self._context_name is not None
        # Most jobs ask for nothing special: they share this one.
        self.default_spec = JobSpec(
            type=name,
            queue=queue,
            timeout_s=timeout_s,
            attempts_max=attempts_max,
            lane=None if run_in == "loop" else run_in,
            limits=limits,
            backoff=backoff,
        )

    def check(self, args: bytes) -> bytes:
        """Check a job's arguments, as JSON bytes, against the signature, and return them as they are to be kept.

        That is as they came, but for duplicate keys whose earlier values are not what the signature
        takes: then only the last ones, which count, are kept.

        Raises:
            InvalidSubmission: All faults found, each with its pointer below `/args`.
        """
        try:
            self._decode(args)
        except (msgspec.DecodeError, UnicodeDecodeError) as refusal:
            faults = tuple(self._faults(args))
            if faults:
                raise InvalidSubmission(*faults) from None
            last_ones = msgspec.json.encode(msgspec.json.decode(args))
            if last_ones == args:
                raise InvalidSubmission(InvalidField(pointer="/args", detail=str(refusal))) from None
            return self.check(last_ones)
        except RecursionError:
            raise InvalidSubmission(InvalidField(pointer="/args", detail="nested too deeply")) from None
        if self._takes_more and self._context_name is not None and self._context_name in msgspec.json.decode(args):
            detail = f"{self.name!r} takes its context under this name"
            raise InvalidSubmission(InvalidField(pointer=f"/args/{self._context_name}", detail=detail))
        return args

    def kwargs(self, args: bytes) -> dict[str, Any]:
        """Turn a job's checked arguments into the function's."""
        if self._takes_more and not self._names:
            more: dict[str, Any] = msgspec.json.decode(args)
            return more
        known = self._decode(args)
        kwargs = {name: value for name in self._names if (value := getattr(known, name)) is not msgspec.UNSET}
        if self._takes_more:
            kwargs.update((k, v) for k, v in msgspec.json.decode(args).items() if k not in self._names)
        return kwargs

    def _faults(self, args: bytes | memoryview) -> Iterator[InvalidField]:
        """Find every fault, argument by argument: msgspec stops at the first."""
        try:
            values = msgspec.json.decode(args)
        except (msgspec.DecodeError, UnicodeDecodeError) as fault:
            yield InvalidField(pointer="/args", detail=str(fault))
            return
        if not isinstance(values, dict):
            yield InvalidField(pointer="/args", detail="expected an object: argument names and their values")
            return
        fields = {field.name: field for field in msgspec.structs.fields(self._arguments)}
        for name, value in values.items():
            if name in fields:
                yield from _fault_of(value, fields[name].type, f"/args/{escape(name)}")
            elif not self._takes_more:
                known = ", ".join(fields) or "none"
                yield InvalidField(
                    pointer=f"/args/{escape(name)}", detail=f"unknown argument; {self.name!r} takes: {known}"
                )
        for name, field in fields.items():
            if field.required and name not in values:
                yield InvalidField(pointer=f"/args/{escape(name)}", detail="missing; this argument is required")


class Registry:
    """The handlers of one JobQueue, by type."""

    def __init__(self) -> None:
        self._handlers: dict[str, Handler] = {}

    def __iter__(self) -> Iterator[Handler]:
        return iter(self._handlers.values())

    def get(self, name: str) -> Handler:
        """Return the handler of a type. Raises UnknownType."""
        handler = self._handlers.get(name)
        if handler is None:
            known = ", ".join(sorted(self._handlers)) or "none"
            raise UnknownType(InvalidField(pointer="/type", detail=f"no handler has the type {name!r}; known: {known}"))
        return handler

    def add(self, handler: Handler) -> None:
        """Register a handler. Raises ValueError if its type is taken."""
        if handler.name in self._handlers:
            raise ValueError(f"a handler with the type {handler.name!r} is registered already")
        self._handlers[handler.name] = handler

    def check(self, submission: Submission, *, wall_now: Callable[[], float]) -> tuple[JobSpec, bytes]:
        """Check a submission; return what its job asks for, its handler's defaults filled in, and its arguments.

        Args:
            wall_now: Tells the seconds since the Unix epoch, which `run_at` is set against.

        Raises:
            UnknownType: No handler has that type.
            InvalidSubmission: All other faults, with their pointers.
        """
        handler, args = self.get(submission.type), bytes(submission.args)
        if submission.plain:
            return handler.default_spec, handler.check(args)
        faults = list(_option_faults(submission, handler))
        try:
            args = handler.check(args)
        except InvalidSubmission as invalid:
            faults.extend(invalid.errors)
        if faults:
            raise InvalidSubmission(*faults)
        return _spec_of(submission, handler, wall_now), args


class HandlerOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What `@queue.handler` was given; see `JobQueue.handler` for what each means."""

    timeout_s: float | None
    name: str | None = None
    run_in: RunIn | None = None
    attempts_max: int = 1
    queue: str = "default"
    rate: str | None = None
    concurrency: int | None = None
    group_rate: str | None = None
    group_concurrency: int | None = None
    backoff: Backoff | None = None
    retry_on: type[BaseException] | tuple[type[BaseException], ...] | None = None


def register(registry: Registry, func: F, options: HandlerOptions) -> F:
    """Check a handler's options and add it; what `@queue.handler` does.

    Raises:
        ValueError: An option or the signature can't be used; the message says which, and what would be right.
    """
    is_async = inspect.iscoroutinefunction(func)
    chosen: RunIn = options.run_in if options.run_in is not None else ("loop" if is_async else "thread")
    label = options.name if options.name is not None else func.__name__
    try:
        msgspec.convert(label, Name)
    except msgspec.ValidationError:
        raise ValueError(f"a type is 1 to 100 letters, digits, '_', '.' or '-', got {label!r}") from None
    if chosen not in ("loop", "thread", "process"):
        raise ValueError(f"handler {label!r}: run_in is 'loop', 'thread' or 'process', got {options.run_in!r}")
    if is_async != (chosen == "loop"):
        kind = "an async function runs in 'loop'" if is_async else "a plain function runs in 'thread' or 'process'"
        raise ValueError(f"handler {label!r}: {kind}, got run_in={options.run_in!r}")
    timeout_s, attempts_max = options.timeout_s, options.attempts_max
    if timeout_s is not None and not 0 < timeout_s <= DURATION_S_MAX:
        raise ValueError(f"handler {label!r}: timeout_s is more than 0 and at most {DURATION_S_MAX}, got {timeout_s!r}")
    if not 1 <= attempts_max <= ATTEMPTS_MAX:
        raise ValueError(f"handler {label!r}: attempts_max is 1 to {ATTEMPTS_MAX}, got {attempts_max!r}")
    registry.add(
        Handler(
            func,
            name=label,
            run_in=chosen,
            timeout_s=timeout_s,
            attempts_max=attempts_max,
            queue=options.queue,
            limits=_limits_of(options, label),
            backoff=_backoff_of(options, label),
            retry_on=_retry_on_of(options, label),
        )
    )
    return func


def _limits_of(options: HandlerOptions, label: str) -> Limits | None:
    for name in ("concurrency", "group_concurrency"):
        permits = getattr(options, name)
        if permits is not None and (not isinstance(permits, int) or permits < 1):
            raise ValueError(f"handler {label!r}: {name} is a whole number from 1, got {permits!r}")
    rates: dict[str, Rate | None] = {"rate": None, "group_rate": None}
    for name in rates:
        text = getattr(options, name)
        if text is not None:
            try:
                rates[name] = Rate.parse(text)
            except (ValueError, TypeError):
                raise ValueError(f"handler {label!r}: {name} must be {RATE_EXPECTED}, got {text!r}") from None
    limits = Limits(concurrency=options.concurrency, group_concurrency=options.group_concurrency, **rates)
    return None if limits == Limits() else limits


def _backoff_of(options: HandlerOptions, label: str) -> Backoff | None:
    backoff = options.backoff
    if backoff is None:
        return None
    if not isinstance(backoff, Backoff) or not 0 <= backoff.backoff_s_base <= backoff.backoff_s_max <= DURATION_S_MAX:
        raise ValueError(
            f"handler {label!r}: backoff is a Backoff with 0 <= backoff_s_base <= backoff_s_max <= {DURATION_S_MAX},"
            f" got {backoff!r}"
        )
    return backoff


def _retry_on_of(options: HandlerOptions, label: str) -> tuple[type[BaseException], ...] | None:
    given = options.retry_on
    if given is None:
        return None
    kinds = given if isinstance(given, tuple) else (given,)
    if not all(isinstance(kind, type) and issubclass(kind, BaseException) for kind in kinds):
        raise ValueError(f"handler {label!r}: retry_on is an exception class, or a tuple of them, got {given!r}")
    return kinds


def _read_signature(func: Callable[..., Any], label: str) -> tuple[str | None, type[msgspec.Struct], bool]:
    """Return the context's name (None: not wanted), a struct of the other arguments, and whether any more are taken."""
    try:
        hints = get_type_hints(func, include_extras=True)
    except (NameError, TypeError) as error:
        raise ValueError(f"handler {label!r}: its annotations can't be read: {error}") from error
    parameters = list(inspect.signature(func).parameters.values())
    wants_context = bool(parameters) and (
        hints.get(parameters[0].name) is JobContext or (parameters[0].name == "ctx" and parameters[0].name not in hints)
    )
    fields: list[tuple[str, Any, Any] | tuple[str, Any]] = []
    takes_more = False
    for parameter in parameters[1:] if wants_context else parameters:
        if parameter.kind is parameter.VAR_KEYWORD:
            takes_more = True
        elif parameter.kind in (parameter.VAR_POSITIONAL, parameter.POSITIONAL_ONLY):
            raise ValueError(f"handler {label!r}: arguments go by name, so {parameter} can't be one")
        elif parameter.default is parameter.empty:
            fields.append((parameter.name, hints.get(parameter.name, Any)))
        else:
            # The default itself stays with the function: it need not be JSON, nor immutable.
            annotated = hints.get(parameter.name, Any)
            fields.append((parameter.name, annotated | msgspec.UnsetType, msgspec.UNSET))
    context_name = parameters[0].name if wants_context else None
    return context_name, _arguments_struct(label, fields, takes_more), takes_more


def _arguments_struct(label: str, fields: list[Any], takes_more: bool) -> type[msgspec.Struct]:
    try:
        struct = msgspec.defstruct("Arguments", fields, kw_only=True, forbid_unknown_fields=not takes_more)
        unknown = _unknown_type(msgspec.inspect.type_info(struct))
    except TypeError as error:
        raise ValueError(f"handler {label!r}: JSON can't be checked against its signature: {error}") from error
    if unknown is not None:
        raise ValueError(f"handler {label!r}: JSON can't be checked against its signature: no JSON makes a {unknown!r}")
    return struct


def _unknown_type(root: msgspec.inspect.Type) -> type | None:
    """Find a type inside an annotation that msgspec can't make from JSON; it would refuse only once a job comes."""
    stack: list[Any] = [root]
    seen: set[int] = set()
    while stack:
        item = stack.pop()
        if isinstance(item, (tuple, list)):
            stack.extend(item)
        elif isinstance(item, msgspec.inspect.CustomType):
            return item.cls
        elif isinstance(item, msgspec.Struct) and id(item) not in seen:
            seen.add(id(item))
            stack.extend(getattr(item, name) for name in item.__struct_fields__)
    return None


def _option_faults(submission: Submission, handler: Handler) -> Iterator[InvalidField]:
    if submission.delay_s is not None and submission.run_at is not None:
        yield InvalidField(pointer="/run_at", detail="give delay_s or run_at, not both")
    if _debounces(submission) and not submission.delay_s and submission.run_at is None:
        yield InvalidField(pointer="/unique", detail="to debounce is to wait for quiet: it needs delay_s or run_at")
    if submission.timeout_s is not None and handler.timeout_s is not None and submission.timeout_s > handler.timeout_s:
        yield InvalidField(pointer="/timeout_s", detail=f"at most {handler.timeout_s}, the timeout of its handler")


def _debounces(submission: Submission) -> bool:
    return isinstance(submission.unique, UniqueSubmission) and submission.unique.mode == "debounce"


def unique_of(submission: Submission, *, with_files: bool) -> Unique | None:
    """Return what the submission claims for itself among the live jobs of its type.

    Raises:
        InvalidSubmission: It debounces and brings files, which the job that waits already has of its own.
    """
    given = submission.unique
    if given is None:
        return None
    if with_files and _debounces(submission):
        raise InvalidSubmission(InvalidField(pointer="/unique", detail="a job with files can't be debounced"))
    return Unique(given) if isinstance(given, str) else Unique(given.value, given.mode)


def _spec_of(submission: Submission, handler: Handler, wall_now: Callable[[], float]) -> JobSpec:
    delay_s = submission.delay_s or 0.0
    if submission.run_at is not None:
        delay_s = max(0.0, submission.run_at.timestamp() - wall_now())
        if delay_s > DURATION_S_MAX:
            raise InvalidSubmission(InvalidField(pointer="/run_at", detail="at most 30 days from now"))
    if submission.start_by_s is not None and submission.start_by_s <= delay_s:
        raise InvalidSubmission(InvalidField(pointer="/start_by_s", detail="the job would expire before it may run"))
    default = handler.default_spec
    spec = JobSpec(
        type=handler.name,
        queue=default.queue if submission.queue is None else submission.queue,
        priority=submission.priority,
        group=submission.group,
        delay_s=delay_s,
        start_by_s=submission.start_by_s,
        timeout_s=default.timeout_s if submission.timeout_s is None else submission.timeout_s,
        attempts_max=default.attempts_max if submission.attempts_max is None else submission.attempts_max,
        ttl_s=submission.ttl_s,
        lane=default.lane,
        limits=default.limits,
        backoff=default.backoff,
    )
    return default if spec == default else spec


def _fault_of(value: Any, expected: Any, pointer: str) -> Iterator[InvalidField]:
    try:
        msgspec.convert(value, expected)
    except msgspec.ValidationError as fault:
        yield field_of(fault, pointer)


def field_of(fault: msgspec.ValidationError, base: str = "") -> InvalidField:
    """Turn msgspec's `… - at `$.a[0]`` into a pointer below `base`, and the rest into a detail."""
    detail, _, path = str(fault).partition(" - at `")
    return InvalidField(pointer=base + _pointer_of(path.rstrip("`")), detail=detail)


@functools.lru_cache(maxsize=256)
def _pointer_of(path: str) -> str:
    steps = path.removeprefix("$").replace("[...]", ".*").replace("[", ".").replace("]", "")
    return "".join(f"/{escape(step)}" for step in steps.split(".") if step)


def escape(step: str) -> str:
    """Escape one step of a JSON pointer (RFC 6901, section 3)."""
    return step.replace("~", "~0").replace("/", "~1")
