"""Control of the measured processes: started on a core each, and stopped; the generator and its orders.

Two cores, two sides: everything that is measured runs on one, the generator on the other, and the bench itself sleeps
meanwhile. On a machine with a single core, or without the right to choose, both share the cores there are.
"""

from __future__ import annotations

import ctypes
import os
import re
import resource
import select
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

import msgspec

from bench.load.generator import OPEN_S, REST_S, UNITS_S, Order, Report

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Self

ROOT = Path(__file__).parents[2]
FOLDER = Path("tmp/bench")
START_S = 30.0
STOP_S = 5.0
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
_PORT = re.compile(rb'\bport"?[:= ]+(\d+)')
_CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
SERVER_CORE = _CORES[-1] if len(_CORES) > 1 else None
GENERATOR_CORE = _CORES[0] if len(_CORES) > 1 else None


class Process:
    """A child process on a core of its own, with its output in a log file; it ends with the block.

    Args:
        name: Of its log, in tmp/bench/log.
        environment: Beside this process's own.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        core: int | None = SERVER_CORE,
        environment: Mapping[str, str] | None = None,
        cwd: Path = ROOT,
    ) -> None:
        self.name = name
        self.log = FOLDER.resolve() / "log" / f"{name}.log"
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with pinned(core), self.log.open("wb") as log:
            # A session of its own: a Ctrl-C is the bench's, which then ends its children in order.
            self._child = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=cwd,
                env={**os.environ, "PYTHONPATH": str(ROOT), **(environment or {})},
                start_new_session=True,
                preexec_fn=end_with_parent,
            )

    @property
    def pid(self) -> int:
        return self._child.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End it: asked first, then by force."""
        if self._child.poll() is None:
            self._child.terminate()
            try:
                self._child.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self._child.kill()
                self._child.wait()

    def signalled(self, number: signal.Signals, within_s: float = STOP_S) -> int:
        """Send it a signal, and return its exit code, negative if the signal ended it."""
        self._child.send_signal(number)
        return self._child.wait(within_s)

    def interrupt(self) -> str:
        """Send it a SIGINT, and return all of its output once it has exited."""
        self._child.send_signal(signal.SIGINT)
        self._child.wait(STOP_S)
        return self.log.read_text()

    def port(self) -> int:
        """Wait until its output has its port. Raises RuntimeError if it ended, or took too long."""
        found = self.told(_PORT)
        return int(found[1])

    def told(self, pattern: re.Pattern[bytes] | bytes) -> re.Match[bytes]:
        """Wait until its output holds the pattern. Raises as `port`."""
        give_up_at = time.monotonic() + START_S
        while time.monotonic() < give_up_at:
            output = self.log.read_bytes()
            if found := re.search(pattern, output):
                return found
            if self._child.poll() is not None:
                raise RuntimeError(f"{self.name} ended with code {self._child.returncode}:\n{output.decode()[-2000:]}")
            time.sleep(0.02)
        raise RuntimeError(f"{self.name} did not say within {START_S:.0f} s that it is ready: see {self.log}")


class Generator:
    """The load generator, as a child with its connections open; it ends with the block."""

    def __init__(self, port: int, connections: int) -> None:
        command = [sys.executable, "-m", "bench.load.generator", str(port), str(connections)]
        with pinned(GENERATOR_CORE):
            self._child = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                cwd=ROOT,
                start_new_session=True,
                preexec_fn=end_with_parent,
            )
        self.connections = int(self._hear(OPEN_S + 5))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._child.stdin.close()
        try:
            self._child.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        self._child.stdout.close()

    def run(self, order: Order) -> Report:
        """Have an order carried out. Raises RuntimeError if the generator failed: it has said why on stderr."""
        self.begin(order)
        return self.end(order)

    def begin(self, order: Order) -> None:
        """Give an order; `end` waits until it is carried out."""
        assert self._child.stdin is not None
        self._child.stdin.write(msgspec.json.encode(order) + b"\n")
        self._child.stdin.flush()

    def end(self, order: Order) -> Report:
        """Return the report of the order that was given. Raises as `run`."""
        seconds = UNITS_S if order.units is not None else order.warm_s + order.seconds
        return msgspec.json.decode(self._hear(seconds + REST_S + 15), type=Report)

    def _hear(self, within_s: float) -> bytes:
        output = self._child.stdout
        assert output is not None
        line = output.readline() if _readable(output, within_s) else b""
        if not line:
            self._child.kill()
            raise RuntimeError("the load generator failed, or did not answer in time")
        return line


def end_with_parent() -> None:
    """In a child that is being started: request its kill when the starting thread ends, in any way."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def raise_open_files() -> int:
    """Let this process, and those it starts, open as many files as they may; return how many."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard if hard != resource.RLIM_INFINITY else 1_000_000


def _readable(file: IO[bytes], within_s: float) -> bool:
    return bool(select.select([file], [], [], within_s)[0])


@contextmanager
def pinned(core: int | None) -> Iterator[None]:
    """Run on a core (None: on any) while a child is started, which inherits the affinity with all its threads."""
    if core is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
