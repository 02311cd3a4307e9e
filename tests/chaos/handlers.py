"""Handlers of the servers that are killed; a file outside the server has a line for each attempt that began."""

from __future__ import annotations

import asyncio
import os

from jobqueue import Backoff, JobContext, JobQueue
from tests.chaos.served import RUNS

queue = JobQueue()

_witness = os.open(os.environ[RUNS], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)


def _began(ctx: JobContext) -> None:
    # One write of a short line to a file opened with O_APPEND is not mixed with others, and outlives the process.
    os.write(_witness, f"{ctx.job_id} {ctx.attempt}\n".encode())


@queue.handler
async def echo(n: int) -> dict[str, object]:
    return {"n": n, "text": "a result of some length", "found": [n, n + 1, n + 2]}


@queue.handler
async def quick(ctx: JobContext, token: str) -> str:
    _began(ctx)
    return token


@queue.handler(attempts_max=50)
async def slow(ctx: JobContext, token: str) -> str:
    _began(ctx)
    await asyncio.sleep(0.03)
    return token


@queue.handler(attempts_max=100, backoff=Backoff(backoff_s_base=0.01, backoff_s_max=0.02))
async def flaky(ctx: JobContext, token: str) -> str:
    _began(ctx)
    if ctx.attempt % 3:
        raise ValueError("not yet")
    return token


@queue.handler(attempts_max=50)
def threaded(ctx: JobContext, token: str) -> str:
    _began(ctx)
    return token
