"""A cluster on one machine: a store and several servers over it, until Ctrl-C.

    make run-cluster                            # a store, and servers with the demo handlers on ports 8080 and 8081
    make run-cluster PORTS=9000,9001,9002 TARGET=tasks.py ARGS="--set valkey.durability=replica"
    make run-cluster STORE=redis://127.0.0.1:6379/5

Each line of a log begins with the port of its server. A server that ends, however it does, leaves the others running:
end one with `kill -9`, and its jobs run again on another. Ctrl-C drains the servers, and then ends the store, with
all that it holds; a store that was given by STORE is left alone.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

from bench.store import NotStarted, Store, is_taken
from jobqueue.cli.parser import Parser, end_with

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Sequence

PORTS = (8080, 8081)
READY_S = 60.0
DRAIN_S = 5
LOOK_S = 0.1


class Member:
    """A server of the cluster, as a process in a session of its own, so that a Ctrl-C reaches this program alone."""

    def __init__(self, port: int, process: asyncio.subprocess.Process) -> None:
        self.port = port
        self.process = process

    @classmethod
    async def start(cls, port: int, arguments: Sequence[str]) -> Member:
        command = [sys.executable, "-m", "jobqueue", "serve", *arguments, f"--port={port}"]
        process = await asyncio.create_subprocess_exec(
            *command, stderr=asyncio.subprocess.PIPE, start_new_session=True, limit=2**20
        )
        return cls(port, process)

    async def follow(self) -> None:
        """Copy its log until it ends."""
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            print(f"{self.port} | {line.decode(errors='replace').rstrip()}", file=sys.stderr, flush=True)
        code = await self.process.wait()
        print(f"{self.port} | has ended with {code}", file=sys.stderr, flush=True)

    async def is_ready(self) -> bool:
        """Return whether `/readyz` is answered with 200."""
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return False
        try:
            writer.write(b"GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
            return (await reader.readline()).startswith(b"HTTP/1.1 200 ")
        except OSError:
            return False
        finally:
            writer.close()

    def stop(self) -> None:
        if self.process.returncode is None:
            # Popen's own way reaps a process that has just ended, and asyncio doesn't learn how.
            with suppress(ProcessLookupError):
                os.kill(self.process.pid, signal.SIGTERM)


async def run(options: Namespace) -> int:
    """Serve until a signal; return the exit code."""
    told = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    with ExitStack() as stack:
        url = options.store or stack.enter_context(Store()).url
        settings = ["backend=valkey", f"valkey.url={url}", f"server.drain_s={DRAIN_S}", "server.linger_s=0"]
        settings += ["log.format=text"] if sys.stderr.isatty() else []
        arguments = [*([options.target] if options.target else []), *(f"--set={each}" for each in settings)]
        members = [await Member.start(port, [*arguments, *options.more]) for port in options.ports]
        following = [asyncio.create_task(member.follow()) for member in members]
        try:
            if await _ready(members, told):
                print(_welcome(members, url), flush=True)
            stopping = asyncio.create_task(told.wait())
            ended = asyncio.create_task(asyncio.wait(following))
            await asyncio.wait({stopping, ended}, return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            ended.cancel()
        finally:
            for member in members:
                member.stop()
            await asyncio.gather(*following)
    codes = [member.process.returncode for member in members]
    return 0 if told.is_set() else next((code for code in codes if code and code > 0), 1)


async def _ready(members: Sequence[Member], told: asyncio.Event) -> bool:
    """Wait until each member is ready; return whether all are, and none has ended."""
    give_up_at = asyncio.get_running_loop().time() + READY_S
    waiting = list(members)
    while waiting and not told.is_set() and asyncio.get_running_loop().time() < give_up_at:
        if any(member.process.returncode is not None for member in members):
            return False
        waiting = [member for member in waiting if not await member.is_ready()]
        await asyncio.sleep(LOOK_S)
    return not waiting


def _welcome(members: Sequence[Member], url: str) -> str:
    one, other = members[0], members[-1]
    servers = "".join(f"  server   http://127.0.0.1:{each.port}   pid {each.process.pid}\n" for each in members)
    return (
        f"\n  store    {url}\n{servers}\n"
        "Submit to one, and ask another:\n\n"
        f"  curl -s http://127.0.0.1:{one.port}/v1/jobs -H 'Content-Type: application/json' "
        '-d \'{"type": "sleep", "args": {"min_s": 5}}\'\n'
        f"  curl -s http://127.0.0.1:{other.port}/v1/jobs/ID -H 'Prefer: wait=10'\n\n"
        f"Clients of one, the console of the other, and the end of one:\n\n"
        f"  make run-clients URL=http://127.0.0.1:{one.port} CLIENTS=100\n"
        f"  http://127.0.0.1:{other.port}/console/\n"
        f"  kill -9 {one.process.pid}\n\n"
        "Ctrl-C ends all of it.\n"
    )


def ports(text: str) -> tuple[int, ...]:
    """Read the ports of a list with commas. Raises ValueError, which the parser tells."""
    found = tuple(int(part) for part in text.split(","))
    if len(set(found)) < len(found) or not all(0 < port < 2**16 for port in found):
        raise ValueError
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    parser = Parser(prog="python -m bench.cluster", description="A store, and several servers over it, until Ctrl-C.")
    parser.add_argument("target", nargs="?", help="the served target (default: the demo handlers)")
    parser.add_argument(
        "--ports", type=ports, default=PORTS, metavar="N,N", help="one a server, each another (default: 8080,8081)"
    )
    parser.add_argument("--store", metavar="URL", help="of a store that is there (default: one of its own)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of every server")
    options = parser.parse_args(arguments)
    options.more = [f"--set={each}" for each in options.set]
    if taken := [str(port) for port in options.ports if is_taken(port)]:
        free = ",".join(str(port + 1000) for port in options.ports)
        verb = "is" if len(taken) == 1 else "are"
        parser.error(
            f"port {' and '.join(taken)} {verb} taken: end what listens there, or choose others, --ports {free}"
        )
    try:
        return asyncio.run(run(options))
    except NotStarted as error:
        parser.error(str(error))


if __name__ == "__main__":
    end_with(main)
