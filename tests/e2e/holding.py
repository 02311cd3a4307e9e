"""Handlers of the tests of restarts: jobs that end when their test says so."""

from __future__ import annotations

import asyncio
from pathlib import Path

from jobqueue import JobContext, JobQueue

queue = JobQueue()


@queue.handler(attempts_max=2)
async def hold(ctx: JobContext, gate: str) -> list[object]:
    """Notes its start beside the gate, and runs until there is a file."""
    file = Path(gate)
    with file.with_suffix(".starts").open("a") as starts:
        starts.write(f"{ctx.job_id} {ctx.attempt}\n")
    while not file.exists():  # noqa: ASYNC240  # a look at a local file, in a test
        await asyncio.sleep(0.01)
    return [ctx.attempt, ctx.recovered]


@queue.handler
async def echo(value: int = 0) -> int:
    return value
