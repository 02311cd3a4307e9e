"""No attack exhausts the memory: each attack alone, then all at once, against a server with 256 MB.

`make test-memory` prints a row for each; ATTACK="name name" chooses some. Where no control group can be made, the peak
of the resident set must stay below that.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import aiohttp
import pytest

from bench.destructive.cgroup import little_memory
from bench.destructive.limits import ENVIRONMENT, MEMORY_BYTES, SETTINGS
from bench.destructive.loads.attacks import ATTACKS
from bench.destructive.loads.large_results import large_jobs
from tests.e2e.processes import ServerProcess
from tests.memory.arena import HEAD, Arena, Row

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

ATTACK_S = 5.0
ALL_S = 15.0


async def run_attacks(server: ServerProcess, only: list[str]) -> list[Row]:
    arena = Arena(server, await large_jobs(server.url))
    print("\n" + HEAD, flush=True)
    rows = []

    async def round_of(title: str, names: list[str], seconds: float) -> None:
        if arena.alive:
            rows.append(await arena.attacked(title, names, seconds))
            print(rows[-1] if arena.alive else f"| {title}: the server was killed", flush=True)

    await round_of("none", [], 2.0)
    for name in only:
        await round_of(name.replace("_", " "), [name], ATTACK_S)
    if len(only) > 1:
        await round_of("all at once", only, ALL_S)
        await round_of("none", [], 2.0)
    return rows


def test_no_attack_exhausts_the_memory(tmp_path: Path) -> None:
    only = os.environ.get("ATTACK", "").split() or list(ATTACKS)
    with little_memory(MEMORY_BYTES) as command:
        print(
            f"\n{MEMORY_BYTES >> 20} MiB, {'in a control group' if command else 'by the peak of the resident set'}",
            end="",
        )
        with ServerProcess(tmp_path, None, *SETTINGS, under=command or (), environment=ENVIRONMENT) as server:
            rows = asyncio.run(run_attacks(server, only))
            assert server.process.poll() is None, "the server was killed"
            assert max(row.peak_mib for row in rows) < MEMORY_BYTES >> 20
            assert not [row for row in rows if row.lost], "an honest client lost a job"
            assert server.stop() == 0


async def submitted(url: str, count: int) -> None:
    """Submit plain jobs until `count` are accepted."""
    batch = {"jobs": [{"type": "echo"}] * 1000}

    async def each(http: aiohttp.ClientSession) -> None:
        nonlocal accepted
        while accepted < count:
            async with http.post("/v1/jobs:batch", json=batch) as response:
                accepted += (await response.read()).count(b'"status":202')

    accepted = 0
    async with aiohttp.ClientSession(url) as http:
        await asyncio.gather(*(each(http) for _ in range(8)))


def test_empty_records_do_not_exhaust_the_memory(tmp_path: Path) -> None:
    """With the default of `statuses.jobs_max`, 610,000 of them exhausted such a server."""
    with ServerProcess(tmp_path, None, *SETTINGS, environment=ENVIRONMENT) as server:
        asyncio.run(submitted(server.url, 250_000))
        resident = int(Path(f"/proc/{server.pid}/status").read_text().partition("VmHWM:")[2].split()[0])
        assert resident >> 10 < 100, f"{resident >> 10} MiB"
        assert server.stop() == 0
