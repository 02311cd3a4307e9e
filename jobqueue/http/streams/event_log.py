"""The event log: job events as server-sent events, for present subscribers and for reconnecting ones.

It keeps a ring of the latest events, and a bounded buffer for each subscriber; `events` opens the streams.

Rules:

1. Events are recorded only while there are subscribers, and for `RECORD_S` after the
   last one left, so that a reconnecting one has missed nothing.
2. An event's id has the recording and the position in it. A stream can't be resumed after an id of another recording,
   or one that the ring has dropped: the client must read the statuses again.
3. A subscriber with more than `BACKLOG_BYTES_MAX` unread is cut. It does not delay others.
4. A subscriber of all jobs gets the events of those that it may see. The positions in ids count those of all jobs.

The form is that of WHATWG's HTML standard, section "Server-sent events".
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, Any

import msgspec
import orjson

from jobqueue.core.events import (
    BackedOff,
    Ended,
    Progressed,
    Quarantined,
    Ready,
    Released,
    Started,
    StopRequested,
    Submitted,
)
from jobqueue.core.job import JobState
from jobqueue.errors import shown
from jobqueue.http.response.timestamps import timestamp

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobqueue.backend.base import LocalBackend
    from jobqueue.core.events import Event
    from jobqueue.core.job import Job
    from jobqueue.core.job_view import AnyJob
    from jobqueue.service import Service

RING_MAX = 4096
RECORD_S = 60.0
BACKLOG_BYTES_MAX = 256 * 1024
"""Maximum bytes that wait for a subscriber, beside its connection's buffer; of one job's events a quarter."""

PIECE_BYTES = 64 * 1024
"""Bytes written at once: a connection's buffer holds less, unsent."""

REASON_LENGTH_MAX = 200

HEARTBEAT = b":\n\n"

_EVENT_ID = re.compile(r"([0-9a-f]{12})-([0-9]{1,15})")


class Recorded(msgspec.Struct, frozen=True, gc=False):
    """An event in the ring."""

    serial: int
    job_id: str | None
    owner: str | None
    frame: bytes


class Subscriber:
    """One open stream, with the events that wait to be written.

    Args:
        job_id: The job of the stream; None: all jobs.
        cut: Cuts the connection; called when its client is too slow.
        sees: To whom the jobs of its events belong; None: to all, and it has the events of types, too.

    Attributes:
        replayed_to: The serial of the last event that was replayed; None: the replay is complete.
    """

    def __init__(self, job_id: str | None, cut: Callable[[], None], sees: str | None = None) -> None:
        self.job_id = job_id
        self.sees = sees
        self.replayed_to: int | None = None
        self._cut = cut
        self._backlog_bytes_max = BACKLOG_BYTES_MAX if job_id is None else BACKLOG_BYTES_MAX // 4
        self._frames: list[bytes] = []
        self._size_bytes = 0
        self._over = False
        self._news: asyncio.Future[None] | None = None

    def offer(self, frame: bytes) -> None:
        """Add an event, unless the replay, which is not complete, will reach it in the ring."""
        if self._over or self.replayed_to is not None:
            return
        self._size_bytes += len(frame)
        if self._size_bytes > self._backlog_bytes_max:
            self._frames.clear()
            self.end()
            self._cut()
            return
        self._frames.append(frame)
        self._wake()

    def end(self) -> None:
        """End the stream once the waiting events are written."""
        self._over = True
        self._wake()

    async def take(self, heartbeat_s: float) -> bytes | None:
        """Wait for the next events and return them; a comment if none came in time; None: the stream is over."""
        if not self._frames and not self._over:
            loop = asyncio.get_running_loop()
            self._news = loop.create_future()
            timer = loop.call_later(heartbeat_s, self._wake)
            try:
                await self._news
            finally:
                timer.cancel()
                self._news = None
        if self._frames:
            return self._next_piece()
        return None if self._over else HEARTBEAT

    def _next_piece(self) -> bytes:
        count = size_bytes = 0
        while size_bytes < PIECE_BYTES and count < len(self._frames):
            size_bytes += len(self._frames[count])
            count += 1
        piece = b"".join(self._frames[:count])
        del self._frames[:count]
        self._size_bytes -= size_bytes
        return piece

    def _wake(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)


class EventLog:
    """The recording of a queue's events, and its subscribers."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._backend: LocalBackend | None = None
        self._stop_listening: Callable[[], None] | None = None
        self._idle: asyncio.TimerHandle | None = None
        self._tag = ""
        self._serial = 0
        self._ring: deque[Recorded] = deque(maxlen=RING_MAX)
        self._to_all: set[Subscriber] = set()
        self._by_job: dict[str, set[Subscriber]] = {}

    @property
    def recording(self) -> bool:
        return self._backend is not None

    @property
    def count_of_all(self) -> int:
        """Number of subscribers of all jobs."""
        return len(self._to_all)

    @property
    def last_id(self) -> str:
        """The id of the latest event, or of none yet: a client with this id has missed nothing."""
        return f"{self._tag}-{self._serial}"

    def join(self, subscriber: Subscriber) -> None:
        """Add a subscriber to all later events."""
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        if self._backend is not self._service.local:  # there were no subscribers, or the queue was restarted
            self.stop()
            self._backend = self._service.local
            self._tag, self._serial = secrets.token_hex(6), 0
            self._stop_listening = self._backend.subscribe(self._on_event)
        self._peers(subscriber).add(subscriber)

    def leave(self, subscriber: Subscriber) -> None:
        peers = self._peers(subscriber)
        peers.discard(subscriber)
        if not peers and subscriber.job_id is not None:
            del self._by_job[subscriber.job_id]
        if not self._to_all and not self._by_job and self.recording:
            self._idle = asyncio.get_running_loop().call_later(RECORD_S, self.stop)

    def stop(self) -> None:
        """Stop recording, and drop the recording."""
        if self._stop_listening is not None:
            self._stop_listening()
        self._backend = self._stop_listening = None
        self._ring.clear()
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None

    def serial_of(self, event_id: str) -> int | None:
        """Return the serial of the event with this id; None: the stream can't be resumed after it."""
        match = _EVENT_ID.fullmatch(event_id)
        if match is None or match[1] != self._tag:
            return None
        serial = int(match[2])
        return serial if self._first - 1 <= serial <= self._serial else None

    def replay(self, subscriber: Subscriber) -> bytes | None:
        """Return the next events that a subscriber has missed; empty: none; None: the ring has dropped them."""
        serial = subscriber.replayed_to
        if serial is None:
            return b""
        if serial < self._first - 1:
            return None
        frames, size_bytes = [], 0
        for recorded in islice(self._ring, serial + 1 - self._first, None):
            serial = recorded.serial
            if subscriber.sees is not None and recorded.owner != subscriber.sees:
                continue
            if subscriber.job_id is None or recorded.job_id == subscriber.job_id:
                frames.append(recorded.frame)
                size_bytes += len(recorded.frame)
                if size_bytes >= PIECE_BYTES:
                    break
        subscriber.replayed_to = serial if serial < self._serial else None
        return b"".join(frames)

    @property
    def _first(self) -> int:
        return self._ring[0].serial if self._ring else self._serial + 1

    def state_frame(self, job: AnyJob) -> bytes:
        """Return a job's present state as the event that led to it."""
        return frame(self.last_id, _name_of_state(job), self._job_data(job))

    def _on_event(self, event: Event) -> None:
        name = _name_of(event)
        if name is None:
            return
        job: Job | None = None
        if isinstance(event, Quarantined | Released):
            data = self._type_data(event)
        else:
            job = event.job  # type: ignore[union-attr]  # events with a name and without a job were handled above
            data = self._job_data(job)
        self._serial += 1
        framed = frame(self.last_id, name, data)
        owner = None if job is None or job.uniqueness is None else job.uniqueness.owner
        self._ring.append(Recorded(self._serial, None if job is None else job.id, owner, framed))
        for subscriber in self._to_all:
            if subscriber.sees is None or subscriber.sees == owner:
                subscriber.offer(framed)
        if job is not None:
            for subscriber in self._by_job.get(job.id, ()):
                subscriber.offer(framed)
                if not job.live:
                    subscriber.end()

    def _peers(self, subscriber: Subscriber) -> set[Subscriber]:
        if subscriber.job_id is None:
            return self._to_all
        return self._by_job.setdefault(subscriber.job_id, set())

    def _job_data(self, job: AnyJob) -> dict[str, Any]:
        progress = job.progress
        return {
            "id": job.id,
            "type": job.spec.type,
            "queue": job.spec.queue,
            "group": job.spec.group,
            "state": job.state,
            "attempt": job.attempt,
            "progress": None if progress is None else {"fraction": progress.fraction, "note": progress.note},
            "error": None if job.error is None else {"code": job.error.code},
            "at": self._now(),
        }

    def _type_data(self, event: Quarantined | Released) -> dict[str, Any]:
        data: dict[str, Any] = {"type": event.type, "at": self._now()}
        if isinstance(event, Quarantined):
            data |= {
                "until": timestamp(self._service.wall(event.until)),
                "reason": shown(event.reason, REASON_LENGTH_MAX),
            }
        return data

    def _now(self) -> str:
        return timestamp(self._service.wall(self._service.backend.now()))


def frame(event_id: str, name: str, data: dict[str, Any]) -> bytes:
    """Write one event; its data is one line, because JSON has no line breaks of its own."""
    return b"id: %b\nevent: %b\ndata: %b\n\n" % (event_id.encode(), name.encode(), orjson.dumps(data))


def _name_of(event: Event) -> str | None:
    """Return the name of an event in streams; None if it changes nothing that a client sees."""
    match event:
        case Submitted():
            return "submitted"
        case Ready(job=job):
            # A new job's first queueing is covered by `submitted`.
            return "queued" if job.version else None
        case Started():
            return "started"
        case Progressed(job=job):
            return "progress" if job.state is JobState.RUNNING else "changed"
        case StopRequested():
            return "stopping"
        case BackedOff():
            return "retrying"
        case Ended(job=job):
            return job.state
        case Quarantined():
            return "quarantined"
        case Released():
            return "released"
        case _:
            return None


def _name_of_state(job: AnyJob) -> str:
    match job.state:
        case JobState.RUNNING:
            return "started"
        case JobState.DELAYED:
            return "retrying" if job.attempt > job.attempts_before else "submitted"
        case JobState.QUEUED:
            return "queued" if job.version else "submitted"
        case _:
            return job.state
