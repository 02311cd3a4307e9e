"""The exceptions that only HTTP has a reason to raise. `response/problems.py` maps them to answers."""

from __future__ import annotations

from jobqueue import errors


class MalformedRequest(errors.JobQueueError):
    """Something other than the JSON is not as HTTP or this API demands: framing, query, multipart."""


class MalformedJson(errors.JobQueueError):
    """The body is not JSON, or not the JSON that this API takes."""


class InvalidRequest(errors.InvalidSubmission):
    """The JSON of a request that is no submission was understood, but a field is not as it must be."""


class PathNotFound(errors.JobQueueError):
    """No resource has this path."""


class QueueNotFound(errors.JobQueueError):
    """No queue has this name."""


class MethodNotAllowed(errors.JobQueueError):
    """The resource exists, but not for this method; `allowed` are those it has."""

    def __init__(self, method: str, allowed: str) -> None:
        super().__init__(f"this resource takes {allowed}, not {method}")
        self.allowed = allowed


class CrossOrigin(errors.JobQueueError):
    """A web page of another origin sent the request, and its origin isn't listed."""


class MisdirectedRequest(errors.JobQueueError):
    """The Host is no name of this server."""


class BodyTooSlow(errors.JobQueueError):
    """The body did not arrive in time."""


class BodyTooLarge(errors.JobQueueError):
    """The body, its files or their number are over the limit."""


class UnsupportedMediaType(errors.JobQueueError):
    """The body's type or coding is none that this resource takes; `headers` say which it does."""

    def __init__(self, detail: str, *, headers: dict[str, str]) -> None:
        super().__init__(detail)
        self.headers = headers


class UnknownExpectation(errors.JobQueueError):
    """The Expect header asks for something else than 100-continue."""


class HeadTooLarge(errors.JobQueueError):
    """The request line, a header, or all of them together are over the limit."""


class UnknownTransferCoding(errors.JobQueueError):
    """The body is framed in a way that this server doesn't know."""


class TooManyConnections(errors.Refused):
    """As many connections are open as may be."""


class TooManyLongPolls(errors.Refused):
    """As many requests wait as may, and this one would do nothing else."""


class Overloaded(errors.Refused):
    """More is coming in at once than memory, or the event loop, is meant for."""


class CallerRateExceeded(errors.RateLimited):
    """This caller submits more often than one may."""
