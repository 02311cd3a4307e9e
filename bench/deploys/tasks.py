"""The served queue: a handler that takes a moment."""

from __future__ import annotations

import asyncio

from jobqueue import JobQueue

queue = JobQueue()


@queue.handler(attempts_max=3)
async def work(seconds: float = 0.05) -> float:
    await asyncio.sleep(seconds)
    return seconds
