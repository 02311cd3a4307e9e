"""The handlers of the server that the JavaScript client's tests use."""

from __future__ import annotations

import asyncio
from typing import Annotated

from msgspec import Meta

from jobqueue import JobContext, JobQueue

queue = JobQueue()
count = 0


@queue.handler
async def echo(value: int = 0) -> int:
    return value


@queue.handler
async def counted() -> int:
    """Return how often it has run."""
    global count
    count += 1
    return count


@queue.cron("0 0 1 1 *")
@queue.handler
async def fixed() -> None:
    """Run at the beginning of each year."""


@queue.handler
async def fail(message: str) -> None:
    raise ValueError(message)


@queue.handler
async def sleep(seconds: Annotated[float, Meta(ge=0)]) -> float:
    await asyncio.sleep(seconds)
    return seconds


@queue.handler
async def steps(ctx: JobContext, count: int, pause_s: float = 0.06) -> int:
    """Report each step; the pause is longer than the shortest interval between two reports (20 a second)."""
    for step in range(count):
        ctx.progress((step + 1) / count, f"step {step + 1}")
        await asyncio.sleep(pause_s)
    return count


@queue.handler
def upper(ctx: JobContext) -> dict[str, list[str]]:
    """Write the uploaded text in capitals into the result file; return what came."""
    texts = [(name, upload) for name in ctx.files for upload in ctx.files.getall(name)]
    ctx.result_file("text/plain").write_text("".join(upload.read_text().upper() for _, upload in texts))
    return {}


@queue.handler
def names(ctx: JobContext) -> list[list[object]]:
    return [
        [name, upload.filename, upload.media_type, upload.size_bytes]
        for name in ctx.files
        for upload in ctx.files.getall(name)
    ]


@queue.on("order.>", "order.paid")
async def hear(topic: str, data: int) -> list[str | int]:
    return [topic, data]
