"""`jobqueue serve --reload`: a server that is started anew when its code or its settings change."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING

import pytest

from jobqueue.cli import browser, reloader
from jobqueue.cli.main import main, parser_of
from jobqueue.client import SyncClient
from jobqueue.config import ServerSettings
from jobqueue.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
TASKS = """
from jobqueue import JobQueue

queue = JobQueue()

@queue.handler
async def name() -> str:
    return "first"
"""


class Serving:
    """A server with `--reload`, and its lines."""

    def __init__(self, folder: Path) -> None:
        flags = ("--port=0", "--set=server.linger_s=0", f"--set=spool.dir={folder / 'spool'}")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "jobqueue", "serve", "tasks_of_reload.py", "--reload", *flags],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), "JOBQUEUE_LOG__FORMAT": "text"},
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stderr is not None
        self.lines: IO[str] = self.process.stderr

    def wait_for(self, text: str) -> str:
        """Return the next line that has the text."""
        for line in self.lines:
            if text in line:
                return line
        raise AssertionError(f"it has ended without {text!r}")

    def answer(self) -> object:
        """Wait for the next start of the server, and ask it."""
        url = self.wait_for("server.listening").partition("url=")[2].split()[0]
        return SyncClient(url).run("name")


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Serving]:
    (tmp_path / "tasks_of_reload.py").write_text(TASKS)
    serving = Serving(tmp_path)
    yield serving
    if serving.process.poll() is None:
        serving.process.send_signal(signal.SIGTERM)
    serving.process.wait(30)
    serving.lines.close()


def test_a_change_of_the_code_and_of_the_settings_starts_the_server_anew(serving: Serving, tmp_path: Path) -> None:
    assert serving.answer() == "first"
    (tmp_path / "tasks_of_reload.py").write_text(TASKS.replace("first", "second"))
    assert "tasks_of_reload.py" in serving.wait_for("reload: changed")
    assert serving.answer() == "second"
    (tmp_path / "config.yaml").write_text("queues: {default: {workers: 3}}\n")
    assert "config.yaml" in serving.wait_for("reload: changed")
    assert serving.answer() == "second"
    serving.process.send_signal(signal.SIGINT)
    assert serving.process.wait(30) == 0


def test_a_syntax_error_is_printed_and_leaves_the_server(serving: Serving, tmp_path: Path) -> None:
    url = serving.wait_for("server.listening").partition("url=")[2].split()[0]
    (tmp_path / "tasks_of_reload.py").write_text(TASKS.replace("queue = JobQueue()", "queue = = JobQueue()"))
    assert serving.wait_for("invalid syntax").startswith("reload: tasks_of_reload.py:4: ")
    serving.wait_for("the server is left as it is")
    assert SyncClient(url).run("name") == "first"
    (tmp_path / "tasks_of_reload.py").write_text(TASKS.replace("first", "third"))
    assert serving.answer() == "third"


def test_code_that_cannot_be_imported_is_waited_for(serving: Serving, tmp_path: Path) -> None:
    assert serving.answer() == "first"
    (tmp_path / "tasks_of_reload.py").write_text(TASKS + "\nundefined_name\n")
    serving.wait_for("NameError")
    serving.wait_for("waiting for a change")
    (tmp_path / "tasks_of_reload.py").write_text(TASKS.replace("first", "fourth"))
    assert serving.answer() == "fourth"
    serving.process.send_signal(signal.SIGTERM)
    assert serving.process.wait(30) == 0


def test_the_folder_of_a_target_is_watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "tasks.py").touch()
    (tmp_path / "single.py").touch()
    assert reloader.folder_of("app/tasks.py:queue") == tmp_path / "app"
    assert reloader.folder_of("app.tasks:queue") == tmp_path / "app"
    assert reloader.folder_of("single") == tmp_path
    assert reloader.folder_of("jobqueue.demo") == ROOT / "jobqueue"
    for target in ("missing/tasks.py", "no_such_module", "no-such"):
        with pytest.raises(ConfigError):
            reloader.folder_of(target)


def test_the_command_of_the_server_has_every_flag_but_reload() -> None:
    words = ["serve", "tasks.py", "--reload", "--open", "--port", "7", "--set", "log.level=debug", "--config", "c.yaml"]
    options = parser_of(words).parse_args(words)
    command = reloader.command_of(options)
    assert command[3:] == ["serve", "--port=7", "--set=log.level=debug", "--config=c.yaml", "--", "tasks.py"]
    assert isinstance(parser_of(command[3:]).parse_args(command[3:]), argparse.Namespace)


def test_without_the_extra_the_message_names_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "watchfiles", None)
    assert main(["serve", "--reload"]) == 2
    assert "ephemeral-jobqueue[reload]" in capsys.readouterr().err


def test_a_browser_needs_a_known_address() -> None:
    with pytest.raises(ConfigError, match=r"server\.port is 0"):
        browser.open_when_ready(ServerSettings(port=0))
    with pytest.raises(ConfigError, match="can't open a Unix socket"):
        browser.open_when_ready(ServerSettings(port=None, socket="/run/j.sock"))
