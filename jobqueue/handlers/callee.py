"""Callees: the function behind bound methods, partials, callable objects and decorators.

Rules:

1. A bound method, a `staticmethod`, a `functools.partial` and an object with `__call__` are what they call.
2. A decorator's wrapper is seen through by its `__wrapped__` (`functools.wraps`). The first async function on the way
   decides: the call gives an awaitable. A wrapper that is itself async is asked no further.
3. Rejected, with the reason: classes, generators and async generators, also those inside a plain wrapper, since nothing
   tells whether the wrapper runs them; methods without their object.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from jobqueue.errors import shown

if TYPE_CHECKING:
    from collections.abc import Iterator

SUMMARY_LENGTH_MAX = 200

_MARK = getattr(asyncio.coroutines, "_is_coroutine", None)
"""The mark of compiled coroutine functions and of asgiref's, up to Python 3.13."""


class Callee(msgspec.Struct, frozen=True):
    """A callable, taken apart.

    Attributes:
        func: The callable itself, or for a `staticmethod` the function in it.
        is_async: Calling it gives an awaitable.
        is_wrapped: It is a plain wrapper around an async function, so it may also give a value.
        fixed: The names of the arguments that partials on the way have fixed.
        innermost: The last function on the way; annotations are read in its module.
    """

    func: Callable[..., Any]
    is_async: bool
    is_wrapped: bool
    fixed: frozenset[str]
    innermost: Any

    @property
    def awaitable(self) -> Callable[..., Any]:
        """The callable as a coroutine function, if it is async."""
        return _awaiting(self.func) if self.is_wrapped else self.func

    @property
    def summary(self) -> str | None:
        """The first line of the docstring of the outermost callee that has one, cut; None: none has."""
        for step, _ in _steps(self.func):
            doc = None if isinstance(step, functools.partial) else step.__doc__  # a partial has that of its class
            if isinstance(doc, str) and (lines := doc.strip().splitlines()):
                return shown(lines[0].strip(), SUMMARY_LENGTH_MAX)
        return None


def callee_of(func: Any) -> Callee:
    """Find the function behind a callable.

    Raises:
        ValueError: It can't be a handler, or can't be classified; the message continues
            "handler 'name': ".
    """
    if isinstance(func, staticmethod):
        func = func.__func__
    steps = list(_steps(func))
    fixed = frozenset(name for step, _ in steps if isinstance(step, functools.partial) for name in step.keywords)
    for step, wrapped in steps:
        if fault := _fault_of(step, wrapped):
            raise ValueError(fault)
        if _is_coroutine_function(step):
            return Callee(func, True, wrapped, fixed, steps[-1][0])
    return Callee(func, False, False, fixed, steps[-1][0])


def _steps(func: Any) -> Iterator[tuple[Any, bool]]:
    """Yield a callable and its callees, step by step, each with whether a wrapper precedes it."""
    seen: set[int] = set()
    wrapped = False
    while id(func) not in seen:
        seen.add(id(func))
        yield func, wrapped
        if isinstance(func, functools.partial):
            func = func.func
        elif inspect.ismethod(func):
            func = func.__func__
        elif isinstance(func, type):
            return
        elif (inner := getattr(func, "__wrapped__", None)) is not None:
            if not inspect.isroutine(func):
                yield type(func).__call__, wrapped
            func, wrapped = inner, True
        elif inspect.isroutine(func) or not callable(func):
            return
        else:
            func = type(func).__call__


def _fault_of(step: Any, wrapped: bool) -> str | None:
    around = "it is a wrapper around " if wrapped else "it is "
    if isinstance(step, type):
        return f"{around}the class {step.__name__!r}: register a function, or an object's method"
    if isinstance(step, classmethod):
        return f"{around}a classmethod without its class: register it once the class is made, as Class.{step.__name__}"
    if not callable(step):
        return f"{around}no function, but a {type(step).__name__}"
    if inspect.isasyncgenfunction(step):
        return f"{around}an async generator, and no job would run its body: return a value, or use ctx.progress"
    if inspect.isgeneratorfunction(step) and not _is_coroutine_function(step):
        return f"{around}a generator, and no job would run its body: return a value, or use ctx.progress"
    return None


def _is_coroutine_function(func: Any) -> bool:
    if inspect.iscoroutinefunction(func):
        return True
    if _MARK is not None and getattr(func, "_is_coroutine", None) is _MARK:
        return True
    return bool(getattr(getattr(func, "__code__", None), "co_flags", 0) & inspect.CO_ITERABLE_COROUTINE)


def _awaiting(func: Callable[..., Any]) -> Callable[..., Any]:
    async def call(*args: Any, **kwargs: Any) -> Any:
        value = func(*args, **kwargs)
        return await value if inspect.isawaitable(value) else value

    return call
