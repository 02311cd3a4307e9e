"""The port of the metrics, where they have one of their own: a second server of the same process.

It answers while the queue drains and until the process ends, and has few connections: only scrapers come there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobqueue.errors import ConfigError
from jobqueue.http.transport.accept import Acceptor
from jobqueue.log import event_logger

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

    from jobqueue.http.transport.job_server import JobServer

log = event_logger(__name__)

CONNECTIONS_MAX = 16
CLOSE_S = 0.2


class MetricsPort:
    """The listening sockets of the metrics.

    Args:
        server: Of an application that has the metrics only; owned by this port from now on.
    """

    def __init__(self, server: JobServer) -> None:
        self._server = server
        self._acceptors: list[Acceptor] = []

    async def open(self, host: str, port: int, inherited: Sequence[socket.socket]) -> list[tuple[str, int]]:
        """Listen from now on; return the addresses. Raises ConfigError.

        Args:
            inherited: Sockets that listen there already; empty: it opens its own.
        """
        try:
            for wire in inherited:
                self._acceptors.append(await self._acceptor().adopt(wire))
            if not inherited:
                self._acceptors.append(await self._acceptor().listen(host, port))
        except OSError as error:
            reason = f"metrics.listen: {host}:{port} can't be listened on ({error.strerror or error})"
            raise ConfigError(f"{reason}: choose another address or port, or null for the server's own") from error
        addresses = self._addresses
        for host, port in addresses:
            log.info("metrics.listening", host=host, port=port)
        return addresses

    @property
    def is_open(self) -> bool:
        """Whether it listens."""
        return bool(self._addresses)

    @property
    def _addresses(self) -> list[tuple[str, int]]:
        return [address for acceptor in self._acceptors for address in acceptor.addresses]

    def _acceptor(self) -> Acceptor:
        return Acceptor(self._server, self._server.prepare)

    async def close(self) -> None:
        for acceptor in self._acceptors:
            acceptor.close()
        await self._server.close(CLOSE_S)
