"""Serves an aiohttp peer as fast as aiohttp can: uvloop, no access log, nothing in between."""

from __future__ import annotations

import asyncio
import gc
import signal

import uvloop
from aiohttp import web


def serve(app: web.Application) -> None:
    """Serve until SIGTERM, on a free port of the loopback interface, and print the port."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(app))


async def _serve(app: web.Application) -> None:
    told_to_stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told_to_stop.set)
    runner = web.AppRunner(app, access_log=None, keepalive_timeout=120)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=4096).start()
    gc.collect()
    gc.freeze()
    print("port", runner.addresses[0][1], flush=True)
    await told_to_stop.wait()
    await runner.cleanup()
