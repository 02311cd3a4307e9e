"""Accept: a server's listening sockets, and the acceptance of their connections.

libuv accepts one connection per loop iteration from a listening socket, which is best for single connections. But when
thousands arrive at once, or iterations are long under load, the rate of acceptance is that of the loop:
fifty a second have been measured. So after each connection up to `ACCEPTS_MAX` further ones are accepted in the next
iteration, which bounds the delay of open connections.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from typing import TYPE_CHECKING, Any, Final, Self

from jobqueue.http.transport.unix_socket import UnixSocket

if TYPE_CHECKING:
    from collections.abc import Callable

ACCEPTS_MAX = 64
"""Connections that each socket accepts per loop iteration beside libuv's one: about 3 ms of work."""

BACKLOG = 65_535
"""The backlog: as large as the system allows (Linux: net.core.somaxconn, 4,096 by default).

When it is full, the client's kernel retransmits the SYN after 1 s, then with exponential backoff.
"""

KEEPS_FILE: Final[dict[str, Any]] = {"cleanup_socket": False} if sys.version_info >= (3, 13) else {}
"""From Python 3.13 on a loop removes the file of any Unix socket that it closes."""


class Acceptor:
    """The listening sockets of one server, and the acceptance of their connections.

    Args:
        factory: Makes the protocol of one connection.
        prepare: Sets options of a listening socket, which its connections inherit.
    """

    def __init__(
        self, factory: Callable[[], asyncio.BaseProtocol], prepare: Callable[[socket.socket], object] | None = None
    ) -> None:
        self._factory = factory
        self._prepare = prepare
        self._loop = asyncio.get_running_loop()
        self._server: asyncio.Server | None = None
        self._listeners: list[socket.socket] = []
        self._unix: UnixSocket | None = None
        self._path: str | None = None
        self._opening = False
        self._coming_in: set[asyncio.Task[None]] = set()

    async def listen(self, host: str, port: int) -> Self:
        """Accept connections from now on. Raises OSError."""
        self._server = await self._loop.create_server(self._first, host, port, backlog=BACKLOG)
        return self._take_up()

    async def listen_at(self, path: str, mode: int) -> Self:
        """Accept connections to a Unix socket from now on. Raises OSError, ConfigError."""
        self._unix = UnixSocket(path, mode)
        self._path = self._unix.path
        self._server = await self._loop.create_unix_server(self._first, sock=self._unix.wire, backlog=BACKLOG)
        return self._take_up()

    async def adopt(self, wire: socket.socket) -> Self:
        """Accept the connections of a socket that listens already, as long as this server lives. Raises OSError.

        Another process may go on with it, so connections in its backlog are not reset when this one closes it.
        """
        if wire.family == socket.AF_UNIX:
            self._path = wire.getsockname()
            self._server = await self._loop.create_unix_server(self._first, sock=wire, backlog=BACKLOG, **KEEPS_FILE)
        else:
            self._server = await self._loop.create_server(self._first, sock=wire, backlog=BACKLOG)
        return self._take_up()

    def _take_up(self) -> Self:
        assert self._server is not None
        # The same sockets under other descriptors, because only libuv may read its own.
        self._listeners = [each.dup() for each in self._server.sockets]
        if self._prepare is not None:
            for listener in self._listeners:
                self._prepare(listener)
        return self

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """The TCP addresses."""
        if self._path is not None:
            return []
        return [listener.getsockname()[:2] for listener in self._listeners]

    @property
    def path(self) -> str | None:
        """That of the Unix socket; None: it listens on TCP addresses."""
        return self._path

    def close(self) -> None:
        """Accept no more connections; those in the backlog are reset, unless the socket was adopted."""
        if self._server is not None:
            self._server.close()
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()
        if self._unix is not None:
            self._unix.remove()

    def _first(self) -> asyncio.BaseProtocol:
        if not self._opening:
            self._opening = True
            self._loop.call_soon(self._let_in_the_rest)
        return self._factory()

    def _let_in_the_rest(self) -> None:
        self._opening = False
        for listener in self._listeners:
            for _ in range(ACCEPTS_MAX):
                try:
                    wire, _address = listener.accept()
                except OSError:  # the backlog is empty; libuv handles other errors (no more open files)
                    break
                task = self._loop.create_task(self._let_in(wire))
                self._coming_in.add(task)
                task.add_done_callback(self._coming_in.discard)

    async def _let_in(self, wire: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._factory, wire)
        except OSError:  # closed already
            wire.close()
