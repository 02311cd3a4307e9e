"""The jobs that have a stream of their own, or had one lately: their events are recorded, whether or not all are.

Rules:

1. A job is watched from its first stream until `RECORD_S` after its last one has left, so that a client that reconnects
   has missed nothing.
2. At most `LEFT_MAX` jobs are watched that have no stream any more: those whose last streams left latest.
3. Each watch has a tag of its own, with which the ids in its streams begin. No stream can be resumed after an id of an
   earlier watch: between the two, events were not recorded.
"""

from __future__ import annotations

import asyncio
import secrets
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobqueue.http.streams.subscriber import Subscriber

RECORD_S = 60.0
"""Seconds for which events are recorded after the last stream has left."""

LEFT_MAX = 4096

RESOLUTION_S = 0.001


class Watch:
    """The watch of one job.

    Args:
        tag: Begins the ids in its streams.
        since: The number of the last event before it: all events of the job after that are recorded.

    Attributes:
        subscribers: Its streams; hardly ever more than one.
    """

    __slots__ = ("since", "subscribers", "tag")

    def __init__(self, tag: str, since: int) -> None:
        self.tag = tag
        self.since = since
        self.subscribers: tuple[Subscriber, ...] = ()


class WatchedJobs:
    """All watches.

    Args:
        on_lapse: Called after watches have ended by their time.

    Attributes:
        by_id: The watches, by the job's id.
        streams: The number of their streams.
    """

    def __init__(self, on_lapse: Callable[[], object]) -> None:
        self.by_id: dict[str, Watch] = {}
        self.streams = 0
        self._on_lapse = on_lapse
        # When the last stream of a job left, the earliest first.
        self._left: dict[str, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, job_id: str, subscriber: Subscriber, last: int, all_since: tuple[str, int] | None) -> None:
        """Add a stream of a job, which is watched from now on, if it is not already.

        Args:
            last: The number of the latest recorded event.
            all_since: Tag and beginning of the recording of all events, which has the job's; None: there is none.
        """
        watch = self.by_id.get(job_id)
        if watch is None:
            watch = self.by_id[job_id] = Watch(*(all_since or (new_tag(), last)))
        watch.subscribers = (*watch.subscribers, subscriber)
        self._left.pop(job_id, None)
        self.streams += 1

    def leave(self, job_id: str, subscriber: Subscriber, *, stays: bool) -> None:
        """Take a stream of a job out. Args: stays: The job is watched for a while yet."""
        watch = self.by_id[job_id]
        watch.subscribers = tuple(each for each in watch.subscribers if each is not subscriber)
        self.streams -= 1
        if watch.subscribers:
            return
        if not stays:
            del self.by_id[job_id]
        else:
            loop = asyncio.get_running_loop()
            self._left[job_id] = loop.time()
            if len(self._left) > LEFT_MAX:
                self._end(1)
            if self._timer is None:
                self._timer = loop.call_later(RECORD_S, self._lapse)

    def begin_anew(self, last: int) -> None:
        """The recording begins anew after an event's number: end the watches without a stream, and renew the others."""
        self._end(len(self._left))
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for watch in self.by_id.values():
            watch.tag, watch.since = new_tag(), last

    def _end(self, count: int) -> None:
        """End the watches of those jobs without a stream that were left first."""
        for job_id in [*islice(self._left, count)]:
            del self._left[job_id], self.by_id[job_id]

    def _lapse(self) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() - RECORD_S + RESOLUTION_S
        self._end(sum(left_at <= until for left_at in self._left.values()))
        first = next(iter(self._left.values()), None)
        self._timer = None if first is None else loop.call_at(first + RECORD_S, self._lapse)
        self._on_lapse()


def new_tag() -> str:
    """Return a tag that no other recording has."""
    return secrets.token_hex(6)
