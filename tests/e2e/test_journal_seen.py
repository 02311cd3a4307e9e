"""A real server with a journal: what an operator sees of a kill, a stop, and a folder that is in use."""

from __future__ import annotations

import json
import signal
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.processes import ServerProcess

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LATER = {"type": "echo", "args": {"hello": "world"}, "delay_s": 3600}


def server_on(folder: Path, *settings: str) -> ServerProcess:
    return ServerProcess(folder, None, "spool.dir=null", f"journal.dir={folder / 'journal'}", *settings)


def ask(server: ServerProcess, path: str, body: object = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(server.url + path, data, {"Content-Type": "application/json"})
    with opened_when_ready(request) as response:
        content = response.read()
    return content.decode() if path == "/metrics" else json.loads(content)


def opened_when_ready(request: urllib.request.Request, patience_s: float = 30.0) -> Any:
    """Send a request; again, while the server recovers its jobs."""
    until = time.monotonic() + patience_s
    while True:
        try:
            return urllib.request.urlopen(request, timeout=30)
        except urllib.error.HTTPError as error:
            with error:
                if error.code != 503 or b"/problems/recovering" not in error.read() or time.monotonic() > until:
                    raise
        time.sleep(0.02)


def until(condition: Callable[[], bool], patience_s: float = 30.0) -> None:
    end = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def journal_of(server: ServerProcess) -> dict[str, Any]:
    journal: dict[str, Any] = ask(server, "/v1/server")["journal"]
    return journal


@pytest.mark.parametrize("sync", ["always", "interval"])
def test_a_kill_and_a_stop_show_in_log_server_metrics_and_findings(tmp_path: Path, sync: str) -> None:
    with server_on(tmp_path, f"journal.sync={sync}") as server:
        opened = server.wait_for("journal.opened")
        assert (opened["folder"], opened["sync"]) == (str(tmp_path / "journal"), sync)
        job = ask(server, "/v1/jobs", LATER)["id"]
        journal = journal_of(server)
        assert (journal["state"], journal["sync"], journal["recovered"]) == ("ok", sync, {})
        until(lambda: journal_of(server)["commits"] > 0)  # those of an interval come later
        server.process.kill()
        server.exit_code()
    with server_on(tmp_path) as server:
        recovered = server.wait_for("journal.recovered")
        assert (recovered["jobs"], recovered["clean"]) == ({"delayed": 1}, False)
        assert ask(server, f"/v1/jobs/{job}")["state"] == "delayed"
        server.wait_for("journal.snapshot")
        assert journal_of(server)["recovered"] == {"delayed": 1}
        metrics = ask(server, "/metrics")
        assert 'jobqueue_journal_recovered_jobs{state="delayed"} 1\n' in metrics
        assert "jobqueue_journal_failed 0\n" in metrics
        assert "jobqueue_journal_commit_seconds_count 0\n" not in metrics
        told = "the journal had 1 job of an earlier run"
        until(lambda: told in str(ask(server, "/v1/findings")))  # the latest ones may be a second old
        assert server.stop(signal.SIGTERM) == 0
    with server_on(tmp_path) as server:
        recovered = server.wait_for("journal.recovered")
        assert (recovered["jobs"], recovered["clean"]) == ({"delayed": 1}, True)
        assert ask(server, f"/v1/jobs/{job}")["state"] == "delayed"


def test_a_server_on_a_folder_in_use_ends_with_the_reason(tmp_path: Path) -> None:
    with server_on(tmp_path) as server:
        server.wait_for("journal.opened")
        with server_on(tmp_path) as second:
            assert second.exit_code() == 1
            reason = second.wait_for("server.failed")["reason"]
        assert str(tmp_path / "journal") in reason
        assert "another process uses it" in reason


def test_a_damaged_folder_is_refused_with_file_and_offset_and_not_changed(tmp_path: Path) -> None:
    with server_on(tmp_path) as server:
        for _ in range(5):
            ask(server, "/v1/jobs", LATER)
        server.process.kill()
        server.exit_code()
    segment = tmp_path / "journal" / "00000001.log"
    with segment.open("r+b") as file:
        file.seek(80)
        file.write(b"\xff")
    before = segment.read_bytes()
    with server_on(tmp_path) as server:
        assert server.exit_code() == 1
        reason = server.wait_for("server.failed")["reason"]
    assert reason.startswith(f"{segment}: damaged at byte 32: ")
    assert "jobqueue journal repair" in reason
    assert segment.read_bytes() == before
