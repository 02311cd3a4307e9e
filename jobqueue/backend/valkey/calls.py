"""The calls of the store's functions: what the backend asks of a connection to the store, and how a call may end.

Rules:

1. A call may be done and its reply lost. It is then sent again, as it was: each function knows a call that it has done.
2. A caller that no longer waits abandons its future; the reply is taken off the line all the same.
3. The store's answer, not the caller's patience, decides what was done: StoreUnavailable says nothing of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from jobqueue.errors import JobQueueError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Sequence

    from jobqueue.backend.valkey.call_figures import CallFigures
    from jobqueue.errors import StoreUnavailable

Argument = bytes | str | int | float
"""As a function gets it: as text, or as the bytes that it is."""

Reply = list[Any]
"""What a function returns, its first element being the store's clock: integers, bytes, None, and lists of them."""

CALLS_MAX = 4096
"""Calls that may wait for a reply, or for a connection. One more is refused: Overloaded."""

BYTES_MAX = 64 * 2**20
"""The size of the calls that may wait."""


class StoreFull(JobQueueError):
    """The store has no memory left for a call that adds something (`OOM`); others still pass."""


class CallFailed(JobQueueError):
    """A function has failed, or rejected its arguments: a fault of this program or of its library.

    Args:
        function: Its name.
        reply: What the store said.
    """

    def __init__(self, function: str, reply: str) -> None:
        super().__init__(f"the function {function} failed in the store: {reply}")
        self.function = function
        self.reply = reply


class Watcher(Protocol):
    """Hears of the connection. Its methods are called on the loop, and must not raise."""

    def connected(self, server_id: str) -> None:
        """The store answers, for the first time or again: replies may have been lost meanwhile.

        Args:
            server_id: Tells one life of the server's process from another (`run_id`).
        """

    def disconnected(self, reason: str) -> None:
        """The store doesn't answer any more; calls wait for it to come back, as long as their patience lasts."""

    def woken(self, channel: str, message: bytes) -> None:
        """A message was published on a channel. A hint: it may be missing."""


class Calls(Protocol):
    """The functions of the store, called by name.

    Attributes:
        server_id: As in `Watcher.connected`; empty: there was no connection yet.
        figures: Of its calls.
    """

    server_id: str
    figures: CallFigures

    def call(
        self,
        function: str,
        args: Sequence[Argument],
        *,
        durable: bool = False,
        patience_s: float | None = None,
    ) -> asyncio.Future[Reply]:
        """Call a function; calls of one turn of the loop are sent together. It raises nothing by itself.

        Args:
            function: Its short name, such as `submit`.
            durable: Wait until what it did is kept as `valkey.durability` promises, too.
            patience_s: How long it is sent again where the connection is lost; None: twice `valkey.call_timeout_s`, and
                not at all once the store is known to be down.

        Returns:
            The future of its reply, or of one of these:

            - StoreUnavailable: There was no answer in time, or a key was overwritten. It may have been done.
            - StoreFull, CallFailed: It was not done.
            - Overloaded: Too many calls wait already; it was not sent.
        """
        ...

    def refusal(self) -> StoreUnavailable | None:
        """Return what a call without a patience of its own would meet now, if the store is known to be down."""
        ...

    def state(self) -> tuple[str | None, float]:
        """Return why the store doesn't answer, None: it does; and since when, on the loop's clock."""
        ...

    def listen(self, watcher: Watcher, *channels: str) -> None:
        """Let a watcher hear of the connection, and of messages on these channels, in place of the ones before."""

    async def open(self) -> None:
        """Connect to a store that fits, and load the library, before anything is called.

        Raises:
            ConfigError: It can't be reached in time, or doesn't fit: every fault.
        """

    async def close(self) -> None:
        """End the connections. Calls that wait meet StoreUnavailable."""
