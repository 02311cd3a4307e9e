"""The leak check: a test leaves no task, thread, process, descriptor or pending error behind.

Rules:

1. The check compares what this process holds after a test with what it held before. What ends by itself within
   `PATIENCE_S` is not leaked.
2. Errors that Python and asyncio only report when an object is collected ("never awaited", "was destroyed", "never
   retrieved", an open socket) fail the test as well: the young generations are collected after each test, all of them
   after each module.
3. What is left after a module is exempt from later collections: tests, their reports and caches are never freed, and
   a collection that visits them takes half a second.
4. What a fixture of a wider scope holds was there before, so it isn't counted. A module with such a fixture that starts
   and ends processes by itself replaces `wider_fixtures_change`.
5. Nor are the fonts that a plot opens: matplotlib keeps them for the next one.
"""

from __future__ import annotations

import gc
import logging
import os
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

import psutil
import pytest
import uvloop
from aiohttp.web_app import _cached_build_middleware

if TYPE_CHECKING:
    from collections.abc import Iterator

PATIENCE_S = 2.0
PAUSE_S = 0.01

LATE_ERRORS = ("was destroyed", "never retrieved", "never awaited", "Unclosed", "unclosed")
"""Words of errors that are logged when an object is collected."""


class Held(NamedTuple):
    """The threads, child processes and descriptors of this process at one instant."""

    threads: frozenset[threading.Thread]
    processes: frozenset[int]
    descriptors: frozenset[tuple[int, str]]


def held() -> Held:
    return Held(frozenset(threading.enumerate()), _processes(), _descriptors())


def leaked(before: Held, *, threads_only: bool = False) -> list[str]:
    """Describe what this process holds beyond `before`."""
    now = held()
    new = [f"thread {thread.name}" for thread in now.threads - before.threads]
    if threads_only:
        return new
    new += [f"process {pid}: {_command(pid)}" for pid in now.processes - before.processes]
    new += [f"descriptor {number}: {target}" for number, target in sorted(now.descriptors - before.descriptors)]
    return new


def _await_threads(before: Held) -> bool:
    """Wait a moment for new threads; return whether one has ended: a pool that has shut down lets its threads end."""
    new = [thread for thread in threading.enumerate() if thread not in before.threads]
    for thread in new:
        if not isinstance(thread, threading._DummyThread):  # it can't be waited for
            thread.join(PAUSE_S)
    return not all(thread.is_alive() for thread in new)


def _processes() -> frozenset[int]:
    # The list of children takes a look at every process of the machine; this call tells that there is none.
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return frozenset()
    return frozenset(child.pid for child in psutil.Process().children())


def _command(pid: int) -> str:
    with suppress(psutil.Error):
        return " ".join(psutil.Process(pid).cmdline()) or "not waited for"
    return "gone"


def _descriptors() -> frozenset[tuple[int, str]]:
    found = []
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):  # that of the list itself
            target = os.readlink(f"/proc/self/fd/{name}")
            if not target.endswith(".ttf"):
                found.append((int(name), target))
    return frozenset(found)


class LateErrors(logging.Handler):
    """Collects errors that are only reported when an object is collected."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if any(words in message for words in LATE_ERRORS):
            self.found.append(message)

    def take(self) -> list[str]:
        found, self.found = self.found, []
        return found


late_errors = LateErrors()
logging.getLogger("asyncio").addHandler(late_errors)


@pytest.fixture
def wider_fixtures_change() -> bool:
    """Whether fixtures of a wider scope start and end processes by themselves, so that new ones are no leak."""
    return False


@pytest.fixture(autouse=True)
def nothing_is_leaked(wider_fixtures_change: bool) -> Iterator[None]:
    """Fail the test if it leaves a thread, a process, a descriptor or a late error. Set up before its loop is made."""
    before = held()
    late_errors.take()
    yield
    # aiohttp keeps the handlers of 1,024 requests' routes, and with them the servers of as many tests: a collection of
    # all objects would take ever longer.
    _cached_build_middleware.cache_clear()
    gc.collect(1)
    deadline, left = time.monotonic() + PATIENCE_S, leaked(before, threads_only=wider_fixtures_change)
    while left and time.monotonic() < deadline:
        if not _await_threads(before):
            gc.collect()
            time.sleep(PAUSE_S)
        left = leaked(before, threads_only=wider_fixtures_change)
    left += late_errors.take()
    assert not left, f"leaked: {left}"


@pytest.fixture(scope="module", autouse=True)
def no_error_is_late() -> Iterator[None]:
    """Fail the last test of a module if a collection of all objects reports an error, or none is exempt any more."""
    yield
    thawed = not gc.get_freeze_count()
    gc.collect()
    gc.freeze()
    left = late_errors.take()
    assert not thawed, "a test of this module has called gc.unfreeze: each later collection would visit all objects"
    assert not left, f"reported late, by a test of this module: {left}"


gc.disable()  # until the tests are collected: a collection meanwhile would free nothing


def pytest_collection_finish() -> None:
    """Exempt what is there from collections, so that those after the tests are cheap.

    The first loop of libuv opens a pipe that the process keeps.
    """
    uvloop.new_event_loop().close()
    gc.enable()
    gc.collect()
    gc.freeze()
