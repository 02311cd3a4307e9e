"""Registration: the decorators for handlers, the lifespan and the initializer of processes.

Rules:

1. A lifespan is for the queue as a whole: entered before anything starts, left after the last handler has ended.
2. A process shares nothing with the server but its code, so it has an initializer of its own.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack, overload

from jobqueue.handlers import HANDLER_TIMEOUT_S, HandlerOptions, Registry, refuse_unknown, register
from jobqueue.handlers.options import HandlerKeywords, handler_of
from jobqueue.handlers.subscribers import HandlerSubscriber, checked_patterns
from jobqueue.schedules.decorated import Decorated, ScheduleOptions, cron_of, every_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from jobqueue.core.backoff import Backoff
    from jobqueue.duration import Duration
    from jobqueue.handlers import RunIn

F = TypeVar("F", bound="Callable[..., Any]")
Init = TypeVar("Init", bound="Callable[[], Any]")
T = TypeVar("T")


@dataclass(slots=True, kw_only=True)
class Registered:
    """The functions registered with a JobQueue.

    Attributes:
        registry: The handlers, by type.
        subscribers: Those of them that get jobs for what is published.
        lifespan: Returns the context manager around one run of the queue; None: there is none.
        process_init: Initializes a process; None: there is none.
        decorated: The functions with a schedule, in order.
    """

    registry: Registry = field(default_factory=Registry)
    subscribers: list[HandlerSubscriber] = field(default_factory=list)
    lifespan: Callable[[], AbstractAsyncContextManager[Any]] | None = None
    process_init: Callable[[], Any] | None = None
    decorated: list[Decorated] = field(default_factory=list)


class Registration:
    """The decorators of a JobQueue."""

    def __init__(self) -> None:
        self._registered = Registered()

    @overload
    def handler(self, func: F, /) -> F: ...

    @overload
    def handler(
        self,
        /,
        *,
        name: str | None = None,
        timeout_s: Duration | None = HANDLER_TIMEOUT_S,
        run_in: RunIn | None = None,
        attempts_max: int = 1,
        queue: str = "default",
        rate: str | None = None,
        concurrency: int | None = None,
        group_rate: str | None = None,
        group_concurrency: int | None = None,
        backoff: Backoff | None = None,
        retry_on: type[BaseException] | tuple[type[BaseException], ...] | None = None,
        reject_on: type[BaseException] | tuple[type[BaseException], ...] | None = None,
        redact: tuple[str, ...] | None = None,
    ) -> Callable[[F], F]: ...

    def handler(self, func: F | None = None, /, **options: Any) -> F | Callable[[F], F]:
        """Register a function as the handler of a type; the function itself stays as it is.

        Args:
            name: Type that clients submit: 1 to 100 letters, digits, `_`, `.` or `-`. Defaults to the function's name.
            timeout_s: Maximum duration of one attempt: over 0, at most 30 days; None: no limit. Defaults to 300 s.
            run_in: `loop` for async functions; `thread` or `process` for plain ones. Only a process can be stopped by
                force; a thread is asked to. Defaults to `loop` or `thread`.
            attempts_max: Maximum number of attempts, 1 to 100, unless the submission sets it. Defaults to 1.
            queue: Queue of its jobs, one of the settings, unless the submission names one. Defaults to `default`.
            rate: Starts of its jobs per time, such as `10/s`, `600/m` or `5/h`: as many at once after a pause, or
                fewer (`10/s burst 1`). Defaults to no limit.
            concurrency: Maximum number of its jobs that run at the same time, from 1. Defaults to no limit.
            group_rate: As `rate`, for the jobs of each group. Defaults to no limit.
            group_concurrency: As `concurrency`, for the jobs of each group; 1 runs them one after the other.
                Defaults to no limit.
            backoff: Wait before the next attempt: a `Backoff`, from 0 to 30 days. Defaults to full jitter between 0
                and 1 s, doubled with each attempt up to 60 s.
            retry_on: Exception class, or tuple of classes, after which another attempt is made; other exceptions end
                the job. Defaults to all.
            reject_on: Exception class, or tuple of classes, which mean that the input is at fault, as `Reject` does:
                the job ends as `rejected`, and its type isn't blamed. Defaults to none.
            redact: Tuple of names; their values are hidden where arguments are shown: `password` at any depth,
                `user.token` at that place. The handler gets them as they are. Defaults to none.

        Raises:
            ValueError: The type is taken, or an option or the signature can't be used.
            TypeError: There is no such option.
        """
        refuse_unknown("handler", options, HandlerOptions.__struct_fields__)
        chosen = HandlerOptions(**options)

        def add(function: F) -> F:
            return register(self._registered.registry, function, chosen)

        return add if func is None else add(func)

    def on(self, *patterns: str, **options: Unpack[HandlerKeywords]) -> Callable[[F], F]:
        """Register a function as a handler that gets a job for what is published to topics; see `publish`.

            @queue.on("order.paid", "order.cancelled.>")
            async def tell_customer(data: Order, topic: str) -> None: ...

        The function takes any of `data`, what was published, and `topic`; other arguments need defaults. Annotations
        check the data: a publish that does not fit one subscriber is rejected.

        Args:
            patterns: 1 to 100 patterns: tokens of letters, digits, `_` and `-` joined by dots, at most 16 of them and
                200 characters. `*` stands for one token, `>` at the end for one or more. One job is made, however many
                of them match.
            options: Those of `handler`.

        Raises:
            ValueError: A pattern is none, the function takes other arguments, or as `handler`.
            TypeError: There is no such option.
        """
        checked = checked_patterns(patterns)
        refuse_unknown("on", options, HandlerOptions.__struct_fields__)
        chosen = HandlerOptions(**options)

        def add(function: F) -> F:
            handler = handler_of(function, chosen)
            subscriber = HandlerSubscriber(handler, checked)
            self._registered.registry.add(handler)
            self._registered.subscribers.append(subscriber)
            return function

        return add

    def lifespan(
        self, func: Callable[[Self], AbstractAsyncContextManager[T]], /
    ) -> Callable[[Self], AbstractAsyncContextManager[T]]:
        """Register the queue's lifespan: an async context manager function, called with the queue.

            @queue.lifespan
            @asynccontextmanager
            async def pool(queue: JobQueue) -> AsyncIterator[Pool]:
                async with Pool() as pool:
                    yield pool

        It is entered when the queue starts, before a server listens, and left after the drain, once workers and
        pools are closed; both in one task. The value that it yields is `ctx.state` of handlers on the loop and in
        threads. An exception at its start fails the queue's start; one at its end is logged.

        Raises:
            ValueError: It is no such function, or there is a lifespan already.
        """
        name = getattr(func, "__qualname__", repr(func))
        if inspect.isasyncgenfunction(func) or inspect.isgeneratorfunction(func):
            raise ValueError(f"lifespan {name}: put @contextlib.asynccontextmanager between it and @queue.lifespan")
        if not callable(func) or inspect.iscoroutinefunction(func):
            raise ValueError(f"lifespan {name}: it must be a function that returns an async context manager")
        if inspect.iscoroutinefunction(inspect.unwrap(func)):
            raise ValueError(f"lifespan {name}: it must yield, once: before it is the start, after it the end")
        try:
            inspect.signature(func).bind(self)
        except TypeError:
            raise ValueError(f"lifespan {name}: it is called with the queue, so it takes one argument") from None
        if self._registered.lifespan is not None:
            raise ValueError(f"lifespan {name}: a queue has one, which is set already: enter the other within it")
        self._registered.lifespan = partial(func, self)
        return func

    def process_init(self, func: Init, /) -> Init:
        """Register the initializer of processes: called once in each, before its first job.

        A plain function without arguments, at a module's top level. Its return value is `ctx.state` of handlers
        in processes. If it raises, its process ends and another is started, with backoff; `/readyz` reports
        degraded, and after some tries waiting jobs fail with its error. Nothing is called at a process's end.
        Without handlers in processes it is not called, and the start warns (`process.init_unused`).

        Raises:
            ValueError: It is no such function, or there is an initializer already.
        """
        name = getattr(func, "__qualname__", repr(func))
        if not callable(func) or inspect.iscoroutinefunction(func):
            raise ValueError(f"process_init {name}: it must be a plain function: a process has no event loop")
        if inspect.isgeneratorfunction(func) or inspect.isasyncgenfunction(func):
            raise ValueError(
                f"process_init {name}: it must return its value, not yield it: nothing runs when a process ends"
            )
        try:
            inspect.signature(func).bind()
        except TypeError:
            raise ValueError(f"process_init {name}: it is called without arguments") from None
        if self._registered.process_init is not None:
            raise ValueError(f"process_init {name}: a queue has one, which is set already: call the other from it")
        self._registered.process_init = func
        return func

    def every(self, interval: Duration | str, /, **options: Unpack[ScheduleOptions]) -> Callable[[F], F]:
        """Submit a job of a handler again and again, at the multiples of an interval since 1970 in UTC.

            @queue.every("5m")
            @queue.handler
            def sweep() -> None: ...

        It stands above `@queue.handler`. One handler may have several schedules, each of its own name.

        Args:
            interval: Whole seconds, from 1 to 366 days: a number, a timedelta, or a text such as `5m` or `1h30m`.
            options: `name` of the schedule (defaults to the type), `args` of its jobs, `queue`, `priority`,
                `jitter_s`, `overlap` and `catch_up`, as in `docs/how-to/schedules.md`.

        Raises:
            ValueError: The interval or an option can't be used. What concerns the handler is told by the start.
            TypeError: There is no such option.
        """
        return self._scheduled(every_of(interval, options))

    def cron(self, notation: str, /, *, tz: str = "UTC", **options: Unpack[ScheduleOptions]) -> Callable[[F], F]:
        """Submit a job of a handler at the instants of a cron notation; else as `every`.

            @queue.cron("0 3 * * *", tz="Europe/Berlin")
            @queue.handler
            def nightly() -> None: ...

        Args:
            notation: Minute, hour, day of the month, month and day of the week.
            tz: IANA name of the time zone. Defaults to UTC.
            options: As of `every`.

        Raises:
            ValueError, TypeError: As `every`; the notation can't be read or never comes, or there is no such zone.
        """
        return self._scheduled(cron_of(notation, tz, options))

    def _scheduled(self, decorated: Decorated) -> Callable[[F], F]:
        def add(function: F) -> F:
            handlers = [handler for handler in self._registered.registry if handler.made_of(function)]
            if not handlers:
                label = getattr(function, "__qualname__", repr(function))
                raise ValueError(f"schedule of {label}: it is no handler yet: put @queue.handler below this decorator")
            self._registered.decorated.append(decorated.of(handlers[-1].name))
            return function

        return add
