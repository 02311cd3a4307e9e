"""Control groups of both versions, on folders that look like them, and the limits where there is none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.destructive import cgroup
from bench.destructive.cgroup import ControlGroup, ProcessLimits, Usage, confined, gives, make_group, remove_left
from jobqueue.runtime.cgroup import Group

MIB = 2**20


@pytest.fixture
def second(tmp_path: Path) -> ControlGroup:
    return ControlGroup(2, {"memory": tmp_path, "cpu": tmp_path})


@pytest.fixture
def first(tmp_path: Path) -> ControlGroup:
    folders = {name: tmp_path / name for name in ("memory", "cpu")}
    for folder in folders.values():
        folder.mkdir()
    return ControlGroup(1, folders)


def test_a_group_of_version_2_is_limited_by_its_files(second: ControlGroup, tmp_path: Path) -> None:
    second.limit(256 * MIB, 0.5)
    assert (tmp_path / "memory.max").read_text() == str(256 * MIB)
    assert (tmp_path / "memory.swap.max").read_text() == "0"
    assert (tmp_path / "cpu.max").read_text() == "50000 100000", "half a CPU is 50 ms of each 100 ms"
    assert second.says == "control group, version 2: 256 MiB and 0.5 CPU"


def test_a_group_of_version_1_is_limited_by_its_files(first: ControlGroup, tmp_path: Path) -> None:
    first.limit(256 * MIB, 0.5)
    assert (tmp_path / "memory/memory.limit_in_bytes").read_text() == str(256 * MIB)
    assert (tmp_path / "cpu/cpu.cfs_quota_us").read_text() == "50000"
    assert (tmp_path / "cpu/cpu.cfs_period_us").read_text() == "100000"


def test_the_use_of_a_group_of_version_2_is_read(second: ControlGroup, tmp_path: Path) -> None:
    (tmp_path / "memory.stat").write_text("anon 1000\nfile 5\n")
    (tmp_path / "memory.current").write_text("2000\n")
    (tmp_path / "memory.events").write_text("low 0\nmax 4\noom 1\noom_kill 1\n")
    (tmp_path / "cpu.stat").write_text("usage_usec 9\nnr_periods 40\nnr_throttled 10\nthrottled_usec 1500000\n")
    assert second.usage() == Usage(
        anonymous_bytes=1000, charged_bytes=2000, oom_kills=1, periods=40, throttled=10, throttled_s=1.5
    )


def test_the_use_of_a_group_of_version_1_is_read(first: ControlGroup, tmp_path: Path) -> None:
    (tmp_path / "memory/memory.stat").write_text("cache 5\nrss 900\ntotal_rss 1000\n")
    (tmp_path / "memory/memory.usage_in_bytes").write_text("2000\n")
    (tmp_path / "memory/memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 2\n")
    (tmp_path / "cpu/cpu.stat").write_text("nr_periods 40\nnr_throttled 10\nthrottled_time 1500000000\n")
    assert first.usage() == Usage(
        anonymous_bytes=1000, charged_bytes=2000, oom_kills=2, periods=40, throttled=10, throttled_s=1.5
    )


def test_a_controller_is_handed_down_only_where_the_group_has_it(tmp_path: Path) -> None:
    (tmp_path / "cgroup.subtree_control").write_text("memory\n")
    (tmp_path / "cgroup.controllers").write_text("memory pids\n")
    assert gives(tmp_path, "memory")
    assert not gives(tmp_path, "cpu")
    assert not gives(tmp_path / "absent", "memory")


def test_without_a_group_the_limits_of_the_process_are_used_and_the_reason_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cgroup, "groups", lambda controller: iter(()))
    with confined(256 * MIB, 0.5) as confinement:
        assert isinstance(confinement, ProcessLimits)
        assert "there is no group with the controller memory" in confinement.says
        assert "CPU not limited" in confinement.says
        ran = subprocess.run(
            [sys.executable, "-c", "x = bytearray(400 * 2**20)"], preexec_fn=confinement.enter, capture_output=True
        )
    assert b"MemoryError" in ran.stderr


def test_a_group_of_version_2_needs_both_controllers_in_one_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("memory", "cpu"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "cgroup.subtree_control").write_text(name)
    monkeypatch.setattr(cgroup, "groups", lambda controller: iter([Group(2, tmp_path / controller)]))
    with pytest.raises(OSError, match="no group gives both"):
        make_group(256 * MIB, 0.5)


def test_groups_of_ended_programs_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    left, own = (tmp_path / f"{cgroup.PREFIX}{pid}-1" for pid in (ended.pid, os.getpid()))
    left.mkdir()
    own.mkdir()
    monkeypatch.setattr(cgroup, "groups", lambda controller: iter([Group(1, tmp_path)]))
    remove_left()
    assert own.exists()
    assert not left.exists()


def test_a_real_group_ends_with_all_its_processes() -> None:
    with confined(64 * MIB, 0.5) as confinement:
        if not isinstance(confinement, ControlGroup):
            pytest.skip(confinement.says)
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, preexec_fn=confinement.enter)
        assert child.pid in confinement.pids()
        folders = set(confinement.folders.values())
    assert child.wait(10) == -9
    assert child.stdin is not None
    child.stdin.close()
    assert not any(folder.exists() for folder in folders)
