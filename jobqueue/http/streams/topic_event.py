"""The documents of events in streams of what is published. `topic_log` writes the same bytes."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired, TypedDict

from msgspec import Meta

from jobqueue.core.topics import LENGTH_MAX, PATTERN_PATTERN, TOPIC_PATTERN
from jobqueue.http.response.value_types import Count, Instant  # noqa: TC001  # read from the annotations below

Topic = Annotated[str, Meta(pattern=TOPIC_PATTERN, max_length=LENGTH_MAX)]
"""A topic."""

TopicPattern = Annotated[str, Meta(pattern=PATTERN_PATTERN, max_length=LENGTH_MAX)]
"""A pattern of topics."""


class PublishedDocument(TypedDict):
    """The data of an event of what is published.

    Attributes:
        topic: To which it was published.
        at: The instant.
        data: What was published; null if it is too large for a stream.
        omitted_bytes: Its size, if it is too large; else not there.
    """

    topic: Topic
    at: Instant
    data: Any
    omitted_bytes: NotRequired[Count]


_NAMES = ("Published", "StreamEvent")
_PARSED = {"anyOf": [{"$ref": f"#/components/schemas/{name}"} for name in _NAMES]}


class TopicEventDocument(TypedDict):
    """One event of a stream of what is published: the lines `id:`, `event:` and `data:` of the text.

    Attributes:
        id: Send the last one as `Last-Event-ID` to resume a broken stream.
        event: What happened.
        data: JSON in one line: of what was published, or of the stream.
    """

    id: str
    event: Literal["published", "revoked", "reset"]
    data: Annotated[str, Meta(extra_json_schema={"contentMediaType": "application/json", "contentSchema": _PARSED})]
