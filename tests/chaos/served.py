"""A server of the nursery's: its start, its log lines, its kill."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

import aiohttp
import msgspec

from tests.e2e.processes import ROOT

START_S = 30.0
STALL_S = 1.0
"""How long a sync takes until a server whose disk may stall gives up its waits, instead of ten seconds."""

RUNS = "CHAOS_RUNS"
"""The variable with the file in which handlers witness their runs (`tests.chaos.handlers`)."""


class Birth(msgspec.Struct, frozen=True):
    """A server that is asked for.

    Attributes:
        settings: By their dotted names.
        without: Types of jobs that it doesn't have.
        ahead_s: How far its wall clock is ahead of the machine's.
        stalls_while: The path of a file: while it is there, the disk takes no sync of data.
        small_files: Whether segments end, and snapshots begin, after some hundred jobs.
    """

    settings: dict[str, str]
    without: tuple[str, ...] = ()
    ahead_s: float = 0.0
    stalls_while: str | None = None
    small_files: bool = True


class NotStarted(Exception):
    """A server ended before it listened; the text has its log."""


class Nursery:
    """A process that forks servers, one at a time; it ends with the block.

    Args:
        folder: Of the servers' log.
        runs: The file in which handlers witness their runs; by default one in the folder.
    """

    def __init__(self, folder: Path, runs: Path | None = None) -> None:
        self.log = folder / "log"
        self.runs = runs or folder / "runs"
        self.runs.touch()
        self._process: asyncio.subprocess.Process
        self.pid = 0
        self._read_from = 0

    async def __aenter__(self) -> Nursery:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.chaos.nursery",
            str(self.log),
            cwd=ROOT,
            env={**os.environ, RUNS: str(self.runs)},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            await self._line()
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()

    async def start(self, birth: Birth) -> str:
        """Start a server, and return its URL once it is ready. Raises NotStarted."""
        assert self._process.stdin is not None
        self._read_from = self.log.stat().st_size if self.log.exists() else 0
        self._process.stdin.write(msgspec.json.encode(birth) + b"\n")
        self.pid = int(await self._line())
        async with asyncio.timeout(START_S):
            while not (found := self._events("server.listening")):
                await self._goes_on()
            url = str(found[0]["url"])
            # It listens while it reads the journal, and may still refuse to start.
            async with aiohttp.ClientSession(url) as http:
                while not await _is_ready(http):
                    await self._goes_on()
        return url

    async def _goes_on(self) -> None:
        """Wait a moment. Raises NotStarted if the server has given up."""
        if self._events("server.failed") or not _lives(self.pid):
            await self.ended()
            raise NotStarted(self.log.read_text()[self._read_from :][-4000:])
        await asyncio.sleep(0.005)

    async def kill(self) -> None:
        """End the server by SIGKILL, and wait until it is gone."""
        os.kill(self.pid, signal.SIGKILL)
        assert await self.ended() == -signal.SIGKILL

    async def stop(self) -> int:
        """End the server by SIGTERM; return its exit code."""
        os.kill(self.pid, signal.SIGTERM)
        return await self.ended()

    async def ended(self) -> int:
        """Wait for the end of the server; return its exit code, negative if it was a signal."""
        code = int(await self._line())
        self.pid = 0
        return code

    def events(self) -> list[dict[str, Any]]:
        """Return what the present server, or the last one, has logged so far."""
        with self.log.open("rb") as file:
            file.seek(self._read_from)
            lines = file.read().split(b"\n")
        return [json.loads(line) for line in lines[:-1] if line.startswith(b"{")]

    def _events(self, name: str) -> list[dict[str, Any]]:
        return [event for event in self.events() if event["event"] == name] if self.log.exists() else []

    async def _line(self) -> bytes:
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        if not line:
            raise NotStarted(f"the nursery ended; the servers' log: {self.log.read_text()[-4000:]}")
        return line


async def _is_ready(http: aiohttp.ClientSession) -> bool:
    try:
        async with http.get("/readyz") as response:
            return response.status == 200
    except aiohttp.ClientError:
        return False


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def settings(folder: Path, sync: str, **more: str) -> dict[str, str]:
    """Return the settings of a server with a journal in this folder.

    Args:
        sync: `always` or `interval`.
        more: Further ones, with a double underscore for each dot.
    """
    return {
        "server.port": "0",
        "server.drain_s": "10",
        "server.linger_s": "0",
        "journal.dir": str(folder / "journal"),
        "journal.sync": sync,
        "statuses.ttl_s": "3600",
        "limits.loop_lag_max_s": "60s",
        **{name.replace("__", "."): value for name, value in more.items()},
    }
