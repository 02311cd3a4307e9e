"""A server with a journal: jobs go on after a kill, after a stop, and in the next process alone."""

from __future__ import annotations

import json
import os
import signal
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.processes import ServerProcess

if TYPE_CHECKING:
    from collections.abc import Callable

TARGET = """
import asyncio, os
from jobqueue import JobContext, JobQueue

queue = JobQueue()

@queue.handler
async def echo(value: int = 0) -> int:
    return value

@queue.handler(attempts_max=2)
async def hold(ctx: JobContext, marker: str) -> int:
    with open(marker, "a") as file:
        file.write(f"{ctx.attempt} {ctx.recovered}\\n")
    if not ctx.recovered:
        await asyncio.sleep(100)
    return ctx.attempt

@queue.handler
async def size(ctx: JobContext) -> int:
    ctx.result_file("text/plain").write_bytes(b"result")
    return ctx.files["a"].stat().st_size
"""


class Folders:
    def __init__(self, base: Path) -> None:
        self.base = base
        self.journal = base / "journal"
        self.target = base / "tasks.py"
        self.marker = base / "marker"
        self.target.write_text(TARGET)

    def server(self, *settings: str) -> ServerProcess:
        return ServerProcess(self.base, str(self.target), f"journal.dir={self.journal}", *settings)


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return Folders(tmp_path)


def ask(
    server: ServerProcess, method: str, path: str, body: bytes = b"", media_type: str = "application/json"
) -> tuple[int, Any]:
    request = urllib.request.Request(f"{server.url}{path}", method=method, data=body or None)
    if body:
        request.add_header("Content-Type", media_type)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            status, content = answer.status, answer.read()
    except urllib.error.HTTPError as error:
        status, content = error.code, error.read()
    try:
        return status, json.loads(content)
    except ValueError:
        return status, content


def submit(server: ServerProcess, job_type: str, delay_s: float = 0.0, **args: object) -> str:
    body = json.dumps({"type": job_type, "args": args, "delay_s": delay_s}).encode()
    status, job = ask(server, "POST", "/v1/jobs", body)
    assert status == 202, job
    return str(job["id"])


def over(server: ServerProcess, job_id: str) -> dict[str, Any]:
    while True:
        request = urllib.request.Request(f"{server.url}/v1/jobs/{job_id}", headers={"Prefer": "wait=10"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            job: dict[str, Any] = json.loads(answer.read())
        if job["finished_at"] is not None:
            return job


def until_ready(server: ServerProcess) -> None:
    while ask(server, "GET", "/readyz")[0] != 200:
        pass


@pytest.mark.parametrize("sync", ["always", "interval"])
def test_a_killed_server_has_kept_the_jobs_of_its_answers(folders: Folders, sync: str) -> None:
    with folders.server(f"journal.sync={sync}") as server:
        until_ready(server)
        done = submit(server, "echo", value=7)
        assert over(server, done)["result"] == 7
        later = [submit(server, "echo", delay_s=1000.0, value=number) for number in range(50)]
        held = submit(server, "hold", marker=str(folders.marker))
        while not folders.marker.exists():
            pass
        assert ask(server, "DELETE", f"/v1/jobs/{done}")[0] == 204
        assert ask(server, "POST", f"/v1/jobs/{later[0]}:cancel")[0] == 200
        server.process.send_signal(signal.SIGKILL)
        server.process.wait()
    with folders.server(f"journal.sync={sync}") as server:
        until_ready(server)
        recovered = server.wait_for("journal.recovered")
        assert (recovered["clean"], recovered["jobs"]) == (False, {"delayed": 49, "queued": 1, "cancelled": 1})
        assert ask(server, "GET", f"/v1/jobs/{done}")[0] == 410
        assert ask(server, "GET", f"/v1/jobs/{later[0]}")[1]["state"] == "cancelled"
        assert {ask(server, "GET", f"/v1/jobs/{job_id}")[1]["state"] for job_id in later[1:]} == {"delayed"}
        assert over(server, held)["state"] == "succeeded"
        first, second = [line.split() for line in folders.marker.read_text().splitlines()]
        assert (first, second[1]) == (["1", "False"], "True")
        assert int(second[0]) > 1
        assert submit(server, "echo") > held, "ids go on"
        assert server.stop() == 0


def test_a_stopped_server_leaves_its_jobs_and_their_files_to_the_next(folders: Folders) -> None:
    form = b'--b\r\nContent-Disposition: form-data; name="job"\r\n\r\n{"type":"size","delay_s":%d}\r\n'
    form += b'--b\r\nContent-Disposition: form-data; name="a"; filename="a"\r\n\r\ncontent\r\n--b--\r\n'
    with folders.server("server.drain_s=0") as server:
        until_ready(server)
        ids = []
        for delay_s in (0, 1000):
            status, job = ask(server, "POST", "/v1/jobs", form % delay_s, "multipart/form-data; boundary=b")
            assert status == 202, job
            ids.append(job["id"])
        assert over(server, ids[0])["result"] == 7
        ask(server, "POST", "/v1/queues/default:pause", b'{"reason":"a deploy"}')
        waiting = submit(server, "echo", value=1)
        assert server.stop() == 0
    assert len(list((folders.journal / "files").iterdir())) == 2
    (folders.journal / "files" / "up-left").mkdir()
    with folders.server() as server:
        until_ready(server)
        assert server.wait_for("journal.recovered")["clean"]
        assert ask(server, "GET", f"/v1/jobs/{ids[0]}/result")[1] == b"result"
        assert ask(server, "GET", "/v1/queues/default")[1]["pause"]["reason"] == "a deploy"
        assert ask(server, "GET", f"/v1/jobs/{waiting}")[1]["state"] == "queued"
        ask(server, "POST", "/v1/queues/default:resume")
        assert over(server, waiting)["result"] == 1
        assert ask(server, "POST", f"/v1/jobs/{ids[1]}:run")[0] == 202
        assert over(server, ids[1])["result"] == 7
        assert server.stop() == 0
    assert not (folders.journal / "files" / "up-left").exists(), "no record names it"


def test_a_second_server_on_the_folder_does_not_start(folders: Folders) -> None:
    with folders.server() as server:
        until_ready(server)
        with folders.server() as second:
            assert second.exit_code() != 0
            assert "another process uses it" in str(second.events)
        assert submit(server, "echo")
        assert server.stop() == 0


def test_a_folder_of_something_else_is_refused_and_left_alone(folders: Folders) -> None:
    folders.journal.mkdir()
    (folders.journal / "photo.jpg").write_text("x")
    with folders.server() as server:
        assert server.exit_code() != 0
        assert "photo.jpg" in str(server.events)
    assert [path.name for path in folders.journal.iterdir()] == ["photo.jpg"]


def flipped(log: Path) -> None:
    with log.open("r+b") as file:
        file.seek(100)
        file.write(b"\xff\xff")


@pytest.mark.parametrize("harm", [flipped, lambda log: os.truncate(log, 500), Path.unlink], ids=["flip", "cut", "gone"])
def test_a_damaged_folder_is_refused_by_file_and_left_alone(folders: Folders, harm: Callable[[Path], None]) -> None:
    with folders.server() as server:
        until_ready(server)
        for number in range(10):
            submit(server, "echo", value=number)
        server.stop(signal.SIGKILL)
    log = folders.journal / "00000001.log"
    harm(log)
    before = {path: path.is_file() and path.read_bytes() for path in folders.journal.iterdir()}
    with folders.server() as server:
        assert server.exit_code() == 1
        reason = server.wait_for("server.failed")["reason"]
    assert f"{log}: damaged at byte" in reason
    assert "or cut the log there with `jobqueue journal repair`" in reason
    assert {path: path.is_file() and path.read_bytes() for path in folders.journal.iterdir()} == before


def test_jobs_of_a_type_without_a_handler_keep_the_server_from_starting(folders: Folders) -> None:
    with folders.server() as server:
        until_ready(server)
        job_id = submit(server, "echo", delay_s=1000.0)
        assert server.stop() == 0
    folders.target.write_text(TARGET.replace("def echo", "def other"))
    with folders.server() as server:
        assert server.exit_code() != 0
        assert "1 of the type 'echo'" in str(server.events)
    with folders.server("journal.unknown=fail") as server:
        until_ready(server)
        assert ask(server, "GET", f"/v1/jobs/{job_id}")[1]["state"] == "failed"
        assert server.stop() == 0
