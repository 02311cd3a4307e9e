"""One aiohttp session for each event loop: connections belong to the loop that opened them.

A program may call `asyncio.run` several times with one client. Each session is held by an asynchronous generator,
because `asyncio.run` and `asyncio.Runner` close those before they close their loop; so no connection outlives its loop.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import aiohttp

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncGenerator, Mapping

    from jobqueue.client.in_process import InProcess

IDLE_S = 5.0
"""Idle connections are closed well before a server does (`limits.idle_timeout_s`): a submission on a connection that is
just being closed has an unknown fate."""


class Sessions:
    """The open sessions of one client.

    Args:
        headers: Sent with every request.
        socket: The path of a Unix socket to connect to; None: URLs say where.
        tls: For URLs of TLS.
        in_process: An application that answers instead; `close` stops it.
    """

    def __init__(
        self,
        headers: Mapping[str, str],
        socket: str | None = None,
        tls: ssl.SSLContext | None = None,
        in_process: InProcess | None = None,
    ) -> None:
        self._headers = headers
        self._socket = socket
        self._tls = tls
        self._in_process = in_process
        self._keepers: dict[asyncio.AbstractEventLoop, AsyncGenerator[aiohttp.ClientSession, None]] = {}
        self._open: dict[asyncio.AbstractEventLoop, aiohttp.ClientSession] = {}

    async def of_this_loop(self) -> aiohttp.ClientSession:
        """Return the running loop's session; open it first if there is none."""
        loop = asyncio.get_running_loop()
        if self._in_process is not None:
            self._socket = await self._in_process.socket()
        session = self._open.get(loop)
        if session is None:
            self._forget_closed_loops()
            self._keepers[loop] = self._kept(loop)
            session = await anext(self._keepers[loop])  # it doesn't suspend, so no second one is opened meanwhile
        return session

    async def close(self) -> None:
        """Close the sessions of every loop; those of other threads' loops soon."""
        here = asyncio.get_running_loop()
        self._forget_closed_loops()
        for loop, keeper in list(self._keepers.items()):
            if loop is here:
                await keeper.aclose()
            elif loop.is_running():
                asyncio.run_coroutine_threadsafe(keeper.aclose(), loop)
        if self._in_process is not None:
            await self._in_process.close()

    async def _kept(self, loop: asyncio.AbstractEventLoop) -> AsyncGenerator[aiohttp.ClientSession, None]:
        async with aiohttp.ClientSession(connector=self._connector(), headers=self._headers) as session:
            self._open[loop] = session
            try:
                yield session
            finally:
                self._open.pop(loop, None)
                self._keepers.pop(loop, None)

    def _connector(self) -> aiohttp.BaseConnector:
        if self._socket is not None:
            return aiohttp.UnixConnector(self._socket, limit=0, keepalive_timeout=IDLE_S)
        return aiohttp.TCPConnector(ssl=self._tls or True, limit=0, keepalive_timeout=IDLE_S)

    def _forget_closed_loops(self) -> None:
        """Drop the sessions of loops that were closed without closing their asynchronous generators first."""
        for loop in [loop for loop in self._keepers if loop.is_closed()]:
            self._open.pop(loop, None)
            self._keepers.pop(loop, None)
