"""The documents of server-sent events: their members, in their order. `event_log` writes the same bytes."""

from __future__ import annotations

from typing import Annotated, Literal, NotRequired, TypedDict

from msgspec import Meta

from jobqueue.core.job import JobState  # noqa: TC001  # read from the annotations below, as the next ones
from jobqueue.core.report import ErrorCode, Progress  # noqa: TC001
from jobqueue.http.response.value_types import Count, Id, Instant  # noqa: TC001
from jobqueue.http.streams.tick_event import ScheduleEventDocument

EventName = Literal[
    "submitted",
    "queued",
    "started",
    "progress",
    "changed",
    "stopping",
    "retrying",
    "succeeded",
    "failed",
    "cancelled",
    "expired",
    "flow",
    "quarantined",
    "released",
    "paused",
    "resumed",
    "ticked",
    "revoked",
    "reset",
    "skipped",
]


class EventErrorDocument(TypedDict):
    """Why a job failed.

    Attributes:
        code: A word for programs.
    """

    code: ErrorCode


class JobEventDocument(TypedDict):
    """The data of an event of a job: the job as it was at that instant.

    Attributes:
        id: Of the job.
        type: The handler's registered name.
        queue: The queue that holds the job.
        group: The group of the submission; null: it had none.
        state: The state since this event.
        attempt: Number of the latest attempt; 0 before the first.
        progress: The handler's latest report; null: none.
        error: Why the job failed; null: it has not.
        at: The instant of the event.
    """

    id: Id
    type: str
    queue: str
    group: str | None
    state: JobState
    attempt: Count
    progress: Progress | None
    error: EventErrorDocument | None
    at: Instant


class TypeEventDocument(TypedDict):
    """The data of an event of a type: it went into quarantine, or came out of it.

    Attributes:
        type: The handler's registered name.
        at: The instant of the event.
        until: When the next job of the type is tried; of `quarantined` alone.
        reason: Code and message of the last failure that counted; of `quarantined` alone.
    """

    type: str
    at: Instant
    until: NotRequired[Instant]
    reason: NotRequired[str]


class QueueEventDocument(TypedDict):
    """The data of an event of a queue: it was paused, or starts jobs again.

    Attributes:
        queue: Its name.
        at: The instant of the event.
        by: The caller that has paused or resumed it; null: the application itself, or the end of the pause.
        until: When it resumes by itself; null: with `:resume` alone; of `paused` alone.
        reason: Why; null: no reason was given; of `paused` alone.
    """

    queue: str
    at: Instant
    by: str | None
    until: NotRequired[Instant | None]
    reason: NotRequired[str | None]


class StreamEventDocument(TypedDict):
    """The data of an event of the stream itself: `reset`, `revoked` and `skipped`.

    Attributes:
        reason: What happened, and what to do.
    """

    reason: str


EVENT_DATA = (JobEventDocument, TypeEventDocument, QueueEventDocument, ScheduleEventDocument, StreamEventDocument)

_NAMES = ("JobEvent", "TypeEvent", "QueueEvent", "ScheduleEvent", "StreamEvent")
_PARSED = {"anyOf": [{"$ref": f"#/components/schemas/{name}"} for name in _NAMES]}


class EventDocument(TypedDict):
    """One event of a stream: the lines `id:`, `event:` and `data:` of the text.

    Attributes:
        id: Send the last one as `Last-Event-ID` to resume a broken stream.
        event: What happened.
        data: JSON in one line: of a job, a type, a queue, a schedule or the stream.
    """

    id: str
    event: EventName
    data: Annotated[str, Meta(extra_json_schema={"contentMediaType": "application/json", "contentSchema": _PARSED})]
