"""Handlers of the tests of restarts whose jobs depend on others: on parents, on a publish, on a schedule.

A module of its own, since a subscriber does not fit servers that share a store.
"""

from __future__ import annotations

from typing import Any

from jobqueue import JobContext
from tests.e2e.holding import queue


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
