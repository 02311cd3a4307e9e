"""A server's port with TLS, and clients of it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from jobqueue.http.transport.tls import TlsServer
from tests.streams import connected

if TYPE_CHECKING:
    import ssl
    from contextlib import AbstractAsyncContextManager

    from tests.authority import Authority
    from tests.http.serving import Serving
    from tests.streams import Streams


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

    def connect(self, context: ssl.SSLContext | None = None) -> AbstractAsyncContextManager[Streams]:
        return connected(self.port, context or self.authority.client_context())

    def connect_plainly(self) -> AbstractAsyncContextManager[Streams]:
        return connected(self.port)
