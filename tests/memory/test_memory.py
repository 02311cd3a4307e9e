"""No stream of requests takes the memory: each attack by itself, then all at once, against a server with 256 MB.

`make test-memory` prints a row for each; ATTACK="name name" chooses some. Where no control group can be made, the peak
of the resident set must stay below as much.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from tests.e2e.processes import ServerProcess
from tests.memory.arena import HEAD, MEMORY_BYTES, SETTINGS, Arena, Row, large_jobs, little_memory
from tests.memory.attacks import ATTACKS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

ATTACK_S = 5.0
ALL_S = 15.0


async def fought(server: ServerProcess, only: list[str]) -> list[Row]:
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


def test_no_stream_of_requests_takes_the_memory(tmp_path: Path) -> None:
    only = os.environ.get("ATTACK", "").split() or list(ATTACKS)
    with little_memory(MEMORY_BYTES) as command:
        print(
            f"\n{MEMORY_BYTES >> 20} MiB, {'in a control group' if command else 'by the peak of the resident set'}",
            end="",
        )
        with ServerProcess(tmp_path, None, *SETTINGS, under=command or ()) as server:
            rows = asyncio.run(fought(server, only))
            assert server.process.poll() is None, "the server was killed"
            assert max(row.peak_mib for row in rows) < MEMORY_BYTES >> 20
            assert not [row for row in rows if row.lost], "an honest client lost a job"
            assert server.stop() == 0
