"""`jobqueue serve path/to/tasks.py`: processes import the functions of the file from its folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobqueue.client import SyncClient
from tests.e2e.processes import ServerProcess

if TYPE_CHECKING:
    from pathlib import Path

TASKS = """
import os
from jobqueue import JobQueue
from neighbour import ANSWER

queue = JobQueue()

@queue.handler(run_in="process")
def where() -> dict:
    return {"pid": os.getpid(), "module": __name__, "answer": ANSWER}
"""


def test_a_function_of_a_file_runs_in_a_process(tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "tasks.py").write_text(TASKS)
    (tmp_path / "app" / "neighbour.py").write_text("ANSWER = 42")
    with ServerProcess(tmp_path, str(tmp_path / "app" / "tasks.py")) as server:
        client = SyncClient(server.url)
        job = client.submit("where")
        client.wait(job.id, timeout_s=30)
        result = client.result(job.id)
        assert (result["answer"], result["module"]) == (42, "tasks")
        assert result["pid"] != server.pid
        assert server.stop() == 0


NAMESAKES = ("random", "socket", "struct", "selectors", "msgspec", "psutil")


def test_files_named_like_other_modules_do_not_break_the_processes(
    tmp_path: Path,
) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "tasks.py").write_text(TASKS)
    (tmp_path / "app" / "neighbour.py").write_text("ANSWER = 42")
    for name in NAMESAKES:
        (tmp_path / "app" / f"{name}.py").write_text("raise ImportError('the wrong one')")
    with ServerProcess(tmp_path, str(tmp_path / "app" / "tasks.py")) as server:
        client = SyncClient(server.url)
        job = client.submit("where")
        client.wait(job.id, timeout_s=30)
        assert client.result(job.id)["answer"] == 42
        assert server.stop() == 0


def test_a_server_without_handlers_warns_and_serves(tmp_path: Path) -> None:
    (tmp_path / "empty.py").write_text("from jobqueue import JobQueue\n\nqueue = JobQueue()\n")
    with ServerProcess(tmp_path, str(tmp_path / "empty.py")) as server:
        assert "@queue.handler" in server.wait_for("server.no_handlers")["hint"]
        assert server.url
        assert server.stop() == 0


LIFESPAN = """
from contextlib import asynccontextmanager
from jobqueue import JobContext, JobQueue

queue = JobQueue()

@queue.lifespan
@asynccontextmanager
async def database(queue):
    if {broken}:
        raise LookupError("no database")
    yield "connected"
    open({left!r}, "w").close()

@queue.handler
def look(ctx: JobContext) -> str:
    return ctx.state
"""


def test_a_lifespan_is_entered_before_the_server_listens_and_exited_before_the_exit(tmp_path: Path) -> None:
    target = tmp_path / "lasting.py"
    target.write_text(LIFESPAN.format(broken=False, left=str(tmp_path / "left")))
    with ServerProcess(tmp_path / "spool", str(target)) as server:
        client = SyncClient(server.url)
        job = client.submit("look")
        client.wait(job.id, timeout_s=30)
        assert client.result(job.id) == "connected"
        assert not (tmp_path / "left").exists()
        assert server.stop() == 0
    assert (tmp_path / "left").exists()


def test_a_failing_lifespan_stops_the_start_with_its_reason(tmp_path: Path) -> None:
    target = tmp_path / "lasting.py"
    target.write_text(LIFESPAN.format(broken=True, left=""))
    with ServerProcess(tmp_path / "spool", str(target)) as server:
        failed = server.wait_for("server.failed")
        assert failed["reason"] == "the lifespan failed at its start: LookupError: no database"
        assert failed["traceback"].endswith("LookupError: no database\n")
        assert server.exit_code() == 1
    assert "server.listening" not in [event["event"] for event in server.events]


HANGING = """
import asyncio, logging
from contextlib import asynccontextmanager
from jobqueue import JobQueue

queue = JobQueue()

@queue.lifespan
@asynccontextmanager
async def database(queue):
    logging.getLogger("lasting").info("entering")
    await asyncio.Event().wait()
    yield
"""


def test_sigterm_while_a_lifespan_is_entered_stops_the_server(tmp_path: Path) -> None:
    (tmp_path / "lasting.py").write_text(HANGING)
    with ServerProcess(tmp_path / "spool", str(tmp_path / "lasting.py")) as server:
        assert server.wait_for("log")["message"] == "entering"
        assert server.stop() == 0


LEAVING = """
import asyncio, sys
from jobqueue import JobQueue

queue = JobQueue()

async def leave() -> None:
    sys.exit(3)

@queue.handler
async def start() -> str:
    asyncio.get_running_loop().call_soon(sys.exit, 4)
    asyncio.create_task(leave())
    await asyncio.sleep(0)
    return "left them"

@queue.handler
async def wait() -> None:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(leave())
"""


def test_an_exit_in_a_task_of_a_handler_does_not_end_the_server(tmp_path: Path) -> None:
    (tmp_path / "leaving.py").write_text(LEAVING)
    with ServerProcess(tmp_path, str(tmp_path / "leaving.py")) as server, SyncClient(server.url) as client:
        assert client.run("start") == "left them"
        failed = client.wait(client.submit("wait").id, timeout_s=30)
        assert failed.error is not None
        assert failed.error.code == "worker_crashed"
        assert "in leave" in server.wait_for("loop.exit_ignored")["traceback"]
        assert server.stop() == 0
