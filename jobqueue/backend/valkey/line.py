"""A line to the store: a connection that is made again whenever it ends; calls without a reply are sent again on it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol, cast

from redis.exceptions import AuthenticationError, NoPermissionError, RedisError

from jobqueue.backend.valkey.connection import Connection, Lost, close
from jobqueue.backend.valkey.pauses import Pauses
from jobqueue.backend.valkey.replies import meaning_of
from jobqueue.backend.valkey.server_info import read_info

if TYPE_CHECKING:
    import random

    from redis.asyncio.connection import AbstractConnection

    from jobqueue.backend.valkey.address import Address
    from jobqueue.backend.valkey.call import Call
    from jobqueue.backend.valkey.connection import Confirmation
    from jobqueue.backend.valkey.server_info import ServerInfo


class LineOwner(Protocol):
    """Hears of a line. Its methods must not raise."""

    def heard(self, call: Call, reply: Any) -> None:
        """A call has its reply, or an error."""

    def came_up(self, line: Line, info: ServerInfo) -> None:
        """A connection was made."""

    def went_down(self, line: Line, reason: str, kind: str) -> None:
        """It has ended, or none could be made. Told each time."""


class Line:
    """Keeps one connection.

    Args:
        confirmation: As of `Connection`.
    """

    def __init__(
        self,
        address: Address,
        owner: LineOwner,
        *,
        timeout_s: float,
        rng: random.Random,
        confirmation: Confirmation | None = None,
    ) -> None:
        self._address = address
        self._owner = owner
        self._timeout_s = timeout_s
        self._pauses = Pauses(rng)
        self._confirmation = confirmation
        self._connection: Connection | None = None
        self._waiting: list[Call] = []

    def send(self, call: Call) -> None:
        """Send a call, now or once there is a connection."""
        if self._connection is not None:
            self._connection.send(call)
        else:
            self._waiting.append(call)

    def abort(self, reason: str, kind: str) -> None:
        """Give the connection up, and make another one."""
        if self._connection is not None:
            self._connection.abort(reason, kind)

    def forget(self) -> None:
        """Drop abandoned calls that wait for a connection."""
        self._waiting = [call for call in self._waiting if not call.future.done()]

    async def run(self) -> None:
        """Keep a connection until cancelled."""
        while True:
            try:
                connected, info = await connect(self._address)
            except Exception as error:  # of any kind: a line must not end before its process does
                kind = error.kind if isinstance(error, Lost) else "connection"
                self._owner.went_down(self, reason_of(error), kind)
                await self._pauses.wait()
                continue
            self._pauses.reset()
            await self._serve(Connection(connected, self._timeout_s, self._owner.heard, self._confirmation), info)
            await self._pauses.wait()

    async def _serve(self, connection: Connection, info: ServerInfo) -> None:
        calls, self._waiting = self._waiting, []
        self._connection = connection
        for call in calls:
            if not call.future.done():
                connection.send(call)
        self._owner.came_up(self, info)
        try:
            await connection.serve()
        except Lost as lost:
            self._connection = None
            self._waiting = [call for call in connection.unanswered() if not call.future.done()]
            self._owner.went_down(self, str(lost), lost.kind)


async def connect(address: Address) -> tuple[AbstractConnection, ServerInfo]:
    """Connect to the primary. Raises Lost, RedisError, OSError."""
    line: AbstractConnection | None = None
    try:
        async with asyncio.timeout(address.connect_s):
            line = await address.connection()
            await cast("Any", line).connect()  # without types
            info = await read_info(line, "server", "replication")
    except TimeoutError:
        if line is not None:
            await close(line)
        raise Lost(f"no answer within {address.connect_s:g} s", "timeout") from None
    except BaseException as error:
        if line is not None:
            await close(line)
        if isinstance(error.__cause__, RedisError):  # the library wraps what a Unix socket said
            raise error.__cause__ from None
        raise
    if info.is_replica:
        await close(line)
        raise Lost("it is a replica, and no primary", "readonly")
    return line, info


def reason_of(error: BaseException) -> str:
    """Return why there is no connection, in words."""
    if isinstance(error, AuthenticationError | NoPermissionError):
        return meaning_of(error)
    return str(error) or type(error).__name__
