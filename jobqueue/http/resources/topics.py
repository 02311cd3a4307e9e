"""Topics as resources: data that is published to one, its subscribers, and event streams of what is published.

Rules:

1. The topic is in the path, so a publish for which there is no slot is rejected before its body is read. Exempt is one
   with the Idempotency-Key of a job that is held.
2. A publish counts as one submission, however many subscribers there are; each of its jobs counts where jobs do.
3. No caller gets all streams (`StreamPlaces`).
4. A stream begins with what comes after `Last-Event-ID`. If that is no longer held, it begins with the event `reset`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

import msgspec
import orjson

from jobqueue.core.topics import Pattern, pattern_fault, topic_fault
from jobqueue.errors import raise_if_any, shown
from jobqueue.http.errors import MalformedRequest, TooManyLongPolls
from jobqueue.http.request.auth import GRANT, identity_of
from jobqueue.http.request.body import answer_expectation, check_head
from jobqueue.http.request.idempotency import key_of, with_key
from jobqueue.http.request.json_body import decode
from jobqueue.http.request.traceparent import traceparent_of
from jobqueue.http.resources.event_stream import LAST_EVENT_ID, beginning, write_stream
from jobqueue.http.response.long_response import whole_answer
from jobqueue.http.response.reply import DEDUPLICATED, JSON
from jobqueue.http.response.responses import error_answer
from jobqueue.http.response.value_types import Count, Id  # noqa: TC001  # read from the annotations below
from jobqueue.http.streams.event_writer import frame
from jobqueue.http.streams.stream_places import StreamPlaces
from jobqueue.http.streams.topic_event import Topic, TopicPattern  # noqa: TC001  # likewise
from jobqueue.http.streams.topic_log import TopicListener
from jobqueue.http.streams.waiters import NO_PLACE_RETRY_AFTER_S

if TYPE_CHECKING:
    from aiohttp import web

    from jobqueue.core.job import Uniqueness
    from jobqueue.http.request.body import Bodies
    from jobqueue.http.request.early_refusal import EarlyRefusal
    from jobqueue.http.request.rate_limit import RateLimits
    from jobqueue.http.streams.topic_log import TopicLog
    from jobqueue.http.streams.waiters import Waiters
    from jobqueue.service import Service

LISTENERS_MAX = 256
"""Maximum number of streams of what is published: each looks at all of it."""

RESET = b'{"reason":"what was published after this Last-Event-ID is no longer available"}'


class Publish(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Data that is published.

    Attributes:
        data: Any JSON: the subscribers get it as their argument `data`.
    """

    data: msgspec.Raw


class PublishedJobDocument(TypedDict):
    """A job of a publish.

    Attributes:
        id: Of the job.
        type: Its handler, the subscriber.
    """

    id: Id
    type: str


class PublicationDocument(TypedDict):
    """What became of data that was published.

    Attributes:
        topic: To which it was published.
        subscribers: Number of jobs: one for each subscriber.
        jobs: The jobs; after a repeated publish, those that are still held.
    """

    topic: Topic
    subscribers: Count
    jobs: list[PublishedJobDocument]


class SubscriberDocument(TypedDict):
    """A subscriber.

    Attributes:
        name: Of the subscriber; a handler's is its type.
        type: Of its jobs.
        queue: Of its jobs.
        patterns: Of the topics whose data it gets.
        delivered_total: Jobs that were made for it since the start; null for a key that doesn't see all jobs.
    """

    name: str
    type: str
    queue: str
    patterns: list[TopicPattern]
    delivered_total: Count | None


class ListenersDocument(TypedDict):
    """The listeners of one pattern.

    Attributes:
        pattern: Of the topics whose data they get.
        count: Open event streams, of those that the key sees.
    """

    pattern: TopicPattern
    count: Count


class TopicsDocument(TypedDict):
    """Subscribers and listeners, and what was published since the start.

    Attributes:
        subscribers: Those that get jobs, in the order in which the jobs are made.
        listeners: Open event streams, by pattern.
        published_total: Data that was published; a repeated publish doesn't count. This and the next two are null for a
            key that doesn't see all jobs.
        delivered_total: Jobs that were made for it.
        unheard_total: Data for which there was no subscriber.
    """

    subscribers: list[SubscriberDocument]
    listeners: list[ListenersDocument]
    published_total: Count | None
    delivered_total: Count | None
    unheard_total: Count | None


class Topics:
    """The handlers of `/v1/topics`."""

    def __init__(
        self,
        service: Service,
        waiters: Waiters,
        bodies: Bodies,
        early: EarlyRefusal,
        rate_limits: RateLimits,
        topic_log: TopicLog,
    ) -> None:
        self._service = service
        self._waiters = waiters
        self._bodies = bodies
        self._early = early
        self._rate_limits = rate_limits
        self._log = topic_log
        self._places = StreamPlaces("streams of topics", LISTENERS_MAX, lambda: service.callers)

    async def publish(self, request: web.Request) -> web.StreamResponse:
        """POST /v1/topics/{topic}: 202 once the jobs of all subscribers are held."""
        plain = identity_of(request)
        try:
            response = await self._publish(request, plain)
        except Exception as error:
            response = error_answer(request, error)
        response.headers.update(self._rate_limits.fields(_caller(plain)))
        return response

    async def expect(self, request: web.Request) -> web.StreamResponse | None:
        """Answer a client that expects 100 Continue."""
        plain = identity_of(request)
        refusal = await answer_expectation(request, lambda request: self._check_unread(request, plain))
        if refusal is not None:
            refusal.headers.update(self._rate_limits.fields(_caller(plain)))
        return refusal

    async def _publish(self, request: web.Request, plain: Uniqueness) -> web.StreamResponse:
        topic, key = self._check_unread(request, plain)
        self._rate_limits.take(_caller(plain))
        data = bytes(decode(await self._bodies.read(request), Publish).data)
        publication = await self._service.topics.publish(
            topic,
            data,
            caller=plain.caller,
            owner=plain.owner,
            key=key,
            traceparent=traceparent_of(request.headers),
        )
        jobs = [{"id": job.id, "type": job.type} for job in publication.jobs]
        body = orjson.dumps({"topic": topic, "subscribers": len(jobs), "jobs": jobs})
        return whole_answer(request, body, {**JSON, **DEDUPLICATED} if publication.duplicate else JSON, status=202)

    def _check_unread(self, request: web.Request, plain: Uniqueness) -> tuple[str, str | None]:
        """Reject what can be rejected before the body is read; return the topic and the key."""
        topic, key = request.match_info["topic"], key_of(request.headers)
        if (fault := topic_fault(topic)) is not None:
            raise MalformedRequest(f"the topic {shown(topic)!r} in the path: {fault}")
        self._service.topics.check_shared()
        identity = plain if key is None else with_key(plain, key)
        self._early.refuse_late(identity.caller, key)
        raise_if_any(self._service.topics.refuse_unread(topic, identity))
        check_head(request, self._service.settings.limits)
        self._rate_limits.check(_caller(plain))
        return topic, key

    async def listen(self, request: web.Request) -> web.StreamResponse:
        """GET /v1/topics/{pattern}/events: what is published, from now on."""
        text = request.match_info["pattern"]
        if (fault := pattern_fault(text)) is not None:
            raise MalformedRequest(f"the pattern {shown(text)!r} in the path: {fault}")
        self._service.topics.check_shared()
        if request.transport is None:
            raise ConnectionResetError
        listener = TopicListener(Pattern(text), request[GRANT].sees)
        self._waiters.check_stream(request)
        with self._waiters.place(request, listener.end) as granted, self._places.place(request):
            if not granted:
                detail = "too many open streams (limits.long_polls_max)"
                raise TooManyLongPolls(detail, retry_after_s=NO_PLACE_RETRY_AFTER_S)
            self._log.join(listener)
            try:
                return await write_stream(request, self._log, listener, self._opening(request, listener), self._service)
            finally:
                self._log.leave(listener)

    def _opening(self, request: web.Request, listener: TopicListener) -> bytes:
        """Return the first bytes of a stream."""
        after = request.headers.get(LAST_EVENT_ID)
        if after is not None and not self._log.resume(listener, after):
            return beginning() + frame(self._log.last_id(listener), "reset", RESET)
        return beginning() + b"id: %b\n\n" % self._log.last_id(listener).encode()

    async def all(self, request: web.Request) -> web.StreamResponse:
        """GET /v1/topics"""
        topics, sees = self._service.topics, request[GRANT].sees
        listeners = self._log.counts(sees)

        def told(count: int) -> int | None:
            return count if sees is None else None

        document: TopicsDocument = {
            "subscribers": [
                {
                    "name": subscriber.name,
                    "type": subscriber.spec.type,
                    "queue": subscriber.spec.queue,
                    "patterns": [pattern.text for pattern in subscriber.patterns],
                    "delivered_total": told(topics.delivered[subscriber.name]),
                }
                for subscriber in topics.subscribers
            ],
            "listeners": [{"pattern": pattern, "count": count} for pattern, count in sorted(listeners.items())],
            "published_total": told(topics.published_total),
            "delivered_total": told(topics.delivered.total()),
            "unheard_total": told(topics.unheard_total),
        }
        return whole_answer(request, orjson.dumps(document), JSON)


def _caller(plain: Uniqueness) -> str:
    assert plain.caller is not None, "each request has a caller"
    return plain.caller
