from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING

import pytest

from jobqueue.http.transport.accept import ACCEPTS_MAX, Acceptor

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

CONNECTIONS = 200


class Acceptance:
    """An acceptor, its accepted connections, and clients that connect."""

    def __init__(self) -> None:
        self.listener = Acceptor(lambda: Accepted(self))
        self.connections: list[Accepted] = []
        self._clients = contextlib.ExitStack()

    def connect(self, size: int) -> list[socket.socket]:
        """Connect clients to the backlog; none is accepted before the next loop iteration."""
        [address] = self.listener.addresses
        clients = [self._clients.enter_context(socket.create_connection(address)) for _ in range(size)]
        for client in clients:
            client.setblocking(False)
        return clients

    async def arrivals(self) -> list[int]:
        """Return the connections accepted per loop iteration, until all are accepted."""
        counts = []
        while len(self.connections) < CONNECTIONS:
            before = len(self.connections)
            await asyncio.sleep(0)
            counts.append(len(self.connections) - before)
        return counts

    async def close(self) -> None:
        self.listener.close()
        self._clients.close()
        for accepted in self.connections:
            accepted.wire.abort()
        await asyncio.sleep(0)


class Accepted(asyncio.Protocol):
    def __init__(self, acceptance: Acceptance) -> None:
        self._acceptance = acceptance

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.wire: asyncio.WriteTransport = transport  # type: ignore[assignment]  # a server's transport writes
        self._acceptance.connections.append(self)


@pytest.fixture
async def acceptance() -> AsyncIterator[Acceptance]:
    acceptance = Acceptance()
    await acceptance.listener.listen("127.0.0.1", 0)
    yield acceptance
    await acceptance.close()


async def test_many_connections_are_accepted_within_a_few_loop_iterations(acceptance: Acceptance) -> None:
    acceptance.connect(CONNECTIONS)
    assert len(await acceptance.arrivals()) < 20


async def test_connections_accepted_per_loop_iteration_are_bounded(acceptance: Acceptance) -> None:
    acceptance.connect(CONNECTIONS)
    assert max(await acceptance.arrivals()) <= ACCEPTS_MAX + 1


async def test_each_of_many_connections_is_served(acceptance: Acceptance) -> None:
    clients = acceptance.connect(CONNECTIONS)
    await acceptance.arrivals()
    for number, accepted in enumerate(acceptance.connections):
        accepted.wire.write(b"%d\n" % number)
    loop = asyncio.get_running_loop()
    received = {await loop.sock_recv(client, 16) for client in clients}
    assert received == {b"%d\n" % number for number in range(CONNECTIONS)}


async def test_a_closed_acceptor_accepts_no_connection(acceptance: Acceptance) -> None:
    [address] = acceptance.listener.addresses
    acceptance.listener.close()
    await asyncio.sleep(0)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)


async def test_a_port_that_is_taken_is_not_shared(acceptance: Acceptance) -> None:
    [(host, port)] = acceptance.listener.addresses
    with pytest.raises(OSError, match="in use"):
        await Acceptor(lambda: Accepted(acceptance)).listen(host, port)
