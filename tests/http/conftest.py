"""A queue behind a real socket, in the test's own loop, on uvloop as the server has it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import aiohttp
import pytest
import uvloop

from jobqueue.wiring import system
from tests.http.declared import ANSWERS
from tests.http.far import far
from tests.http.serving import Serving

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from pathlib import Path

    from jobqueue.config import Settings
    from jobqueue.surroundings import Surroundings


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(autouse=True)
def _every_answer_is_declared() -> Iterator[None]:
    """Fail the test if a response is not declared in the row of its route."""
    ANSWERS.undeclared.clear()
    yield
    assert ANSWERS.undeclared == []


BACKENDS = {"memory": "memory", "far": "valkey"}
"""Where the jobs of a server under test are, and the setting `backend` for it."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run the tests of a module with `ON_EACH_BACKEND` on each, unless one is marked as of jobs in this process."""
    of_one = metafunc.definition.get_closest_marker("in_process") is not None
    if "start" in metafunc.fixturenames and getattr(metafunc.module, "ON_EACH_BACKEND", False) and not of_one:
        metafunc.parametrize("place", list(BACKENDS), indirect=True)


@pytest.fixture
def place(request: pytest.FixtureRequest) -> str:
    """Where the jobs of the server under test are."""
    name: str = getattr(request, "param", "memory")
    return name


@pytest.fixture
async def start(tmp_path: Path, place: str) -> AsyncIterator[Callable[..., Awaitable[Serving]]]:
    """Start a server with the given settings; it is stopped after the test."""
    started: list[Serving] = []

    async def start(
        surroundings: Callable[[Settings], Surroundings] = system, /, **settings: dict[str, object]
    ) -> Serving:
        serving = Serving(tmp_path / "spool", settings, BACKENDS[place])
        serving.service.surroundings = far(surroundings) if place == "far" else surroundings
        started.append(serving)
        await serving.start()
        return serving

    yield start
    for serving in started:
        await serving.stop()


@pytest.fixture
async def serving(start: Callable[..., Awaitable[Serving]]) -> Serving:
    """A server with small limits where a test may want to reach them."""
    return await start()


@pytest.fixture
async def http_to() -> AsyncIterator[Callable[[Serving], Awaitable[aiohttp.ClientSession]]]:
    """Open a session with a server; it is closed after the test."""
    async with contextlib.AsyncExitStack() as sessions:

        async def http_to(serving: Serving) -> aiohttp.ClientSession:
            session = aiohttp.ClientSession(serving.url, trace_configs=[ANSWERS.trace])
            return await sessions.enter_async_context(session)

        yield http_to


@pytest.fixture
async def http(
    serving: Serving, http_to: Callable[[Serving], Awaitable[aiohttp.ClientSession]]
) -> aiohttp.ClientSession:
    return await http_to(serving)
