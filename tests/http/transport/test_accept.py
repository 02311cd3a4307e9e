from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING

import pytest

from jobqueue.http.transport.accept import CROWD_MAX, Acceptor

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

CROWD = 200


class Hall:
    """A door, those who came in through it, and how to bring a crowd before it."""

    def __init__(self) -> None:
        self.listener = Acceptor(lambda: Guest(self))
        self.inside: list[Guest] = []
        self._clients = contextlib.ExitStack()

    def bring(self, size: int) -> list[socket.socket]:
        """Let so many clients stand before the door; none gets in before the loop turns."""
        [address] = self.listener.addresses
        clients = [self._clients.enter_context(socket.create_connection(address)) for _ in range(size)]
        for client in clients:
            client.setblocking(False)
        return clients

    async def arrivals(self) -> list[int]:
        """Return how many came in with each turn of the loop, until the whole crowd is in."""
        came = []
        while len(self.inside) < CROWD:
            before = len(self.inside)
            await asyncio.sleep(0)
            came.append(len(self.inside) - before)
        return came

    async def close(self) -> None:
        self.listener.close()
        self._clients.close()
        for guest in self.inside:
            guest.wire.abort()
        await asyncio.sleep(0)


class Guest(asyncio.Protocol):
    def __init__(self, hall: Hall) -> None:
        self._hall = hall

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.wire: asyncio.WriteTransport = transport  # type: ignore[assignment] # the interface is wider than a server's
        self._hall.inside.append(self)


@pytest.fixture
async def hall() -> AsyncIterator[Hall]:
    hall = Hall()
    await hall.listener.listen("127.0.0.1", 0)
    yield hall
    await hall.close()


async def test_many_connections_are_accepted_within_a_few_loop_iterations(hall: Hall) -> None:
    hall.bring(CROWD)
    assert len(await hall.arrivals()) < 20


async def test_open_connections_wait_for_a_bounded_number_of_new_ones(hall: Hall) -> None:
    hall.bring(CROWD)
    assert max(await hall.arrivals()) <= CROWD_MAX + 1


async def test_each_of_many_connections_is_served(hall: Hall) -> None:
    clients = hall.bring(CROWD)
    await hall.arrivals()
    for number, guest in enumerate(hall.inside):
        guest.wire.write(b"%d\n" % number)
    loop = asyncio.get_running_loop()
    told = {await loop.sock_recv(client, 16) for client in clients}
    assert told == {b"%d\n" % number for number in range(CROWD)}


async def test_a_closed_acceptor_accepts_no_connection(hall: Hall) -> None:
    [address] = hall.listener.addresses
    hall.listener.close()
    await asyncio.sleep(0)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)


async def test_a_port_that_is_taken_is_not_shared(hall: Hall) -> None:
    [(host, port)] = hall.listener.addresses
    with pytest.raises(OSError, match="in use"):
        await Acceptor(lambda: Guest(hall)).listen(host, port)
