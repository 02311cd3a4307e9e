"""Listening: all sockets of a server, TCP (with TLS or without) and Unix, and the reload of its certificates."""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING, NamedTuple

from jobqueue.certificates import load_context
from jobqueue.http.transport.accept import Acceptor
from jobqueue.http.transport.tls import TlsServer

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobqueue.activation import Activation
    from jobqueue.config import ServerSettings, Settings
    from jobqueue.http.transport.job_server import JobServer


class Place(NamedTuple):
    """A listening socket, by its URL; a Unix socket has no host and port."""

    url: str
    host: str | None
    port: int | None


class Listening:
    """The listening sockets of a server.

    Args:
        server: Makes the connections.
        activation: Sockets that the process was started with; if there are any, it opens none itself.
    """

    def __init__(self, server: JobServer, settings: ServerSettings, activation: Activation) -> None:
        self._server = server
        self._settings = settings
        self._activation = activation
        self._acceptors: list[Acceptor] = []
        self._tls: TlsServer | None = None

    async def open(self) -> None:
        """Listen from now on. Raises OSError, ConfigError."""
        settings, server = self._settings, self._server
        context = load_context(settings.tls)
        if context is not None:
            self._tls = TlsServer(server, server, context)
        try:
            if self._activation:
                await self._adopt(self._activation)
                return
            if settings.port is not None:
                self._acceptors.append(await self._tcp().listen(settings.host, settings.port))
            if settings.socket is not None:  # uvloop doesn't suspend here
                unix = Acceptor(server.on_unix)
                self._acceptors.append(await unix.listen_at(settings.socket, int(settings.socket_mode, 8)))
        except BaseException:
            self.close()
            raise

    async def _adopt(self, activation: Activation) -> None:
        for wire in activation.tcp:
            self._acceptors.append(await self._tcp().adopt(wire))
        if activation.unix is not None:
            self._acceptors.append(await Acceptor(self._server.on_unix).adopt(activation.unix))

    def _tcp(self) -> Acceptor:
        return Acceptor(self._tls or self._server, self._server.prepare)

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Those of TCP."""
        return [address for acceptor in self._acceptors for address in acceptor.addresses]

    @property
    def places(self) -> list[Place]:
        """All, as clients take them."""
        scheme = "http" if self._tls is None else "https"
        tcp = [
            Place(f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}", host, port)
            for host, port in self.addresses
        ]
        paths = [acceptor.path for acceptor in self._acceptors if acceptor.path is not None]
        return tcp + [Place(f"unix:{path}", None, None) for path in paths]

    def renew(self, settings: Settings) -> Callable[[], None]:
        """Read the certificates again; return what gives them to new connections. In any thread; raises ConfigError."""
        tls = self._tls
        context = load_context(settings.server.tls) if tls is not None else None

        def apply() -> None:
            if tls is not None and context is not None:
                tls.context = context

        return apply

    def close(self) -> None:
        """Accept no more connections, and cut the handshakes under way."""
        for acceptor in self._acceptors:
            acceptor.close()
        if self._tls is not None:
            self._tls.close()


def why_not(error: Exception, settings: ServerSettings) -> str:
    """Return why the server can't start, and a correction."""
    where = f"{settings.host}:{settings.port}"
    match error:
        case OSError(errno=errno.EADDRINUSE):
            return (
                f"{where} is in use: stop the program that listens there, or choose another port (--port, server.port)"
            )
        case OSError(errno=errno.EADDRNOTAVAIL) | socket.gaierror():
            return f"{where} is not an address of this machine: set server.host to one, or to 0.0.0.0 for all"
        case OSError(errno=errno.EACCES):
            return f"{where} needs privileges that this user does not have: set server.port to 1024 or higher"
        case _:
            return str(error)
