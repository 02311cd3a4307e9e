"""The checks of memory and open files at the start."""

from __future__ import annotations

import platform
import re
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from bench.destructive.limits import MEMORY_BYTES, SETTINGS
from jobqueue.config import Settings
from jobqueue.config.load import Override, load
from jobqueue.resources import BASE_BYTES, FILES_RESERVED, fit_files, warn_of_memory
from tests.e2e.processes import ROOT

MIB = 2**20


def settings_of(**groups: dict[str, Any]) -> Settings:
    return msgspec.convert(groups, Settings)


def have(monkeypatch: pytest.MonkeyPatch, *, machine: int, group: int | None) -> None:
    class Memory:
        total = machine

    monkeypatch.setattr("jobqueue.resources.psutil.virtual_memory", Memory)
    monkeypatch.setattr("jobqueue.resources.memory_limit", lambda: group)


@pytest.mark.parametrize(("machine", "group"), [(256, None), (16_000, 256), (300, 4000), (16_000, 700)])
def test_memory_bounds_above_the_available_memory_are_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, machine: int, group: int | None
) -> None:
    have(monkeypatch, machine=machine * MIB, group=None if group is None else group * MIB)
    warn_of_memory(settings_of(statuses={"bytes_max": 256 * MIB}, limits={"in_flight_bytes": 32 * MIB}))
    (record,) = caplog.records
    assert "server.memory_overcommitted" in record.getMessage()
    assert "statuses.bytes_max" in record.getMessage()


@pytest.mark.parametrize("jobs_max", [10_000, 1_000_000])
def test_the_settings_of_the_memory_hint_fit(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, jobs_max: int
) -> None:
    have(monkeypatch, machine=16_000 * MIB, group=256 * MIB)
    few = {"connections_max": 2048}
    warn_of_memory(settings_of(server=few, statuses={"jobs_max": jobs_max}))
    hint = caplog.records[0].getMessage()
    statuses = {name: int(number) for name, number in re.findall(r"statuses\.(\w+) to (\d+)", hint)}
    statuses["bytes_max"] *= MIB
    assert 40 * MIB < statuses["bytes_max"] < 256 * MIB - BASE_BYTES
    caplog.clear()
    warn_of_memory(settings_of(server=few, statuses={"jobs_max": jobs_max, **statuses}))
    assert not caplog.records


def test_the_memory_warning_counts_empty_records(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    have(monkeypatch, machine=16_000 * MIB, group=256 * MIB)
    warn_of_memory(settings_of(server={"connections_max": 2048}, statuses={"bytes_max": 8 * MIB}))
    assert "statuses.jobs_max" in caplog.records[0].getMessage()


def test_the_documented_settings_for_a_small_machine_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The settings of the how-to are those under which `make test-memory` runs its attacks."""
    block = re.search(r"```yaml\n(.*?)```", (ROOT / "docs/how-to/small-machines.md").read_text(), re.DOTALL)
    assert block is not None
    (tmp_path / "config.yaml").write_text(block[1])
    settings = load(tmp_path / "config.yaml", environ={})
    have(monkeypatch, machine=16_000 * MIB, group=MEMORY_BYTES)
    warn_of_memory(settings)
    assert not caplog.records
    attacked = [Override("--set", *setting.split("=")) for setting in SETTINGS]
    assert settings == replace(load(None, environ={}, overrides=attacked), queues=settings.queues)


def limited(monkeypatch: pytest.MonkeyPatch, soft: int, hard: int) -> list[tuple[int, int]]:
    raised: list[tuple[int, int]] = []
    monkeypatch.setattr("jobqueue.resources.resource.getrlimit", lambda kind: (soft, hard))
    monkeypatch.setattr("jobqueue.resources.resource.setrlimit", lambda kind, limits: raised.append(limits))
    return raised


def test_the_limit_of_open_files_is_raised_for_connections_and_sent_files(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    raised = limited(monkeypatch, 1024, resource.RLIM_INFINITY)
    settings = settings_of(server={"connections_max": 5000}, runtime={"processes": 2})
    assert fit_files(settings) == (5000, 5000)
    assert raised == [(10_000 + FILES_RESERVED + 8, resource.RLIM_INFINITY)]
    assert not caplog.records


@pytest.mark.parametrize("hard", [256, 1024, 2000, 4096, 20_000])
def test_connections_and_sent_files_never_exceed_the_limit_of_open_files(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, hard: int
) -> None:
    limited(monkeypatch, 256, hard)
    files = fit_files(settings_of(server={"connections_max": 16_384}, runtime={"processes": 2}))
    assert files.connections > 0
    assert files.sent > 0
    assert files.connections + files.sent <= max(hard - FILES_RESERVED - 8, hard // 2)
    assert (files.connections < 16_384) == any("connections_capped" in each.getMessage() for each in caplog.records)


def test_few_connections_leave_an_open_file_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    limited(monkeypatch, 256, 2000)
    files = fit_files(settings_of(server={"connections_max": 100}, runtime={"processes": 2}))
    assert files == (100, 100)


FREED = """
import resource
from pathlib import Path
from jobqueue.resources import return_freed_memory
def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
return_freed_memory()
for size in (2**20, 250_000):
    blocks, between = [], []
    before = resident()
    for _ in range(100):
        blocks.append(bytearray(b"x") * size)
        between.append(bytearray(20_000))
    peak = resident()
    blocks.clear()
    assert peak - before > 50 * size, "the blocks were in memory"
    assert resident() - before < 100 * 25_000, "the blocks are returned to the system"
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt needs glibc")
def test_freed_large_blocks_are_returned_to_the_system() -> None:
    assert subprocess.run([sys.executable, "-c", FREED], check=False).returncode == 0
