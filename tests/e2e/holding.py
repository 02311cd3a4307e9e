"""Handlers of the tests of restarts: jobs that end when their test says so, and those that depend on others."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

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


@queue.handler
async def collect(ctx: JobContext) -> dict[str, Any]:
    return {name: parent.result for name, parent in ctx.parents.items()}


@queue.on("order.>")
async def note(topic: str, data: Any) -> list[Any]:
    return [topic, data]


@queue.handler(attempts_max=2)
async def beat(ctx: JobContext, file: str) -> None:
    """Adds a line to a file: the instant of its tick, and its id."""
    assert ctx.schedule is not None
    assert ctx.schedule.due_at is not None
    with open(file, "a") as beats:  # noqa: ASYNC230  # a line in a local file, in a test
        beats.write(f"{ctx.schedule.due_at.timestamp():.0f} {ctx.job_id}\n")
