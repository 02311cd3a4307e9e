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
from jobqueue.core.job import RUNNING, JobId, JobSpec, JobState
from jobqueue.core.report import JobError, Progress
from jobqueue.errors import shown
from jobqueue.http.response.timestamps import json_timestamp, timestamp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from jobqueue.backend.base import LocalBackend
    from jobqueue.core.events import Event, JobEvent
    from jobqueue.core.job_view import AnyJob
    from jobqueue.service import Service

RING_MAX = 4096
RECORD_S = 60.0
OF_JOB_MAX = 50
"""Events of one job that are given at once."""

BACKLOG_BYTES_MAX = 256 * 1024
"""Maximum bytes that wait for a subscriber, beside its connection's buffer; of one job's events a quarter."""

PIECE_BYTES = 64 * 1024
"""Bytes written at once: a connection's buffer holds less, unsent."""

REASON_LENGTH_MAX = 200

SPECS_MAX = 1024

HEARTBEAT = b":\n\n"

_NAMES: dict[type[Event], str] = {
    Submitted: "submitted",
    Started: "started",
    StopRequested: "stopping",
    BackedOff: "retrying",
    Quarantined: "quarantined",
    Released: "released",
}
"""Names of events in streams, where the type decides; `_name_of` has the others."""

_OF_TYPES = (Quarantined, Released)

_encode = orjson.dumps

_EVENT_ID = re.compile(r"([0-9a-f]{12})-([0-9]{1,15})")


class Seen(msgspec.Struct, frozen=True, gc=False):
    """A job as an event shows it; `at` is in Unix seconds. It is written only for a subscriber."""

    id: JobId
    spec: JobSpec
    state: JobState
    attempt: int
    progress: Progress | None
    error: JobError | None
    at: float


class Recorded(msgspec.Struct, frozen=True, gc=False):
    """An event in the ring; `told` is what it shows: a job, or JSON."""

    serial: int
    name: str
    told: Seen | bytes
    owner: str | None

    def is_for(self, subscriber: Subscriber) -> bool:
        if subscriber.sees is not None and subscriber.sees != self.owner:
            return False
        return subscriber.job_id is None or (isinstance(self.told, Seen) and self.told.id == subscriber.job_id)


class Subscriber:
    """One open stream, with the events that wait to be written.

    Args:
        job_id: The job of the stream; None: all jobs.
        cut: Cuts the connection; called when its client is too slow.
        sees: The owner of the jobs of its events; None: any owner, and it has the events of types, too.

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
        self._stop_listening: Callable[[], object] | None = None
        self._idle: asyncio.TimerHandle | None = None
        self._tag = ""
        self._serial = 0
        self._ring: deque[Recorded] = deque(maxlen=RING_MAX)
        self._to_all: set[Subscriber] = set()
        self._by_job: dict[str, set[Subscriber]] = {}
        # What a spec is in the events of its jobs, by the spec's identity: each is kept, so that no other gets its id.
        self._of_specs: dict[int, tuple[JobSpec, bytes]] = {}

    @property
    def recording(self) -> bool:
        return self._backend is not None

    @property
    def count_of_all(self) -> int:
        """Number of subscribers of all jobs."""
        return len(self._to_all)

    @property
    def count(self) -> int:
        """Number of subscribers."""
        return len(self._to_all) + sum(map(len, self._by_job.values()))

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
            of_jobs = (kind for kind in _NAMES if kind not in _OF_TYPES)
            stop_jobs = self._backend.subscribe(self._on_event, *of_jobs, Ready, Progressed, Ended)
            stop_types = self._backend.subscribe(self._on_type_event, *_OF_TYPES)
            self._stop_listening = lambda: (stop_jobs(), stop_types())
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
        self._of_specs.clear()
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
            if recorded.is_for(subscriber):
                framed = self._frame(recorded)
                frames.append(framed)
                size_bytes += len(framed)
                if size_bytes >= PIECE_BYTES:
                    break
        subscriber.replayed_to = serial if serial < self._serial else None
        return b"".join(frames)

    def of_job(self, job_id: str) -> bytes:
        """Return the latest recorded events of a job, oldest first, as JSON; null: no events are recorded."""
        if not self.recording:
            return b"null"
        found: list[bytes] = []
        for recorded in reversed(self._ring):
            told = recorded.told
            if isinstance(told, Seen) and told.id == job_id:
                event_id = f"{self._tag}-{recorded.serial}".encode()
                found.append(
                    b'{"id":"%b","event":"%b","data":%b}' % (event_id, recorded.name.encode(), self._written(told))
                )
                if len(found) == OF_JOB_MAX:
                    break
        return b"[%b]" % b",".join(reversed(found))

    @property
    def _first(self) -> int:
        return self._ring[0].serial if self._ring else self._serial + 1

    def state_frame(self, job: AnyJob) -> bytes:
        """Return a job's present state as the event that led to it."""
        return frame(self.last_id, _name_of_state(job), self._written(self._seen(job)))

    def _on_event(self, event: JobEvent) -> None:
        name = _NAMES.get(type(event)) or _name_of(event)
        if name is None:
            return
        job = event.job
        subscribers = self._by_job.get(job.id, ())
        owner = job.owner
        self._record(name, self._seen(job), owner, subscribers)
        if not job.live:
            for subscriber in subscribers:
                subscriber.end()

    def _on_type_event(self, event: Quarantined | Released) -> None:
        self._record(_NAMES[type(event)], self._type_data(event), None)

    def _record(self, name: str, told: Seen | bytes, owner: str | None, subscribers: Iterable[Subscriber] = ()) -> None:
        """Put an event into the ring, and tell the subscribers of all jobs that may see it, and those given."""
        self._serial += 1
        recorded = Recorded(self._serial, name, told, owner)
        self._ring.append(recorded)
        if self._to_all or subscribers:  # else it is written when it is replayed, if ever
            framed = self._frame(recorded)
            for subscriber in (*self._to_all, *subscribers):
                if subscriber.sees is None or subscriber.sees == owner:
                    subscriber.offer(framed)

    def _frame(self, recorded: Recorded) -> bytes:
        told = recorded.told
        data = self._written(told) if isinstance(told, Seen) else told
        return frame(f"{self._tag}-{recorded.serial}", recorded.name, data)

    def _peers(self, subscriber: Subscriber) -> set[Subscriber]:
        if subscriber.job_id is None:
            return self._to_all
        return self._by_job.setdefault(subscriber.job_id, set())

    def _seen(self, job: AnyJob) -> Seen:
        at, extras = self._service.wall(self._service.local.now()), job.extras
        # Most jobs have no extras, and so neither progress nor error.
        progress, error = (None, None) if extras is None else (extras.progress, extras.error)
        return Seen(job.id, job.spec, job.state, job.attempt, progress, error, at)

    def _written(self, job: Seen) -> bytes:
        spec, progress, error = job.spec, job.progress, job.error
        of_spec = self._of_specs.get(id(spec)) or self._write_spec(spec)
        return b"".join(
            (
                b'{"id":"',
                job.id.encode(),
                of_spec[1],
                job.state.encode(),
                b'","attempt":',
                str(job.attempt).encode(),
                b',"progress":',
                b"null" if progress is None else _encode({"fraction": progress.fraction, "note": progress.note}),
                b',"error":',
                b"null" if error is None else _encode({"code": error.code}),
                b',"at":',
                json_timestamp(job.at),
                b"}",
            )
        )

    def _write_spec(self, spec: JobSpec) -> tuple[JobSpec, bytes]:
        if len(self._of_specs) >= SPECS_MAX:
            self._of_specs.clear()
        texts = (_encode(spec.type), _encode(spec.queue), _encode(spec.group))
        written = self._of_specs[id(spec)] = (spec, b'","type":%b,"queue":%b,"group":%b,"state":"' % texts)
        return written

    def _type_data(self, event: Quarantined | Released) -> bytes:
        at = timestamp(self._service.wall(self._service.local.now()))
        data: dict[str, Any] = {"type": event.type, "at": at}
        if isinstance(event, Quarantined):
            data |= {
                "until": timestamp(self._service.wall(event.until)),
                "reason": shown(event.reason, REASON_LENGTH_MAX),
            }
        return orjson.dumps(data)


def frame(event_id: str, name: str, data: bytes) -> bytes:
    """Write one event; its data is JSON in one line."""
    return b"".join((b"id: ", event_id.encode(), b"\nevent: ", name.encode(), b"\ndata: ", data, b"\n\n"))


def _name_of(event: JobEvent) -> str | None:
    """Return the name of an event that its type alone does not tell; None: clients see no change."""
    job = event.job
    if isinstance(event, Ended):
        return job.state
    if isinstance(event, Progressed):
        return "progress" if job.state is RUNNING else "changed"
    # `Ready`: a new job's first queueing is covered by `submitted`.
    return "queued" if job.version else None


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
