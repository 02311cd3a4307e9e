"""The reference page of the settings: generated, complete, and correct about live reloads."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from jobqueue import JobQueue
from jobqueue.cli.main import main
from jobqueue.cli.settings import FLAGS
from jobqueue.config import Settings, reloads_live
from jobqueue.config.load import SETTINGS, Override, load

if TYPE_CHECKING:
    from collections.abc import Mapping

PAGE = Path(__file__).parents[2] / "docs/reference/settings.md"
OTHER_VALUES: Mapping[str, str] = {
    "console.enabled": "false",
    "console.path": "/internal/console",
    "console.readonly": "true",
    "otel.enabled": "true",
    "metrics.enabled": "false",
    "metrics.path": "/internal/metrics",
    "metrics.access": "open",
    "metrics.listen": "127.0.0.1:9091",
    "log.access": "all",
    "log.jobs": "all",
    "server.openapi": "open",
    "server.host": "localhost",
    "server.fast_path": "false",
    "server.origins": "https://app.example.com",
    "server.hosts": "jobs.example.com",
    "server.tracebacks": "false",
    "server.socket": "/run/jobqueue.sock",
    "server.socket_mode": "0660",
    "server.proxies": "127.0.0.1",
    "auth.keys.name.id": "k3v7tq2m",
    "auth.keys.name.sha256": "0" * 64,
    "auth.keys.name.scopes": "read",
    "auth.keys_file": "",  # replaced by the path of one
    "auth.none": "true",
    "auth.shared": "true",
    "queues.default.discipline": "fair",
    "auth.keys.name.limits.rate": "10/s",
    "auth.keys.name.limits.requests": "10/s",
    "limits.caller_rate": "10/s",
    "limits.caller_requests": "10/s",
    "limits.header_bytes": "2KiB",
    "spool.dir": "elsewhere",
    "journal.dir": "elsewhere",
    "server.drain_mode": "keep",
    "journal.sync": "interval",
    "journal.bytes_max": "5GiB",
    "journal.unknown": "fail",
    "backend": "valkey",
    "valkey.url": "redis://elsewhere",
    "valkey.password_file": "elsewhere",
    "valkey.sentinels": "sentinel-1:26379",
    "valkey.namespace": "elsewhere",
    "valkey.durability": "replica",
    "valkey.call_timeout_s": "1s",
    "valkey.tls.check_hostname": "false",
    "spool.bytes_max": "5GiB",
    "runtime.shares": "strict",
    "log.level": "error",
    "log.format": "json",
}
"""Values of the settings for which neither 7 nor 3MiB is valid."""


def names_on_the_page() -> list[str]:
    return re.findall(r"^\| `([a-z0-9_.]+)`<br>`JOBQUEUE_", PAGE.read_text(), re.MULTILINE)


def test_the_page_equals_the_output_of_config_reference(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "reference"]) == 0
    assert PAGE.read_text() == capsys.readouterr().out, (
        "regenerate it: python -m jobqueue config reference > docs/reference/settings.md"
    )


TLS_TO_STORE = {
    f"valkey.tls.{name}": [Override("--set", "valkey.url", "rediss://elsewhere"), *others]
    for name, others in {
        "ca": [],
        "cert": [Override("--set", "valkey.tls.key", "elsewhere")],
        "key": [Override("--set", "valkey.tls.cert", "elsewhere")],
    }.items()
}
"""What the settings of TLS to a store need."""

NEEDED = {**TLS_TO_STORE, "valkey.sentinel_user": [Override("--set", "valkey.sentinel_password", "elsewhere")]}
"""What settings need that are valid only beside others."""

CERTIFICATES = ("server.tls.cert", "server.tls.key", "server.tls.client_ca")
"""Settings that are valid together, of a port with TLS; as those of webhooks and schedules, in a queue with some."""


def test_the_page_has_every_setting() -> None:
    assert sorted(names_on_the_page()) == sorted(".".join(path) for path in SETTINGS)


def test_the_page_has_a_sentence_for_each_setting_and_its_flag() -> None:
    rows = [row for row in PAGE.read_text().splitlines() if "<br>`JOBQUEUE_" in row]
    assert all(re.search(r"\| [A-Z][^|]{15,}\. \|$", row) for row in rows)
    for flag, (setting, _, _) in FLAGS.items():
        (row,) = [row for row in rows if row.startswith(f"| `{setting}`<br>")]
        assert f"<br>`--{flag}` |" in row


async def test_the_page_marks_exactly_the_settings_that_a_reload_applies(tmp_path: Path) -> None:
    (tmp_path / "keys.yaml").touch()
    values = {**OTHER_VALUES, "auth.keys_file": str(tmp_path / "keys.yaml")}
    of_a_key = [
        Override("--set", name, value)
        for name, value in values.items()
        if name.startswith("auth.keys.") and ".limits." not in name
    ]
    needs_restart = set()
    async with JobQueue() as queue:
        for path in SETTINGS:
            name = ".".join(path)
            if name in CERTIFICATES or name.startswith(("webhooks.", "schedules.")):
                continue
            value = values.get(name, "3MiB" if "bytes" in name else "7")
            more = of_a_key if name.startswith("auth.keys.") else NEEDED.get(name, [])
            if name == "server.drain_mode":
                more = [Override("--set", "journal.dir", "journal")]
            changed = load(None, environ={}, overrides=[*more, Override("--set", name, value)])
            assert changed != Settings(), name
            needs_restart.update(await queue.reload(changed))
            assert await queue.reload(Settings()) == []
    live = {name for name in names_on_the_page() if reloads_live(tuple(name.split(".")))}
    assert needs_restart == set(names_on_the_page()) - live
    assert {name for name in names_on_the_page() if "| yes | " in row_of(name)} == live


async def test_a_reload_takes_other_certificates_but_turns_tls_neither_on_nor_off() -> None:
    one, other = [
        load(None, environ={}, overrides=[Override("--set", name, f"{folder}/{name}") for name in CERTIFICATES])
        for folder in ("old", "new")
    ]
    async with JobQueue(one) as queue:
        assert await queue.reload(other) == []
        assert sorted(await queue.reload(Settings())) == sorted(CERTIFICATES)
    async with JobQueue() as queue:
        assert sorted(await queue.reload(one)) == sorted(CERTIFICATES)


def row_of(name: str) -> str:
    return next(row for row in PAGE.read_text().splitlines() if row.startswith(f"| `{name}`<br>"))
