"""Job queues of several processes: a web server, a worker and Redis, installed and put together for a bench.

Python and npm packages are installed into tmp/bench, at the versions that bench/peers names. Other programs
(redis-server, node) must be installed; without them the stack is skipped with a message.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from bench.load.driving import FOLDER, ROOT, Process
from bench.measure.meter import family
from bench.peers.contenders import Contender, slug

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

PEERS = ROOT / "bench" / "peers"
INSTALL_S = 600.0


class Stack(Contender):
    """A web server and a worker beside it, on a Redis of their own that keeps nothing on disk.

    All of them run on the one core that the other contenders have, and all their CPU counts.

    Args:
        command: Of both; `web` or `worker` and the path of Redis's socket are added.
    """

    def __init__(self, name: str, command: Sequence[str | Path], *, cwd: Path = ROOT) -> None:
        self.name = name
        self._command = command
        self._cwd = cwd

    def __enter__(self) -> Self:
        name = slug(self.name)
        with ExitStack() as stack:
            # Not below tmp/bench, because the path of a socket may have a hundred characters at most.
            folder = Path(stack.enter_context(TemporaryDirectory(prefix="bench-")))
            socket = folder / "redis.sock"
            redis = stack.enter_context(Process(f"{name}-redis", _redis(socket), cwd=folder))
            redis.told(b"eady to accept connections")
            worker = Process(f"{name}-worker", [*self._command, "worker", socket], cwd=self._cwd)
            self._others = [redis, stack.enter_context(worker)]
            self.process = stack.enter_context(Process(name, [*self._command, "web", socket], cwd=self._cwd))
            self.port = self.process.port()
            self._stack = stack.pop_all()
        return self

    def command(self) -> Sequence[str]:
        return [str(part) for part in self._command]

    @property
    def pids(self) -> tuple[int, ...]:
        return tuple(family(process.pid for process in (self.process, *self._others)))

    def settle(self) -> None: ...

    def hold(self, *, full: bool) -> None: ...

    def release(self) -> None: ...

    def clear(self) -> None: ...


def stacks() -> tuple[list[Stack], list[str]]:
    """Install the stacks; return those that can run here, and the reasons for those that can't."""
    if shutil.which("redis-server") is None:
        reason = "there is no `redis-server`; install it (Debian: apt-get install redis-server)"
        return [], [f"FastAPI + arq, aiohttp + SAQ and Fastify + BullMQ: {reason}"]
    found: list[Stack] = []
    skipped: list[str] = []
    try:
        python = install_python()
        found.append(Stack("FastAPI + arq", [python, "-m", "bench.peers.fastapi_arq"]))
        found.append(Stack("aiohttp + SAQ", [python, "-m", "bench.peers.aiohttp_saq"]))
    except Uninstalled as error:
        skipped.append(f"FastAPI + arq and aiohttp + SAQ: {error}")
    if shutil.which("node") is None or shutil.which("npm") is None:
        skipped.append(
            "Fastify + BullMQ: there is no `node` with `npm`; install both (Debian: apt-get install nodejs npm)"
        )
        return found, skipped
    try:
        folder = install_node()
        found.append(Stack("Fastify + BullMQ", ["node", "queue.js"], cwd=folder))
    except Uninstalled as error:
        skipped.append(f"Fastify + BullMQ: {error}")
    return found, skipped


class Uninstalled(Exception):
    """Packages could not be installed."""


def install_python() -> Path:
    """Return a Python that has the packages of peers/requirements.txt."""
    folder = FOLDER.resolve() / "python"
    python = folder / "bin" / "python"
    requirements = PEERS / "requirements.txt"
    stamp = folder / requirements.name
    if not _same(stamp, requirements):
        shutil.rmtree(folder, ignore_errors=True)
        _do(sys.executable, "-m", "venv", folder)
        _do(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", requirements)
        shutil.copy(requirements, stamp)
    return python


def install_node() -> Path:
    """Return a folder with peers/bullmq and its packages."""
    folder = FOLDER.resolve() / "node"
    package = PEERS / "bullmq" / "package.json"
    if not (folder / "node_modules").exists() or not _same(folder / package.name, package):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        shutil.copy(package, folder)
        # Their native parts are optional, and would need a compiler.
        npm = ["npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts", "--loglevel=error"]
        try:
            _do(*npm, cwd=folder)
        except Uninstalled:
            shutil.rmtree(folder)
            raise
    shutil.copy(PEERS / "bullmq" / "queue.js", folder)
    return folder


def _do(*command: str | Path, cwd: Path = ROOT) -> None:
    try:
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=INSTALL_S, check=False)
    except subprocess.TimeoutExpired:
        raise Uninstalled(f"`{command[0]}` took more than {INSTALL_S:.0f} s") from None
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:]
        raise Uninstalled(f"their packages could not be installed: {' '.join(last)[:300]}")


def _same(one: Path, other: Path) -> bool:
    return one.exists() and one.read_bytes() == other.read_bytes()


def _redis(socket: Path) -> list[str | Path]:
    # No TCP and no disk: as cheap as it gets.
    return ["redis-server", "--port", "0", "--unixsocket", socket, "--save", "", "--appendonly", "no"]
