"""The machine, versions and commit of a bench run. Without these a figure means nothing."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec
import psutil

from bench.load.driving import GENERATOR_CORE, ROOT, SERVER_CORE
from jobqueue.build import interpreter

PACKAGES = ("aiohttp", "uvloop", "orjson", "msgspec")


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """The machine that a bench ran on.

    Attributes:
        pinned: The cores of a bench's two sides.
        python: The interpreter, and the optimisations that it was configured with.
        load: Load average of the minute before: figures of a busy machine are less reliable.
    """

    at: str
    commit: str
    cpu: str
    cores: int
    memory_gib: float
    system: str
    python: str
    packages: dict[str, str]
    load: float
    pinned: str = ""

    def __str__(self) -> str:
        packages = ", ".join(f"{name} {number}" for name, number in self.packages.items())
        return (
            f"{self.at}, commit {self.commit}; {self.cpu}, {self.cores} cores, {self.memory_gib:.0f} GiB, "
            f"{self.system}; {self.python}, {packages}; {self.pinned}; load before: {self.load:.1f}"
        )


def describe() -> Machine:
    return Machine(
        at=time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        commit=_commit(),
        cpu=_cpu(),
        cores=os.cpu_count() or 1,
        memory_gib=psutil.virtual_memory().total / 2**30,
        system=f"{platform.system()} {platform.release().partition('-')[0]}",
        python=interpreter(),
        packages={name: found for name in PACKAGES if (found := _version(name))},
        load=os.getloadavg()[0],
        pinned=_pinned(),
    )


def _pinned() -> str:
    if SERVER_CORE is None:
        return "servers and load generator on the same core"
    return f"servers on core {SERVER_CORE}, the load generator on core {GENERATOR_CORE}"


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else ():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _commit() -> str:
    """Return the commit's short name; with a plus, if what ran is not quite it; "none" outside of a repository."""
    if shutil.which("git") is None:
        return "none"

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=False)
        return done.stdout.strip()

    name = git("rev-parse", "--short", "HEAD")
    changed = git("status", "--porcelain", "--untracked-files=no", "--", "jobqueue", "bench")
    return f"{name}{'+' * bool(changed)}" if name else "none"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
