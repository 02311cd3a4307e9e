"""Ticks: the work of the store that is due at a time, done by any process that finds it due.

Rules:

1. A tick is called when the earliest deadline that this process knows of is due, and at least every `TICK_S`; a little
   later by chance, so that not all processes call at once. Each does a bounded portion, and says when to call again.
2. What a tick has ended (expired jobs, and those lost with their process that have no attempt left) is told by this
   process, as an event.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from jobqueue.backend.timer import Timer
from jobqueue.core.events import AttemptFailed, Ended, Expired, Resumed
from jobqueue.core.job import EXPIRED, FAILED, Job, JobId
from jobqueue.core.report import ErrorCode, Failure
from jobqueue.log import event_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from random import Random

    from jobqueue.backend.valkey.link import Link
    from jobqueue.backend.valkey.listeners import Listeners
    from jobqueue.backend.valkey.looks import Looks

TICK_S: Final = 1.0
STEPS_MAX: Final = 100
JITTER_S: Final = 0.01

log = event_logger(__name__)


class Ticks:
    """Calls the store's `tick` in time.

    Args:
        rng: Draws the jitter.
        on_ready: Called where jobs may be leased.
        on_evicted: Is told the id of each record that was removed.
    """

    def __init__(
        self,
        link: Link,
        looks: Looks,
        listeners: Listeners,
        *,
        rng: Random,
        on_ready: Callable[[], None],
        on_evicted: Callable[[JobId], None],
    ) -> None:
        self._link, self._looks, self._listeners = link, looks, listeners
        self._rng = rng
        self._on_ready, self._on_evicted = on_ready, on_evicted
        self._at = 0.0
        self._on_way = False
        self._timer = Timer(self)

    def start(self) -> None:
        """Tick from now on."""
        self._timer.start()

    def stop(self) -> None:
        """Tick no more."""
        self._timer.stop()

    def note_at(self, at: float) -> None:
        """A deadline of the store is due then."""
        if at < self._at:
            self._at = max(at, self._link.clock.now()) + self._rng.uniform(0.0, JITTER_S)
            self._timer.look()

    def next_at(self) -> float | None:
        """Return when to tick next; None: one is on its way."""
        return None if self._on_way else self._at

    def tick(self) -> float | None:
        """Tick, if it is time."""
        now = self._link.clock.now()
        if not self._on_way and now >= self._at:
            self._on_way = True
            self._at = now + TICK_S
            self._link.send("tick", [STEPS_MAX], self._take)
        return self.next_at()

    def _take(self, told: list[Any] | None, error: Exception | None) -> None:
        self._on_way = False
        if told is not None:
            _, next_at, promoted, expired, evicted, requeued, failed, resumed, dead = told[:9]
            if next_at >= 0:
                self.note_at(self._link.clock.at(next_at))
            for name, info in _rows(dead, 2):
                log.warning("server.lost", server=_shown(info) or name.decode(), name=name.decode())
            for queue in resumed:
                self._listeners.publish(Resumed(queue.decode()))
            for job_id in evicted:
                self._on_evicted(JobId(job_id.decode()))
            for job_id in expired:
                self._looks.dropped(job_id.decode())
                self._looks.read(job_id.decode(), self._tell_expired)
            for job_id, _, _ in _rows(failed, 3):
                self._looks.read(job_id.decode(), self._tell_failed)
            for job_id, attempt, info in _rows(requeued, 3):
                log.info("attempt.lost", job_id=job_id.decode(), attempt=int(attempt), server=_shown(info))
            if promoted or requeued or resumed:
                self._on_ready()
        self._timer.look()

    def _tell_expired(self, job: Job | Exception | None) -> None:
        if isinstance(job, Job) and job.state is EXPIRED:
            self._listeners.publish(Expired(job), Ended(job))

    def _tell_failed(self, job: Job | Exception | None) -> None:
        if isinstance(job, Job) and job.state is FAILED and job.finished_at is not None:
            message = "" if job.error is None else job.error.message
            failure = Failure(ErrorCode.WORKER_CRASHED, message)
            self._listeners.publish(AttemptFailed(job, job.attempt, failure, job.finished_at), Ended(job))


def _rows(flat: list[Any], width: int) -> Iterator[list[Any]]:
    """Yield the rows of a flat list."""
    return (flat[start : start + width] for start in range(0, len(flat), width))


def _shown(info: bytes) -> str:
    """Return the host and the pid of a process, as it has told them."""
    return info.decode("utf-8", "replace")
