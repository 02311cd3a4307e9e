"""The fleet of one process: starts its clients one by one, stops them in order.

The order: create until the time is over (or a signal asks to finish), then poll until
every accepted job has ended or the grace is over, then account for the rest.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any

from clients.behaviours.batching import BatchingClient
from clients.behaviours.long_polling import LongPollingClient
from clients.behaviours.open_loop import OpenLoop
from clients.behaviours.polling import PollingClient
from clients.behaviours.streaming import StreamingClient
from clients.wire.connection import Connection
from clients.wire.place import place_of
from clients.wire.requests import Requests

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clients.behaviours.base import SimulatedClient
    from clients.counters import Counters
    from clients.options import Options
    from clients.wire.place import Place

LAST_POLL_S = 2.0  # before the end of the grace, for the last polls to be answered
GONE_S = 10.0  # a server that could not be reached for this long is not coming back
CHECK_S = 1.0  # between two checks of the counts


class Fleet:
    """The clients of one process, from their start to their end.

    Args:
        part: This process's number: the remainder of its clients' indices.
        starts_at: When the whole fleet begins, on the clock of `time.monotonic`.
    """

    def __init__(self, options: Options, counters: Counters, *, part: int, starts_at: float) -> None:
        self._options = options
        self._counters = counters
        self._starts_at = starts_at
        self._finish = asyncio.Event()
        self._denied = asyncio.Event()
        self._clients = list(self._make_clients(part))

    async def run(self) -> None:
        """Run the clients to their end. Cancelling it ends the fleet at once; the counters are whole either way."""
        tasks = [asyncio.create_task(client.run()) for client in self._clients]
        life = asyncio.create_task(self._create_and_finish(tasks))
        watch = asyncio.create_task(self._watch())
        denied = asyncio.create_task(self._denied.wait())
        try:
            await asyncio.wait((life, watch, denied), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (life, watch, denied, *tasks):
                task.cancel()
            outcomes = await asyncio.gather(life, watch, *tasks, return_exceptions=True)
            for client in self._clients:
                client.abandon()
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome

    def finish(self) -> None:
        """Create no more jobs from now on; end when those accepted have ended."""
        self._finish.set()

    async def _create_and_finish(self, tasks: list[asyncio.Task[None]]) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._starts_at + self._options.duration_s - time.monotonic()):
                await self._finish.wait()
        last_look = time.monotonic() + max(0.0, self._options.grace_s - LAST_POLL_S)
        for client in self._clients:
            client.finish(last_look)
        await asyncio.wait(tasks, timeout=self._options.grace_s)

    async def _watch(self) -> None:
        """Abort silent requests; return once the server has been gone for too long, or nothing can change any more."""
        counts = self._counters.counts
        answers, answered_at = counts.answers, time.monotonic()
        while True:
            await asyncio.sleep(CHECK_S)
            now = time.monotonic()
            for client in self._clients:
                client.expire(now)
            if self._nothing_can_change():
                return
            if counts.answers != answers or not counts.unreachable + counts.unreadable_gone:
                answers, answered_at = counts.answers, now
            elif now - answered_at > GONE_S:
                return

    def _nothing_can_change(self) -> bool:
        """Whether nothing can change any more: there is no server, or every submission is invalid."""
        counts = self._counters.counts
        if not counts.answers:
            return counts.unreachable > 0 and not counts.errors
        return counts.invalid > 0 and not counts.accepted + counts.refused + counts.unknown_fate

    def _make_clients(self, part: int) -> Iterator[SimulatedClient]:
        options = self._options
        address = address_of(options)
        common: dict[str, Any] = {
            "connect": partial(Connection, address, self._count_reopened),
            "requests": Requests(options),
            "options": options,
            "counters": self._counters,
            "on_denied": self._denied.set,
        }
        indices = range(part, options.clients, options.processes)
        if options.rate is not None:
            common |= {"rate": options.rate / options.processes, "connections": max(1, len(indices))}
            yield OpenLoop(**common, starts_at=self._starts_at, rng=random_of(part, options))
            return
        for index in indices:
            own: dict[str, Any] = {
                "starts_at": self._starts_at + start_offset_s(index, options),
                "rng": random_of(index, options),
            }
            match options.via:
                case "head" | "get":
                    yield PollingClient(**common, **own)
                case "wait":
                    yield LongPollingClient(**common, **own)
                case "events":
                    yield StreamingClient(**common, **own, address=address)
                case "batch":
                    yield BatchingClient(**common, **own)

    def _count_reopened(self) -> None:
        self._counters.counts.reopened += 1


def address_of(options: Options) -> Place:
    """Return where the server is. Raises OSError if it is nowhere."""
    return place_of(options.url, options.tls_files)


def random_of(index: int, options: Options) -> Random:
    """Return a client's own source of chance: the same for a seed, however the fleet is split."""
    return Random(f"{options.seed}:{index}")


def start_offset_s(index: int, options: Options) -> float:
    """Return when a client begins: evenly by the spawn rate, but not all on one beat."""
    return (index + Random(f"{options.seed}:{index}:start").random()) / options.spawn_rate
