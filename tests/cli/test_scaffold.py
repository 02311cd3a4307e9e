"""`jobqueue init` and `config init`: the files of a project, which work as they are."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from jobqueue.cli import target
from jobqueue.cli.main import main
from jobqueue.config.load import load

ROOT = Path(__file__).parents[2]
FILES = {"tasks.py", "tests/test_tasks.py", "config.yaml", "pyproject.toml"}


def run_in(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run([sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("flags", "command"),
    [([], ["-m", "unittest", "discover", "tests"]), (["--pytest"], ["-m", "pytest", "-q", "-p", "no:cacheprovider"])],
)
def test_the_created_test_passes_and_fails_with_the_handler(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str], command: list[str]
) -> None:
    assert main(["init", str(tmp_path / "new"), *flags]) == 0
    folder = tmp_path / "new"
    assert {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} == FILES
    ran = run_in(folder, *command)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    (folder / "tasks.py").write_text((folder / "tasks.py").read_text().replace("Hello", "Goodbye"))
    assert run_in(folder, *command).returncode == 1


def test_the_created_settings_and_project_are_valid(tmp_path: Path) -> None:
    main(["init", str(tmp_path / "My Mails!")])
    folder = tmp_path / "My Mails!"
    assert load(folder / "config.yaml", environ={}).queues["default"].workers == 16
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    assert project["name"] == "my-mails"
    assert project["dependencies"] == ["ephemeral-jobqueue[server]"]  # the handlers need more than the client


def test_the_created_handlers_are_a_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    main(["init", str(tmp_path)])
    (tmp_path / "tasks.py").rename(tmp_path / "tasks_of_init.py")
    assert [handler.name for handler in target.find(f"{tmp_path}/tasks_of_init.py").service.registry] == [
        "greet",
        "divide",
    ]
    del sys.modules["tasks_of_init"]


def test_no_file_is_overwritten_and_then_none_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "config.yaml").write_text("mine")
    assert main(["init", str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"{tmp_path}/config.yaml: exists and would be overwritten\n"
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]
    assert (tmp_path / "config.yaml").read_text() == "mine"


def test_config_init_writes_every_setting_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["config", "init"]) == 0
    assert main(["config", "init"]) == 2
    capsys.readouterr()
    assert main(["config", "show", "--changed"]) == 0
    assert capsys.readouterr().out == ""


def test_show_changed_prints_settings_that_are_not_at_their_defaults(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["config", "show", "--changed", "--port", "9", "--set", "queues.mail.workers=2"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("server:\n  port: 9 ")
    assert "  mail:\n" in out
    assert "host" not in out
