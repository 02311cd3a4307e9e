"""The exceptions of HTTP alone. `response/problems.py` maps them to responses."""

from __future__ import annotations

from jobqueue import errors

REALM = 'Bearer realm="jobqueue"'


class MalformedRequest(errors.JobQueueError):
    """The request violates HTTP or this API outside of its JSON: framing, query, multipart."""


class MalformedJson(errors.JobQueueError):
    """The body is not JSON, or not JSON that this API accepts."""


class InvalidRequest(errors.InvalidSubmission):
    """A field in the JSON of a request other than a submission is invalid."""


class PathNotFound(errors.JobQueueError):
    """No resource has this path."""


class QueueNotFound(errors.JobQueueError):
    """No queue has this name."""


class TypeNotFound(errors.JobQueueError):
    """No handler has this type."""


class NotServed(errors.JobQueueError):
    """The API is mounted in an application, which has a server of its own."""


class NotMeasuredYet(errors.JobQueueError):
    """The history of the queue has too little to simulate it."""


class MethodNotAllowed(errors.JobQueueError):
    """The resource exists, but not for this method; `allowed` lists its methods."""

    def __init__(self, method: str, allowed: str) -> None:
        super().__init__(f"this resource takes {allowed}, not {method}")
        self.allowed = allowed


class CrossOrigin(errors.JobQueueError):
    """A web page of another origin sent the request, and its origin isn't listed."""


class MisdirectedRequest(errors.JobQueueError):
    """The Host is no name of this server."""


class Unauthorized(errors.JobQueueError):
    """The request has no valid key; `challenge` is its `WWW-Authenticate` (RFC 6750, section 3)."""

    def __init__(self, detail: str, *, error: str | None) -> None:
        super().__init__(detail)
        self.challenge = REALM if error is None else f'{REALM}, error="{error}"'


class InsufficientScope(errors.JobQueueError):
    """The key lacks a scope; `challenge` is the `WWW-Authenticate`."""

    def __init__(self, scope: str, detail: str | None = None) -> None:
        super().__init__(detail or f"the key lacks the scope {scope}, which this request needs")
        self.scope = scope
        self.challenge = f'{REALM}, error="insufficient_scope", scope="{scope}"'


class BodyTooSlow(errors.JobQueueError):
    """The body did not arrive in time."""


class BodyTooLarge(errors.JobQueueError):
    """The body, its files or their number are over the limit."""


class UnsupportedMediaType(errors.JobQueueError):
    """The resource doesn't support the body's media type or coding; `headers` list the supported ones."""

    def __init__(self, detail: str, *, headers: dict[str, str]) -> None:
        super().__init__(detail)
        self.headers = headers


class UnknownExpectation(errors.JobQueueError):
    """The Expect header is not 100-continue."""


class HeadTooLarge(errors.JobQueueError):
    """The request line, a header, or all of them together are over the limit."""


class UnknownTransferCoding(errors.JobQueueError):
    """The body's transfer coding is unknown."""


class SimulatorInUse(errors.Refused):
    """One simulation runs already."""


class TooManyConnections(errors.Refused):
    """The limit of open connections is reached."""


class TooManyLongPolls(errors.Refused):
    """The limit of waiting requests is reached, and this one is an event stream."""


class CallerLimitExceeded(errors.RateLimited):
    """This caller exceeds a rate, or a number of connections or waits.

    Args:
        headers: The RateLimit fields.
        closes: Its connection is closed with the answer.
    """

    def __init__(self, detail: str, *, retry_after_s: float, headers: dict[str, str], closes: bool = False) -> None:
        super().__init__(detail, retry_after_s=retry_after_s)
        self.headers = headers
        self.closes = closes
