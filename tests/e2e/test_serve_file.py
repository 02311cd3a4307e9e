"""`jobqueue serve path/to/tasks.py`, as a person runs it: a process of its own, a socket, a signal."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.request import Request, urlopen

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent.parent

TASKS = """
import os
from jobqueue import JobQueue
from neighbour import ANSWER

queue = JobQueue()

@queue.handler(run_in="process")
def where() -> dict:
    return {"pid": os.getpid(), "module": __name__, "answer": ANSWER}
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "tasks.py").write_text(TASKS)
    (tmp_path / "app" / "neighbour.py").write_text("ANSWER = 42")
    command = [sys.executable, "-m", "jobqueue", "serve", str(tmp_path / "app" / "tasks.py"), "--port", "0"]
    options = ["--set", f"spool.dir={tmp_path}", "--set", "server.linger_s=0"]
    with subprocess.Popen([*command, *options], cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


def next_event(server: subprocess.Popen[str], event: str) -> dict[str, Any]:
    assert server.stderr is not None
    for line in server.stderr:
        said: dict[str, Any] = json.loads(line)
        if said["event"] == event:
            return said
    raise AssertionError(f"the server ended without {event}")


def test_a_function_of_a_file_runs_in_a_process_that_imports_it_from_there(server: subprocess.Popen[str]) -> None:
    port = next_event(server, "server.listening")["port"]
    request = Request(
        f"http://127.0.0.1:{port}/v1/jobs",
        data=b'{"type": "where"}',
        headers={"Content-Type": "application/json"},
    )
    with urlopen(request, timeout=30) as answer:
        job = json.load(answer)
    while job["state"] in ("queued", "running"):
        with urlopen(f"http://127.0.0.1:{port}/v1/jobs/{job['id']}", timeout=30) as answer:
            job = json.load(answer)
    assert job["result"]["answer"] == 42
    assert job["result"]["module"] == "tasks"
    assert job["result"]["pid"] != server.pid

    server.send_signal(signal.SIGTERM)
    assert server.wait(30) == 0
