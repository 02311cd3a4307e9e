"""The event log: job events as server-sent events, for present subscribers and for reconnecting ones.

It keeps a ring of the latest events, and gives them to its subscribers; `events` opens the streams.

Rules:

1. All events are recorded while there are subscribers of all jobs, and for `RECORD_S` after the last one left, so that
   a reconnecting one has missed nothing. Else those of the jobs with subscribers of their own, for as long
   (`watched_jobs`): a stream of one job costs nothing for the others but a look at each event's id.
2. An event's id has the tag of the recording, or of the watch of its job, and the position in the ring. A stream can't
   be resumed after an id of another tag, or one that the ring has dropped: the client must read the statuses again.
3. While all subscribers take a sample (`rate_max`), the others are not recorded (`event_sampling`). Where all are
   recorded, such a subscriber is handed a part of them.
4. A subscriber of all jobs gets the events of those that it may see. The positions in ids count those of all jobs.

The form is that of WHATWG's HTML standard, section "Server-sent events".
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

from jobqueue.core.events import BackedOff, Ended, Progressed, Ready, Started, StopRequested, Submitted
from jobqueue.http.streams.event_names import NAMES, name_of, name_of_state
from jobqueue.http.streams.event_ring import EventRing, Recorded, Seen
from jobqueue.http.streams.event_sampling import Sampling
from jobqueue.http.streams.event_writer import EventWriter, frame
from jobqueue.http.streams.steering_events import STEERING, steering_data
from jobqueue.http.streams.subscriber import PIECE_BYTES, SampledSubscriber
from jobqueue.http.streams.tick_event import TICKED, tick_data
from jobqueue.http.streams.watched_jobs import RECORD_S, WatchedJobs, new_tag

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from jobqueue.backend.local import LocalBackend
    from jobqueue.core.events import JobEvent
    from jobqueue.core.job import Job
    from jobqueue.core.job_view import AnyJob
    from jobqueue.http.streams.steering_events import SteeringEvent
    from jobqueue.http.streams.subscriber import Subscriber
    from jobqueue.http.streams.watched_jobs import Watch
    from jobqueue.schedules.runner import ScheduleRunner, Ticked
    from jobqueue.service import Service

RING_MAX = 4096
OF_JOB_MAX = 50
"""Events of one job that are given at once."""

_OF_WATCHED = (Started, StopRequested, BackedOff, Ready, Progressed, Ended)
"""The events of jobs that a stream of one job has: it begins after the job was submitted."""

_EVENT_ID = re.compile(r"([0-9a-f]{12})-([0-9]{1,15})")


class EventLog:
    """The recording of a queue's events, and its subscribers."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._backend: LocalBackend | None = None
        self._schedules: ScheduleRunner  # of the same run
        self._listener: Callable[[JobEvent], None] | None = None
        self._stop_listening: Callable[[], object] | None = None
        self._sampling = Sampling(self._tune, self._note_skipped)
        self._idle: asyncio.TimerHandle | None = None
        self._tag = ""
        self._ring = EventRing(RING_MAX)
        self._all_since: int | None = None  # the number of the last event before all were recorded; None: not all are
        self._to_all: set[Subscriber] = set()
        self._watched = WatchedJobs(self._tune)
        self._watches = self._watched.by_id
        self._hear_watched = self._hears_watched()
        self._writer = EventWriter()

    @property
    def recording(self) -> bool:
        return self._backend is not None

    @property
    def count(self) -> int:
        """Number of subscribers."""
        return len(self._to_all) + self._watched.streams

    def last_id(self, subscriber: Subscriber) -> str:
        """The id of the latest event, or of none yet: a subscriber that comes back with it has missed nothing."""
        return f"{self._recording_of(subscriber)[0]}-{self._ring.last}"

    async def join(self, subscriber: Subscriber) -> None:
        """Add a subscriber to all later events."""
        if self._backend is not self._service.local:  # there were no subscribers, or the queue was restarted
            self._begin()
        if subscriber.job_id is not None:
            all_since = None if self._all_since is None else (self._tag, self._all_since)
            self._watched.add(subscriber.job_id, subscriber, self._ring.last, all_since)
        else:
            self._to_all.add(subscriber)
            if subscriber.wants_all:
                self._record_all()
            elif self._all_since is None:
                self._sample()
        self._tune()

    def leave(self, subscriber: Subscriber) -> None:
        if subscriber.job_id is not None:
            self._watched.leave(subscriber.job_id, subscriber, stays=self.recording)
            return
        self._to_all.discard(subscriber)
        if self.recording and self._idle is None and not any(each.wants_all for each in self._to_all):
            self._idle = asyncio.get_running_loop().call_later(RECORD_S, self._rest)

    def _begin(self) -> None:
        self.stop()
        self._backend, self._schedules = self._service.local, self._service.schedules.runner
        self._tag, self._ring = new_tag(), EventRing(RING_MAX)
        self._watched.begin_anew(self._ring.last)

    def _tune(self) -> None:
        """Listen to what is to be recorded: all events, those of the watched jobs, or none."""
        listener: Callable[[JobEvent], None] | None = None
        if self._all_since is not None or self._sampling.hears:
            listener = self._on_event
        elif self._watches:
            listener = self._hear_watched
        elif not self._sampling.active:
            self.stop()
        if listener != self._listener:
            self._listen(listener)

    def _listen(self, listener: Callable[[JobEvent], None] | None) -> None:
        """Listen with this one, and no other."""
        if self._stop_listening is not None:
            self._stop_listening()
            self._stop_listening = None
        self._listener = listener
        if listener is None or self._backend is None:
            return
        if listener == self._on_event:
            stop_jobs = self._backend.subscribe(listener, Submitted, *_OF_WATCHED)
            stop_others = self._backend.subscribe(self._on_steering_event, *STEERING)
            stop_ticks = self._schedules.listen(self._on_tick)
            self._stop_listening = lambda: (stop_jobs(), stop_others(), stop_ticks())
        else:
            self._stop_listening = self._backend.subscribe(listener, *_OF_WATCHED)

    def _record_all(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        self._sampling.stop()
        if self._all_since is None:
            self._tag, self._all_since = new_tag(), self._ring.last

    def _sample(self) -> None:
        """Record a sample of all events, in a recording of its own, as it has gaps."""
        if not self._sampling.active:
            self._tag = new_tag()
        self._sampling.start(max(each.share for each in self._to_all if isinstance(each, SampledSubscriber)))

    def _rest(self) -> None:
        """Sample for those that are left; without any, record the watched jobs alone."""
        self._idle = self._all_since = None
        if self._to_all:
            self._sample()
        else:
            self._sampling.stop()
        self._tune()

    def _note_skipped(self) -> None:
        for subscriber in self._to_all:
            if isinstance(subscriber, SampledSubscriber):
                subscriber.note_skipped()

    def stop(self) -> None:
        """Stop recording, and drop the recording."""
        self._sampling.stop()
        self._listen(None)
        self._backend = self._all_since = None
        self._ring.clear()
        self._watched.begin_anew(self._ring.last)
        self._writer.forget()
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None

    def compact(self) -> None:
        """Copy what is recorded into adjacent memory, and drop what is written once for several events."""
        self._ring.compact(self._writer.write)
        self._writer.forget()

    def _recording_of(self, subscriber: Subscriber) -> tuple[str, int]:
        """Return the tag of a subscriber's ids, and the number after which its events are recorded."""
        if subscriber.job_id is not None:
            watch = self._watches[subscriber.job_id]
            return watch.tag, watch.since
        return self._tag, (self._all_since or 0) if subscriber.wants_all else 0

    async def resume(self, subscriber: Subscriber, event_id: str) -> bool:
        """Prepare the replay of the events after this id; return whether the stream can be resumed after it."""
        match = _EVENT_ID.fullmatch(event_id)
        tag, since = self._recording_of(subscriber)
        if match is None or match[1] != tag:
            return False
        serial = int(match[2])
        if not max(since, self._ring.first - 1) <= serial <= self._ring.last:
            return False
        subscriber.replayed_to = serial
        return True

    async def replay(self, subscriber: Subscriber) -> bytes | None:
        """Return the next events that a subscriber has missed; empty: none; None: the ring has dropped them."""
        serial, ring, sees, job_id = subscriber.replayed_to, self._ring, subscriber.sees, subscriber.job_id
        tag = self._recording_of(subscriber)[0]
        if serial is None:
            return b""
        if serial < ring.first - 1:
            return None
        frames, size_bytes = [], 0
        missed = range(serial + 1, ring.last + 1) if job_id is None else ring.of_job(job_id, serial)
        for serial in missed:
            if sees is None or sees == ring.owner_at(serial):
                framed = self._frame(tag, ring.at(serial))
                frames.append(framed)
                size_bytes += len(framed)
                if size_bytes >= PIECE_BYTES:
                    break
        else:
            serial = ring.last
        subscriber.replayed_to = serial if serial < ring.last else None
        return b"".join(frames)

    def of_job(self, job_id: str) -> bytes:
        """Return the latest recorded events of a job, oldest first, as JSON; null: not all are recorded."""
        watch = self._watches.get(job_id)
        if watch is not None:
            tag, since = watch.tag, watch.since
        elif self._all_since is not None:
            tag, since = self._tag, self._all_since
        else:
            return b"null"
        found: list[bytes] = []
        for recorded in map(self._ring.at, [*self._ring.of_job(job_id, since)][-OF_JOB_MAX:]):
            event_id = f"{tag}-{recorded.serial}".encode()
            found.append(
                b'{"id":"%b","event":"%b","data":%b}' % (event_id, recorded.name.encode(), self._data(recorded))
            )
        return b"[%b]" % b",".join(found)

    def state_frame(self, subscriber: Subscriber, job: AnyJob) -> bytes:
        """Return the present state of a subscriber's job as the event that led to it."""
        return frame(self.last_id(subscriber), name_of_state(job), self._writer.write(self._seen(job)))

    def _on_event(self, event: JobEvent) -> None:
        name = NAMES.get(type(event)) or name_of(event)
        if name is None:
            return
        job = event.job
        watch = self._watches.get(job.id)
        recorded = self._record(name, self._seen(job), job.owner)
        self._tell(self._to_all, self._tag, recorded)
        if watch is not None:
            self._tell_of_job(watch, recorded, job)
        self._sampling.heard()

    def _hears_watched(self) -> Callable[[JobEvent], None]:
        """Return the listener while jobs alone have streams: a closure, as it looks at each event of all jobs."""
        watches, on_event_of_watched = self._watches, self._on_event_of_watched

        def hear(event: JobEvent) -> None:
            if event.job.id in watches:
                on_event_of_watched(event)

        return hear

    def _on_event_of_watched(self, event: JobEvent) -> None:
        job = event.job
        name = NAMES.get(type(event)) or name_of(event)
        if name is not None:
            self._tell_of_job(self._watches[job.id], self._record(name, self._seen(job), job.owner), job)

    def _on_steering_event(self, event: SteeringEvent) -> None:
        self._tell(
            self._to_all,
            self._tag,
            self._record(
                NAMES[type(event)],
                steering_data(event, self._service, self._service.wall(self._service.local.now())),
                None,
            ),
        )
        self._sampling.heard()

    def _on_tick(self, tick: Ticked) -> None:
        self._tell(self._to_all, self._tag, self._record(TICKED, tick_data(tick), tick.schedule[0]))
        self._sampling.heard()

    def _record(self, name: str, told: Seen | bytes, owner: str | None) -> Recorded:
        """Put an event into the ring."""
        recorded = Recorded(self._ring.last + 1, name, told, owner)
        self._ring.append(recorded)
        return recorded

    def _tell(self, subscribers: Collection[Subscriber], tag: str, recorded: Recorded) -> None:
        """Give an event to those subscribers that may see it."""
        if subscribers:  # else it is written when it is replayed, if ever
            framed = self._frame(tag, recorded)
            for subscriber in (*subscribers,):
                if subscriber.sees is None or subscriber.sees == recorded.owner:
                    subscriber.offer(framed)

    def _tell_of_job(self, watch: Watch, recorded: Recorded, job: Job) -> None:
        self._tell(watch.subscribers, watch.tag, recorded)
        if not job.live:
            for subscriber in watch.subscribers:
                subscriber.end()

    def _frame(self, tag: str, recorded: Recorded) -> bytes:
        return frame(f"{tag}-{recorded.serial}", recorded.name, self._data(recorded))

    def _data(self, recorded: Recorded) -> bytes:
        told = recorded.told
        return self._writer.write(told) if isinstance(told, Seen) else told

    def _seen(self, job: AnyJob) -> Seen:
        at, extras = self._service.wall(self._service.local.now()), job.extras
        # Most jobs have no extras, and so neither progress nor error.
        progress, error = (None, None) if extras is None else (extras.progress, extras.error)
        return Seen(job.id, job.spec, job.state, job.attempt, progress, error, at)
