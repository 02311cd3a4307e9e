"""A server for the tests of the whole process: `python -m tests.e2e.served SETTINGS.yaml`."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import os
import subprocess
import sys
import time
from pathlib import Path

from jobqueue.app import JobQueue
from jobqueue.config.load import trace
from jobqueue.server import serve

queue = JobQueue()


@queue.handler
async def echo(value: int = 0) -> int:
    return value


@queue.handler
async def fail() -> None:
    raise ValueError("it can't be done")


@queue.handler
async def thresholds() -> list[int]:
    return list(gc.get_threshold())


@queue.handler
async def sleep(seconds: float) -> float:
    await asyncio.sleep(seconds)
    return seconds


@queue.handler
async def stubborn() -> None:
    """Ignores its cancellation, as no handler should."""
    while True:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(60)


@queue.handler
async def block(seconds: float) -> None:
    """Blocks the loop, as no handler should."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass


@queue.handler
async def lumber(seconds: float) -> None:
    """Makes every loop iteration take 0.3 s."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        await block(0.3)
        await asyncio.sleep(0)


@queue.handler
async def hog(seconds: float) -> int:
    """Takes all remaining file descriptors for `seconds`."""
    taken: list[int] = []
    with contextlib.suppress(OSError):
        while True:
            taken.append(os.open("/dev/null", os.O_RDONLY))
    await asyncio.sleep(seconds)
    for fd in taken:
        os.close(fd)
    return len(taken)


@queue.handler(run_in="process")
def spawn() -> int:
    """Starts a child, and waits for it."""
    return subprocess.run(["sleep", "60"], check=False).returncode


if __name__ == "__main__":
    # Imported by its own name, so a process of the pool can import its handlers.
    from tests.e2e import served

    read = functools.partial(trace, Path(sys.argv[1]), environ={})
    sys.exit(serve(served.queue.service, read(), load=read))
