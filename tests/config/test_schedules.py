"""Tests of the section `schedules`: faults with their places, and what a reload takes over."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jobqueue.config import Settings
from jobqueue.config.live import live_settings
from jobqueue.config.load import differences, load
from jobqueue.config.schedules import ScheduleSettings
from jobqueue.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


def faults(path: Path, *lines: str) -> list[str]:
    """Return the faults of a schedule with these lines, after its place in the file."""
    file = path / "config.yaml"
    file.write_text("\n".join(["schedules:", "  nightly:", *(f"    {line}" for line in lines)]) + "\n")
    with pytest.raises(ConfigError) as error:
        load(file, environ={})
    return [fault.partition("schedules.nightly")[2] for fault in error.value.faults]


def test_a_schedule_is_read_from_a_file_and_from_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text('schedules:\n  nightly: {type: report, cron: "0 3 * * *", jitter_s: 5m}\n')
    settings = load(file, environ={"JOBQUEUE_SCHEDULES__NIGHTLY__TZ": "Europe/Berlin"})
    assert settings.schedules == {
        "nightly": ScheduleSettings(type="report", cron="0 3 * * *", jitter_s=300.0, tz="Europe/Berlin")
    }


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (['cron: "0 3 * * *"'], ": lacks type, the handler of its jobs"),
        (["type: report"], ".every_s: give every_s or cron, and not both"),
        (["type: report", "every_s: 0"], ".every_s: must be a duration from 1s"),
        (["type: report", 'cron: "0 0 30 2 *"'], ".cron: it never comes"),
        (["type: report", 'cron: "0 3 * * *"', "tz: Mars/Olympus"], ".tz: there is no time zone 'Mars/Olympus'"),
        (["type: report", "every_s: 5m", "catch_up: all"], ".catch_up: all needs overlap: queue"),
        (["type: report", "every_s: 5m", "args: '[1]'"], ".args: must be the text of a JSON object"),
        (["type: report", "every: 5m"], ".every: unknown setting, did you mean 'schedules.nightly.every_s'?"),
    ],
)
def test_a_fault_names_the_setting_and_a_valid_value(tmp_path: Path, lines: list[str], told: str) -> None:
    assert any(fault.startswith(told) for fault in faults(tmp_path, *lines))


def test_a_reload_takes_schedules_over_and_names_the_changes() -> None:
    before = Settings(schedules={"a": ScheduleSettings(type="x", every_s=60.0)})
    after = Settings(schedules={"b": ScheduleSettings(type="x", every_s=60.0)})
    assert live_settings(before, after).schedules == after.schedules
    assert differences(before, after).keys() >= {"schedules.a", "schedules.b"}
