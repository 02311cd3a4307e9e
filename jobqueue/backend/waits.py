"""Waits for jobs of this process: until a job's end, or until any of some jobs changes.

Rules:

1. Every wait of a job is told once, the first ones within the step of the loop in which it happens.
2. At most `TOLD_AT_ONCE` are told per loop iteration. Later ones get the record as it was at its end, though it may
   have been evicted meanwhile.
"""

from __future__ import annotations

import asyncio
from itertools import islice
from typing import TYPE_CHECKING

from jobqueue.core.events import (
    AttemptFailed,
    Debounced,
    Event,
    Evicted,
    Expired,
    FlowChanged,
    KeyShared,
    Offered,
    Paused,
    PolicyChanged,
    Quarantined,
    Released,
    Requeued,
    Resumed,
    Retried,
    RunNow,
    Together,
)
from jobqueue.core.job_view import JobView, view_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jobqueue.backend.base import ChangeListener, EndListener
    from jobqueue.core.job import Job, JobId
    from jobqueue.core.job_view import AnyJob

TOLD_AT_ONCE = 100
"""Waits of one job that are told per loop iteration."""

UNSEEN_EVENTS = (
    *(Offered, AttemptFailed, Expired, Quarantined, Released, Paused, Resumed, PolicyChanged),
    *(KeyShared, Debounced, RunNow, Retried, Requeued, Together, FlowChanged),
)
"""Events that change nothing of a job that its clients see, or that come with one that tells of it."""


class Waits:
    """The waits of one backend.

    Attributes:
        ends: The listeners of each live job's end, in the order of their coming.
        changes: The listeners of each job's changes; one may stand under several jobs.
    """

    def __init__(self) -> None:
        self.ends: dict[JobId, dict[EndListener, None]] = {}
        self.changes: dict[JobId, dict[ChangeListener, None]] = {}

    def add(self, job_id: JobId, listener: EndListener) -> None:
        """Tell a listener of the end of a live job."""
        listeners = self.ends.get(job_id)
        if listeners is None:
            self.ends[job_id] = {listener: None}
        else:
            listeners[listener] = None

    def remove(self, job_id: JobId, listener: EndListener) -> None:
        """Forget a listener, if it is not told already."""
        listeners = self.ends.get(job_id)
        if listeners is not None and listener in listeners:
            del listeners[listener]
            if not listeners:
                del self.ends[job_id]

    async def end(self, job_id: JobId) -> JobView:
        """Return the record at the end of a live job."""
        waiting = _Ending(asyncio.get_running_loop().create_future())
        self.add(job_id, waiting)
        try:
            return await waiting.future
        finally:
            self.remove(job_id, waiting)

    def ending(self, job_id: JobId) -> asyncio.Future[JobView]:
        """Return the future of that record."""
        waiting = _Ending(asyncio.get_running_loop().create_future())
        self.add(job_id, waiting)
        waiting.future.add_done_callback(lambda _: self.remove(job_id, waiting))  # it may be cancelled
        return waiting.future

    def add_change(self, job_ids: Sequence[JobId], listener: ChangeListener) -> None:
        """Tell a listener of changes of any of these jobs."""
        for job_id in job_ids:
            self.changes.setdefault(job_id, {})[listener] = None

    def remove_change(self, job_ids: Sequence[JobId], listener: ChangeListener) -> None:
        """Forget a listener of changes."""
        for job_id in job_ids:
            listeners = self.changes.get(job_id)
            if listeners is not None:
                listeners.pop(listener, None)
                if not listeners:
                    del self.changes[job_id]

    async def change(self, job_ids: Sequence[JobId]) -> None:
        """Return once any of these records has changed, or was removed."""
        waiting = _Change(asyncio.get_running_loop().create_future())
        self.add_change(job_ids, waiting)
        try:
            await waiting.future
        finally:
            self.remove_change(job_ids, waiting)

    def ended(self, job: Job) -> None:
        """Tell the listeners of a job that has just ended."""
        listeners = self.ends.pop(job.id, None)
        if listeners is not None:
            if len(listeners) <= TOLD_AT_ONCE:
                for listener in listeners:
                    listener.ended(job)
            else:
                _tell_of_end(iter(listeners), view_of(job))

    def changed(self, event: Event) -> None:
        """Tell the listeners of the event's job."""
        jobs = event.jobs if isinstance(event, Evicted) else () if isinstance(event, UNSEEN_EVENTS) else (event.job,)
        for job in jobs:
            listeners = self.changes.get(job.id)
            if listeners:
                _tell_of_change(iter(tuple(listeners)))


class _Ending:
    """A wait for a job's end, by a future."""

    __slots__ = ("future",)

    def __init__(self, future: asyncio.Future[JobView]) -> None:
        self.future = future

    def ended(self, job: AnyJob) -> None:
        if not self.future.done():
            self.future.set_result(job if isinstance(job, JobView) else view_of(job))


class _Change:
    """A wait of a coroutine for a change."""

    __slots__ = ("future",)

    def __init__(self, future: asyncio.Future[None]) -> None:
        self.future = future

    def changed(self) -> None:
        if not self.future.done():
            self.future.set_result(None)


def _tell_of_end(listeners: Iterator[EndListener], job: JobView) -> None:
    told = 0
    for listener in islice(listeners, TOLD_AT_ONCE):
        told += 1
        listener.ended(job)
    if told == TOLD_AT_ONCE:
        asyncio.get_running_loop().call_soon(_tell_of_end, listeners, job)


def _tell_of_change(listeners: Iterator[ChangeListener]) -> None:
    told = 0
    for listener in islice(listeners, TOLD_AT_ONCE):
        told += 1
        listener.changed()
    if told == TOLD_AT_ONCE:
        asyncio.get_running_loop().call_soon(_tell_of_change, listeners)
