"""Stops of attempts that this process runs: by a timeout, a cancellation, the drain, or a lost lease.

Rules:

1. A process that lives meets the deadlines of its own attempts. The store need not know them: it takes back what a dead
   process ran.
2. An attempt that is asked to stop must report its outcome within `LEASE_GRACE_S`. After that it is concluded without
   one, and its worker is replaced.
3. An attempt whose lease is lost is asked to stop as well; it has no outcome.
4. The instants are this loop's. The store learns of a timeout when it happens, so that a success that comes later
   doesn't count, and every server shows it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jobqueue.backend.timer import Timer
from jobqueue.core.deadlines import Deadlines
from jobqueue.core.events import LeaseLost, StopRequested
from jobqueue.core.job import StopReason
from jobqueue.core.transitions import LEASE_GRACE_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobqueue.backend.base import Workers
    from jobqueue.backend.valkey.attempts import Attempts, Held
    from jobqueue.backend.valkey.calls import Argument
    from jobqueue.backend.valkey.link import Link
    from jobqueue.backend.valkey.listeners import Listeners
    from jobqueue.core.job import JobId


class Stops:
    """Asks attempts to stop, and concludes those that don't.

    Args:
        process: Returns the name of this process in the store.
        conclude: Reports an attempt that was asked to stop and has reported nothing in time.
    """

    def __init__(
        self,
        link: Link,
        attempts: Attempts,
        listeners: Listeners,
        process: Callable[[], str],
        conclude: Callable[[Held], None],
    ) -> None:
        self._link = link
        self._attempts = attempts
        self._listeners = listeners
        self._process = process
        self._conclude = conclude
        self._deadlines: Deadlines[tuple[JobId, int]] = Deadlines()
        self._timer = Timer(self)
        self.workers: Workers | None = None

    def start(self, workers: Workers) -> None:
        """Meet deadlines from now on."""
        self.workers = workers
        self._timer.start()

    def stop(self) -> None:
        """Meet no deadline any more."""
        self._timer.stop()

    def begun(self, held: Held) -> None:
        """A worker begins an attempt."""
        held.begun = True
        timeout_s = held.lease.spec.timeout_s
        if timeout_s is not None and held.stopping is None:
            self._set(held, self._link.clock.now() + timeout_s)

    def over(self, held: Held) -> None:
        """An attempt has reported its outcome."""
        self._deadlines.discard((held.lease.job_id, held.lease.attempt))

    def excuse(self, gap_s: float) -> None:
        """As `Backend.excuse`."""
        for key, at in self._deadlines.items():
            self._deadlines.set(key, at + gap_s)

    def request(self, held: Held, reason: StopReason) -> None:
        """Ask an attempt to stop."""
        if held.stopping is not None or held.over or held.lost:
            return
        held.stopping = held.job.stopping = reason
        self._ask(held)
        self._listeners.publish(StopRequested(held.job, held.lease.attempt))

    def lose(self, held: Held) -> None:
        """Ask an attempt to stop that holds its lease no longer."""
        if held.lost:
            return
        held.lost = True
        if held.over or not held.begun:
            self._attempts.forget(held)
        else:
            self._ask(held)
        self._listeners.publish(LeaseLost(held.job, held.lease.attempt))

    def tick(self) -> float | None:
        """Meet the deadlines that are due."""
        now = self._link.clock.now()
        while (key := self._deadlines.pop_due(now)) is not None:
            held = self._attempts.find(*key)
            if held is None or held.over:
                continue
            if held.stopping is None and not held.lost:
                self.request(held, StopReason.TIMED_OUT)
                self._tell_store(held)
            else:
                self._abandon(held)
        return self.next_at()

    def next_at(self) -> float | None:
        """Return the instant of the next deadline, if any."""
        return self._deadlines.next_at()

    def _ask(self, held: Held) -> None:
        self._set(held, self._link.clock.now() + LEASE_GRACE_S)
        if held.begun and self.workers is not None:
            self.workers.stop(held.lease.job_id, held.lease.attempt)

    def _abandon(self, held: Held) -> None:
        if self.workers is not None:
            self.workers.abandon(held.lease.job_id, held.lease.attempt)
        if held.lost:
            self._attempts.forget(held)
        else:
            self._listeners.publish(LeaseLost(held.job, held.lease.attempt))
            self._conclude(held)

    def _tell_store(self, held: Held) -> None:
        """Have the store know of a timeout; where it was asked to cancel the job before, that holds."""
        args: list[Argument] = [self._process(), held.lease.job_id, held.lease.attempt, StopReason.TIMED_OUT.value]

        def then(told: list[Any] | None, error: Exception | None) -> None:
            if told is None or held.over or held.lost:
                return  # the outcome tells it
            if told[1] == 0:
                self.lose(held)
            elif told[1] == 2:
                held.stopping = held.job.stopping = StopReason(told[2].decode())

        self._link.send("stop", args, then)

    def _set(self, held: Held, at: float) -> None:
        self._deadlines.set((held.lease.job_id, held.lease.attempt), at)
        self._timer.look()
