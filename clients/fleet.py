"""The fleet of one process: starts its clients one by one, stops them in order.

The order: create until the time is over (or someone asks to finish), then poll until
every accepted job has ended or the grace is over, then account for the rest.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import socket
import time
from random import Random
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from clients.client import SimulatedClient
from clients.connection import Connection
from jobqueue.client import Multipart

if TYPE_CHECKING:
    from clients.options import Options
    from clients.tally import Tally

LAST_LOOK_S = 2.0  # before the end of the grace, for the last polls to be answered
GONE_S = 10.0  # a server that nobody could reach for this long is not coming back


class Fleet:
    """The clients of one process, and their course.

    Args:
        part: This process's number: it has the clients whose index leaves this remainder.
        starts_at: When the whole fleet begins, on the clock of `time.monotonic`.
    """

    def __init__(self, options: Options, tally: Tally, *, part: int, starts_at: float) -> None:
        self._options = options
        self._tally = tally
        self._starts_at = starts_at
        self._finish = asyncio.Event()
        url = urlsplit(options.url)
        address = address_of(options)
        submission = submission_of(options)
        self._clients = [
            SimulatedClient(
                connection=Connection(address, self._count_reopened),
                host=url.netloc,
                submission=submission,
                options=options,
                starts_at=starts_at + start_offset_s(index, options),
                tally=tally,
                rng=random_of(index, options),
            )
            for index in range(part, options.clients, options.processes)
        ]

    async def run(self) -> None:
        """Go the whole course. Cancelling it ends the fleet at once; the tally is whole either way."""
        tasks = [asyncio.create_task(client.run()) for client in self._clients]
        # Thousands of clients are no garbage: a collector that walks them would pause the fleet.
        gc.collect()
        gc.freeze()
        course = asyncio.create_task(self._course(tasks))
        watch = asyncio.create_task(self._watch())
        try:
            await asyncio.wait((course, watch), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (course, watch, *tasks):
                task.cancel()
            outcomes = await asyncio.gather(course, watch, *tasks, return_exceptions=True)
            for client in self._clients:
                client.abandon()
            gc.unfreeze()
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome

    def finish(self) -> None:
        """Create no more jobs from now on; end when those accepted have ended."""
        self._finish.set()

    async def _course(self, tasks: list[asyncio.Task[None]]) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._starts_at + self._options.duration_s - time.monotonic()):
                await self._finish.wait()
        last_look = time.monotonic() + max(0.0, self._options.grace_s - LAST_LOOK_S)
        for client in self._clients:
            client.finish(last_look)
        await asyncio.wait(tasks, timeout=self._options.grace_s)

    async def _watch(self) -> None:
        """Break silent requests off; return once the server has been gone for too long."""
        counts = self._tally.counts
        answers, answered_at = counts.answers, time.monotonic()
        while True:
            await asyncio.sleep(1.0)
            now = time.monotonic()
            for client in self._clients:
                client.connection.expire(now)
            if counts.answers != answers or not counts.unreachable + counts.unreadable_gone:
                answers, answered_at = counts.answers, now
            elif now - answered_at > GONE_S:
                return

    def _count_reopened(self) -> None:
        self._tally.counts.reopened += 1


def address_of(options: Options) -> tuple[str, int]:
    """Look the server's address up, once: a fleet would otherwise ask thousands of times.

    Raises:
        OSError: It has none.
    """
    url = urlsplit(options.url)
    found = socket.getaddrinfo(url.hostname, url.port or 80, type=socket.SOCK_STREAM)
    host, port = found[0][4][:2]
    return str(host), int(port)


def random_of(index: int, options: Options) -> Random:
    """Return a client's own source of chance: the same for a seed, however the fleet is split."""
    return Random(f"{options.seed}:{index}")


def start_offset_s(index: int, options: Options) -> float:
    """Return when a client begins: evenly by the spawn rate, but not all on one beat."""
    return (index + Random(f"{options.seed}:{index}:start").random()) / options.spawn_rate


def submission_of(options: Options) -> bytes:
    """Return the whole request that submits a job; every client sends the same."""
    job = json.dumps({"type": options.type, "args": options.args}, allow_nan=False).encode()
    media_type, body = "application/json", job
    if options.file is not None:
        form = Multipart(job, {"file": options.file})
        media_type, body = f"multipart/form-data; boundary={form.boundary}", b"".join(form.chunks())
    url = urlsplit(options.url)
    head = (
        f"POST {url.path}/v1/jobs HTTP/1.1",
        f"Host: {url.netloc}",
        "User-Agent: jobqueue-clients",
        f"Content-Type: {media_type}",
        f"Content-Length: {len(body)}",
        "",
        "",
    )
    return "\r\n".join(head).encode() + body
