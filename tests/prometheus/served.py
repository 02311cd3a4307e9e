"""A server for the incident: `python -m tests.prometheus.served SETTINGS.yaml`."""

from __future__ import annotations

import asyncio
import functools
import sys
from pathlib import Path

from jobqueue.app import JobQueue
from jobqueue.config.load import trace
from jobqueue.server import serve

queue = JobQueue()


@queue.handler
async def sleep(seconds: float) -> None:
    await asyncio.sleep(seconds)


@queue.handler(queue="mail")
async def send() -> None:
    raise ConnectionRefusedError("the mail server is down")


if __name__ == "__main__":
    read = functools.partial(trace, Path(sys.argv[1]), environ={})
    sys.exit(serve(queue.service, read(), load=read))
