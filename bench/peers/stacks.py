"""Job queues of several processes: a web server, a worker and Redis, put together for a bench.

Their packages are installed first (bench/peers/packages.py). Other programs (a Redis or Valkey, node) must be there;
without them the stack is skipped with a message.
"""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from bench.load.driving import ROOT, Process
from bench.measure.meter import family
from bench.peers.contenders import Contender, slug
from bench.peers.packages import Uninstalled, install_node, install_python
from bench.store import MISSING, executable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self


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
    if executable() is None:
        return [], [f"FastAPI + arq, aiohttp + SAQ and Fastify + BullMQ: {MISSING}"]
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


def _redis(socket: Path) -> list[str | Path]:
    # No TCP and no disk: as cheap as it gets.
    program = executable()
    assert program is not None, "there is one"
    return [program, "--port", "0", "--unixsocket", socket, "--save", "", "--appendonly", "no"]
