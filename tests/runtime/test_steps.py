"""The first step of a coroutine, and the rest."""

from __future__ import annotations

import asyncio
import sys
import types
from contextlib import suppress
from contextvars import ContextVar, copy_context

import pytest

from jobqueue.runtime.steps import Suspended, begin
from jobqueue.testing import virtual_time

variable: ContextVar[str] = ContextVar("variable", default="unset")


async def ends_at_once() -> str:
    variable.set("dirty")
    return "value"


async def raises_at_once() -> str:
    raise LookupError("gone")


async def suspends(*waits: float) -> list[str]:
    seen: list[str] = []
    for number, wait in enumerate(waits):
        variable.set(str(number))
        await asyncio.sleep(wait)
        seen.append(variable.get())
    return seen


def test_a_coroutine_that_never_suspends_gives_its_result_and_leaves_the_context_as_it_was() -> None:
    assert begin(ends_at_once(), copy_context()) == "value"
    assert variable.get() == "unset"


def test_a_coroutine_that_raises_in_its_first_step_raises_to_the_caller() -> None:
    with pytest.raises(LookupError, match="gone"):
        begin(raises_at_once(), copy_context())


@virtual_time
async def test_a_suspended_coroutine_goes_on_in_its_own_context_and_the_callers_task() -> None:
    tasks: list[object] = []

    async def watched() -> list[str]:
        tasks.append(asyncio.current_task())
        seen = await suspends(0, 1, 0)
        tasks.append(asyncio.current_task())
        return seen

    rest = begin(watched(), copy_context())
    assert isinstance(rest, Suspended)
    assert await rest == ["0", "1", "2"]
    assert variable.get() == "unset"
    assert tasks == [asyncio.current_task()] * 2


@virtual_time
async def test_a_suspended_coroutine_that_raises_raises_to_its_awaiter() -> None:
    async def late() -> None:
        await asyncio.sleep(1)
        raise LookupError("gone")

    rest = begin(late(), copy_context())
    assert isinstance(rest, Suspended)
    with pytest.raises(LookupError, match="gone"):
        await rest


@virtual_time
async def test_a_cancellation_of_the_awaiting_task_reaches_the_coroutine_which_may_swallow_it() -> None:
    async def stubborn() -> str:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(3600)
        await asyncio.sleep(1)
        return variable.get()

    async def awaiter() -> str:
        rest = begin(stubborn(), copy_context())
        assert isinstance(rest, Suspended)
        return await rest

    task = asyncio.create_task(awaiter())
    await asyncio.sleep(1)
    task.cancel()
    assert await task == "unset"


@virtual_time
async def test_an_exception_that_the_coroutine_has_caught_is_no_longer_being_handled() -> None:
    async def survives() -> object:
        with suppress(TimeoutError):
            async with asyncio.timeout(1):
                await asyncio.sleep(3600)
        return sys.exc_info()[1]

    rest = begin(survives(), copy_context())
    assert isinstance(rest, Suspended)
    assert await rest is None


def test_the_coroutine_is_closed_with_its_rest() -> None:
    closed: list[bool] = []

    @types.coroutine
    def forever():  # type: ignore[no-untyped-def]  # untyped on purpose
        yield

    async def waits() -> None:
        try:
            await forever()
        finally:
            closed.append(True)

    rest = begin(waits(), copy_context())
    assert isinstance(rest, Suspended)
    steps = rest.__await__()
    next(steps)
    steps.close()
    assert closed == [True]
