"""This server over a store: one process or several on one core, with the store there or on the generator's core."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import msgspec

from bench.load.driving import GENERATOR_CORE, SERVER_CORE, Generator, Process
from bench.measure.meter import family
from bench.measure.spread import many
from bench.peers.contenders import Ours, slug
from bench.store import executable

if TYPE_CHECKING:
    from typing import Self

    from bench.load.generator import Order, Report


class OverStore(Ours):
    """Servers that share a store, which keeps nothing on the disk.

    Args:
        servers: How many processes, all on one core.
        apart: The store runs on the generator's core; else on that of the servers, so that all share one.
    """

    def __init__(self, *, servers: int = 1, apart: bool = False) -> None:
        super().__init__()
        self.name = f"jobqueue, valkey, {many(servers, 'server')}{', store apart' * apart}"
        self._servers = servers
        self.apart = apart

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            # Not below tmp/bench, because the path of a socket may have a hundred characters at most.
            folder = Path(stack.enter_context(TemporaryDirectory(prefix="bench-")))
            self._socket = folder / "store.sock"
            core = GENERATOR_CORE if self.apart else SERVER_CORE
            program = executable()
            assert program is not None, "there is one"
            command: list[str | Path] = [
                program,
                "--port",
                "0",
                "--unixsocket",
                self._socket,
                "--save",
                "",
                "--appendonly",
                "no",
            ]
            self._store = stack.enter_context(Process(f"{slug(self.name)}-store", command, cwd=folder, core=core))
            self._store.told(b"eady to accept connections")
            super().__enter__()
            stack.push(super().__exit__)
            self._others = [
                stack.enter_context(Process(f"{slug(self.name)}-{number}", self.command(), cwd=self.cwd))
                for number in range(1, self._servers)
            ]
            self.ports = [self.port, *(other.port() for other in self._others)]
            self._all = stack.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        self._all.close()

    def command(self) -> list[str]:
        return [*super().command(), "--set=backend=valkey", f"--set=valkey.url=unix://{self._socket}"]

    @property
    def pids(self) -> tuple[int, ...]:
        """Those of the servers, and last that of the store."""
        return (*family([self.process.pid, *(other.pid for other in self._others)]), self._store.pid)

    def clear(self) -> None:
        """Leave them: a million statuses take half a gigabyte of the store."""

    def calls(self) -> int:
        """Return how many calls the store has answered for all servers so far."""
        return sum(_calls_of(self, port) for port in self.ports)


def _calls_of(contender: OverStore, port: int) -> int:
    first, contender.port = contender.port, port
    try:
        document = msgspec.json.decode(contender.call("GET", "/v1/server").body)
    finally:
        contender.port = first
    return int(document["store"]["calls"])


class Generators:
    """A generator a port, which begin an order at the same time; they end with the block.

    Args:
        connections: Of all together.
    """

    def __init__(self, ports: list[int], connections: int) -> None:
        self._ports = ports
        self._each = max(1, connections // len(ports))

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._all = [stack.enter_context(Generator(port, self._each)) for port in self._ports]
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    def run(self, order: Order) -> list[Report]:
        for generator in self._all:
            generator.begin(order)
        return [generator.end(order) for generator in self._all]
