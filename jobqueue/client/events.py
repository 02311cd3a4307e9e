"""Event streams over connections that may break: the next request, without the I/O.

A stream of one job ends with its terminal event, that of a flow with the flow's end; the stream of all jobs doesn't
end. A stream that ends before is reopened after the server's `retry`, from the last event
received on.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import msgspec

from jobqueue import errors
from jobqueue.client.documents import job_path
from jobqueue.client.protocol import (
    JITTER,
    PAUSE_S,
    Answer,
    ErrorAnswer,
    NoAnswer,
    Patience,
    Request,
    error_in,
    parsed,
    refuse_foreign,
)
from jobqueue.client.retry_after import PAUSE_S_MIN
from jobqueue.client.sse import EventParser
from jobqueue.core.job import LIVE, JobState

if TYPE_CHECKING:
    from collections.abc import Callable

QUIET_S = 30.0  # between two signs of life of a stream, beside the client's timeout; a server gives one each 15 s


class JobEvent(msgspec.Struct, frozen=True):
    """An event of a job.

    Attributes:
        id: The event's own id.
        name: The kind of event.
        data: Its document.
    """

    id: str
    name: str
    data: dict[str, Any]

    @property
    def state(self) -> JobState | None:
        """The job's state at the event."""
        state = self.data.get("state")
        return JobState(state) if state in _STATES else None

    @property
    def over(self) -> bool:
        """Whether this was the job's last event."""
        return self.state is not None and self.state not in LIVE


_STATES = frozenset(JobState)


def is_stream(status: int, content_type: str) -> bool:
    """Whether this head begins a stream of events."""
    return status == 200 and content_type.partition(";")[0].strip().lower() == "text/event-stream"


class Listener:
    """The state of one subscription to a stream.

    Args:
        target: The path of the stream.
        is_last: Whether the stream ends with an event; None: it has no end.
        retry_for_s: How long to try while no stream can be opened.

    Attributes:
        pause_s: Before the next request.
        over: No more events follow.
    """

    def __init__(
        self, target: str, *, is_last: Callable[[JobEvent], bool] | None, last_event_id: str, retry_for_s: float
    ) -> None:
        self._target = target
        self._is_last = is_last
        self._retry_for_s = retry_for_s
        self._retry_s = PAUSE_S
        self._patience = Patience(retry_for_s)
        self._parser = EventParser(last_event_id)
        self._opened = False
        self.pause_s = 0.0
        self.over = False

    def request(self) -> Request:
        headers = {"Accept": "text/event-stream"}
        if self._parser.last_id:
            headers["Last-Event-ID"] = self._parser.last_id
        return Request(method="GET", target=self._target, headers=headers, quiet_s=QUIET_S)

    def take(self, piece: Answer | NoAnswer | bytes) -> list[JobEvent]:
        """Take the head of a stream, or a chunk; or the answer or failure that came in its place; return events."""
        if isinstance(piece, bytes):
            return self._fed(piece) if self._opened else []
        if isinstance(piece, NoAnswer):
            self._unanswered(piece)
        elif is_stream(piece.status, piece.headers.get("content-type", "")):
            self._parser = EventParser(self._parser.last_id)
            self._opened = True
        else:
            self._refused(piece)
        return []

    def _refused(self, answer: Answer) -> None:
        """The answer was no stream. Raises its error, unless it is temporary."""
        if answer.status == 204:  # tells an EventSource to stop: the end was received already
            self.over = True
            return
        try:
            refuse_foreign("GET", answer)
        except NoAnswer as failure:
            self._unanswered(failure)
            return
        error = error_in(answer) if answer.status != 200 else ErrorAnswer(200, "not an event stream")
        if not isinstance(error, errors.Refused):
            raise error
        self._unanswered(error)

    def _unanswered(self, failure: errors.Refused | NoAnswer) -> None:
        """The stream could not be opened. Raises the failure once the patience is over."""
        pause_s = self._patience.pause_s(failure)
        if pause_s is None:
            raise failure
        self.pause_s = pause_s

    def _fed(self, chunk: bytes) -> list[JobEvent]:
        """Return the events that these bytes complete, up to the last one. Raises ErrorAnswer."""
        try:
            heard = [
                JobEvent(event.id, event.name, parsed(event.data, dict[str, Any])) for event in self._parser.feed(chunk)
            ]
        except ValueError as error:  # msgspec's DecodeError is one
            raise ErrorAnswer(200, f"not an event of this API: {error}") from error
        for number, event in enumerate(heard, 1):
            if self._is_last is not None and self._is_last(event):
                self.over = True
                return heard[:number]
        return heard

    def ended(self) -> None:
        """The stream ended, in any way, if there was one; unless over, it is to be resumed from there."""
        if not self._opened:
            return
        self._opened = False
        if self._parser.retry_s is not None:
            self._retry_s = self._parser.retry_s
        self._patience = Patience(self._retry_for_s)
        self.pause_s = max(PAUSE_S_MIN, self._retry_s) * (1 + JITTER * random.random())  # noqa: S311  # spreads clients, hides nothing


def listener_of(job_id: str | None, *, last_event_id: str, retry_for_s: float) -> Listener:
    """Return a listener to the events of a job; None: of all jobs."""
    target = "/v1/events" if job_id is None else f"{job_path(job_id)}/events"
    is_last = None if job_id is None else _ends_job
    return Listener(target, is_last=is_last, last_event_id=last_event_id, retry_for_s=retry_for_s)


def _ends_job(event: JobEvent) -> bool:
    return event.over
