"""Confinement of a server: a control group with little memory and CPU, or else limits of the process. Rules:

1. Version 1 has a folder for each controller, version 2 one for both. Groups are made below this process's own, or the
   nearest above it where that may be done.
2. In version 2 a group with processes of its own gives no controller to those below it (cgroups(7)), and no process is
   moved for this: then, as without the right to make a group, memory is bounded by RLIMIT_DATA, and CPU is not.
3. All processes in a group were started for it: its end kills them. Groups left by a killed program are removed at the
   next start.
"""

from __future__ import annotations

import os
import re
import resource
import signal
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import msgspec

from jobqueue.runtime.cgroup import groups

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PREFIX = "jobqueue-destroy-"
PERIOD_US = 100_000
REMOVE_S = 5.0
STACK_BYTES = 2**20
"""Of a thread: RLIMIT_DATA counts all of it, used or not, and the default is 8 MiB."""


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """What a group uses at this instant; counters run since it was made. Without a group all are 0.

    Attributes:
        anonymous_bytes: Memory of its processes that is in no file: the sum of their own resident sets.
        charged_bytes: All that is charged to it, the page cache and sockets included.
        periods: Of CPU bandwidth control, in which it ran; `throttled` of them were used up.
    """

    anonymous_bytes: int = 0
    charged_bytes: int = 0
    oom_kills: int = 0
    periods: int = 0
    throttled: int = 0
    throttled_s: float = 0.0


class Confinement(Protocol):
    """The limits of one server.

    Attributes:
        says: How the limits are kept, in words.
    """

    says: str

    def enter(self) -> None:
        """Confine the calling process, and those that it starts from now on; called between fork and exec."""

    def usage(self) -> Usage: ...

    def pids(self) -> list[int]:
        """Return the processes in it, as far as it knows."""
        ...


class ProcessLimits:
    """Limits of each process by itself (setrlimit(2)). CPU is not limited.

    Args:
        why: The reason why there is no control group.
    """

    def __init__(self, memory_bytes: int, why: str) -> None:
        self._memory_bytes = memory_bytes
        self.says = (
            f"RLIMIT_DATA of {memory_bytes >> 20} MiB for each process, CPU not limited, since no group can be made "
            f"({why})"
        )

    def enter(self) -> None:
        resource.setrlimit(resource.RLIMIT_DATA, (self._memory_bytes, self._memory_bytes))
        _, hard = resource.getrlimit(resource.RLIMIT_STACK)
        resource.setrlimit(resource.RLIMIT_STACK, (STACK_BYTES, hard))

    def usage(self) -> Usage:
        return Usage()

    def pids(self) -> list[int]:
        return []


class ControlGroup:
    """A control group: its folder for each controller, both the same in version 2."""

    def __init__(self, version: int, folders: Mapping[str, Path]) -> None:
        self.version = version
        self.folders = dict(folders)
        self.says = f"control group, version {version}"

    def limit(self, memory_bytes: int, cpus: float | None) -> None:
        """Set its limits. Raises OSError."""
        memory, cpu = self.folders["memory"], self.folders["cpu"]
        if self.version == 2:
            (memory / "memory.max").write_text(str(memory_bytes))
            with suppress(OSError):  # without swap accounting
                (memory / "memory.swap.max").write_text("0")
            if cpus is not None:
                (cpu / "cpu.max").write_text(f"{round(cpus * PERIOD_US)} {PERIOD_US}")
        else:
            (memory / "memory.limit_in_bytes").write_text(str(memory_bytes))
            with suppress(OSError):
                (memory / "memory.memsw.limit_in_bytes").write_text(str(memory_bytes))
            if cpus is not None:
                (cpu / "cpu.cfs_period_us").write_text(str(PERIOD_US))
                (cpu / "cpu.cfs_quota_us").write_text(str(round(cpus * PERIOD_US)))
        share = "" if cpus is None else f" and {cpus:g} CPU"
        self.says = f"control group, version {self.version}: {memory_bytes >> 20} MiB{share}"

    def enter(self) -> None:
        for folder in set(self.folders.values()):
            (folder / "cgroup.procs").write_text(str(os.getpid()))

    def pids(self) -> list[int]:
        with suppress(OSError):
            return [int(line) for line in (self.folders["memory"] / "cgroup.procs").read_text().split()]
        return []

    def usage(self) -> Usage:
        memory, cpu = self.folders["memory"], self.folders["cpu"]
        stat, bandwidth = _table(memory / "memory.stat"), _table(cpu / "cpu.stat")
        if self.version == 2:
            anonymous, charged = stat.get("anon", 0), _number(memory / "memory.current")
            killed, throttled_s = _table(memory / "memory.events"), bandwidth.get("throttled_usec", 0) / 1e6
        else:
            anonymous, charged = stat.get("total_rss", 0), _number(memory / "memory.usage_in_bytes")
            killed, throttled_s = _table(memory / "memory.oom_control"), bandwidth.get("throttled_time", 0) / 1e9
        return Usage(
            anonymous_bytes=anonymous,
            charged_bytes=charged,
            oom_kills=killed.get("oom_kill", 0),
            periods=bandwidth.get("nr_periods", 0),
            throttled=bandwidth.get("nr_throttled", 0),
            throttled_s=throttled_s,
        )

    def close(self) -> bool:
        """Kill what runs in it, and remove it; return whether it is gone."""
        give_up_at = time.monotonic() + REMOVE_S
        while time.monotonic() < give_up_at:
            for pid in self.pids():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            for folder in set(self.folders.values()):
                with suppress(OSError):
                    folder.rmdir()
            if not any(folder.exists() for folder in self.folders.values()):
                return True
            time.sleep(0.05)
        return False


@contextmanager
def confined(memory_bytes: int, cpus: float | None) -> Iterator[Confinement]:
    """Make a confinement for one server; it, and all in it, ends with the block."""
    remove_left()
    try:
        group = make_group(memory_bytes, cpus)
    except OSError as error:
        yield ProcessLimits(memory_bytes, str(error))
        return
    try:
        yield group
    finally:
        group.close()


@contextmanager
def little_memory(limit_bytes: int) -> Iterator[tuple[str, ...] | None]:
    """Make a control group with little memory; yield a command prefix that runs a program in it, or None."""
    with confined(limit_bytes, None) as confinement:
        if not isinstance(confinement, ControlGroup):
            yield None
            return
        folders = sorted({str(folder) for folder in confinement.folders.values()})
        enter = " && ".join(f"echo $$ > {folder}/cgroup.procs" for folder in folders)
        yield ("sh", "-c", f'{enter} && exec "$@"', "sh")


def make_group(memory_bytes: int, cpus: float | None) -> ControlGroup:
    """Make a group with these limits. Raises OSError, with the reason, if that can't be done."""
    name = f"{PREFIX}{os.getpid()}-{time.monotonic_ns()}"
    parents = {controller: _parents(controller) for controller in ("memory", "cpu")}
    for controller, found in parents.items():
        if not found:
            raise OSError(f"there is no group with the controller {controller} that this user may write")
    version, _ = parents["memory"][0]
    if version == 2:
        both = [each for each in parents["memory"] if each in parents["cpu"]]
        if not both:
            raise OSError("no group gives both memory and cpu to those below it")
        parents = dict.fromkeys(parents, both)
    folders = {controller: found[0][1] / name for controller, found in parents.items()}
    group = ControlGroup(version, folders)
    try:
        for folder in set(folders.values()):
            folder.mkdir()
        group.limit(memory_bytes, cpus)
    except OSError:
        group.close()
        raise
    return group


def _parents(controller: str) -> list[tuple[int, Path]]:
    """Return the groups in which one with this controller can be made, the innermost first."""
    found = []
    for group in groups(controller):
        if not os.access(group.folder, os.W_OK):
            continue
        if group.version == 1 or gives(group.folder, controller):
            found.append((group.version, group.folder))
    return found


def gives(folder: Path, controller: str) -> bool:
    """Whether a group of version 2 gives those below it this controller, now if not before."""
    control = folder / "cgroup.subtree_control"
    with suppress(OSError):
        if controller in control.read_text().split():
            return True
        if controller in (folder / "cgroup.controllers").read_text().split():
            control.write_text(f"+{controller}")
            return controller in control.read_text().split()
    return False


def remove_left() -> None:
    """Remove groups of programs that are gone."""
    for controller in ("memory", "cpu"):
        for group in groups(controller):
            for folder in group.folder.glob(f"{PREFIX}*"):
                owner = re.match(rf"{PREFIX}(\d+)-", folder.name)
                if owner is not None and not Path(f"/proc/{owner[1]}").exists():
                    with suppress(OSError):
                        folder.rmdir()


def _table(path: Path) -> dict[str, int]:
    """Read a file of lines with a name and a number."""
    found = {}
    with suppress(OSError):
        for line in path.read_text().splitlines():
            name, _, number = line.partition(" ")
            if number.lstrip("-").isdigit():
                found[name] = int(number)
    return found


def _number(path: Path) -> int:
    with suppress(OSError, ValueError):
        return int(path.read_text())
    return 0
