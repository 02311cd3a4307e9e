"""An aiohttp application behind a client of the same process, for tests: no port, no second program.

It is served on a Unix socket in a folder of its own, so requests, files and streams of events are those of a real
connection, and also pass on the virtual clock of `jobqueue.testing`.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from typing import TYPE_CHECKING, TypeGuard

if TYPE_CHECKING:
    from aiohttp import web

CLOSE_S = 1.0  # how long answers under way may take at the end


def is_application(transport: object) -> TypeGuard[web.Application]:
    """Whether it is an aiohttp application. One can only be made with `aiohttp.web`, which a client doesn't import."""
    loaded = sys.modules.get("aiohttp.web")
    return loaded is not None and isinstance(transport, loaded.Application)


class InProcess:
    """An application, served on the loop of its client's first request until `close`.

    It can't be served again: aiohttp freezes an application when it starts.
    """

    def __init__(self, app: web.Application) -> None:
        self._app = app
        self._starting: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._runner: web.AppRunner | None = None

    async def socket(self) -> str:
        """Return the path of the socket; start the application first if it isn't.

        Raises:
            RuntimeError: It runs on another loop.
        """
        loop = asyncio.get_running_loop()
        if self._starting is None:
            self._loop = loop
            self._folder = tempfile.TemporaryDirectory(prefix="jobqueue-")
            self._starting = loop.create_task(self._start(f"{self._folder.name}/socket"))
        elif loop is not self._loop:
            raise RuntimeError("an application behind a client runs on the loop of the first request alone")
        await asyncio.shield(self._starting)
        assert self._folder is not None
        return f"{self._folder.name}/socket"

    async def close(self) -> None:
        """Stop the application, and the queue with it."""
        starting, self._starting = self._starting, None
        if starting is not None:
            await asyncio.wait([starting])
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    async def _start(self, path: str) -> None:
        from aiohttp import web

        self._runner = web.AppRunner(self._app, access_log=None, shutdown_timeout=CLOSE_S)
        await self._runner.setup()
        await web.UnixSite(self._runner, path).start()
