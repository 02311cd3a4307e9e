"""Calls on topics: publishing, the list of them, and what is published."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec

from jobqueue.client.keyed import keyed
from jobqueue.client.protocol import ErrorAnswer, Request, Steps, decoded
from jobqueue.encoder import encode

if TYPE_CHECKING:
    from jobqueue.client.events import JobEvent

Document = dict[str, Any]


class PublishedJob(msgspec.Struct, frozen=True):
    """A job of a publish; `type` is its handler, the subscriber."""

    id: str
    type: str


class Publication(msgspec.Struct, frozen=True, kw_only=True):
    """What became of data that was published.

    Attributes:
        subscribers: The number of jobs; 0: there is no subscriber.
        deduplicated: These are the jobs of an earlier publish under the same key.
    """

    topic: str
    subscribers: int
    jobs: tuple[PublishedJob, ...]
    deduplicated: bool = False


class TopicEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event of a stream of what is published.

    Attributes:
        id: The event's own id.
        name: `published`; `reset`: what came before it may be missed.
        topic: To which the data was published; None of any other event than `published`, as are the next two.
        data: What was published; None if it is too large for a stream.
        omitted_bytes: Its size, if it is too large.
    """

    id: str
    name: str
    topic: str | None = None
    at: datetime | None = None
    data: Any = None
    omitted_bytes: int | None = None

    @classmethod
    def of(cls, event: JobEvent) -> TopicEvent:
        """Return an event of a stream. Raises ErrorAnswer: It is none of this API."""
        try:
            return msgspec.convert({**event.data, "id": event.id, "name": event.name}, cls)
        except msgspec.ValidationError as error:
            raise ErrorAnswer(200, f"not an event of this API: {error}") from error


def publish(topic: str, data: Any, idempotency_key: str | None, retry_for_s: float) -> Steps[Publication]:
    body = b'{"data":%b}' % encode(data)
    publication, deduplicated = yield from keyed(
        f"/v1/topics/{quote(topic, safe='')}",
        body,
        Publication,
        idempotency_key=idempotency_key,
        retry_for_s=retry_for_s,
    )
    return msgspec.structs.replace(publication, deduplicated=deduplicated)


def topics() -> Steps[Document]:
    return decoded((yield Request(method="GET", target="/v1/topics")), Document)


def events_path(pattern: str) -> str:
    """Return the path of the stream of what is published to the topics that match."""
    return f"/v1/topics/{quote(pattern, safe='*')}/events"
