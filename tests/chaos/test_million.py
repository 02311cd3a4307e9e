"""A million jobs with results in the journal: how long a start takes, and how much memory."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import aiohttp
import psutil
import pytest

from tests.chaos.served import Birth, Nursery, settings

JOBS = 1_000_000
BATCH = 1000
START_S_MAX = 20.0
"""Several times the target, which `make bench-journal` compares with on a quiet machine."""

GROWTH_MAX = 1.25
"""Memory of the server that has read the journal, over that of the one that wrote it."""


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("kills", [True, False])
async def test_a_million_jobs_with_results_are_there_after_a_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kills: bool
) -> None:
    bounds = {"queues__default__capacity": "2000000", "statuses__jobs_max": "2000000", "statuses__bytes_max": "4GiB"}
    wide = settings(tmp_path, "interval", **bounds)
    async with Nursery(tmp_path) as nursery:
        async with aiohttp.ClientSession(await nursery.start(Birth(wide, small_files=False))) as http:
            await fill(http)
            before = psutil.Process(nursery.pid).memory_info().rss
            began = time.monotonic()
            await (nursery.kill() if kills else nursery.stop())
            end_s = time.monotonic() - began
        disk = sum(file.stat().st_size for file in (tmp_path / "journal").iterdir() if file.is_file())
        began = time.monotonic()
        async with aiohttp.ClientSession(await nursery.start(Birth(wide, small_files=False))) as http:
            start_s = time.monotonic() - began
            after = psutil.Process(nursery.pid).memory_info().rss
            assert await count(http) == JOBS
    with capsys.disabled():
        print(
            f"\n  {JOBS:,} jobs with results, {'killed' if kills else f'stopped in {end_s:.1f} s'}: ready after"
            f" {start_s:.1f} s, {after / 2**20:.0f} MiB ({before / 2**20:.0f} before), {disk / 2**20:.0f} MiB on disk"
        )
    assert start_s < START_S_MAX
    assert after < before * GROWTH_MAX


async def fill(http: aiohttp.ClientSession) -> None:
    """Have a million jobs succeed."""
    numbers = iter(range(0, JOBS, BATCH))

    async def client() -> None:
        for start in numbers:
            jobs = [{"type": "echo", "args": {"n": n}} for n in range(start, start + BATCH)]
            async with http.post("/v1/jobs:batch", json={"jobs": jobs}) as response:
                verdicts = (await response.json())["jobs"]
            assert {verdict["status"] for verdict in verdicts} == {202}

    await asyncio.gather(*(client() for _ in range(2)))
    while await count(http) < JOBS:
        await asyncio.sleep(0.1)


async def count(http: aiohttp.ClientSession) -> int:
    """Return the number of records of terminal jobs."""
    async with http.get("/v1/server") as response:
        return int((await response.json())["jobs_terminal"])
