"""`python -m bench.deploys`: restarts of a server with a journal, under load, as clients see them.

Three ways: the supervisor keeps the listening socket (`activation`, as systemd does it), Caddy in front of the server
repeats what can't connect (`caddy`), or the simulated fleet of `clients/` is on a server with such a socket (`fleet`).
Printed: how many submissions were accepted, refused and lost, the longest time without an accepted one, and what the
processes took.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import subprocess
import sys
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.deploys.clients import Clients
from bench.deploys.supervisor import ROOT, Supervisor, free_port, wait_until_open

if TYPE_CHECKING:
    from collections.abc import Iterator

WAYS = ("activation", "caddy", "fleet")
BETWEEN_S = 3.0
"""Load before, between and after the restarts."""

FLEET_S = 10.0
"""Load of the fleet before the first restart."""

CRASHES_MAX = 2

SETTINGS = ("server.drain_mode=keep", "queues.default.capacity=100000")

CADDYFILE = """
{{
	admin off
}}
http://127.0.0.1:{port} {{
	bind 127.0.0.1
	reverse_proxy 127.0.0.1:{server} {{
		lb_try_duration 30s
		lb_try_interval 50ms
		header_up Host localhost
		transport http {{
			keepalive 10s
		}}
	}}
}}
"""


@contextmanager
def caddy(folder: Path, server: int) -> Iterator[int]:
    """Run Caddy in front of a server; yield its port."""
    port = free_port()
    (folder / "Caddyfile").write_text(CADDYFILE.format(port=port, server=server))
    process = subprocess.Popen(
        ["caddy", "run", "--config", str(folder / "Caddyfile"), "--adapter", "caddyfile"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until_open(port)
        yield port
    finally:
        process.terminate()
        process.wait()


async def measure(way: str, folder: Path, *, restarts: int, clients: int, crash: bool) -> dict[str, Any]:
    """Restart a server under load, and return what was seen."""
    supervisor = Supervisor(folder, inherits=way == "activation", settings=SETTINGS)
    with ExitStack() as stack:
        stack.callback(supervisor.close)
        server = supervisor.start()
        await asyncio.to_thread(server.wait_until_ready, supervisor.port)
        port = supervisor.port if way == "activation" else stack.enter_context(caddy(folder, supervisor.port))
        seen: list[dict[str, Any]] = []
        async with Clients(f"http://127.0.0.1:{port}", clients) as load:
            for _ in range(restarts):
                await asyncio.sleep(BETWEEN_S)
                seen.append(await _restart(supervisor, crash=crash))
            await asyncio.sleep(BETWEEN_S)
            await load.stop()
            states, again = await load.outcomes()
            return {
                "way": way,
                "crash": crash,
                "clients": clients,
                "accepted": len(load.accepted),
                "refused": dict(load.refused),
                "states": dict(states),
                "lost": states["lost"],
                "with_more_attempts": again,
                "gap_ms": round(1000 * load.gap_s),
                "longest_submission_ms": round(1000 * load.longest_s),
                "restarts": seen,
            }


async def measure_fleet(folder: Path, *, restarts: int, clients: int, crash: bool) -> dict[str, Any]:
    """Restart a server under the fleet's load, and return what the fleet reports."""
    supervisor = Supervisor(folder, inherits=True, settings=SETTINGS)
    report = folder / "report.json"
    with ExitStack() as stack:
        stack.callback(supervisor.close)
        await asyncio.to_thread(supervisor.start().wait_until_ready, supervisor.port)
        duration_s = FLEET_S + BETWEEN_S * 2 * (restarts + 1)
        command = [sys.executable, "-m", "clients", f"--url=http://127.0.0.1:{supervisor.port}", "--type=work"]
        command += [f"--clients={clients}", f"--duration-s={duration_s:g}", f"--report={report}"]
        null = subprocess.DEVNULL
        fleet = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=null, stderr=null)
        await asyncio.sleep(FLEET_S)  # until all clients are there
        seen = []
        for _ in range(restarts):
            seen.append(await _restart(supervisor, crash=crash))
            await asyncio.sleep(BETWEEN_S)
        code = await fleet.wait()
        told = json.loads(report.read_text())
        names = ("accepted", "refused", "unreachable", "unknown_fate", "unseen", "gone", "errors", "ended_by_state")
        figures = {name: told[name] for name in names}
        return {"way": "fleet", "crash": crash, "clients": clients, "code": code, **figures, "lost": told["unseen"]} | {
            "states": told["ended_by_state"],
            "errors_by_kind": told["errors_by_kind"],
            "restarts": seen,
        }


async def _restart(supervisor: Supervisor, *, crash: bool) -> dict[str, Any]:
    if crash:
        return {"ready_ms": round(await asyncio.to_thread(supervisor.kill))}
    return vars(await asyncio.to_thread(supervisor.restart))


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.deploys", description=__doc__.splitlines()[0])
    parser.add_argument("--restarts", type=int, default=3)
    parser.add_argument("--clients", type=int, help="default 20, and 500 of the fleet")
    parser.add_argument("--only", choices=WAYS, help="one way")
    parser.add_argument("--crash", action="store_true", help="SIGKILL in place of SIGTERM")
    options = parser.parse_args(argv)
    if options.crash and options.restarts > CRASHES_MAX:
        print(f"{CRASHES_MAX} crashes: a start after more within a minute pauses all queues", file=sys.stderr)
        options.restarts = CRASHES_MAX
    lost = 0
    for way in (options.only,) if options.only else WAYS:
        if way == "caddy" and shutil.which("caddy") is None:
            print("caddy is not installed: left out", file=sys.stderr)
            continue
        with tempfile.TemporaryDirectory() as folder:
            of = {"restarts": options.restarts, "crash": options.crash}
            if way == "fleet":
                measured = measure_fleet(Path(folder), clients=options.clients or 500, **of)
            else:
                measured = measure(way, Path(folder), clients=options.clients or 20, **of)
            seen = asyncio.run(measured)
        print(json.dumps(seen, indent=1))
        lost += seen["lost"] + len(set(seen["states"]) - {"succeeded"})
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
