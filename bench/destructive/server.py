"""The attacked server: its process in a confinement, its log, its block, and its end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from bench.destructive.block import Block
from bench.destructive.limits import ENVIRONMENT
from bench.destructive.served import VARIABLE
from bench.load.driving import ROOT, end_with_parent, raise_open_files

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from bench.destructive.cgroup import Confinement

TARGET = "bench.destructive.served:queue"
START_S = 60.0
DRAIN_S = 20
LINGER_S = 0.2
STOP_S = DRAIN_S + LINGER_S + 5.0
ERROR = "http.internal_error"


class NotStarted(Exception):
    """The server ended before it listened, or took too long; the text says which, with the end of its log."""


class Server:
    """`jobqueue serve` in a confinement; it ends with the block.

    Args:
        folder: Holds its log, its spool and its block.
        settings: As `section.key=value`.
    """

    def __init__(self, folder: Path, confinement: Confinement, settings: Sequence[str]) -> None:
        self.confinement = confinement
        self.folder = folder
        self.log = folder / "server.log"
        self.block_path = _shared(folder) / f"jobqueue-block-{os.getpid()}-{folder.name}"
        self.block = Block(self.block_path)
        spool = folder / "spool"
        spool.mkdir(exist_ok=True)
        given = (f"spool.dir={spool}", f"server.drain_s={DRAIN_S}s", f"server.linger_s={LINGER_S}s", *settings)
        command = [sys.executable, "-m", "jobqueue", "serve", TARGET, "--port=0", *(f"--set={each}" for each in given)]
        raise_open_files()
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **ENVIRONMENT, VARIABLE: str(self.block_path), "PYTHONPATH": str(ROOT)},
                start_new_session=True,
                preexec_fn=self._prepare,
            )
        self.port = 0

    def _prepare(self) -> None:
        end_with_parent()
        self.confinement.enter()

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def wait_until_ready(self) -> Self:
        """Wait until it listens and its heart beats. Raises NotStarted."""
        give_up_at = time.monotonic() + START_S
        while time.monotonic() < give_up_at:
            if not self.alive:
                raise NotStarted(f"it ended with code {self.process.returncode}:\n{self._end_of_log()}")
            listening = next((each for each in self.events() if each.get("event") == "server.listening"), None)
            if listening is not None and self.block.read().beats > 1:
                self.port = int(listening["port"])
                return self
            time.sleep(0.05)
        raise NotStarted(f"it did not listen within {START_S:.0f} s:\n{self._end_of_log()}")

    def events(self) -> list[dict[str, Any]]:
        """Return the events of its log so far."""
        found = []
        for line in self.log.read_text(errors="replace").splitlines():
            with suppress(ValueError):
                event = json.loads(line)
                if isinstance(event, dict):
                    found.append(event)
        return found

    def internal_errors(self) -> int:
        """Return the number of answers of 500 by its log: those that it told, and those that it sampled away."""
        told = [each for each in self.events() if each.get("event") == ERROR]
        return sum(1 + int(each.get("unlogged", 0) or 0) for each in told)

    def is_descendant(self, pid: int) -> bool:
        """Whether a process was started by the server, at any distance."""
        with suppress(psutil.NoSuchProcess):
            return any(each.pid == self.pid for each in psutil.Process(pid).parents())
        return False

    def stop(self) -> int | None:
        """Ask it to end; return its exit code, None if it had to be killed."""
        if self.alive:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self.kill()
                return None
        return self.process.returncode

    def kill(self) -> None:
        if self.alive:
            self.process.kill()
        self.process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.kill()
        self.block.close()
        self.block_path.unlink(missing_ok=True)

    def _end_of_log(self) -> str:
        return self.log.read_text(errors="replace")[-2000:]


def _shared(folder: Path) -> Path:
    """Return a folder in memory: writes of the block to a disk would wait for it."""
    memory = Path("/dev/shm")  # noqa: S108  # the block's name has this process's id
    return memory if os.access(memory, os.W_OK) else folder
