"""Supervisor: starts and stops the server as a process manager does, with its listening socket or without.

With the socket it does what systemd does with a socket unit: it opens it, and keeps it between two processes.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parent.parent.parent
START_S = 60.0
STOP_S = 60.0

LAUNCH = """
import fcntl, os, sys
given, names, program = [int(fd) for fd in sys.argv[1].split(",")], sys.argv[2], sys.argv[3:]
copies = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 100) for fd in given]
for fd in given:
    os.close(fd)
for number, fd in enumerate(copies, start=3):
    os.dup2(fd, number)
names = {"LISTEN_FDNAMES": names} if names else {}
os.execve(program[0], program, {**os.environ, "LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(given)), **names})
"""
"""Puts descriptors at 3 and following, tells of them, and becomes the program."""


class Supervisor:
    """One server after the other, on one port and one folder.

    Args:
        folder: Has the journal.
        inherits: Whether the supervisor has the socket.
        settings: Further ones, as `section.key=value`.
    """

    def __init__(self, folder: Path, *, inherits: bool, settings: Sequence[str] = ()) -> None:
        self._folder = folder
        self._wire = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self.port: int = self._wire.getsockname()[1]
        self._inherits = inherits
        if not inherits:
            self._wire.close()
        self._settings = settings
        self._server: Server | None = None

    def start(self) -> Server:
        """Start a server; it need not listen yet."""
        command = [sys.executable, "-m", "jobqueue", "serve", "bench.deploys.tasks:queue", f"--port={self.port}"]
        command += [f"--set={each}" for each in (f"journal.dir={self._folder / 'journal'}", *self._settings)]
        if self._inherits:
            fd = self._wire.fileno()
            launch = [sys.executable, "-S", "-c", LAUNCH, str(fd), "jobqueue.socket"]
            self._server = Server([*launch, *command], pass_fds=[fd])
        else:
            self._server = Server(command)
        return self._server

    def restart(self) -> Restart:
        """Stop the server, and start the next one as soon as it has ended; return once that one is ready."""
        assert self._server is not None, "there is one"
        began = time.monotonic()
        ended = self._server.stop()
        stopped = time.monotonic()
        server = self.start()
        listening = server.wait_for("server.listening")
        ready = server.wait_until_ready(self.port)
        kept = next((each for each in ended if each["event"] in ("drain.kept", "drain.lost")), None)
        return Restart(
            stop_ms=1000 * (stopped - began),
            listening_ms=1000 * (listening - stopped),
            ready_ms=1000 * (ready - stopped),
            left=None if kept is None else {name: kept[name] for name in ("event", "delayed", "queued", "running")},
        )

    def kill(self) -> float:
        """Kill the server, and start the next one; return how long it took until that one was ready, in ms."""
        assert self._server is not None, "there is one"
        began = time.monotonic()
        self._server.kill()
        return 1000 * (self.start().wait_until_ready(self.port) - began)

    def close(self) -> None:
        if self._server is not None:
            self._server.kill()
        self._wire.close()


class Restart:
    """What one restart took, in milliseconds: the old process from its signal on, the new one from its start on."""

    def __init__(self, *, stop_ms: float, listening_ms: float, ready_ms: float, left: dict[str, Any] | None) -> None:
        self.stop_ms, self.listening_ms, self.ready_ms, self.left = stop_ms, listening_ms, ready_ms, left


class Server:
    """A server process, and its log."""

    def __init__(self, command: Sequence[str], pass_fds: Sequence[int] = ()) -> None:
        self._process = subprocess.Popen(
            command, cwd=ROOT, stderr=subprocess.PIPE, text=True, pass_fds=pass_fds, env={**os.environ}
        )
        self._events: list[tuple[float, dict[str, Any]]] = []
        self._changed = threading.Condition()
        self._ended = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait_for(self, event: str) -> float:
        """Return when an event was logged, by the monotonic clock."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended or self._at(event) is not None, START_S)
            at = self._at(event)
        if at is None:
            raise RuntimeError(f"no {event} within {START_S:g} s: {[each for _, each in self._events][-5:]}")
        return at

    def _at(self, event: str) -> float | None:
        return next((at for at, each in self._events if each["event"] == event), None)

    def wait_until_ready(self, port: int) -> float:
        """Return when `/readyz` answered with 200."""
        self.wait_for("server.listening")
        until = time.monotonic() + START_S
        request = b"GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
        while time.monotonic() < until:
            with socket.create_connection(("127.0.0.1", port), timeout=START_S) as wire:
                wire.sendall(request)
                if wire.recv(65_536).startswith(b"HTTP/1.1 200 "):
                    return time.monotonic()
            time.sleep(0.005)
        raise RuntimeError(f"not ready within {START_S:g} s")

    def stop(self) -> list[dict[str, Any]]:
        """Stop it in order; return its log. Raises RuntimeError if it doesn't end, or not in order."""
        self._process.send_signal(signal.SIGTERM)
        code = self._process.wait(STOP_S)
        self._reader.join(STOP_S)
        events = [each for _, each in self._events]
        if code != 0:
            raise RuntimeError(f"it ended with {code}: {events[-5:]}")
        return events

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join(STOP_S)

    def _read(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as lines:
            for line in lines:
                with self._changed:
                    self._events.append((time.monotonic(), _event(line)))
                    self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()


def _event(line: str) -> dict[str, Any]:
    try:
        event: dict[str, Any] = json.loads(line)
    except ValueError:
        return {"event": "", "text": line}
    return event


def free_port() -> int:
    """Return a port of the loopback address that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as wire:
        port: int = wire.getsockname()[1]
        return port


def wait_until_open(port: int) -> None:
    """Return once something listens on a port of the loopback address. Raises RuntimeError."""
    until = time.monotonic() + START_S
    while time.monotonic() < until:
        with socket.socket() as wire:
            if wire.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise RuntimeError(f"nothing listens on port {port}")
