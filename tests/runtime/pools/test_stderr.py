"""Standard error of a process becomes log events, within bounds."""

from __future__ import annotations

import asyncio
import logging
import os
from typing import TYPE_CHECKING

import pytest

from jobqueue.runtime.pools import stderr
from jobqueue.runtime.pools.stderr import ErrorPipe
from tests.runtime.pools.calling import LogEvents

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def logged() -> AsyncIterator[LogEvents]:
    events = LogEvents()
    logger = logging.getLogger("jobqueue.runtime.pools.stderr")
    logger.addHandler(events)
    yield events
    logger.removeHandler(events)


def texts(logged: LogEvents) -> list[str]:
    return [event["text"] for event in logged.of("process.stderr")]


async def test_lines_written_together_are_one_event(logged: LogEvents) -> None:
    pipe = ErrorPipe(asyncio.get_running_loop(), lambda: {"pid": 7})
    os.write(pipe.writing_fd, b"Traceback (most recent call last):\n  File x\n\nValueError: \xff no\n 1%\r 2%\rhalf a")
    assert await logged.wait("process.stderr")
    os.write(pipe.writing_fd, b" line")
    pipe.hand_over()
    pipe.close()
    pipe.close()
    assert texts(logged) == [
        "Traceback (most recent call last):\n  File x\nValueError: \N{REPLACEMENT CHARACTER} no\n 1%\n 2%",
        "half a line",
    ]
    assert logged.of("process.stderr")[0]["pid"] == 7
    assert pipe.last_line() == "half a line"


async def test_lines_over_the_bound_are_dropped_and_counted(logged: LogEvents, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stderr, "WINDOW_S", 0.01)
    pipe = ErrorPipe(asyncio.get_running_loop(), dict)
    for _ in range(100):
        os.write(pipe.writing_fd, b"x\n" * 100)
        pipe.read_all()
    await logged.wait("process.stderr_dropped")
    pipe.hand_over()
    pipe.close()
    logged_lines = sum(text.count("\n") + 1 for text in texts(logged))
    assert logged_lines + sum(event["lines"] for event in logged.of("process.stderr_dropped")) == 10_000
    assert max(text.count("\n") + 1 for text in texts(logged)) <= stderr.LINES_MAX


async def test_output_over_the_byte_rate_waits_in_the_pipe_and_is_not_lost(
    logged: LogEvents, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stderr, "WINDOW_S", 0.01)
    monkeypatch.setattr(stderr, "BYTES_MAX", 1000)
    pipe = ErrorPipe(asyncio.get_running_loop(), dict)
    os.write(pipe.writing_fd, b"y" * 2000 + b"\n")
    pipe.read_all()
    os.write(pipe.writing_fd, b"last\n")
    pipe.read_all()
    assert pipe.last_line().startswith("yyy")
    await logged.wait("process.stderr", 2)
    assert pipe.last_line() == "last"
    pipe.hand_over()
    pipe.close()
    assert [len(text) for text in texts(logged)] == [stderr.LINE_LENGTH_MAX, 4]


async def test_a_line_without_end_is_truncated(logged: LogEvents) -> None:
    pipe = ErrorPipe(asyncio.get_running_loop(), dict)
    os.write(pipe.writing_fd, b"z" * 60_000)
    pipe.read_all()
    assert texts(logged) == ["z" * stderr.LINE_LENGTH_MAX]
    pipe.hand_over()
    pipe.close()


async def test_the_last_line_is_the_fatal_error_of_python(logged: LogEvents) -> None:
    pipe = ErrorPipe(asyncio.get_running_loop(), dict)
    os.write(pipe.writing_fd, b"Fatal Python error: Aborted\n\nCurrent thread 0x1:\n  File x\nExtension modules: a\n")
    pipe.read_all()
    assert pipe.last_line() == "Fatal Python error: Aborted"
    pipe.forget()
    assert pipe.last_line() == ""
    pipe.hand_over()
    pipe.close()
