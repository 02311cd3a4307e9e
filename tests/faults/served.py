"""Handlers of the servers under fault; a file outside the server has a line for the start and the end of each run."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time

from jobqueue import JobContext, JobQueue

queue = JobQueue()

_witness = os.open(os.environ["FAULTS_RUNS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)


def _witnessed(line: str) -> None:
    # One write of a short line to a file opened with O_APPEND is not mixed with others.
    os.write(_witness, f"{line}\n".encode())


@queue.handler
async def record(token: str, seconds: float = 0.0) -> str:
    _witnessed(f"begin {token}")
    await asyncio.sleep(seconds)
    _witnessed(f"end {token}")
    return token


@queue.handler
def record_in_a_thread(token: str, seconds: float = 0.0) -> str:
    _witnessed(f"begin {token}")
    time.sleep(seconds)
    _witnessed(f"end {token}")
    return token


class Odd(BaseException):
    """An exception that is no Exception."""


def _raise(kind: str) -> None:
    match kind:
        case "exit":
            sys.exit(3)
        case "interrupt":
            raise KeyboardInterrupt
        case "generator":
            raise GeneratorExit
        case "cancelled":
            raise asyncio.CancelledError
        case "odd":
            raise Odd("odd")
        case "group":
            raise BaseExceptionGroup("several", [Odd("odd"), ValueError("bad")])
        case "memory":
            bytearray(2**62)
        case _:
            raise ValueError(kind)


@queue.handler
async def raise_on_the_loop(kind: str) -> None:
    _raise(kind)


@queue.handler
async def raise_after_a_pause(kind: str) -> None:
    await asyncio.sleep(0.001)
    _raise(kind)


@queue.handler
def raise_in_a_thread(kind: str) -> None:
    _raise(kind)


@queue.handler(run_in="process")
def raise_in_a_process(kind: str) -> None:
    _raise(kind)


@queue.handler
async def swallow() -> None:
    """Ignores its cancellation, as no handler should."""
    while True:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(60)


@queue.handler
async def block(seconds: float) -> None:
    """Blocks the loop, as no handler should."""
    time.sleep(seconds)  # noqa: ASYNC251 - this is the fault


@queue.handler
async def fill_memory(size_bytes: int) -> int:
    return len(bytearray(size_bytes))


@queue.handler
def fill_memory_in_a_thread(size_bytes: int) -> int:
    return len(bytearray(size_bytes))


@queue.handler
def write_a_file(ctx: JobContext, size_bytes: int) -> None:
    ctx.result_file("application/octet-stream").write_bytes(b"x" * size_bytes)


@queue.handler
async def read_files(ctx: JobContext) -> int:
    return sum(file.size_bytes for file in ctx.files.values() if not isinstance(file, list))
