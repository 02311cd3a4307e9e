"""A server in a process of its own, with its log and signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

ROOT = Path(__file__).parent.parent.parent


class ServerProcess:
    """`python -m jobqueue serve TARGET` on a free port, unless the settings have another; its events can be waited for.

    Args:
        folder: The parent folder of its spool.
        target: The served target; the demo handlers by default.
        settings: Further `--set`s, as `section.key=value`, and other options, as `--name=value`.
        under: A command that runs it as its own last arguments.
        module: The program, with the arguments of `jobqueue`.
        environment: Further variables.
        pass_fds: Descriptors that it inherits.
    """

    def __init__(
        self,
        folder: Path,
        target: str | None = None,
        *settings: str,
        under: Sequence[str] = (),
        module: str = "jobqueue",
        environment: Mapping[str, str] | None = None,
        pass_fds: Sequence[int] = (),
    ) -> None:
        given = ("server.linger_s=0.2", *settings)
        options = [each if each.startswith("--") else f"--set={each}" for each in given]
        if not any(each.startswith(("journal.dir=", "backend=valkey")) for each in settings):
            options.append(f"--set=spool.dir={folder}")
        if not any(each.startswith("server.port=") for each in settings):
            options.append("--port=0")
        command = [sys.executable, "-m", module, "serve", *([target] if target else []), *options]
        variables = {**os.environ, **(environment or {})}
        self.process = subprocess.Popen(
            [*under, *command], cwd=ROOT, env=variables, stderr=subprocess.PIPE, text=True, pass_fds=pass_fds
        )
        self.events: list[dict[str, Any]] = []
        self._changed = threading.Condition()
        self._ended = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def url(self) -> str:
        url: str = self.wait_for("server.listening")["url"]
        return url

    def wait_for(self, event: str, timeout_s: float = 30.0) -> dict[str, Any]:
        """Wait for the first event of that name, and return it."""

        def found() -> dict[str, Any] | None:
            return next((each for each in self.events if each["event"] == event), None)

        with self._changed:
            self._changed.wait_for(lambda: found() is not None or self._ended, timeout_s)
            entry = found()
        assert entry is not None, f"no event {event!r} among {[each['event'] for each in self.events]}"
        return entry

    def stop(self, number: int = signal.SIGTERM, timeout_s: float = 30.0) -> int:
        """Send a signal and return the exit code."""
        self.process.send_signal(number)
        return self.exit_code(timeout_s)

    def exit_code(self, timeout_s: float = 30.0) -> int:
        """Wait for the end and return the exit code."""
        code = self.process.wait(timeout_s)
        self._reader.join(timeout_s)
        return code

    def __enter__(self) -> ServerProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._reader.join()
        assert self.process.stderr is not None
        self.process.stderr.close()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._changed:
                self.events.append(json.loads(line))
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()
