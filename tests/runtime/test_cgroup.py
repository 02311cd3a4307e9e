"""CPU quota and memory limit of a container, read from control groups of versions 1 and 2."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from jobqueue import JobQueue
from jobqueue.config import RuntimeSettings, Settings, SpoolSettings
from jobqueue.runtime import cgroup
from tests.runtime.pools import blocking

V2 = "{mount}\n35 31 0:31 / /sys rw - sysfs s rw\n30 23 0:27 {root} {folder} rw,nosuid shared:9 - cgroup2 cgroup rw\n"
V1 = "33 31 0:29 {root} {folder} rw - cgroup cgroup rw,cpu,cpuacct\n34 31 0:30 / /m rw - cgroup cgroup rw,memory\n"


class System:
    """A fake /proc/self and fake control groups, as files."""

    def __init__(self, tmp_path: Path) -> None:
        self.proc = tmp_path / "proc"
        self.folder = tmp_path / "cg roup"
        self.proc.mkdir()

    def mount(self, mountinfo: str, group: str, root: str = "/") -> None:
        folder = str(self.folder).replace(" ", "\\040")
        (self.proc / "mountinfo").write_text(
            mountinfo.format(root=root, folder=folder, mount="1 1 0:1 / / rw - ext4 x rw")
        )
        (self.proc / "cgroup").write_text(group)

    def limit(self, path: str, **files: str) -> None:
        folder = self.folder / path
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (folder / name.replace("__", ".")).write_text(text + "\n")


@pytest.fixture
def system(tmp_path: Path) -> System:
    return System(tmp_path)


@pytest.mark.parametrize(
    ("inner", "outer", "quota"),
    [
        ("max 100000", "max 100000", None),
        ("150000 100000", "max 100000", 1.5),
        ("max 100000", "50000 100000", 0.5),
        ("400000 100000", "200000 100000", 2.0),
        ("nonsense", "200000 100000", 2.0),
    ],
)
def test_version_2_uses_the_smallest_cpu_quota_of_the_group_and_its_parents(
    system: System, inner: str, outer: str, quota: float | None
) -> None:
    system.mount(V2, "0::/pods/one\n")
    system.limit("pods/one", cpu__max=inner)
    system.limit("pods", cpu__max=outer)
    assert cgroup.cpu_quota(system.proc) == quota


@pytest.mark.parametrize(("quota_us", "quota"), [("-1", None), ("25000", 0.25), ("300000", 3.0)])
def test_the_cpu_quota_of_version_1_is_read(system: System, quota_us: str, quota: float | None) -> None:
    system.mount(V1, "4:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n0::/\n")
    system.limit("docker/abc", cpu__cfs_quota_us=quota_us, cpu__cfs_period_us="100000")
    assert cgroup.cpu_quota(system.proc) == quota


@pytest.mark.parametrize("root", ["/docker/abc", "/elsewhere"])
def test_a_container_that_sees_only_its_own_group_finds_its_quota(system: System, root: str) -> None:
    system.mount(V1, "3:cpu,cpuacct:/docker/abc\n", root=root)
    system.limit("", cpu__cfs_quota_us="200000", cpu__cfs_period_us="100000")
    assert cgroup.cpu_quota(system.proc) == 2.0


def test_unreadable_control_groups_set_no_cpu_quota(system: System) -> None:
    assert cgroup.cpu_quota(system.proc) is None
    system.mount("nonsense", "nonsense")
    assert cgroup.cpu_quota(system.proc) is None
    system.mount(V2, "0::/gone\n")
    assert cgroup.cpu_quota(system.proc) is None


@pytest.mark.parametrize(
    ("cpus", "cpu_max", "count"),
    [
        (8, "max 100000", 8),
        (8, "150000 100000", 2),
        (8, "10000 100000", 1),
        (2, "800000 100000", 2),
        (512, "max 1", 256),
    ],
)
def test_the_cpu_count_is_bounded_by_the_quota(
    system: System, monkeypatch: pytest.MonkeyPatch, cpus: int, cpu_max: str, count: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(cpus)))
    system.mount(V2, "0::/\n")
    system.limit("", cpu__max=cpu_max)
    assert cgroup.cpu_count(system.proc) == count


@pytest.mark.parametrize(("processes", "planned", "over"), [(None, 2, 0), (1, 1, 0), (3, 3, 1)])
async def test_the_start_logs_the_number_of_processes(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    processes: int | None,
    planned: int,
    over: int,
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)))
    monkeypatch.setattr(cgroup, "cpu_quota", lambda proc=None: 1.5)
    caplog.set_level(logging.INFO, "jobqueue.wiring")
    queue = JobQueue(Settings(runtime=RuntimeSettings(processes=processes), spool=SpoolSettings(dir=str(tmp_path))))
    queue.handler(run_in="process")(blocking.echo)
    async with queue:
        pass
    logged = [str(record.msg) for record in caplog.records]
    assert f"processes.planned processes={planned} cpus=16 cpu_quota=1.5" in logged
    assert sum("processes.over_quota" in line for line in logged) == over


@pytest.mark.parametrize(
    ("inner", "outer", "limit"),
    [("max", "max", None), ("1000000", "max", 1_000_000), ("max", "2000000", 2_000_000), ("3000", "2000", 2000)],
)
def test_version_2_uses_the_smallest_memory_limit_of_the_group_and_its_parents(
    system: System, inner: str, outer: str, limit: int | None
) -> None:
    system.mount(V2, "0::/pods/one\n")
    system.limit("pods/one", memory__max=inner)
    system.limit("pods", memory__max=outer)
    assert cgroup.memory_limit(system.proc) == limit


@pytest.mark.parametrize(("given", "limit"), [("9223372036854771712", None), ("268435456", 268_435_456)])
def test_a_very_large_memory_limit_of_version_1_means_none(system: System, given: str, limit: int | None) -> None:
    folder = str(system.folder).replace(" ", "\\040")
    (system.proc / "mountinfo").write_text(f"34 31 1:30 / {folder} rw - cgroup cgroup rw,memory\n")
    (system.proc / "cgroup").write_text("4:memory:/one\n")
    system.limit("one", memory__limit_in_bytes=given)
    assert cgroup.memory_limit(system.proc) == limit


def test_unreadable_control_groups_set_no_memory_limit(tmp_path: Path) -> None:
    assert cgroup.memory_limit(tmp_path) is None
