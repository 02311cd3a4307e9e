"""Control groups: CPU and memory limits of the container or the service manager (cgroup v1 and v2).

Rules:

1. This process's own group and those above it may each have a limit: the smallest counts.
2. A limit that can't be read (no such file, another system, a sandbox) is no limit.
"""

from __future__ import annotations

import math
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

PROC = Path("/proc/self")
PROCESSES_MAX = 256
UNLIMITED_BYTES = 2**60
"""Of version 1: without a limit the file has about the largest number of pages."""


class Group(NamedTuple):
    """One group that this process is in: the version of its hierarchy, and its folder."""

    version: int
    folder: Path


class Mount(NamedTuple):
    """A mounted hierarchy: the group (`root`) that is mounted at a folder."""

    version: int
    controllers: frozenset[str]
    root: str
    folder: Path


def groups(controller: str, proc: Path = PROC) -> Iterator[Group]:
    """Yield the groups that may limit this process by a controller (`cpu`, `memory`), the innermost first."""
    try:
        mounts = [mount for line in _lines(proc / "mountinfo") if (mount := _mount(line)) is not None]
        for line in _lines(proc / "cgroup"):
            _, names, path = line.split(":", 2)
            version = 1 if names else 2
            if version == 1 and controller not in names.split(","):
                continue
            for mount in mounts:
                if mount.version == version and (version == 2 or controller in mount.controllers):
                    yield from _upwards(mount, path)
    except (OSError, ValueError):
        return


def cpus_allowed() -> int:
    """Return the number of CPUs that this process may run on."""
    return len(os.sched_getaffinity(0))


def cpu_quota(proc: Path | None = None) -> float | None:
    """Return the CPU quota of this process, in CPUs; None: no quota."""
    quotas = [quota for group in groups("cpu", proc or PROC) if (quota := _quota_of(group)) is not None]
    return min(quotas, default=None)


def cpu_count(proc: Path | None = None) -> int:
    """Return the number of usable CPUs: those that it may run on, or its quota, rounded up."""
    cpus = min(PROCESSES_MAX, cpus_allowed())
    quota = cpu_quota(proc)
    return cpus if quota is None else max(1, min(cpus, math.ceil(quota)))


def memory_limit(proc: Path | None = None) -> int | None:
    """Return the memory limit of this process's group, in bytes; None: no limit."""
    limits = [limit for group in groups("memory", proc or PROC) if (limit := _memory_of(group)) is not None]
    return min(limits, default=None)


def _lines(path: Path) -> list[str]:
    return path.read_text(errors="surrogateescape").splitlines()


def _mount(line: str) -> Mount | None:
    """Read a line of /proc/self/mountinfo; None if it is no hierarchy of control groups (proc_pid_mountinfo(5))."""
    fields, _, source = line.partition(" - ")
    kind, _, options = source.split(" ", 2)
    if kind not in ("cgroup", "cgroup2"):
        return None
    root, folder = (re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), it) for it in fields.split(" ")[3:5])
    return Mount(2 if kind == "cgroup2" else 1, frozenset(options.split(",")), root, Path(folder))


def _upwards(mount: Mount, path: str) -> Iterator[Group]:
    # In a container that sees its own group only, the path may lead outside of what is mounted: then it is the root.
    inside = os.path.relpath(path, mount.root)
    folder = mount.folder if inside.startswith("..") else mount.folder / inside
    yield Group(mount.version, folder)
    while folder != mount.folder:
        folder = folder.parent
        yield Group(mount.version, folder)


def _quota_of(group: Group) -> float | None:
    try:
        if group.version == 2:
            quota, period = (group.folder / "cpu.max").read_text().split()
        else:
            quota = (group.folder / "cpu.cfs_quota_us").read_text().strip()
            period = (group.folder / "cpu.cfs_period_us").read_text().strip()
        return None if quota in ("max", "-1") else int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None


def _memory_of(group: Group) -> int | None:
    name = "memory.max" if group.version == 2 else "memory.limit_in_bytes"
    try:
        limit = int((group.folder / name).read_text())
    except (OSError, ValueError):  # "max"
        return None
    return limit if limit < UNLIMITED_BYTES else None
