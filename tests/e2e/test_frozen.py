"""The single-file programs of `make build`, in an empty environment and folder. On demand: `make test-build`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.request import Request, urlopen

import psutil
import pytest

from tests.packaging.console_files import LOADED, files_of_console
from tests.packaging.programs import compiled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Start = Callable[..., subprocess.Popen[str]]
    Serve = Callable[..., tuple[subprocess.Popen[str], str]]

pytestmark = pytest.mark.slow

BUILT = Path(__file__).parent.parent.parent / "tmp"
TASKS = """
from jobqueue import JobQueue
queue = JobQueue()

@queue.handler(run_in="process")
def where() -> str:
    return __name__
"""


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a built program as a shell would: in a process group of its own, which is killed after the test."""
    started: list[subprocess.Popen[str]] = []

    def start(name: str, *arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [str(BUILT / name), *arguments],
            cwd=tmp_path,
            env={"TMPDIR": str(tmp_path)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def serve(start: Start) -> Serve:
    def serve(*arguments: str) -> tuple[subprocess.Popen[str], str]:
        process = start("jobqueue", "serve", *arguments, "--port", "0", "--set", "server.linger_s=0")
        assert process.stderr is not None
        for line in process.stderr:
            entry = json.loads(line)
            if entry["event"] == "server.listening":
                return process, f"http://127.0.0.1:{entry['port']}"
        raise AssertionError("the server ended without listening")

    return serve


def run_job(url: str, type: str, args: dict[str, Any]) -> Any:
    body = json.dumps({"type": type, "args": args}).encode()
    request = Request(f"{url}/v1/jobs", data=body, headers={"Content-Type": "application/json"})
    with urlopen(request, timeout=30) as answer:
        job = json.load(answer)
    while job["state"] in ("queued", "running"):
        with urlopen(f"{url}/v1/jobs/{job['id']}", timeout=30) as answer:
            job = json.load(answer)
    assert job["state"] == "succeeded", job["error"]
    return job["result"]


def family_of(process: subprocess.Popen[str]) -> list[psutil.Process]:
    launcher = psutil.Process(process.pid)
    return [launcher, *launcher.children(recursive=True)]


def test_the_command_line_runs_without_python(start: Start) -> None:
    for name, arguments, expected in (
        ("jobqueue", ["--version"], "jobqueue 0"),
        ("jobqueue", ["config", "show"], "  port: 8080"),
        ("jobqueue-clients", ["--help"], "Simulated clients"),
    ):
        process = start(name, *arguments)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        assert expected in out


def test_the_server_is_compiled_where_a_compiler_is_there(start: Start) -> None:
    out, _ = start("jobqueue", "--version").communicate(timeout=60)
    assert f", {'pure' if compiled.missing() else 'compiled'}, CPython 3." in out


def test_the_console_is_in_the_program(serve: Serve) -> None:
    _, url = serve()
    assert files_of_console(url) >= LOADED


def test_a_process_handler_of_the_demo_runs(serve: Serve) -> None:
    process, url = serve()
    assert run_job(url, "spin", {"duration_s": 0.01})["rounds"] >= 1
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0


def test_a_process_handler_of_a_file_runs(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "tasks.py").write_text(TASKS)
    _, url = serve("app/tasks.py")
    assert run_job(url, "where", {}) == "tasks"


def test_no_process_outlives_a_killed_launcher(serve: Serve) -> None:
    process, url = serve()
    run_job(url, "spin", {"duration_s": 0.01})
    family = family_of(process)
    assert len(family) >= 4  # the launcher, the server, the fork server, a process for handlers
    process.kill()
    process.wait(30)
    _, alive = psutil.wait_procs(family[1:], timeout=5)
    assert not alive


def test_an_interrupt_from_a_terminal_drains_the_server(serve: Serve) -> None:
    process, url = serve()
    run_job(url, "echo", {})
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(30) == 0  # a second signal would abort it, with exit code 1


def test_the_fleet_in_several_processes_sees_every_job_end(serve: Serve, start: Start, tmp_path: Path) -> None:
    _, url = serve()
    options = ["--url", url, "--clients", "20", "--duration-s", "1.5", "--processes", "2", "--report", "report.json"]
    fleet = start("jobqueue-clients", *options)
    out, err = fleet.communicate(timeout=60)
    assert fleet.returncode == 0, out + err
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["accepted"] == report["ended"] > 0
    assert report["unseen"] == 0


def test_no_process_of_the_fleet_outlives_its_killed_launcher(serve: Serve, start: Start) -> None:
    _, url = serve()
    fleet = start("jobqueue-clients", "--url", url, "--clients", "2", "--duration-s", "60", "--processes", "2")
    assert fleet.stderr is not None
    assert any("clients 2 of 2" in line for line in fleet.stderr)
    family = family_of(fleet)
    assert len(family) >= 4
    fleet.kill()
    fleet.wait(30)
    _, alive = psutil.wait_procs(family[1:], timeout=5)
    assert not alive
