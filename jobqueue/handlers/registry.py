"""The registry: the handlers of one JobQueue; checks submissions and arguments against them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import msgspec

from jobqueue.core.job import JobSpec
from jobqueue.errors import InvalidField, InvalidSubmission, UnknownType
from jobqueue.handlers import foreign
from jobqueue.handlers.submission import Bounds, option_faults, spec_of
from jobqueue.handlers.validation import ObjectCheck, escape

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from jobqueue.core.backoff import Backoff
    from jobqueue.core.policy import Limits
    from jobqueue.handlers.callee import Callee
    from jobqueue.handlers.redaction import Redaction
    from jobqueue.handlers.signature import Signature
    from jobqueue.handlers.submission import PlainSubmission, Submission

RunIn = Literal["loop", "thread", "process"]


class Handler:
    """A registered function and its options.

    Attributes:
        func: Runs a job: a coroutine function if `run_in` is `loop`.
        context_name: The parameter that takes the context; empty if it goes by position; None: it takes none.
        redaction: Hides arguments where its jobs are shown; None: all are shown.
        summary: The first line of its docstring; None: it has none.
    """

    def __init__(
        self,
        callee: Callee,
        signature: Signature,
        *,
        name: str,
        run_in: RunIn,
        timeout_s: float | None,
        attempts_max: int,
        queue: str,
        limits: Limits | None = None,
        backoff: Backoff | None = None,
        retry_on: tuple[type[BaseException], ...] | None = None,
        reject_on: tuple[type[BaseException], ...] = (),
        redaction: Redaction | None = None,
    ) -> None:
        self.func = callee.awaitable if run_in == "loop" else callee.func
        self.name = name
        self.run_in = run_in
        self.timeout_s = timeout_s
        self.attempts_max = attempts_max
        self.queue = queue
        self.retry_on = retry_on
        self.reject_on = reject_on
        self.redaction = redaction
        self.summary = callee.summary
        self.signature = signature
        self.context_name = signature.context_name
        self.wants_context = self.context_name is not None
        self._given = callee.func
        self._arguments = signature.arguments
        self._takes_more = signature.takes_more
        self._decode = msgspec.json.Decoder(self._arguments, dec_hook=foreign.make).decode
        self._names = self._arguments.__struct_fields__
        self._may_lack_some = len(self._arguments.__struct_defaults__) > 0
        known = ", ".join(self._names) or "none"
        self._object = ObjectCheck(
            fields=msgspec.structs.fields(self._arguments),
            base="/args",
            called="argument",
            shape="expected an object: argument names and their values",
            unknown=None if self._takes_more else f"unknown argument; {name!r} takes: {known}",
        )
        # Most jobs have default options: they share this spec.
        self.default_spec = JobSpec(
            type=name,
            queue=queue,
            timeout_s=timeout_s,
            attempts_max=attempts_max,
            pool=None if run_in == "loop" else run_in,
            limits=limits,
            backoff=backoff,
        )

    def made_of(self, function: object) -> bool:
        """Whether this function was registered."""
        return self._given == (function.__func__ if isinstance(function, staticmethod) else function)

    def check(self, args: bytes) -> bytes:
        """Check a job's arguments, as JSON bytes, against the signature, and return the bytes to keep.

        These are unchanged, but for duplicate keys with earlier values that the signature
        rejects: then only the last ones, which count, are kept.

        Raises:
            InvalidSubmission: All faults found, each with its pointer below `/args`.
        """
        try:
            self._decode(args)
        except MemoryError:
            raise
        except (Exception, SystemExit) as error:  # types have code of their own, and it may raise anything
            return self.check(self._object.last_ones(args, error))
        if self._takes_more and self.signature.reserved:
            given = msgspec.json.decode(args)
            if taken := [name for name in given if name in self.signature.reserved]:
                raise InvalidSubmission(*(self._reserved_fault(name) for name in taken))
        return args

    def _reserved_fault(self, name: str) -> InvalidField:
        what = "takes its context under this name" if name == self.context_name else "has this argument fixed"
        return InvalidField(pointer=f"/args/{escape(name)}", detail=f"{self.name!r} {what}")

    def kwargs(self, args: bytes) -> dict[str, Any]:
        """Decode a job's checked arguments to keyword arguments."""
        if self._takes_more and not self._names:
            more: dict[str, Any] = msgspec.json.decode(args)
            return more
        known = self._decode(args)
        if not (self._may_lack_some or self._takes_more):
            return msgspec.structs.asdict(known)
        kwargs = {name: value for name in self._names if (value := getattr(known, name)) is not msgspec.UNSET}
        if self._takes_more:
            kwargs.update((k, v) for k, v in msgspec.json.decode(args).items() if k not in self._names)
        return kwargs


class Registry:
    """The handlers of one JobQueue, by type.

    Beside those that the application registers there are built-in ones, whose jobs the queue makes itself. No
    submission may name their types: its arguments would be taken for the queue's own. Nor may one name their queues,
    which it could fill.
    """

    def __init__(self) -> None:
        self._handlers: dict[str, Handler] = {}
        self._built_in: dict[str, Handler] = {}
        self._own_queues: Collection[str] = ()

    def __iter__(self) -> Iterator[Handler]:
        """Yield the handlers that submissions may name."""
        return iter(self._handlers.values())

    def every(self) -> Iterator[Handler]:
        """Yield all handlers, the built-in ones last."""
        yield from self._handlers.values()
        yield from self._built_in.values()

    def is_built_in(self, name: str) -> bool:
        """Whether a type is built in."""
        return name in self._built_in

    def get(self, name: str) -> Handler:
        """Return the handler of a type. Raises UnknownType."""
        handler = self._handlers.get(name)
        if handler is None:
            handler = self._built_in.get(name)
            if handler is None:
                raise self._unknown(name)
        return handler

    def _unknown(self, name: str) -> UnknownType:
        if name in self._built_in:
            detail = f"jobs of the type {name!r} are made by the server alone"
        else:
            detail = f"no handler has the type {name!r}; known: {', '.join(sorted(self._handlers)) or 'none'}"
        return UnknownType(InvalidField(pointer="/type", detail=detail))

    def find(self, name: str) -> Handler | None:
        """Return the handler of a type, if there is one."""
        return self._handlers.get(name) or self._built_in.get(name)

    def add(self, handler: Handler) -> None:
        """Register a handler. Raises ValueError if its type is taken."""
        if handler.name in self._handlers or handler.name in self._built_in:
            raise ValueError(f"a handler with the type {handler.name!r} is registered already")
        self._check_not_own(handler)
        self._handlers[handler.name] = handler

    def set_built_in(self, *handlers: Handler) -> None:
        """Replace the built-in handlers. Raises ValueError if the application has registered one of their types."""
        for handler in handlers:
            if handler.name in self._handlers:
                raise ValueError(f"the type {handler.name!r} is built in: register the handler under another name")
        self._built_in = {handler.name: handler for handler in handlers}

    def check_queues(self, queues: Collection[str], own: Collection[str] = ()) -> None:
        """Raise ValueError if the queue of a handler is none of the configured ones, or one for built-in types alone.

        Args:
            own: The queues of built-in types. From now on no submission may name them.
        """
        self._own_queues = own
        for handler in self:
            self._check_not_own(handler)
            if handler.queue not in queues:
                known = ", ".join(queues)
                raise ValueError(
                    f"handler {handler.name!r} uses queue {handler.queue!r}; configured: {known}; "
                    f"add queues.{handler.queue} to the settings, if only as `{handler.queue}: {{}}`"
                )

    def _check_not_own(self, handler: Handler) -> None:
        if handler.queue in self._own_queues:
            raise ValueError(
                f"handler {handler.name!r} uses queue {handler.queue!r}, which has the server's own jobs alone: "
                "give the handler another queue"
            )

    def check_plain(self, submission: Submission | PlainSubmission) -> tuple[JobSpec, bytes]:
        """Check a submission of a type and arguments only. Returns and raises as `check`."""
        handler = self._handlers.get(submission.type)
        if handler is None:
            raise self._unknown(submission.type)
        return handler.default_spec, handler.check(bytes(submission.args))

    def check(
        self, submission: Submission, *, wall_now: Callable[[], float], bounds: Callable[[], Bounds] = Bounds
    ) -> tuple[JobSpec, bytes]:
        """Check a submission; return its spec, with its handler's defaults filled in, and its arguments.

        Args:
            wall_now: Returns the seconds since the Unix epoch, for `run_at`.
            bounds: Returns the bounds of a submission's options; called only for one that has any.

        Raises:
            UnknownType: No handler has that type.
            InvalidSubmission: All other faults, with their pointers.
        """
        if submission.plain:
            return self.check_plain(submission)
        handler = self._handlers.get(submission.type)
        if handler is None:
            raise self._unknown(submission.type)
        args, bound = bytes(submission.args), bounds()
        faults, more = list(option_faults(submission, handler.default_spec, bound)), 0
        if submission.queue in self._own_queues:
            detail = f"the queue {submission.queue!r} has the server's own jobs alone"
            faults.append(InvalidField(pointer="/queue", detail=detail))
        try:
            args = handler.check(args)
        except InvalidSubmission as invalid:
            faults.extend(invalid.errors)
            more = invalid.more
        if faults:
            raise InvalidSubmission(*faults, more=more)
        return spec_of(submission, handler.default_spec, bound, wall_now), args
