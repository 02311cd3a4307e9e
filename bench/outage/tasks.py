"""The served queue: a handler that takes a moment."""

from __future__ import annotations

import asyncio

from bench.outage.witness import opened, tell
from jobqueue import JobContext, JobQueue

queue = JobQueue()
_witness = opened()


@queue.handler(attempts_max=3)
async def work(ctx: JobContext, seconds: float = 0.3) -> float:
    tell(_witness, ctx.job_id, ctx.attempt)
    await asyncio.sleep(seconds)
    return seconds
