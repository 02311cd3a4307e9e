"""Event streams: `GET /v1/jobs/{id}/events` and `GET /v1/events`, as server-sent events.

It opens, resumes and ends streams (WHATWG's HTML standard, section "Server-sent events").

Rules:

1. A client that reconnects (`Last-Event-ID`) gets the events that it missed. If these are no longer held, a stream of
   all jobs begins with the event `reset` (read the statuses again), one of a job with the job's state.
2. A stream opens with the id of the latest event, so that one that breaks before its first event is resumed, too.
3. A stream of one job begins with its state and ends with its end. A reconnection after that gets
   a 204, which tells an EventSource to stop.
4. A stream of all jobs with `rate_max` has a part of the events, if there are more.
5. No caller gets all streams of all jobs (`StreamPlaces`).
"""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Annotated

import msgspec
from aiohttp import web
from msgspec import UNSET, UnsetType

from jobqueue.errors import shown
from jobqueue.http.cut import cut
from jobqueue.http.errors import MalformedRequest, TooManyLongPolls
from jobqueue.http.request.auth import GRANT
from jobqueue.http.request.query import parameters
from jobqueue.http.resources.event_stream import LAST_EVENT_ID, beginning, write_stream
from jobqueue.http.response.reply import SERVER
from jobqueue.http.streams.event_writer import RESET, frame
from jobqueue.http.streams.stream_places import StreamPlaces
from jobqueue.http.streams.subscriber import SampledSubscriber, Subscriber
from jobqueue.http.streams.waiters import NO_PLACE_RETRY_AFTER_S

if TYPE_CHECKING:
    from jobqueue.http.streams.event_log import EventLog
    from jobqueue.http.streams.shared_log import SharedLog
    from jobqueue.http.streams.waiters import Waiters
    from jobqueue.service import Service

ALL_MAX = 256
"""Maximum number of streams of all jobs: each gets every event."""

RATE_MAX = 10_000


class EventsQuery(msgspec.Struct):
    """The parameters of the query.

    Attributes:
        rate_max: The most events a second, from 1 to 10,000: the stream has a part of them if there are more, and the
            server records no more for it.
    """

    rate_max: Annotated[int, msgspec.Meta(ge=1, le=RATE_MAX)] | UnsetType = UNSET


class Streams:
    """The handlers of event streams."""

    def __init__(self, service: Service, waiters: Waiters, event_log: EventLog | SharedLog) -> None:
        self._service = service
        self._waiters = waiters
        self._event_log = event_log
        self._of_all = StreamPlaces("streams of all jobs", ALL_MAX, lambda: service.callers)

    def stop(self) -> None:
        """Stop recording; to be called when no more streams can begin."""
        self._event_log.stop()

    async def all(self, request: web.Request) -> web.StreamResponse:
        """GET /v1/events: events of all jobs."""
        return await self._stream(request, None, _rate_max(parameters(request, EventsQuery.__struct_fields__)))

    async def one(self, request: web.Request) -> web.StreamResponse:
        """GET /v1/jobs/{id}/events: events of one job, to its end."""
        job = await self._service.backend.get(request.match_info["id"], request[GRANT].sees)
        return await self._stream(request, job.id)

    async def _stream(
        self, request: web.Request, job_id: str | None, rate_max: int | None = None
    ) -> web.StreamResponse:
        transport = request.transport
        if transport is None:
            raise ConnectionResetError
        sees = request[GRANT].sees
        if rate_max is None:
            subscriber = Subscriber(job_id, partial(cut, transport), sees)
        else:
            subscriber = SampledSubscriber(rate_max, partial(cut, transport), sees)
        self._waiters.check_stream(request)
        with (
            self._waiters.place(request, subscriber.end) as granted,
            nullcontext() if job_id is not None else self._of_all.place(request),
        ):
            if not granted:
                detail = "too many open long polls and streams (limits.long_polls_max); poll the job instead"
                raise TooManyLongPolls(detail, retry_after_s=NO_PLACE_RETRY_AFTER_S)
            await self._event_log.join(subscriber)
            try:
                opening = await self._opening(request, subscriber)
                if opening is None:
                    return web.Response(status=204, headers={"Cache-Control": "no-store", "Server": SERVER})
                return await write_stream(request, self._event_log, subscriber, opening, self._service)
            finally:
                self._event_log.leave(subscriber)

    async def _opening(self, request: web.Request, subscriber: Subscriber) -> bytes | None:
        """Return the first bytes of a stream; None if the job has ended, and the client knows."""
        event_log, job_id = self._event_log, subscriber.job_id
        job = None if job_id is None else await self._service.backend.get(job_id, subscriber.sees)
        if job is not None and not job.live:
            subscriber.end()
        head = beginning()
        after = request.headers.get(LAST_EVENT_ID)
        if after is not None and await event_log.resume(subscriber, after):
            missed = await event_log.replay(subscriber) or b""
            return head + missed if missed or job is None or job.live else None
        if job is not None:
            return head + event_log.state_frame(subscriber, job)
        if after is not None:
            return head + frame(event_log.last_id(subscriber), "reset", RESET)
        return head + b"id: %b\n\n" % event_log.last_id(subscriber).encode()


def _rate_max(given: dict[str, str]) -> int | None:
    """Return the parameter; None: it is not given. Raises MalformedRequest."""
    text = given.get("rate_max")
    if text is None:
        return None
    if not text.isascii() or not text.isdecimal() or len(text) > 5 or not 1 <= int(text) <= RATE_MAX:
        raise MalformedRequest(f"rate_max is a number of events a second, from 1 to {RATE_MAX}, got {shown(text)!r}")
    return int(text)
