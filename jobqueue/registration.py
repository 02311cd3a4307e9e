"""Registration: an application gives its queue handlers, a lifespan and an initializer of processes before the start.

Rules:

1. A lifespan is for the queue as a whole: entered before anything starts, left after the last handler has ended.
2. A process shares nothing with the server but its code, so it has an initializer of its own.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Self, TypeVar, overload

from jobqueue.handlers import HANDLER_TIMEOUT_S, HandlerOptions, Registry, refuse_unknown, register

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from jobqueue.core.backoff import Backoff
    from jobqueue.duration import Duration
    from jobqueue.handlers import RunIn

F = TypeVar("F", bound="Callable[..., Any]")
Init = TypeVar("Init", bound="Callable[[], Any]")
T = TypeVar("T")


class Registration:
    """The decorators of a JobQueue.

    Attributes:
        registry: The handlers, by type.
    """

    def __init__(self) -> None:
        self.registry = Registry()
        self._lifespan: Callable[[Any], AbstractAsyncContextManager[Any]] | None = None
        self._process_init: Callable[[], Any] | None = None

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
    ) -> Callable[[F], F]: ...

    def handler(self, func: F | None = None, /, **options: Any) -> F | Callable[[F], F]:
        """Register a function as the handler of a type; the function itself stays as it is.

        Args:
            name: The type that clients submit; the function's name if not given.
            timeout_s: How long one attempt may take, 300 s if not given; None: as long as it likes.
            run_in: `loop` for async functions; `thread` (the default) or `process` for plain
                ones. Only a process can be stopped by force; a thread is asked to.
            attempts_max: How often a job may run, counted from 1, unless its submission says.
            queue: Where its jobs wait, unless their submission says.
            rate: How many of its jobs may start, such as `10/s`: as many at once, or fewer (`10/s burst 1`).
            concurrency: How many of them may run at once.
            group_rate: The same as `rate`, for the jobs of each group by itself.
            group_concurrency: The same as `concurrency`, for each group; 1 runs a group's jobs one after the other.
            backoff: How long a failed job waits for its next attempt; the default starts at 1 s and ends at 60 s.
            retry_on: The exceptions after which another attempt makes sense; all, if not given.
            reject_on: The exceptions that mean that the input is at fault, as if the handler had raised `Reject`:
                they end the job, and don't count towards the quarantine of its type.

        Raises:
            ValueError: The type is taken, or an option or the signature can't be used.
            TypeError: There is no such option.
        """
        refuse_unknown("handler", options, HandlerOptions.__struct_fields__)
        chosen = HandlerOptions(**options)

        def add(function: F) -> F:
            return register(self.registry, function, chosen)

        return add if func is None else add(func)

    def lifespan(
        self, func: Callable[[Self], AbstractAsyncContextManager[T]], /
    ) -> Callable[[Self], AbstractAsyncContextManager[T]]:
        """Register what surrounds the queue's life: an async context manager function, called with the queue.

            @queue.lifespan
            @asynccontextmanager
            async def pool(queue: JobQueue) -> AsyncIterator[Pool]:
                async with Pool() as pool:
                    yield pool

        It is entered when the queue starts, before a server listens, and left after the drain, once workers and
        pools are closed; both in one task. What it yields is at `ctx.state` for handlers on the loop and in
        threads. What it raises at its start stops the queue's start; what it raises at its end is logged.

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
        if self._lifespan is not None:
            raise ValueError(f"lifespan {name}: there is one already, and a queue has one: enter the other within it")
        self._lifespan = func
        return func

    def process_init(self, func: Init, /) -> Init:
        """Register what is called once in each process for handlers, before its first job.

        A plain function without arguments, at a module's top level. What it returns is at `ctx.state` for handlers
        in processes. If it raises, its process ends and another is tried, ever later; `/readyz` names that as
        degraded, and jobs that wait fail with what it raised after some tries. Nothing is called at a process's end.
        Where no handler runs in a process it is not called, and the start warns (`process.init_unused`).

        Raises:
            ValueError: It is no such function, or there is an initializer already.
        """
        name = getattr(func, "__qualname__", repr(func))
        if not callable(func) or inspect.iscoroutinefunction(func):
            raise ValueError(f"process_init {name}: it must be a plain function: a process has no event loop")
        if inspect.isgeneratorfunction(func) or inspect.isasyncgenfunction(func):
            raise ValueError(
                f"process_init {name}: it must return its value, not yield it: a process has no end to tidy"
            )
        try:
            inspect.signature(func).bind()
        except TypeError:
            raise ValueError(f"process_init {name}: it is called without arguments") from None
        if self._process_init is not None:
            raise ValueError(f"process_init {name}: there is one already, and a queue has one: call the other from it")
        self._process_init = func
        return func
