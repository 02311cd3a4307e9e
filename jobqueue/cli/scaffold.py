"""`jobqueue init`: the files of a new project: handlers, their test, settings, requirements."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from jobqueue.cli import new_files
from jobqueue.cli.command import Command
from jobqueue.cli.terminal.visible import visible
from jobqueue.cli.values import path_of

if TYPE_CHECKING:
    import argparse

    from jobqueue.cli.parser import Parser

TASKS = '''\
"""The handlers of this service: `jobqueue serve tasks.py`."""

import asyncio

from jobqueue import JobContext, JobQueue

queue = JobQueue()


@queue.handler(timeout_s=60)
async def greet(ctx: JobContext, name: str, pause_s: float = 0.0) -> str:
    """Greet by name, after some work. An async handler runs on the event loop."""
    for step in range(1, 11):
        await asyncio.sleep(pause_s / 10)
        ctx.progress(step / 10, f"step {step} of 10")
    return f"Hello, {name}!"


@queue.handler
def divide(a: float, b: float) -> float:
    """Divide. A plain handler runs in a thread; an exception fails its job: `jobqueue errors`."""
    return a / b
'''

UNITTEST = '''\
"""The handlers, run by the real queue, without a server: `python -m unittest discover tests`."""

import asyncio
import unittest

import tasks

from jobqueue import JobFailed
from jobqueue.testing import inline


class TasksTest(unittest.TestCase):
    def test_greet_greets_by_name(self) -> None:
        async def life() -> None:
            async with inline(tasks.queue) as queue:
                job = await queue.submit("greet", {"name": "Ada"})
                self.assertEqual(await job.result(), "Hello, Ada!")

        asyncio.run(life())

    def test_a_division_by_zero_fails(self) -> None:
        async def life() -> None:
            async with inline(tasks.queue) as queue:
                job = await queue.submit("divide", {"a": 1, "b": 0})
                with self.assertRaisesRegex(JobFailed, "division by zero"):
                    await job.result()

        asyncio.run(life())
'''

PYTEST = '''\
"""The handlers, run by the real queue, without a server: `pytest`."""

import asyncio

import pytest
import tasks

from jobqueue import JobFailed
from jobqueue.testing import inline


def test_greet_greets_by_name() -> None:
    async def life() -> None:
        async with inline(tasks.queue) as queue:
            job = await queue.submit("greet", {"name": "Ada"})
            assert await job.result() == "Hello, Ada!"

    asyncio.run(life())


def test_a_division_by_zero_fails() -> None:
    async def life() -> None:
        async with inline(tasks.queue) as queue:
            job = await queue.submit("divide", {"a": 1, "b": 0})
            with pytest.raises(JobFailed, match="division by zero"):
                await job.result()

    asyncio.run(life())
'''

CONFIG = """\
# The settings of this service that differ from their defaults. `jobqueue config default` lists all of them,
# `jobqueue config show` tells those in effect, `jobqueue config check` finds every fault.
server:
  port: 8080
queues:
  default:
    workers: 16       # jobs that run at once
    capacity: 10000   # live jobs; further submissions are rejected, with the time to come back
"""

PROJECT = """\
[project]
name = "{name}"
version = "0.1.0"
requires-python = ">=3.11"
dependencies = ["ephemeral-jobqueue[server]"]

[dependency-groups]
dev = ["ephemeral-jobqueue[cli,reload]"{pytest}]
"""

PYTEST_OPTIONS = """
[tool.pytest.ini_options]
testpaths = ["tests"]
pythonpath = ["."]
"""


def init(options: argparse.Namespace) -> int:
    """Write the files, and say what to do next."""
    folder: Path = options.folder
    name = re.sub(r"[^a-z0-9]+", "-", folder.resolve().name.lower()).strip("-") or "jobs"
    project = PROJECT.format(name=name, pytest=', "pytest>=9"' if options.pytest else "")
    files = {
        "tasks.py": TASKS,
        "tests/test_tasks.py": PYTEST if options.pytest else UNITTEST,
        "config.yaml": CONFIG,
        "pyproject.toml": project + (PYTEST_OPTIONS if options.pytest else ""),
    }
    new_files.write({folder / path: text for path, text in files.items()})
    for path in files:
        print(f"wrote {visible(str(folder / path))}")
    there = "" if folder.resolve() == Path.cwd() else f"cd {visible(str(folder))} && "
    print(
        "\nNext:\n"
        f"  {there}jobqueue serve tasks.py --reload\n"
        f"  {there}jobqueue submit greet name=Ada pause_s=3 --wait    # in a second shell\n"
        f"  {there}{'pytest' if options.pytest else 'python -m unittest discover tests'}"
    )
    return 0


def _arguments(parser: Parser) -> None:
    parser.add_argument(
        "folder", nargs="?", type=path_of, default=Path(), metavar="DIR", help="the folder (default: the current one)"
    )
    parser.add_argument("--pytest", action="store_true", help="a test for pytest (default: for unittest)")


TEXT = "Begin a project: tasks.py, tests/test_tasks.py, config.yaml and pyproject.toml. No file is overwritten."
COMMANDS = (Command("", TEXT, init, _arguments),)
