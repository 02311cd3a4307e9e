"""Fixtures: commands against a real server, in this process, on a terminal, and against scripted answers."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import select
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from jobqueue.cli.main import main
from tests.http import conftest as server_tests

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from tests.http.serving import Serving

    Run = Callable[..., Awaitable["Ran"]]

ROOT = Path(__file__).parents[2]
PATIENCE_S = 30.0

# The server under test, and its loop, are those of tests/http.
pytest_asyncio_loop_factories = server_tests.pytest_asyncio_loop_factories
place, start, serving = server_tests.place, server_tests.start, server_tests.serving


class Ran(NamedTuple):
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[Any]:
        """The JSON documents of its output."""
        return [json.loads(line) for line in self.out.splitlines()]


def run_here(capsys: pytest.CaptureFixture[str], *argv: str) -> Ran:
    """Run a command in this process."""
    capsys.readouterr()
    try:
        code = main(argv)
    except SystemExit as ended:
        code = int(ended.code or 0)
    return Ran(code, *capsys.readouterr())


@pytest.fixture
async def run(
    serving: Serving, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Run]:
    """Run a command that asks the server; its output is no terminal."""
    monkeypatch.setenv("JOBQUEUE_URL", serving.url)

    async def run(*argv: str) -> Ran:
        return await asyncio.to_thread(run_here, capsys, *argv)

    yield run
    await asyncio.get_running_loop().shutdown_default_executor()


@pytest.fixture
async def on_terminal(serving: Serving) -> AsyncIterator[Callable[..., Awaitable[Ran]]]:
    """Run a command in a process of its own, on a terminal of 120 columns; what it shows is in `out`."""

    async def on_terminal(*argv: str, typed: str = "", after: str = "", **environment: str) -> Ran:
        variables = {"JOBQUEUE_URL": serving.url, **environment}
        return await asyncio.to_thread(_on_terminal, argv, typed, after, variables)

    yield on_terminal
    await asyncio.get_running_loop().shutdown_default_executor()


def _on_terminal(argv: tuple[str, ...], typed: str, after: str, environment: dict[str, str]) -> Ran:
    """Run a command; type keys once it shows the text `after`."""
    ours, theirs = pty.openpty()
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "jobqueue", *argv],
            cwd=ROOT,
            env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "160", "LINES": "50", **environment},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        shown = b""
        with suppress(OSError):  # of a terminal that is no longer open
            while select.select([ours], [], [], PATIENCE_S)[0] and (piece := os.read(ours, 65536)):
                shown += piece
                if typed and after.encode() in shown:
                    os.write(ours, typed.encode())
                    typed = ""
        return Ran(process.wait(PATIENCE_S), shown.decode().replace("\r\n", "\n"), "")
    finally:
        os.close(ours)
