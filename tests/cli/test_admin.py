"""`jobqueue reload`, `drain` and `config diff`: settings and end of a running server; programs of a checkout."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from jobqueue.cli import checkout
from tests.cli.conftest import Ran, run_here
from tests.e2e.processes import ServerProcess

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Here = Callable[..., Ran]


@pytest.fixture
def here(capsys: pytest.CaptureFixture[str]) -> Here:
    """Run a command in this process."""
    return lambda *argv: run_here(capsys, *argv)


def test_a_reload_prints_the_changes_and_the_faults(tmp_path: Path, here: Here) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("log: {level: info}\n")
    with ServerProcess(tmp_path / "spool", f"--config={file}") as server:
        url = f"--url={server.url}"
        assert here("reload", url, "-o", "table").out == "nothing has changed\n"
        file.write_text("log: {level: debug}\nserver: {drain_s: 3}\n")
        ran = here("reload", url, "-o", "table")
        assert (ran.code, ran.out) == (0, "log.level\nserver.drain_s  (with a restart)\n")
        file.write_text("log:\n  levle: debug\n")
        ran = here("reload", url)
        assert (ran.code, "did you mean 'log.level'?" in ran.err) == (2, True)
        assert server.stop() == 0


def test_a_diff_names_every_setting_that_differs_and_where_the_server_has_it(
    tmp_path: Path, here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "config.yaml"
    file.write_text("queues: {default: {workers: 4}}\n")
    with ServerProcess(tmp_path / "spool", f"--config={file}") as server:
        url = f"--url={server.url}"
        ran = here("config", "diff", url)
        of_flags = {each["setting"]: each["source"] for each in ran.lines}
        assert set(of_flags.values()) == {"flag"}  # those of this test's server
        same = ["--set={setting}={running}".format(**each).replace('"', "") for each in ran.lines]
        assert here("config", "diff", url, *same).code == 0
        assert here("queues", "set", "default", "weight=3", url).code == 0
        file.write_text("queues: {default: {workers: 5}, mail: {workers: 1}}\nlimits: {files: 3}\n")
        ran = here("config", "diff", url, *same)
        assert ran.code == 1
        assert [tuple(each.values()) for each in ran.lines] == [
            ("queues.default.workers", "4", "file", "5"),
            ("queues.default.weight", "3", "request", "1"),
            ("limits.files", "16", "default", "3"),
            ("queues.mail", None, None, "there"),
        ]
        table = here("config", "diff", url, *same, "-o", "table").out
        assert f"queues.default.workers: 4 ({file}:1) -> 5\n" in table
        assert "queues.default.weight: 3 (a request) -> 1\n" in table
        assert "queues.mail: missing -> there\n" in table
        assert server.stop() == 0


def test_a_drain_is_waited_for(tmp_path: Path, here: Here) -> None:
    with ServerProcess(tmp_path / "spool") as server:
        url = f"--url={server.url}"
        assert here("submit", "sleep", "min_s=1", url).code == 0
        ran = here("drain", url, "-o", "table")
        assert ran.code == 0
        assert ran.out.startswith("draining 1 live job, up to ")
        assert here("status", "-q", url).code == 3
        ran = here("drain", "--wait", url, "-o", "table")
        assert ran.code == 0
        assert ran.out == "the server has ended\n"
        assert server.exit_code() == 0
        assert here("status", "-q", url).code == 4


def test_load_and_lab_run_the_programs_of_the_checkout(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [group.name for group in checkout.groups()] == ["load", "lab"]
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.setattr(sys, "argv", ["jobqueue"])
    ran = here("load", "--help")
    assert (ran.code, "--require" in ran.out) == (0, True)


def test_an_installed_package_has_neither(tmp_path: Path, here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkout, "ROOT", tmp_path)
    assert checkout.groups() == ()
    ran = here("load")
    assert (ran.code, "invalid choice: 'load'" in ran.err) == (2, True)
