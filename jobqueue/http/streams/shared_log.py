"""The events of all servers of a store, for the streams of this one.

It has the operations of `EventLog`. Rules:

1. The store is read while there are streams, and for `RECORD_S` after the last one has left. Nothing is kept here: what
   a stream has missed is read from the store again.
2. An event's id is the store's, so a stream that breaks is resumed at any server. After an id that the store can't go
   on from, the client must read the statuses again.
3. A stream has each event once: what it has read of the store is skipped when it is heard, and a stream of one job
   skips what the state that it has begun with tells already (`JobNews.version`).
4. Where events are missing, because the store was gone for too long, streams of all jobs get the event `reset`, and
   those of one job end: the client comes back, and gets the job's state.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

from jobqueue.backend.store import JobNews, order_of
from jobqueue.core.job import LIVE
from jobqueue.errors import Refused
from jobqueue.http.streams.event_names import NAMES, name_of_state
from jobqueue.http.streams.event_ring import Seen
from jobqueue.http.streams.event_writer import RESET, EventWriter, frame
from jobqueue.http.streams.steering_events import steering_data
from jobqueue.http.streams.subscriber import PIECE_BYTES
from jobqueue.http.streams.watched_jobs import RECORD_S

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from jobqueue.backend.store import EventSource, SharedEvent
    from jobqueue.core.job_view import AnyJob
    from jobqueue.http.streams.subscriber import Subscriber
    from jobqueue.service import Service

READ_AT_ONCE = 500
"""Events that a stream which comes back reads at once."""

_ID = re.compile(r"([0-9]{1,20})-([0-9]{1,20})")


class _Place:
    """Where a stream is in the order of all events.

    Attributes:
        at: The id of the last event that it has, or skips.
        missed: Events that were read for it, and not yet sent; None: it has all that it has missed.
        version: That of its job's record, as the stream has told it; -1: it has not.
    """

    __slots__ = ("at", "missed", "version")

    def __init__(self, at: str) -> None:
        self.at = at
        self.missed: list[SharedEvent] | None = None
        self.version = -1


class SharedLog:
    """The events of all servers, and the streams of this one."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._writer = EventWriter()
        self._source: EventSource | None = None
        self._beginning: asyncio.Task[None] | None = None
        self._latest = "0-0"
        self._places: dict[Subscriber, _Place] = {}
        self._to_all: dict[Subscriber, None] = {}
        self._of_jobs: dict[str, dict[Subscriber, None]] = {}
        self._idle: asyncio.TimerHandle | None = None

    @property
    def count(self) -> int:
        """Number of streams."""
        return len(self._places)

    def last_id(self, subscriber: Subscriber) -> str:
        """The id of the latest event that a stream has, or could have had."""
        return self._places[subscriber].at

    def compact(self) -> None:
        """Drop what is written once for several events."""
        self._writer.forget()

    # -- streams

    async def join(self, subscriber: Subscriber) -> None:
        """Add a stream of all later events. Raises StoreUnavailable."""
        if self._source is not self._service.store.events:  # nothing is heard, or the queue was restarted
            if self._beginning is None:
                self._beginning = asyncio.create_task(self._begin())
            await asyncio.shield(self._beginning)
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        self._places[subscriber] = _Place(self._latest)
        if subscriber.job_id is None:
            self._to_all[subscriber] = None
        else:
            self._of_jobs.setdefault(subscriber.job_id, {})[subscriber] = None

    async def _begin(self) -> None:
        try:
            source = self._service.store.events
            self._latest = await source.begin(self._hear, self._on_gap)
            self._source = source
        finally:
            self._beginning = None

    def leave(self, subscriber: Subscriber) -> None:
        """Take a stream out."""
        self._places.pop(subscriber, None)
        self._to_all.pop(subscriber, None)
        streams = self._of_jobs.get(subscriber.job_id or "", {})
        streams.pop(subscriber, None)
        if subscriber.job_id is not None and not streams:
            self._of_jobs.pop(subscriber.job_id, None)
        if not self._places and self._idle is None and self._source is not None:
            self._idle = asyncio.get_running_loop().call_later(RECORD_S, self.stop)

    def stop(self) -> None:
        """Hear no more."""
        if self._source is not None:
            self._source.end()
            self._source = None
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        self._writer.forget()

    # -- what was missed

    async def resume(self, subscriber: Subscriber, event_id: str) -> bool:
        """Read the events after this id; return whether the stream can be resumed after it. Raises StoreUnavailable."""
        if _ID.fullmatch(event_id) is None or self._source is None:
            return False
        place = self._places[subscriber]
        place.missed = []  # it hears nothing meanwhile
        missed = await self._source.after(event_id, READ_AT_ONCE)
        if missed is None:
            place.missed = None
            return False
        place.at = event_id
        self._take(place, missed)
        return True

    async def replay(self, subscriber: Subscriber) -> bytes | None:
        """Return the next events that a stream has missed; empty: none; None: the store doesn't have them any more."""
        place = self._places[subscriber]
        frames: list[bytes] = []
        while place.missed is not None:
            frames += self._frames_for(subscriber, place.missed)
            place.missed = []
            if sum(map(len, frames)) >= PIECE_BYTES:
                break
            if self._source is None:
                return None
            try:
                missed = await self._source.after(place.at, READ_AT_ONCE)
            except Refused:
                missed = None
            if missed is None:
                return None
            self._take(place, missed)
        return b"".join(frames)

    def _take(self, place: _Place, missed: Sequence[SharedEvent]) -> None:
        """Take what was read for a stream; if there was nothing more to read, it has missed nothing."""
        place.missed = [*missed]
        if missed:
            place.at = missed[-1].id
        elif order_of(place.at) >= order_of(self._latest):
            place.missed = None

    def _frames_for(self, subscriber: Subscriber, events: Iterable[SharedEvent]) -> list[bytes]:
        """Return the events that a stream has, of those that it has missed."""
        found = []
        for event in events:
            news = event.news
            if subscriber.job_id is not None and (not isinstance(news, JobNews) or news.id != subscriber.job_id):
                continue
            if _may_see(subscriber, event):
                found.append(self._framed(event))
            if subscriber.job_id is not None and isinstance(news, JobNews) and news.state not in LIVE:
                subscriber.end()
        return found

    # -- what is heard

    def _hear(self, events: Sequence[SharedEvent]) -> None:
        for event in events:
            self._latest = event.id
            news = event.news
            of_job = self._of_jobs.get(news.id) if isinstance(news, JobNews) else None
            if not self._to_all and not of_job:
                continue
            framed = self._framed(event)
            for subscriber in (*self._to_all, *(of_job or ())):
                self._offer(subscriber, event, framed)

    def _offer(self, subscriber: Subscriber, event: SharedEvent, framed: bytes) -> None:
        """Give an event to a stream that has not read it yet, and may see it."""
        place, news = self._places[subscriber], event.news
        if place.missed is not None or order_of(event.id) <= order_of(place.at):
            return
        place.at = event.id
        if not _may_see(subscriber, event):
            return
        if isinstance(news, JobNews) and subscriber.job_id is not None:
            if news.version <= place.version:
                return
            subscriber.offer(framed)
            if news.state not in LIVE:
                subscriber.end()
        else:
            subscriber.offer(framed)

    def _on_gap(self, at: str) -> None:
        self._latest = at
        for subscriber in self._to_all:
            self._places[subscriber].at = at
            subscriber.offer(frame(self._latest, "reset", RESET))
        for streams in self._of_jobs.values():
            for subscriber in streams:
                subscriber.end()

    # -- writing

    def of_job(self, job_id: str) -> bytes:
        """Return the latest recorded events of a job, as JSON: null, as they are not kept here."""
        return b"null"

    def state_frame(self, subscriber: Subscriber, job: AnyJob) -> bytes:
        """Return the present state of a stream's job as the event that led to it."""
        place, service = self._places[subscriber], self._service
        place.version = job.version
        at = service.wall(service.store.now())
        seen = Seen(job.id, job.spec, job.state, job.attempt, job.progress, job.error, at)
        return frame(place.at, name_of_state(job), self._writer.write(seen))

    def _framed(self, event: SharedEvent) -> bytes:
        news = event.news
        if isinstance(news, JobNews):
            seen = Seen(news.id, news.spec, news.state, news.attempt, news.progress, news.error, event.at)
            return frame(event.id, news.name, self._writer.write(seen))
        return frame(event.id, NAMES[type(news)], steering_data(news, self._service, event.at))


def _may_see(subscriber: Subscriber, event: SharedEvent) -> bool:
    owner = event.news.owner if isinstance(event.news, JobNews) else None
    return subscriber.sees is None or subscriber.sees == owner
