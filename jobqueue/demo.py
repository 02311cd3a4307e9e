"""The demo handlers, which `jobqueue serve` serves without a target: one of each kind."""

from __future__ import annotations

import asyncio
import hashlib
import random
import time
from typing import Annotated, Any

from msgspec import Meta

from jobqueue import JobContext, JobQueue, Reject

HOUR_S = 3600.0
CHUNK_BYTES = 2**20

Seconds = Annotated[float, Meta(ge=0.0, le=HOUR_S)]

queue = JobQueue()


@queue.handler
async def echo(**args: Any) -> dict[str, Any]:
    """Return the arguments."""
    return args


@queue.handler(timeout_s=None)
async def sleep(min_s: Seconds = 1.0, max_s: Seconds | None = None) -> dict[str, float]:
    """Wait on the loop, for a random time between both (or just `min_s`), like a call of a slow service."""
    if max_s is not None and max_s < min_s:
        raise Reject(f"max_s ({max_s}) is under min_s ({min_s})")
    slept_s = random.uniform(min_s, min_s if max_s is None else max_s)  # noqa: S311  # a demo
    await asyncio.sleep(slept_s)
    return {"slept_s": round(slept_s, 3)}


@queue.handler
async def fail(message: str = "it was asked to fail") -> None:
    """Raise an error with this message."""
    raise RuntimeError(message)


@queue.handler(run_in="process", timeout_s=None)
def spin(ctx: JobContext, duration_s: Seconds = 1.0) -> dict[str, int]:
    """Keep one CPU busy, in a process of its own."""
    began = time.perf_counter()
    rounds = 0
    while (spun_s := time.perf_counter() - began) < duration_s:
        hashlib.sha256(bytes(CHUNK_BYTES)).digest()
        rounds += 1
        ctx.progress(min(1.0, spun_s / duration_s), f"round {rounds}")
    return {"rounds": rounds}


@queue.handler
def digest(ctx: JobContext) -> dict[str, Any]:
    """Return the size and SHA-256 of each uploaded file, by part name; a list where a name came several times."""
    if not ctx.files:
        raise Reject("no file came with the job; send it as multipart/form-data, with the file in a part of its own")
    total_bytes = sum(file.size_bytes for name in ctx.files for file in ctx.files.getall(name))
    read_bytes = 0
    digests: dict[str, Any] = {}
    for name in ctx.files:
        told = []
        for upload in ctx.files.getall(name):
            sha256 = hashlib.sha256()
            with upload.open("rb") as file:
                while chunk := file.read(CHUNK_BYTES):
                    if ctx.cancelled:  # a thread can't be stopped from outside
                        raise Reject("it was asked to stop")
                    sha256.update(chunk)
                    read_bytes += len(chunk)
                    ctx.progress(read_bytes / total_bytes, name)
            told.append({"size_bytes": upload.size_bytes, "sha256": sha256.hexdigest()})
        digests[name] = told if len(told) > 1 else told[0]
    return digests
