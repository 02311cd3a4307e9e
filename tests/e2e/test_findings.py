"""What is wrong with a real server: a handler that blocks its loop, a failed reload, a setting that waits."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

from tests.e2e.processes import ServerProcess
from tests.e2e.test_server_commands import ask

if TYPE_CHECKING:
    from pathlib import Path

TASKS = """
import time

from jobqueue import JobQueue

queue = JobQueue()


@queue.handler
async def resize() -> None:
    time.sleep(0.9)
"""


def finding(server: ServerProcess, kind: str) -> dict[str, Any]:
    """Wait for a finding, and return it."""
    until = time.monotonic() + 20
    while True:
        found = {each["kind"]: each for each in ask(f"{server.url}/v1/findings")[1]["findings"]}
        if kind in found:
            return found[kind]
        assert time.monotonic() < until, [*found]
        time.sleep(0.1)


def test_a_blocked_loop_is_found_with_the_line_that_blocks_it(tmp_path: Path) -> None:
    (tmp_path / "tasks.py").write_text(TASKS)
    with ServerProcess(tmp_path / "spool", f"{tmp_path}/tasks.py:queue") as server:
        assert ask(f"{server.url}/v1/jobs", "POST", {"type": "resize"})[0] == 202
        sentence = finding(server, "loop_blocked")["sentence"]
        assert re.search(r"the last time for (?:\d+ ms|[\d.]+ s) in tasks\.py:11 in resize\.$", sentence), sentence
        lines = ask(f"{server.url}/v1/server/log?event=loop.")[1]["lines"]
        assert [line["event"] for line in lines] == ["loop.unblocked", "loop.blocked"]
        assert "resize" in lines[1]["stack"]


def test_a_failed_reload_and_a_setting_that_waits_for_a_restart_are_found(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("log: {format: text}\n")
    with ServerProcess(tmp_path / "spool", f"--config={file}", "log.format=json") as server:
        url = server.url  # it has read the file by then
        file.write_text("log: {format: text}\nserver: {drain_s: 3}\n")
        assert ask(f"{url}/v1/server:reload", "POST")[0] == 200
        waits = finding(server, "restart_required")
        assert waits["sentence"] == "A restart is needed for 1 changed setting: server.drain_s."
        file.write_text("log:\n  formt: text\n")
        assert ask(f"{url}/v1/server:reload", "POST")[0] == 422
        failed = finding(server, "config_reload_failed")
        assert failed["cause"].startswith(f"{file}:2:3: ")
        told = {each["path"]: each for each in ask(f"{url}/v1/server/settings")[1]["settings"]}
        assert (told["log.format"]["source"], told["log.format"]["origin"]) == ("flag", "--set log.format")
        assert (told["server.drain_s"]["value"], told["server.drain_s"]["source"]) == ("20s", "default")
