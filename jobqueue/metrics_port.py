"""The port of the metrics, where they have one of their own: a second server of the same process.

It answers while the queue drains and until the process ends, and has few connections: only scrapers come there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobqueue.errors import ConfigError
from jobqueue.http.transport.accept import Acceptor
from jobqueue.log import event_logger

if TYPE_CHECKING:
    from jobqueue.http.transport.job_server import JobServer

log = event_logger(__name__)

CONNECTIONS_MAX = 16
CLOSE_S = 0.2


class MetricsPort:
    """The listening socket of the metrics.

    Args:
        server: Of an application that has the metrics only; owned by this port from now on.
    """

    def __init__(self, server: JobServer) -> None:
        self._server = server
        self._acceptor = Acceptor(server, server.prepare)

    async def open(self, host: str, port: int) -> list[tuple[str, int]]:
        """Listen from now on; return the addresses. Raises ConfigError."""
        try:
            await self._acceptor.listen(host, port)
        except OSError as error:
            reason = f"metrics.listen: {host}:{port} can't be listened on ({error.strerror or error})"
            raise ConfigError(f"{reason}: choose another address or port, or null for the server's own") from error
        addresses = self._acceptor.addresses
        for host, port in addresses:
            log.info("metrics.listening", host=host, port=port)
        return addresses

    async def close(self) -> None:
        self._acceptor.close()
        await self._server.close(CLOSE_S)
