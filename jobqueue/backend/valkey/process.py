"""This process among those that share the store: it joins, shows that it lives, and learns what it has lost.

Rules:

1. It joins under a fresh random name, and beats every `ttl / BEATS`. That is the lease of all that it runs: what a
   process runs that was not heard for `ttl` is given to others.
2. A process that was taken for dead learns it from its next call. It has lost all that it ran; it joins anew, under
   another name.
3. After each new connection, and after a lease without an answer, the store is told what this process holds: what it
   doesn't hold goes back, and it learns what isn't its own any more. It leases nothing before.
4. A store with another secret, or another birth, has been emptied: it is told its queues, types and bounds anew.
"""

from __future__ import annotations

import asyncio
from base64 import urlsafe_b64encode
from typing import TYPE_CHECKING, Any, Final, Protocol

from jobqueue.backend.valkey.ids import FleetIds
from jobqueue.core.job import JobId, StopReason
from jobqueue.log import event_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jobqueue.backend.valkey.attempts import Attempts
    from jobqueue.backend.valkey.calls import Argument
    from jobqueue.backend.valkey.link import Link

BEATS: Final = 5
"""Beats within the time after which a silent process is taken for dead."""

AGAIN_S: Final = 0.5
"""The wait before it is tried again to join."""

log = event_logger(__name__)


class Above(Protocol):
    """What the process tells of. Called on the loop."""

    async def on_joined(self, *, emptied: bool) -> None:
        """It is one of those that share the store. Args: emptied: The store knows nothing of what it knew."""

    def on_lost(self, job_id: JobId, attempt: int) -> None:
        """An attempt isn't this process's own any more."""

    def on_stop(self, job_id: JobId, attempt: int, reason: StopReason) -> None:
        """An attempt is to be stopped."""

    def on_next_at(self, at: float) -> None:
        """A deadline of the store is due then."""

    def on_settled(self) -> None:
        """It may lease."""

    def when_landed(self, then: Callable[[], None]) -> None:
        """Call a function once no lease is on its way."""

    def on_disconnected(self) -> None:
        """The store doesn't answer."""


class Process:
    """This process, as the store knows it.

    Args:
        ttl_s: How long after its last beat it counts as alive.
        types: Those that have a handler here.
        info: Its host and pid, as others log them once it is lost.
        randomness: Returns random bytes.

    Attributes:
        name: Its name in the store; another one after each time that it joins.
        alive: It has joined, and not learnt that it was taken for dead.
        ids: Issues its ids.
    """

    def __init__(
        self,
        link: Link,
        attempts: Attempts,
        above: Above,
        *,
        ttl_s: float,
        types: Sequence[str],
        info: str,
        channel: Callable[[str], str],
        randomness: Callable[[int], bytes],
    ) -> None:
        self._link, self._attempts, self._above = link, attempts, above
        self._ttl_ms = round(ttl_s * 1000.0)
        self._beat_s = ttl_s / BEATS
        self._types, self._info = types, info
        self._channel = channel
        self._randomness = randomness
        self.name = ""
        self.alive = False
        self.ids: FleetIds
        self._born: tuple[bytes, int] | None = None
        self._doubts = self._reconciling = self._beating = self._closed = False
        self._joining: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def may_lease(self) -> bool:
        """Whether what it holds and what the store thinks it holds are the same."""
        return self.alive and not self._doubts

    async def join(self) -> None:
        """Join the processes that share the store. Raises: As a call."""
        name = urlsafe_b64encode(self._randomness(12)).decode()
        args: list[Argument] = [name, self._ttl_ms, self._link.calls.server_id, self._randomness(32)]
        _, run, secret, _, born, _ = await self._link.call(
            "join", [*args, self._info, len(self._types), *self._types], patience_s=self._ttl_ms / 1000.0
        )
        before, self._born = self._born, (secret, born)
        emptied = before is not None and before != self._born
        if emptied:
            log.error("store.emptied", hint="the store has lost its jobs; ids of before are answered as gone")
        self.name, self.ids, self.alive, self._doubts = name, FleetIds(secret, run), True, False
        self._link.calls.listen(self, self._channel(name))
        self._arm()
        await self._above.on_joined(emptied=before is None or emptied)

    async def leave(self) -> int:
        """Give all back that it still runs, and be forgotten; return the number of attempts. Raises: As a call."""
        self.close()
        returned, left = 0, 1
        while self.alive and left:
            _, left, count, *_ = await self._link.call("leave", [self.name])
            returned += count
        self.alive = False
        return returned

    def close(self) -> None:
        """Beat no more, and hear nothing any more."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._joining is not None:
            self._joining.cancel()

    def died(self, name: str) -> None:
        """The process of this name was taken for dead: all that it ran is lost. Join anew."""
        if name != self.name or not self.alive or self._closed:
            return
        self.alive = False
        log.error(
            "server.declared_dead", name=name, hint="it was not heard in time: suspended, or cut off from the store"
        )
        for job_id, attempt in self._attempts.names():
            self._above.on_lost(job_id, attempt)
        self._rejoin()

    def doubt(self) -> None:
        """The reply of a lease is lost: tell the store what is held, before the next one."""
        self._doubts = True
        self._reconcile_soon()

    def check(self) -> None:
        """Learn soon whether the store still knows this process."""
        self._beat()

    # -- the connection

    def connected(self, server_id: str) -> None:
        """The store answers again."""
        self.doubt()

    def disconnected(self, reason: str) -> None:
        """The store doesn't answer."""
        self._doubts = True
        self._above.on_disconnected()

    def woken(self, channel: str, message: bytes) -> None:
        """The store has something for this process."""
        if message == b"stop":
            self._beat()
        else:
            self._above.on_settled()

    # -- beats

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(self._beat_s, self._on_timer)

    def _on_timer(self) -> None:
        self._arm()
        if self.alive:
            self._beat()
            if self._doubts:
                self._reconcile_soon()

    def _beat(self) -> None:
        if self._beating or not self.alive:
            return
        self._beating = True
        name = self.name

        def then(told: list[Any] | None, error: Exception | None) -> None:
            self._beating = False
            if told is None or name != self.name:
                return  # the next one comes soon
            if not told[1]:
                self.died(name)
                return
            if told[2] >= 0:
                self._above.on_next_at(self._link.clock.at(told[2]))
            for start in range(4, 4 + 3 * told[3], 3):
                job_id, attempt, reason = told[start : start + 3]
                self._above.on_stop(JobId(job_id.decode()), int(attempt), StopReason(reason.decode()))

        self._link.send("beat", [name, self._ttl_ms], then, patience_s=self._beat_s)

    # -- what it holds

    def _reconcile_soon(self) -> None:
        if self._reconciling or not self.alive or self._closed:
            return
        self._reconciling = True
        self._above.when_landed(self._reconcile)

    def _reconcile(self) -> None:
        name, held = self.name, self._attempts.names()
        args: list[Argument] = [name, self._ttl_ms, self._link.calls.server_id, len(held)]
        for job_id, attempt in held:
            args += (job_id, attempt)

        def then(told: list[Any] | None, error: Exception | None) -> None:
            self._reconciling = False
            if name != self.name:
                return
            if told is None:
                return  # as soon as there is a connection, or with the next beat
            if not told[1]:
                self.died(name)
                return
            returned = told[3]
            start = 5 + returned
            for n in range(told[start - 1]):
                job_id, attempt = told[start + 2 * n : start + 2 * n + 2]
                self._above.on_lost(JobId(job_id.decode()), int(attempt))
            if returned:
                log.warning("store.reconciled", given_back=returned)
            if told[2]:
                self._reconcile_soon()
            else:
                self._doubts = False
                self._above.on_settled()

        self._link.send("reconcile", args, then, patience_s=self._beat_s)

    def _rejoin(self) -> None:
        if not self._closed:
            self._joining = self._link.loop.create_task(self._join_again())

    async def _join_again(self) -> None:
        try:
            await self.join()
        except Exception as error:  # of any kind: without a place among the others it runs nothing
            log.warning("store.not_joined", error=str(error) or type(error).__name__)
            # Drawn, so that many servers don't come back to a store in the same instant.
            self._link.loop.call_later(AGAIN_S * (0.5 + self._randomness(1)[0] / 255.0), self._rejoin)
