"""A SystemExit or KeyboardInterrupt of a task or callback does not end the loop."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable

import pytest
import uvloop

from jobqueue.runtime.exits import run_to_end

Loops = Callable[[], asyncio.AbstractEventLoop]
pytestmark = pytest.mark.parametrize("make_loop", [asyncio.new_event_loop, uvloop.new_event_loop])


async def leave(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize("error", [SystemExit(3), SystemExit(), KeyboardInterrupt()], ids=repr)
def test_the_loop_continues_after_an_exit_of_a_task(
    make_loop: Loops, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> str:
        task = asyncio.create_task(leave(error))
        await asyncio.sleep(0)
        with pytest.raises(type(error)):  # the awaiting task gets it
            await task
        return "to the end"

    with asyncio.Runner(loop_factory=make_loop) as runner:
        assert run_to_end(runner.get_loop(), main()) == "to the end"
    (record,) = caplog.records
    assert "loop.exit_ignored" in record.getMessage()
    assert "in leave" in record.getMessage()


def test_callbacks_ready_beside_an_exit_run(make_loop: Loops) -> None:
    async def main() -> list[str]:
        loop, ran = asyncio.get_running_loop(), list[str]()
        done = asyncio.Event()
        for name in ("one", "two"):
            loop.call_soon(sys.exit, 1)
            loop.call_soon(ran.append, name)
        loop.call_later(0.001, sys.exit, 2)
        loop.call_later(0.002, done.set)
        await done.wait()
        return ran

    with asyncio.Runner(loop_factory=make_loop) as runner:
        assert run_to_end(runner.get_loop(), main()) == ["one", "two"]


@pytest.mark.parametrize("error", [SystemExit(3), ValueError("it failed")], ids=repr)
def test_an_exception_of_the_main_task_is_raised(
    make_loop: Loops, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    with asyncio.Runner(loop_factory=make_loop) as runner, pytest.raises(type(error)) as raised:
        run_to_end(runner.get_loop(), leave(error))
    assert raised.value is error
    assert not caplog.records


def test_an_exit_in_the_iteration_in_which_the_main_task_ends_changes_nothing(make_loop: Loops) -> None:
    async def main() -> int:
        asyncio.get_running_loop().call_soon(sys.exit, 3)
        return 0

    with asyncio.Runner(loop_factory=make_loop) as runner:
        assert run_to_end(runner.get_loop(), main()) == 0
