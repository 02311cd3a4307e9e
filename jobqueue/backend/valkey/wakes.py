"""Wake-ups: messages that other servers publish for this one, on a connection of their own. They are hints.

Nothing is lost with a message: what it tells is looked for once a second all the same.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from redis.exceptions import RedisError

from jobqueue.backend.valkey.connection import Lost, close
from jobqueue.backend.valkey.line import connect
from jobqueue.backend.valkey.pauses import Pauses

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

    from redis.asyncio.connection import AbstractConnection

    from jobqueue.backend.valkey.address import Address

PING_S = 5.0
"""After this time without a message the connection is tried; after a second one without an answer it is given up."""


class Wakes:
    """Listens to channels. Args: hear: Called with the channel and the message."""

    def __init__(self, address: Address, rng: random.Random, hear: Callable[[str, bytes], None]) -> None:
        self._address = address
        self._pauses = Pauses(rng)
        self._hear = hear
        self._channels: tuple[str, ...] = ()
        self._changed = asyncio.Event()

    def listen(self, channels: Sequence[str]) -> None:
        """Listen to these channels from now on, and no others."""
        if self._channels != tuple(channels):
            self._channels = tuple(channels)
            self._changed.set()

    async def run(self) -> None:
        """Listen until cancelled."""
        while True:
            if not self._channels:
                await self._changed.wait()
            self._changed.clear()
            line = None
            try:
                line, _ = await connect(self._address)
                self._pauses.reset()
                await self._receive(line)
            except (Lost, RedisError, OSError):  # the other connections tell of it
                await self._pauses.wait()
            except Exception as error:  # of any kind: wake-ups must not end before their process does
                context = {"message": "a message of the store was not worked off", "exception": error}
                asyncio.get_running_loop().call_exception_handler(context)
                await self._pauses.wait()
            finally:
                if line is not None:
                    await close(line)

    async def _receive(self, line: AbstractConnection) -> None:
        """Receive until other channels are wanted. Raises RedisError."""
        await line.send_command("SUBSCRIBE", *self._channels)
        silent = False
        while not self._changed.is_set():
            reply = await line.read_response(disable_decoding=True, timeout=PING_S, disconnect_on_error=False)
            if reply is None:
                if silent:
                    raise Lost("no answer to a ping")
                silent = True
                await line.send_command("PING")
                continue
            silent = False
            if reply[0] == b"message":
                self._hear(reply[1].decode(), reply[2])
