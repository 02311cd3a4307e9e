"""Watches: waits for jobs that any process may change: until their end, or until they are not as they were seen.

Rules:

1. What this process itself does is told at once, by its events. What others do is found by looks at the jobs that are
   waited for, all that are due in one call.
2. A job is looked at often at first, then less: the wait for the next look grows from `LOOK_S_MIN` to `LOOK_S_MAX`, so
   an end elsewhere is seen that late at most.
3. At most `ON_WAY_MAX` looks are on the way at a time: with more jobs than that, each is looked at less often.
4. Every wait of a job is told once of its end; at most `TOLD_AT_ONCE` in one iteration of the loop.
5. While the store doesn't answer, nothing is told of what others do.
"""

from __future__ import annotations

import asyncio
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Protocol

from jobqueue.backend.timer import Timer
from jobqueue.backend.waits import TOLD_AT_ONCE, UNSEEN_EVENTS
from jobqueue.core.deadlines import Deadlines
from jobqueue.core.events import Ended, Evicted
from jobqueue.core.job import Job, JobId
from jobqueue.core.job_view import JobView, view_of
from jobqueue.errors import JobGone, Overloaded, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from jobqueue.backend.base import ChangeListener
    from jobqueue.backend.store import StoreEndListener
    from jobqueue.backend.valkey.looks import Looks
    from jobqueue.core.events import Event
    from jobqueue.core.job_view import AnyJob
    from jobqueue.errors import JobNotFound

LOOK_S_MIN: Final = 0.05
LOOK_S_MAX: Final = 1.0
GROWTH: Final = 1.5
ON_WAY_MAX: Final = 256

_UNSEEN: Final = frozenset((*UNSEEN_EVENTS, Evicted))


class Watches:
    """The waits of one backend.

    Args:
        missing: Returns why there is no record of an id.
        now: The loop's clock, in seconds.
    """

    def __init__(self, looks: Looks, missing: Callable[[str], JobNotFound | JobGone], now: Callable[[], float]) -> None:
        self._looks = looks
        self._missing = missing
        self._now = now
        self._ends: dict[JobId, dict[StoreEndListener, None]] = {}
        # With the version that each has seen; None: it was removed since.
        self._changes: dict[JobId, dict[ChangeListener, int | None]] = {}
        self._due: Deadlines[JobId] = Deadlines()
        self._waits_s: dict[JobId, float] = {}
        self._on_way: set[JobId] = set()
        self._timer = Timer(self)
        self._timer.start()

    def stop(self) -> None:
        """Look no more."""
        self._timer.stop()

    # -- waits

    def when_ended(self, job_id: JobId, listener: StoreEndListener) -> None:
        """As `StoreBackend.when_ended`."""
        self._ends.setdefault(job_id, {})[listener] = None
        self._watch(job_id)

    def forget(self, job_id: JobId, listener: StoreEndListener) -> None:
        """As `StoreBackend.forget`."""
        _discard(self._ends, job_id, listener)
        self._unwatch(job_id)

    def when_changed(self, seen: Mapping[JobId, int], listener: ChangeListener) -> None:
        """As `StoreBackend.when_changed`."""
        for job_id, version in seen.items():
            self._changes.setdefault(job_id, {})[listener] = version
            self._watch(job_id)

    def forget_changes(self, job_ids: Sequence[JobId], listener: ChangeListener) -> None:
        """As `StoreBackend.forget_changes`."""
        for job_id in job_ids:
            _discard(self._changes, job_id, listener)
            self._unwatch(job_id)

    def ending(self, job_id: JobId) -> asyncio.Future[JobView]:
        """Return the future of a job's record at its end; it has the error if there is no record."""
        ending = _Ending(asyncio.get_running_loop().create_future())
        self.when_ended(job_id, ending)
        ending.future.add_done_callback(lambda _: self.forget(job_id, ending))

        def told(job: Job | Exception | None) -> None:
            if isinstance(job, Job):
                if not job.live:
                    ending.ended(job)
            elif job is None:
                ending.failed(self._missing(job_id))
            elif not isinstance(job, StoreUnavailable | Overloaded):  # else it is looked at again
                ending.failed(job)

        self._looks.read(job_id, told)
        return ending.future

    async def change(self, seen: Mapping[JobId, int]) -> None:
        """As `Backend.wait_for_change`."""
        change = _Change(asyncio.get_running_loop().create_future())
        self.when_changed(seen, change)
        try:
            await change.future
        finally:
            self.forget_changes(tuple(seen), change)

    # -- what happens

    def hear(self, event: Event) -> None:
        """Tell of an event of this process."""
        if not self._waits_s or type(event) in _UNSEEN:
            return
        job: Job | None = getattr(event, "job", None)
        if job is not None and job.id in self._waits_s:
            if isinstance(event, Ended):
                self._tell_end(job)
            self._tell_if_other(job.id, job.version)
            self._unwatch(job.id)

    def gone(self, job_id: JobId) -> None:
        """A record was removed."""
        listeners = self._ends.pop(job_id, None)
        if listeners:
            _tell(iter(listeners), lambda listener: listener.gone(JobGone("evicted")))
        self._tell_if_other(job_id, None)
        self._unwatch(job_id)

    def _tell_end(self, job: AnyJob) -> None:
        listeners = self._ends.pop(job.id, None)
        if listeners:
            record = job if len(listeners) <= TOLD_AT_ONCE else view_of(job)
            _tell(iter(listeners), lambda listener: listener.ended(record))

    def _tell_if_other(self, job_id: JobId, version: int | None) -> None:
        """Tell the listeners that have seen another version than this one."""
        listeners = self._changes.get(job_id)
        if listeners:
            others = [listener for listener, seen in listeners.items() if seen != version]
            for listener in others:
                listeners[listener] = version
            _tell(iter(others), lambda listener: listener.changed())

    # -- looks

    def tick(self) -> float | None:
        """Look at the jobs that are due."""
        now = self._now()
        while len(self._on_way) < ON_WAY_MAX and (job_id := self._due.pop_due(now)) is not None:
            if job_id in self._waits_s and job_id not in self._on_way:
                self._on_way.add(job_id)
                self._looks.read(job_id, partial(self._seen, job_id))
        return self.next_at()

    def next_at(self) -> float | None:
        """Return when the next job is due, if any."""
        return self._due.next_at() if len(self._on_way) < ON_WAY_MAX else None

    def _seen(self, job_id: JobId, job: Job | Exception | None) -> None:
        self._on_way.discard(job_id)
        if job is None:
            self.gone(job_id)
        elif isinstance(job, Job):
            if not job.live:
                self._tell_end(job)
            self._tell_if_other(job.id, job.version)
        if job_id in self._waits_s:
            wait_s = self._waits_s[job_id]
            self._waits_s[job_id] = min(LOOK_S_MAX, wait_s * GROWTH)
            self._due.set(job_id, self._now() + wait_s)
            self._unwatch(job_id)
        self._timer.look()

    def _watch(self, job_id: JobId) -> None:
        if job_id not in self._waits_s:
            self._waits_s[job_id] = LOOK_S_MIN
            self._due.set(job_id, self._now() + LOOK_S_MIN)
            self._timer.look()

    def _unwatch(self, job_id: JobId) -> None:
        if job_id not in self._ends and job_id not in self._changes:
            self._waits_s.pop(job_id, None)
            self._due.discard(job_id)


class _Ending:
    """A wait for a job's end, by a future."""

    __slots__ = ("future",)

    def __init__(self, future: asyncio.Future[JobView]) -> None:
        self.future = future

    def ended(self, job: AnyJob) -> None:
        if not self.future.done():
            self.future.set_result(job if isinstance(job, JobView) else view_of(job))

    def gone(self, error: JobGone) -> None:
        self.failed(error)

    def failed(self, error: Exception) -> None:
        if not self.future.done():
            self.future.set_exception(error)


class _Change:
    """A wait of a coroutine for a change."""

    __slots__ = ("future",)

    def __init__(self, future: asyncio.Future[None]) -> None:
        self.future = future

    def changed(self) -> None:
        if not self.future.done():
            self.future.set_result(None)


class _Named(Protocol):
    """A listener of any kind."""


def _discard(listeners: dict[JobId, dict[Any, Any]], job_id: JobId, listener: _Named) -> None:
    of_job = listeners.get(job_id)
    if of_job is not None:
        of_job.pop(listener, None)
        if not of_job:
            del listeners[job_id]


def _tell(listeners: Iterator[Any], call: Callable[[Any], None]) -> None:
    told = 0
    for listener in islice(listeners, TOLD_AT_ONCE):
        told += 1
        try:
            call(listener)
        except Exception as error:  # its own fault: the others are told all the same
            context = {"message": "a wait for a job raised", "exception": error}
            asyncio.get_running_loop().call_exception_handler(context)
    if told == TOLD_AT_ONCE:
        asyncio.get_running_loop().call_soon(_tell, listeners, call)
