"""The settings in effect: values, defaults, sources."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from jobqueue.config import LogSettings, QueueSettings, Settings
from jobqueue.config.effective import HIDDEN, REQUIRED, EffectiveSetting, changed_by_requests, effective
from jobqueue.config.load import SETTINGS, Loaded, Override, trace
from jobqueue.config.settings import reloads_live
from jobqueue.keys import new_key

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def loaded(tmp_path: Path) -> Loaded:
    """Settings of a file, a variable, and a flag."""
    (tmp_path / "config.yaml").write_text("server: {drain_s: 3}\nqueues:\n  mail: {workers: 5}\nlog: {level: debug}\n")
    return trace(
        tmp_path / "config.yaml",
        environ={"JOBQUEUE_LIMITS__FILES": "7", "JOBQUEUE_LOG__LEVEL": "error"},
        overrides=[Override("--port", "server.port", "9000")],
    )


BY_NAME = (("auth", "keys"), ("schedules", "name"), ("webhooks", "endpoints"))
"""Sections of names; by default they have none."""


def by_path(*given: object, **more: object) -> dict[str, EffectiveSetting]:
    return {each.path: each for each in effective(*given, **more)}  # type: ignore[arg-type]


def test_each_setting_has_the_source_that_won(loaded: Loaded, tmp_path: Path) -> None:
    told = by_path(loaded.settings, loaded.settings, [loaded])
    sources = {path: (each.value, each.source, each.origin) for path, each in told.items() if each.source != "default"}
    assert sources == {
        "server.port": ("9000", "flag", "--port"),
        "server.drain_s": ("3s", "file", f"{tmp_path}/config.yaml:1"),
        "queues.mail.workers": ("5", "file", f"{tmp_path}/config.yaml:3"),
        "limits.files": ("7", "environment", "JOBQUEUE_LIMITS__FILES"),
        "log.level": ("error", "environment", "JOBQUEUE_LOG__LEVEL"),
    }
    assert (told["queues.mail.workers"].default, told["log.level"].default) == ("1000", "info")


def test_every_setting_is_there_with_its_default_and_when_it_applies() -> None:
    default = Settings()
    told = by_path(default, default, [Loaded(default)])
    assert {*told} == {".".join(path) for path in SETTINGS if path[:2] not in BY_NAME}
    assert all((each.value, each.source) == (each.default, "default") for each in told.values())
    assert all(
        each.applies == ("live" if reloads_live(tuple(each.path.split("."))) else "restart") for each in told.values()
    )


def test_changes_by_requests_have_that_source_until_values_are_the_same_again() -> None:
    read = Settings(queues={"default": QueueSettings(workers=4), "mail": QueueSettings()})
    policies = {"default": msgspec.structs.replace(QueueSettings(workers=4).policy, workers=9)}
    now = changed_by_requests(read, policies, "warning")
    told = by_path(now, read, [Loaded(read)])
    assert {path: each.value for path, each in told.items() if each.source == "request"} == {
        "queues.default.workers": "9",
        "log.level": "warning",
    }
    same = changed_by_requests(read, {"default": read.queues["default"].policy}, "info")
    assert same == read
    assert changed_by_requests(read, {}, None) == read


def test_a_setting_that_waits_for_a_restart_keeps_the_source_of_the_start() -> None:
    first = trace(None, environ={"JOBQUEUE_SERVER__PORT": "1", "JOBQUEUE_LOG__LEVEL": "debug"})
    newest = trace(None, environ={"JOBQUEUE_LOG__LEVEL": "error"}, overrides=[Override("--port", "server.port", "2")])
    in_effect = msgspec.structs.replace(first.settings, log=LogSettings(level="error"))
    told = by_path(in_effect, in_effect, [newest, first])
    assert (told["server.port"].value, told["server.port"].origin) == ("1", "JOBQUEUE_SERVER__PORT")
    assert (told["log.level"].value, told["log.level"].origin) == ("error", "JOBQUEUE_LOG__LEVEL")


def test_an_embedded_queue_has_the_settings_of_its_application() -> None:
    given = Settings(log=LogSettings(level="debug"))
    told = by_path(given, given, [])
    assert [path for path, each in told.items() if each.source == "application"] == ["log.level"]


def test_keys_are_hidden_and_those_of_a_file_of_keys_are_left_out(tmp_path: Path) -> None:
    one, other = new_key(), new_key()

    def entry(key: object) -> str:
        return f"{{id: {key.id}, sha256: {key.digest}, scopes: [read]}}"  # type: ignore[attr-defined]

    (tmp_path / "keys.yaml").write_text(f"filed: {entry(other)}\n")
    file = tmp_path / "config.yaml"
    file.write_text(f"auth: {{keys: {{ci: {entry(one)}}}, keys_file: {tmp_path}/keys.yaml}}")
    loaded = trace(file, environ={})
    told = by_path(loaded.settings, loaded.settings, [loaded])
    assert (told["auth.keys.ci.id"].value, told["auth.keys.ci.sha256"].value) == (HIDDEN, HIDDEN)
    assert (told["auth.keys.ci.scopes"].value, told["auth.keys.ci.scopes"].default) == ('["read"]', REQUIRED)
    assert told["auth.keys.ci.limits.rate"].default == "null"
    assert not [path for path in told if "filed" in path]
    assert one.digest not in str(told)
    assert one.id not in str(told)
