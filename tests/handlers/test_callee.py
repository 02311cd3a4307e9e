"""Callables as handlers: which are accepted, where they run, and which parameter gets the context."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import types
from typing import TYPE_CHECKING, Annotated, Any, Optional, Union

import pytest

import jobqueue
import jobqueue.errors
from jobqueue import Backoff, JobContext, JobQueue
from jobqueue.errors import InvalidSubmission
from jobqueue.handlers import Handler, HandlerOptions, Registry, register
from jobqueue.testing import virtual_time

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from datetime import timedelta

    from jobqueue import JobContext as Renamed
    from jobqueue import JobHandle


def handler_of(func: Any, **options: Any) -> Handler:
    registry = Registry()
    register(registry, func, HandlerOptions(**({"timeout_s": 60.0, "name": "it"} | options)))
    (handler,) = registry
    return handler


async def result_of(func: Any, args: dict[str, Any] | None = None, **options: Any) -> Any:
    queue = JobQueue()
    queue.handler(**({"name": "it"} | options))(func)
    async with queue:
        return await (await queue.submit("it", args)).result(timeout_s=30)


def plain_wrapper(func: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator that does not know async functions."""

    @functools.wraps(func)
    def call(*args: Any, **kwargs: Any) -> Any:
        return func(*args, **kwargs)

    return call


def run_by_itself(func: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(func)
    def call(*args: Any, **kwargs: Any) -> Any:
        return asyncio.run(func(*args, **kwargs))

    return call


def opaque_wrapper(func: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator without functools.wraps, so the wrapped function is unknown."""

    def call(**kwargs: Any) -> Any:
        return func(**kwargs)

    return call


def async_wrapper(func: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(func)
    async def call(*args: Any, **kwargs: Any) -> Any:
        return func(*args, **kwargs)

    return call


async def add(a: int, b: int = 1) -> int:
    return a + b


def add_plain(a: int, b: int = 1) -> int:
    return a + b


@types.coroutine
def add_old_style(a: int, b: int = 1) -> Iterator[Any]:
    yield from asyncio.sleep(0).__await__()
    return a + b


class Adder:
    def __init__(self, b: int = 1) -> None:
        self.b = b

    async def __call__(self, a: int) -> int:
        return a + self.b

    async def add(self, ctx: JobContext, a: int) -> int:
        assert ctx.attempt == 1
        return a + self.b

    def add_plain(self, a: int) -> int:
        return a + self.b

    @classmethod
    async def add_for_all(cls, a: int) -> int:
        return a + 1

    @staticmethod
    async def add_at_all(a: int) -> int:
        return a + 1

    @contextlib.contextmanager
    def managed(self) -> Iterator[int]:
        yield 1


class PlainAdder:
    def __call__(self, a: int) -> int:
        return a + 1


class Wrapper:
    """A decorator that is a class."""

    def __init__(self, func: Callable[..., Any]) -> None:
        functools.update_wrapper(self, func)
        self._func = func

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._func(*args, **kwargs)


ON_THE_LOOP = {
    "a function": add,
    "a wrapped one": plain_wrapper(add),
    "a twice wrapped one": plain_wrapper(plain_wrapper(add)),
    "one made async": async_wrapper(add_plain),
    "a wrapper of one made async": plain_wrapper(async_wrapper(add_plain)),
    "a partial": functools.partial(add, b=1),
    "a partial of a partial": functools.partial(functools.partial(add), b=1),
    "a wrapped partial": plain_wrapper(functools.partial(add, b=1)),
    "an object": Adder(),
    "a partial of an object": functools.partial(Adder()),
    "a method": Adder().add,
    "a wrapped method": plain_wrapper(Adder().add),
    "a method of a class": Adder.add_for_all,
    "a static method": Adder.add_at_all,
    "a static method while its class is made": Adder.__dict__["add_at_all"],
    "an old-style coroutine": add_old_style,
    "a wrapping object": Wrapper(add),
}
IN_A_THREAD = {
    "a function": add_plain,
    "a wrapped one": plain_wrapper(add_plain),
    "a partial": functools.partial(add_plain, b=1),
    "an object": PlainAdder(),
    "a method": Adder().add_plain,
    "a wrapping object": Wrapper(add_plain),
    "a cached one": functools.lru_cache(add_plain),
}


@pytest.mark.parametrize("which", ON_THE_LOOP)
def test_a_callable_that_wraps_an_async_function_runs_on_the_loop(which: str) -> None:
    assert handler_of(ON_THE_LOOP[which]).run_in == "loop"
    assert virtual_time(result_of)(ON_THE_LOOP[which], {"a": 2}) == 3


@pytest.mark.parametrize("which", IN_A_THREAD)
async def test_a_callable_that_wraps_a_plain_function_runs_in_a_thread(which: str) -> None:
    assert handler_of(IN_A_THREAD[which]).run_in == "thread"
    assert await result_of(IN_A_THREAD[which], {"a": 2}) == 3


async def test_a_wrapper_that_runs_an_async_function_itself_needs_run_in() -> None:
    assert await result_of(run_by_itself(add), {"a": 2}, run_in="thread") == 3
    with pytest.raises(ValueError, match="an async function runs in 'loop'"):
        handler_of(add, run_in="thread")


@virtual_time
async def test_a_wrapper_of_an_async_function_can_return_a_plain_value() -> None:
    @functools.wraps(add)
    def known(**kwargs: Any) -> Any:
        return 7 if kwargs == {"a": 1} else add(**kwargs)

    assert await result_of(known, {"a": 1}) == 7
    assert await result_of(known, {"a": 2}) == 3


async def test_an_unawaited_coroutine_fails_the_job_with_a_hint() -> None:
    with pytest.raises(jobqueue.errors.JobFailed, match=r"coroutine.*functools\.wraps"):
        await result_of(opaque_wrapper(add), {"a": 1})


async def count_on(n: int) -> AsyncIterator[int]:
    for i in range(n):
        yield i


def count(n: int) -> Iterator[int]:
    yield from range(n)


@pytest.mark.parametrize(
    ("func", "reason"),
    [
        (count, "it is a generator, and no job would run its body"),
        (count_on, "it is an async generator"),
        (functools.partial(count, n=3), "it is a generator"),
        (plain_wrapper(count), "it is a wrapper around a generator"),
        (plain_wrapper(count_on), "it is a wrapper around an async generator"),
        (Adder().managed, "it is a wrapper around a generator"),
        (Adder, "it is the class 'Adder'"),
        (functools.partial(Adder, 1), "it is the class 'Adder'"),
        (Adder.__dict__["add_for_all"], r"it is a classmethod without its class: register it .* as Class\.add_for_all"),
        (Adder.add_plain, "it is a method without its object"),
        (5, "it is no function, but a int"),
        (None, "it is no function, but a NoneType"),
        (max, "its signature can't be read"),
    ],
)
def test_an_unsuitable_callable_raises_an_error_with_the_reason(func: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=f"handler 'it': {reason}"):
        handler_of(func)


def test_an_async_wrapper_around_a_generator_is_accepted() -> None:
    @functools.wraps(count_on)
    async def collect(n: int) -> list[int]:
        return [i async for i in count_on(n)]

    assert virtual_time(result_of)(collect, {"n": 3}) == [0, 1, 2]


@pytest.mark.parametrize("func", [functools.partial(add, b=5), Adder()])
def test_a_callable_without_a_name_raises_an_error_that_asks_for_one(func: Any) -> None:
    with pytest.raises(ValueError, match="has no name of its own: register it with name="):
        handler_of(func, name=None)


def test_a_name_instead_of_a_function_raises_an_error_with_the_right_form() -> None:
    with pytest.raises(ValueError, match=r"is a function, not 'resize': write @queue.handler\(name='resize'\)"):
        JobQueue().handler("resize")  # type: ignore[type-var]  # invalid on purpose


def test_arguments_fixed_by_a_partial_are_rejected_in_submissions() -> None:
    class Database: ...

    def store(db: Database, a: int, b: int = 1, **rest: Any) -> None: ...

    store.__annotations__["db"] = Database
    handler = handler_of(functools.partial(store, db=Database(), b=5))
    handler.check(b'{"a":1,"c":2}')
    assert handler.kwargs(b'{"a":1,"c":2}') == {"a": 1, "c": 2}
    for name in ("db", "b"):
        with pytest.raises(InvalidSubmission, match="has this argument fixed"):
            handler.check(b'{"a":1,"%b":2}' % name.encode())
    with pytest.raises(InvalidSubmission, match="unknown argument"):
        handler_of(functools.partial(add, b=5)).check(b'{"a":1,"b":2}')


# -- the context


def keyword_only(*, ctx: JobContext, a: int) -> tuple[Any, int]:
    return ctx.job_id, a


def second(a: int, context: JobContext) -> tuple[Any, int]:
    return context.job_id, a


def or_none(a: int, c: JobContext | None = None) -> tuple[Any, int]:
    return c.job_id if c else None, a


def optional(c: Optional[JobContext], a: int) -> tuple[Any, int]:  # noqa: UP045 # as it may be written
    return c.job_id if c else None, a


def union(a: int, c: Union[None, JobContext]) -> tuple[Any, int]:  # noqa: RUF036, UP007 # as it may be written
    return c.job_id if c else None, a


def annotated(a: int, c: Annotated[JobContext, "the context"]) -> tuple[Any, int]:
    return c.job_id, a


def annotated_or_none(a: int, c: Annotated[JobContext | None, "the context"] = None) -> tuple[Any, int]:
    return c.job_id if c else None, a


def twice_quoted(a: int, c: "JobContext") -> tuple[Any, int]:  # noqa: UP037 # as it may be written
    return c.job_id, a


def by_position(c: JobContext, /, a: int) -> tuple[Any, int]:
    return c.job_id, a


def by_name(a, ctx):  # type: ignore[no-untyped-def]  # unannotated on purpose
    return ctx.job_id, a


@plain_wrapper
def through_a_wrapper(a: int, c: JobContext) -> tuple[Any, int]:
    return c.job_id, a


async def awaited(a: int, *, c: JobContext) -> tuple[Any, int]:
    return c.job_id, a


def returns_an_unknown_type(a: int, c: JobContext) -> JobHandle | timedelta:
    return c.job_id, a  # type: ignore[return-value]  # only the annotation matters


@pytest.mark.parametrize(
    "func",
    [
        *(keyword_only, second, or_none, optional, union, annotated, annotated_or_none, twice_quoted, by_position),
        *(by_name, through_a_wrapper, awaited, returns_an_unknown_type),
    ],
)
async def test_the_context_is_passed_to_the_annotated_parameter(func: Any) -> None:
    job_id, a = await result_of(func, {"a": 1})
    assert (len(job_id), a) == (22, 1)


def test_a_context_imported_for_type_checking_alone_is_recognised() -> None:
    names: dict[str, Any] = {}
    exec("async def it(a: int, ctx: 'JobContext') -> 'Unknown': ...", names)
    assert handler_of(names["it"]).context_name == "ctx"


def two(a: JobContext, b: JobContext | None) -> None: ...


def many(**ctx: JobContext) -> None: ...


def or_a_number(ctx: JobContext | int) -> None: ...


def renamed(c: Renamed) -> None: ...


@pytest.mark.parametrize(
    ("func", "reason"),
    [
        (two, "it has one context, so a and b can't both be it"),
        (many, r"its context is one parameter, so \*\*ctx"),
        (or_a_number, "JSON can't be checked against its signature"),
        (renamed, "its annotations can't be read: name 'Renamed' is not defined"),
    ],
)
def test_an_ambiguous_context_raises_an_error(func: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        handler_of(func)


def test_a_parameter_called_ctx_of_another_type_stays_an_argument() -> None:
    def func(ctx: int, c: JobContext) -> None: ...

    handler = handler_of(func)
    assert (handler.context_name, handler.kwargs(b'{"ctx":1}')) == ("c", {"ctx": 1})


# -- options and names


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("timeout", "timeout_s"),
        ("max_attempts", "attempts_max"),
        ("rate_limit", "rate"),
        ("max_concurrency", "concurrency"),
        ("retry", "retry_on"),
        ("back_off", "backoff"),
    ],
)
def test_an_unknown_option_raises_an_error_that_suggests_a_known_one(given: str, meant: str) -> None:
    with pytest.raises(TypeError, match=rf"handler\(\) has no option '{given}'; did you mean '{meant}'\?"):
        JobQueue().handler(**{given: 30})  # type: ignore[call-overload]  # invalid on purpose


def test_an_unknown_option_without_a_similar_one_raises_an_error_that_lists_all() -> None:
    with pytest.raises(TypeError, match=r"no option 'zzz'; there are: attempts_max, .*timeout_s"):
        JobQueue().handler(zzz=1)  # type: ignore[call-overload]  # invalid on purpose


async def test_misplaced_options_and_arguments_of_submit_raise_an_error_with_a_hint() -> None:
    with pytest.raises(TypeError, match="did you mean 'delay_s'"):
        await JobQueue().submit("it", delay=3)
    with pytest.raises(TypeError, match=r"go together: submit\(type, \{'text': \.\.\.\}\)"):
        await JobQueue().submit("it", text="hello")


@pytest.mark.parametrize(
    "options",
    [
        *({"timeout_s": value} for value in (0, -1, float("nan"), float("inf"), True, "30", 31 * 86_400)),
        *({"attempts_max": value} for value in (0, 101, True, 2.5, "3")),
        *({"concurrency": value} for value in (0, True, 1.5)),
        *({"backoff": value} for value in (5, Backoff(backoff_s_base=float("nan")), Backoff(backoff_s_base=True))),
    ],
    ids=str,
)
def test_an_invalid_option_value_raises_an_error(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="handler 'it': "):
        handler_of(add, **options)
