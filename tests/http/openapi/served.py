"""Handlers that schemathesis submits jobs of: short ones, with arguments of many kinds."""

from __future__ import annotations

import time
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from jobqueue import JobContext, JobQueue
from jobqueue.http.resources import what_if
from jobqueue.runtime.simulator import Simulator
from jobqueue.what_if.forecast import Forecast
from jobqueue.what_if.question import Question

what_if.TIME_S = 0.0
queue = JobQueue()


async def answer(self: Simulator, question: Question) -> bytes:
    """Answer without a process and without time, so that all other operations have their turn."""
    return msgspec.json.encode(Forecast(question, time.monotonic).answer())


Simulator.answer = answer  # type: ignore[method-assign]

Pixels = Annotated[int, Meta(ge=1, le=10_000)]


class Box(Struct, forbid_unknown_fields=True):
    """The size of an image."""

    width: Pixels
    height: Pixels | None = None


@queue.handler
async def echo(**args: Any) -> dict[str, Any]:
    return args


@queue.handler(timeout_s=10.0, attempts_max=3)
async def thumbnail(
    ctx: JobContext,
    path: Annotated[str, Meta(min_length=1, max_length=50)],
    box: Box,
    mode: Literal["fit", "fill"] = "fit",
    tags: dict[str, list[str]] | None = None,
) -> str:
    ctx.progress(0.5, "halfway")
    return path


@queue.handler
async def fail(message: str = "it was asked to fail") -> None:
    raise RuntimeError(message)


@queue.handler
async def report(ctx: JobContext) -> None:
    ctx.result_file("text/csv").write_text("a,b\n")


@queue.handler
def count(ctx: JobContext) -> dict[str, int]:
    return {name: len(ctx.files.getall(name)) for name in ctx.files}
