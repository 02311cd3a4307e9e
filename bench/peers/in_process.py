"""Job queues within the process of their caller: an echo is submitted and its result awaited, again and again.

    python -m bench.peers.in_process NAME AT_ONCE WARM_S SECONDS    # one line on stdout, a JSON object

AT_ONCE tasks of one event loop (uvloop) submit a job each, await its result, and submit the next one. NAME is a key of
`QUEUES`; each is set up as its documentation says, and tuned where its defaults would wait.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import uvloop

Call = Callable[[int], Awaitable[object]]
"""Submits an echo of a number, and returns its result."""

WORKERS = 256
CAPACITY = 1 << 22
POLL_S = 0.001


async def echo(value: int) -> int:
    return value


def plain_echo(value: int) -> int:
    return value


@asynccontextmanager
async def jobqueue() -> AsyncIterator[Call]:
    from jobqueue import JobQueue

    queue = JobQueue()
    queue.handler(echo)

    async def call(value: int) -> object:
        return await (await queue.submit("echo", {"value": value})).result()

    async with queue:
        yield call


@asynccontextmanager
async def bare() -> AsyncIterator[Call]:
    """A dict and an asyncio.Queue, as one writes them in an afternoon; a future tells the end of a job."""
    jobs: dict[str, dict[str, Any]] = {}
    waiting: asyncio.Queue[dict[str, Any]] = asyncio.Queue(CAPACITY)

    async def work() -> None:
        while True:
            job = await waiting.get()
            job["state"] = "running"
            job["result"] = await echo(job["value"])
            job["state"] = "succeeded"
            job["over"].set_result(None)

    async def call(value: int) -> object:
        job_id = secrets.token_urlsafe(16)
        over = asyncio.get_running_loop().create_future()
        jobs[job_id] = job = {"state": "queued", "value": value, "over": over}
        waiting.put_nowait(job)
        await over
        return jobs[job_id]["result"]

    workers = [asyncio.create_task(work()) for _ in range(WORKERS)]
    yield call
    for worker in workers:
        worker.cancel()


@asynccontextmanager
async def aiojobs() -> AsyncIterator[Call]:
    from aiojobs import Scheduler

    async def call(value: int) -> object:
        return await (await scheduler.spawn(echo(value))).wait()

    async with Scheduler(limit=WORKERS, pending_limit=CAPACITY) as scheduler:
        yield call


@asynccontextmanager
async def taskiq() -> AsyncIterator[Call]:
    """A task a job; its result is asked for in each iteration of the loop, since nothing tells of it."""
    from taskiq import InMemoryBroker

    broker = InMemoryBroker(max_async_tasks=WORKERS, max_stored_results=1000)
    task = broker.task(echo)

    async def call(value: int) -> object:
        submitted = await task.kiq(value)
        return (await submitted.wait_result(check_interval=0)).return_value

    await broker.startup()
    yield call
    await broker.shutdown()


@asynccontextmanager
async def huey() -> AsyncIterator[Call]:
    """The consumer's thread looks each millisecond whether there is a job, and the caller whether there is a result."""
    from huey import MemoryHuey
    from huey.consumer import Consumer

    queue = MemoryHuey()
    task = queue.task()(plain_echo)

    async def call(value: int) -> object:
        result = task(value)
        found = None
        while found is None:
            await asyncio.sleep(POLL_S)
            found = result()
        return found

    consumer = Consumer(
        queue, workers=1, periodic=False, initial_delay=POLL_S, max_delay=POLL_S, check_worker_health=False
    )
    consumer.start()
    yield call
    consumer.stop(graceful=True)


@asynccontextmanager
async def huey_immediate() -> AsyncIterator[Call]:
    """The submission runs the job, and keeps the result in memory: no queue."""
    from huey import MemoryHuey

    queue = MemoryHuey(immediate=True)
    task = queue.task()(plain_echo)

    async def call(value: int) -> object:
        return task(value)()

    yield call


QUEUES: dict[str, Callable[[], AbstractAsyncContextManager[Call]]] = {
    "jobqueue": jobqueue,
    "asyncio.Queue, dict": bare,
    "aiojobs": aiojobs,
    "taskiq, in memory": taskiq,
    "huey, in memory": huey,
    "huey, immediate": huey_immediate,
}


async def measure(name: str, at_once: int, warm_s: float, seconds: float) -> dict[str, float]:
    """Return the jobs done in `seconds` (more or less), how long it took, and the CPU time of all threads."""
    async with QUEUES[name]() as call:
        await _run(call, at_once, warm_s)
        began, cpu = time.perf_counter(), time.process_time()
        jobs = await _run(call, at_once, seconds)
        return {"jobs": jobs, "seconds": time.perf_counter() - began, "cpu_s": time.process_time() - cpu}


async def _run(call: Call, at_once: int, seconds: float) -> int:
    end = time.perf_counter() + seconds

    async def again() -> int:
        count = 0
        while time.perf_counter() < end:
            count += 1
            found = await call(count)
            if found != count:
                raise RuntimeError(f"the echo of {count} is {found!r}")
        return count

    return sum(await asyncio.gather(*(again() for _ in range(at_once))))


def main(name: str, at_once: str, warm_s: str, seconds: str) -> None:
    logging.disable()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(json.dumps(runner.run(measure(name, int(at_once), float(warm_s), float(seconds)))))


if __name__ == "__main__":
    main(*sys.argv[1:])
