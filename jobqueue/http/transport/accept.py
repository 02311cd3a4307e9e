"""The listener: a server's listening sockets, and how those who stand before them are let in.

libuv takes one connection a turn of the loop from a listening socket, which is best for those who come alone. But where
thousands come at once, or turns are long because there is much to do, they would get in as fast as the loop turns:
fifty a second have been seen. So when one has come in, the others who wait are let in after it, in the next turn,
up to `CROWD_MAX`, so that nobody who is in already waits longer than it takes to let that many in.

It must not know what is done with a connection: it makes them by the server's factory.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

CROWD_MAX = 64
"""How many each socket lets in a turn beside libuv's one: about 3 ms of work."""

BACKLOG = 65_535
"""How many may wait at the door: as many as the system allows (Linux: net.core.somaxconn, 4,096 by default).

Whom it has no place for asks again after a second, and then ever later.
"""


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
        self._doors: list[socket.socket] = []
        self._opening = False
        self._coming_in: set[asyncio.Task[None]] = set()

    async def listen(self, host: str, port: int) -> Self:
        """Let connections in from now on. Raises OSError."""
        self._server = await self._loop.create_server(self._first, host, port, backlog=BACKLOG)
        # The same sockets under other descriptors, because libuv's own may be read by libuv only.
        self._doors = [each.dup() for each in self._server.sockets]
        if self._prepare is not None:
            for door in self._doors:
                self._prepare(door)
        return self

    @property
    def addresses(self) -> list[tuple[str, int]]:
        return [door.getsockname()[:2] for door in self._doors]

    def close(self) -> None:
        """Let nobody in any more; those who wait at the door are turned away."""
        if self._server is not None:
            self._server.close()
        for door in self._doors:
            door.close()
        self._doors.clear()

    def _first(self) -> asyncio.BaseProtocol:
        if not self._opening:
            self._opening = True
            self._loop.call_soon(self._let_in_the_rest)
        return self._factory()

    def _let_in_the_rest(self) -> None:
        self._opening = False
        for door in self._doors:
            for _ in range(CROWD_MAX):
                try:
                    wire, _address = door.accept()
                except OSError:  # nobody waits; and what else there may be (no more open files) libuv meets, too
                    break
                task = self._loop.create_task(self._let_in(wire))
                self._coming_in.add(task)
                task.add_done_callback(self._coming_in.discard)

    async def _let_in(self, wire: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._factory, wire)
        except OSError:  # gone already
            wire.close()
