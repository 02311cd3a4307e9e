"""The served queue: the demo handlers and `transcode`, with a lifespan that writes the block.

`jobqueue serve bench.destructive.served:queue`; in the environment BENCH_DESTRUCTIVE_BLOCK names the block's file.
Without it nothing is written. The server itself has no option for this: all is read from what runs in its process.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import time
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from bench.destructive.block import Beat, Block
from examples import audio
from jobqueue import JobQueue, demo
from jobqueue.http.transport.job_server import JobServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

VARIABLE = "BENCH_DESTRUCTIVE_BLOCK"
"""Not JOBQUEUE_…, which are settings."""

EVERY_S = 0.05
COUNTED_EVERY = 20
"""Beats between two counts of tasks and objects, which cost up to a millisecond each."""

TOTALS = tuple(
    (name, sys.intern(f"{name}_total"))
    for name in ("submitted", "refused", "retried", "succeeded", "failed", "cancelled", "expired")
)

queue = JobQueue()
queue.handler(demo.echo)
queue.handler(timeout_s=None)(demo.sleep)
queue.handler(demo.fail)
queue.handler(run_in="process", timeout_s=None)(demo.spin)
queue.handler(demo.digest)
queue.handler(run_in="process", timeout_s=3600)(audio.transcode)


@queue.lifespan
@asynccontextmanager
async def writing(queue: JobQueue) -> AsyncIterator[None]:
    path = os.environ.get(VARIABLE)
    if path is None:
        yield
        return
    # The server object is made before the lifespan begins, and frozen by the collector after it.
    server = next((each for each in gc.get_objects() if isinstance(each, JobServer)), None)
    task = asyncio.create_task(_write(queue, server, Block(Path(path))))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _write(queue: JobQueue, server: JobServer | None, block: Block) -> None:
    beat, last, due = Beat(), time.monotonic(), 0.0
    while True:
        now = time.monotonic()
        beat.gap_s_max = max(beat.gap_s_max, now - last)
        beat.lag_s_max = max(beat.lag_s_max, now - due) if due else 0.0
        beat.at = last = now
        if queue.running:
            if beat.beats % COUNTED_EVERY == 0:
                beat.tasks, beat.objects = float(len(asyncio.all_tasks())), float(len(gc.get_objects()))
            _count(beat, queue)
            beat.connections = float(server.open) if server is not None else 0.0
            beat.beats += 1
            block.write(beat)
        else:
            beat.gap_s_max = beat.lag_s_max = 0.0
        due = now + EVERY_S
        await asyncio.sleep(EVERY_S)


def _count(beat: Beat, queue: JobQueue) -> None:
    store, queues = queue.service.backend.stats()
    beat.live, beat.terminal, beat.bytes_used = float(store.live), float(store.terminal), float(store.bytes_used)
    beat.accepted, beat.evicted = float(store.accepted_total), float(store.evicted_total)
    beat.evicted_early = float(store.evicted_early_total)
    for name in ("delayed", "queued", "running"):
        setattr(beat, name, float(sum(getattr(each, name) for each in queues)))
    for name, total in TOTALS:
        setattr(beat, name, float(sum(getattr(each, total) for each in queues)))
