"""`kill -9` of processes that run handlers, a hundred times, while the server is under load."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.e2e.processes import ServerProcess
from tests.faults.measuring import seen

KILLS = 100
AT_ONCE = 2
LOAD_CLIENTS = 10

TARGET = """
import os, time
from jobqueue import JobContext, JobQueue

queue = JobQueue()

@queue.handler(run_in="process")
def hold(ctx: JobContext, seconds: float = 60.0) -> int:
    ctx.progress(0.0, str(os.getpid()))
    time.sleep(seconds)
    return os.getpid()

@queue.handler(attempts_max=2, run_in="process")
def second_time_lucky(ctx: JobContext) -> int:
    ctx.progress(0.0, str(os.getpid()))
    time.sleep(60.0 if ctx.attempt == 1 else 0.0)
    return ctx.attempt

@queue.handler
async def echo(n: int) -> int:
    return n
"""


async def submit(session: aiohttp.ClientSession, type_: str, **args: object) -> str:
    async with session.post("/v1/jobs", json={"type": type_, "args": args}) as answer:
        assert answer.status == 202, await answer.text()
        return str((await answer.json())["id"])


async def until(session: aiohttp.ClientSession, job_id: str, condition: str) -> dict[str, Any]:
    """Poll a job until it is terminal, or (`running`) until its handler has reported the id of its process."""
    while True:
        async with session.get(f"/v1/jobs/{job_id}") as answer:
            job: dict[str, Any] = await answer.json()
        if job["error"] or job["result"] is not None or (condition == "running" and job["progress"]):
            return job
        await asyncio.sleep(0.005)


async def kill_one(session: aiohttp.ClientSession, type_: str) -> tuple[dict[str, Any], float]:
    """Kill the process of a job; return the terminal job, and the seconds until the pool ran another call."""
    job_id = await submit(session, type_)
    job = await until(session, job_id, "running")
    os.kill(int(job["progress"]["note"]), signal.SIGKILL)
    killed_at = time.perf_counter()
    ended = await until(session, job_id, "terminal")
    next_id = await submit(session, "hold", seconds=0.0)
    assert (await until(session, next_id, "terminal"))["state"] == "succeeded"
    return ended, time.perf_counter() - killed_at


@pytest.mark.timeout(240)
async def test_a_hundred_kills_under_load_crash_exactly_a_hundred_jobs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tasks.py").write_text(TARGET)
    outcomes: Counter[str] = Counter()
    back_s: list[float] = []
    echoed = 0
    with ServerProcess(tmp_path, str(tmp_path / "tasks.py"), f"runtime.processes={AT_ONCE}") as server:
        async with aiohttp.ClientSession(server.url) as session:
            stop = asyncio.Event()

            async def load(seed: int) -> int:
                n = 0
                while not stop.is_set():
                    job = await until(session, await submit(session, "echo", n=seed + n), "terminal")
                    assert job["result"] == seed + n
                    n += 1
                return n

            async def killer(kills: int) -> None:
                for _ in range(kills):
                    ended, seconds = await kill_one(session, "hold")
                    outcomes[ended["error"]["code"]] += 1
                    back_s.append(seconds)

            load_tasks = [asyncio.create_task(load(1_000_000 * n)) for n in range(LOAD_CLIENTS)]
            await asyncio.gather(*(killer(KILLS // AT_ONCE) for _ in range(AT_ONCE)))
            lucky, _ = await kill_one(session, "second_time_lucky")
            stop.set()
            echoed = sum(await asyncio.gather(*load_tasks))
        assert server.stop() == 0
    back_s.sort()
    text = (
        f"{KILLS} kills: {outcomes['worker_crashed']} jobs failed as worker_crashed; the next call of the pool"
        f" ended after {back_s[len(back_s) // 2] * 1000:.0f} ms (median), {back_s[-1] * 1000:.0f} ms (worst);"
        f" {echoed} jobs of the load ended well meanwhile"
    )
    with capsys.disabled():
        print(f"\n  {text}")
    seen("process_killed", text)
    assert outcomes == {"worker_crashed": KILLS}
    assert (lucky["state"], lucky["result"]) == ("succeeded", 2)
    assert echoed > KILLS
