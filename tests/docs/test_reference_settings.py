"""The reference page of the settings: current, complete, and right about what a reload changes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from jobqueue import JobQueue
from jobqueue.cli.main import FLAGS, main
from jobqueue.config import Settings, reloads_live
from jobqueue.config.load import SETTINGS, Override, load

if TYPE_CHECKING:
    from collections.abc import Mapping

PAGE = Path(__file__).parents[2] / "docs/reference/settings.md"
OTHER_VALUES: Mapping[str, str] = {
    "server.host": "localhost",
    "server.fast_path": "false",
    "server.origins": "https://app.example.com",
    "server.hosts": "jobs.example.com",
    "server.tracebacks": "false",
    "queues.default.discipline": "fair",
    "limits.caller_rate": "10/s",
    "limits.header_bytes": "2KiB",
    "spool.dir": "elsewhere",
    "spool.bytes_max": "5GiB",
    "runtime.shares": "strict",
    "log.level": "error",
    "log.format": "json",
}
"""Of the settings that neither 7 nor 3MiB is a valid value of."""


def names_on_the_page() -> list[str]:
    return re.findall(r"^\| `([a-z_.]+)`<br>`JOBQUEUE_", PAGE.read_text(), re.MULTILINE)


def test_the_page_is_current(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "reference"]) == 0
    assert PAGE.read_text() == capsys.readouterr().out, (
        "make it anew: python -m jobqueue config reference > docs/reference/settings.md"
    )


def test_every_setting_has_a_row() -> None:
    assert sorted(names_on_the_page()) == sorted(".".join(path) for path in SETTINGS)


def test_every_row_has_a_sentence_and_every_flag_stands_beside_its_setting() -> None:
    rows = [row for row in PAGE.read_text().splitlines() if "<br>`JOBQUEUE_" in row]
    assert all(re.search(r"\| [A-Z][^|]{15,}\. \|$", row) for row in rows)
    for flag, (setting, _, _) in FLAGS.items():
        (row,) = [row for row in rows if row.startswith(f"| `{setting}`<br>")]
        assert f"<br>`--{flag}` |" in row


async def test_what_the_page_calls_live_is_what_a_reload_takes_over() -> None:
    needs_restart = set()
    async with JobQueue() as queue:
        for path in SETTINGS:
            name = ".".join(path)
            value = OTHER_VALUES.get(name, "3MiB" if "bytes" in name else "7")
            changed = load(None, environ={}, overrides=[Override("--set", name, value)])
            assert changed != Settings(), name
            needs_restart.update(await queue.reload(changed))
            assert await queue.reload(Settings()) == []
    live = {name for name in names_on_the_page() if reloads_live(tuple(name.split(".")))}
    assert needs_restart == set(names_on_the_page()) - live
    assert {name for name in names_on_the_page() if "| yes | " in row_of(name)} == live


def row_of(name: str) -> str:
    return next(row for row in PAGE.read_text().splitlines() if row.startswith(f"| `{name}`<br>"))
