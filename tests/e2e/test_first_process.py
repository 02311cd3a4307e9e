"""The server as the first process of a container: it leaves no zombies, and stops as elsewhere."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import psutil
import pytest

from jobqueue.client import SyncClient
from tests.e2e.processes import ServerProcess

if TYPE_CHECKING:
    from pathlib import Path

CONTAINER = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child"]

TASKS = """
import asyncio, subprocess
from jobqueue import JobQueue

queue = JobQueue()
ORPHANS = "for i in 1 2 3; do setsid sleep 0.05 >/dev/null 2>&1 & done"

@queue.handler(run_in="process")
def in_a_process() -> None:
    subprocess.run(["sh", "-c", ORPHANS], check=True)

@queue.handler
def in_a_thread() -> int:
    return subprocess.run(["sh", "-c", f"{ORPHANS}; exit 7"]).returncode

@queue.handler
async def on_the_loop() -> int:
    return await (await asyncio.create_subprocess_exec("sh", "-c", f"{ORPHANS}; exit 7")).wait()
"""


@pytest.fixture(params=["with a /proc of its own", "with that of the host"])
def container(request: pytest.FixtureRequest) -> list[str]:
    command = [*CONTAINER, *(["--mount-proc"] if "its own" in request.param else [])]
    if not shutil.which("unshare") or subprocess.run([*command, "true"], check=False).returncode:
        pytest.skip("no process namespaces here")
    return command


def family(server: ServerProcess) -> list[psutil.Process]:
    """Return the first process of the container and its descendants."""
    (first,) = psutil.Process(server.pid).children()
    return [first, *first.children(recursive=True)]


def orphans(server: ServerProcess) -> list[tuple[str, str]]:
    """Return name and status of each process that a handler left in the container."""
    found = []
    for process in family(server):
        with suppress(psutil.NoSuchProcess):  # it may end between being listed and being read
            if process.name() in ("sleep", "sh"):
                found.append((process.name(), process.status()))
    return found


def test_orphans_of_handlers_do_not_become_zombies(tmp_path: Path, container: list[str]) -> None:
    (tmp_path / "tasks.py").write_text(TASKS)
    with ServerProcess(tmp_path / "spool", str(tmp_path / "tasks.py"), under=container) as server:
        client = SyncClient(server.url)
        for type_, result in [("in_a_process", None), ("in_a_thread", 7), ("on_the_loop", 7)]:
            jobs = [client.submit(type_) for _ in range(5)]
            for job in jobs:
                client.wait(job.id, timeout_s=30)
                assert client.result(job.id) == result
        deadline = time.monotonic() + 20
        while left := orphans(server):
            assert time.monotonic() < deadline, left
            time.sleep(0.05)
        os.kill(family(server)[0].pid, signal.SIGTERM)
        assert server.exit_code() == 0


def test_a_killed_server_ends_its_container(tmp_path: Path, container: list[str]) -> None:
    with ServerProcess(tmp_path, under=container) as server:
        assert server.url
        family(server)[1].kill()
        assert server.exit_code() == 128 + signal.SIGKILL
