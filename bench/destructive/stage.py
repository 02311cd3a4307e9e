"""The stage: a running server with its monitor, and the loads that a scenario starts on it.

All loads are processes of their own, in sessions of their own, which end with the stage however it ends.
"""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from bench.destructive.block import Block
from bench.destructive.cgroup import ControlGroup
from bench.destructive.monitor import Monitor, spell
from bench.destructive.tally import Tally
from bench.load.driving import ROOT, end_with_parent

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from typing import Self

    from bench.destructive.samples import Sample
    from bench.destructive.server import Server

END_S = 5.0
KEY = "JOBQUEUE_KEY"
"""The variable of the environment that has a client's API key."""

SETTLE_S = 20.0
STILL_S = 1.0
"""Time in which the memory of a settled server grows by less than a MiB."""


class LoadFailed(Exception):
    """A load ended without its figures; the text has its output."""


class Load:
    """A load that runs; `tally` waits for its figures."""

    def __init__(self, name: str, command: Sequence[str], folder: Path, key: str | None = None) -> None:
        self.name = name
        self._out = folder / f"{name}.out"
        self._errors = folder / f"{name}.err"
        with self._out.open("wb") as out, self._errors.open("wb") as errors:
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=errors,
                env={**os.environ, "PYTHONPATH": str(ROOT), **({KEY: key} if key is not None else {})},
                start_new_session=True,
                preexec_fn=end_with_parent,
            )

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def output(self, within_s: float) -> tuple[int, str]:
        """Wait for its end; return its exit code and output. Raises LoadFailed if it takes longer."""
        try:
            code = self._process.wait(within_s)
        except subprocess.TimeoutExpired:
            self.end()
            raise LoadFailed(f"{self.name} took longer than {within_s:.0f} s") from None
        return code, self._out.read_text(errors="replace") + self._errors.read_text(errors="replace")

    def tally(self, within_s: float) -> Tally:
        """Wait for its end; return its figures. Raises LoadFailed."""
        code, text = self.output(within_s)
        if code:
            raise LoadFailed(f"{self.name} ended with {code}:\n{text[-2000:]}")
        return msgspec.json.decode(self._out.read_bytes(), type=Tally)

    def interrupt(self) -> None:
        """Ask it to end early, with its figures so far."""
        with suppress(ProcessLookupError):
            self._process.terminate()

    def end(self) -> None:
        """End it and what it has started, asked first, then by force."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self._process.poll() is not None:
                break
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(END_S)
        with suppress(ProcessLookupError, PermissionError):  # programs of a shell that ended before them
            os.killpg(self._process.pid, signal.SIGKILL)


class Stage:
    """One server under its monitor; both, and all loads, end with the block.

    Args:
        quick: A scenario takes a part of its size.
        csv: The monitor's file.
    """

    def __init__(self, server: Server, csv: Path, *, quick: bool) -> None:
        self.server = server
        self.quick = quick
        self.folder = server.folder
        self._csv = csv
        group = server.confinement
        self._group = group if isinstance(group, ControlGroup) else None
        self._own = Monitor(server.pid, Block(server.block_path), self._group)
        self._loads: list[Load] = []
        self._watching: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        arguments = [str(self.server.pid), str(self.server.block_path), str(self._csv), spell(self._group)]
        self._watching = subprocess.Popen(
            [sys.executable, "-m", "bench.destructive.monitor", *arguments],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            start_new_session=True,
            preexec_fn=end_with_parent,
        )
        return self

    def __exit__(self, *exc: object) -> None:
        for load in self._loads:
            load.end()
        self.stop_watching()

    def stop_watching(self) -> None:
        """End the monitor: its file is complete then."""
        watching, self._watching = self._watching, None
        if watching is None:
            return
        assert watching.stdin is not None
        with suppress(OSError):
            watching.stdin.close()
        try:
            watching.wait(END_S)
        except subprocess.TimeoutExpired:
            watching.kill()
            watching.wait()

    def load(self, module: str, *arguments: object, name: str | None = None, key: str | None = None) -> Load:
        """Start a program of `bench.destructive.loads` on the server's port; `key` is the API key that it sends."""
        command = [sys.executable, "-m", f"bench.destructive.loads.{module}", str(self.server.port)]
        return self.command(name or module, [*command, *(str(each) for each in arguments)], key)

    def command(self, name: str, command: Sequence[str], key: str | None = None) -> Load:
        """Start another program as a load."""
        load = Load(f"{name}-{len(self._loads)}", command, self.folder, key)
        self._loads.append(load)
        return load

    def look(self) -> Sample:
        """Return what a monitor would see now."""
        return self._own.sample()

    def until(self, true: Callable[[Sample], bool], within_s: float, every_s: float = 0.1) -> bool:
        """Wait until the server is so; return whether it came to that, which it doesn't once it has died."""
        give_up_at = time.monotonic() + within_s
        while time.monotonic() < give_up_at:
            sample = self.look()
            if true(sample):
                return True
            if not sample.alive:
                return False
            time.sleep(every_s)
        return False

    def warm_up(self, key: str | None = None) -> Tally:
        """Have jobs run in a process, as any server has after its first ones; return their figures.

        The memory before a load is then that of a server in use: with the process, and with what requests import.
        """
        return self.load("honest", 1, "spin", '{"duration_s": 0.01}', name="warm-up", key=key).tally(60)

    def settled(self) -> float:
        """Wait until its memory is still, as its processes have started; return it, in bytes."""
        give_up_at = time.monotonic() + SETTLE_S
        figures: list[float] = []
        count = round(STILL_S / 0.1)
        while time.monotonic() < give_up_at:
            figures.append(float(self.look().memory_bytes))
            if len(figures) > 2 * count and max(figures[-count:]) - min(figures[-count:]) < 2**20:
                break
            time.sleep(0.1)
        return statistics.median(figures[-count:])
