"""A server's port with TLS, and clients of it."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import TYPE_CHECKING

from jobqueue.http.transport.tls import TlsServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.authority import Authority
    from tests.http.serving import Serving


class Secure:
    """A server's port with TLS, and clients of it."""

    def __init__(self, serving: Serving, authority: Authority, context: ssl.SSLContext) -> None:
        self.serving = serving
        self.authority = authority
        self.tls = TlsServer(serving.server, serving.server, context)
        self.port = 0

    async def listen(self) -> None:
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(self.tls, "127.0.0.1", 0, backlog=1024)
        self.port = self._listener.sockets[0].getsockname()[1]

    def close(self) -> None:
        self._listener.close()
        self.tls.close()

    @contextlib.asynccontextmanager
    async def connect(
        self, context: ssl.SSLContext | None = None
    ) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        context = context or self.authority.client_context()
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, ssl=context)
        try:
            yield reader, writer
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                await writer.wait_closed()

    @contextlib.asynccontextmanager
    async def connect_plainly(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            yield reader, writer
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
