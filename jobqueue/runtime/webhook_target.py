"""One receiver of deliveries in this run: an endpoint of the settings, or a host of callbacks. It counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from jobqueue.config.webhooks import WEBHOOK, EndpointSettings
from jobqueue.core.record import changed
from jobqueue.core.topics import Pattern
from jobqueue.log import event_logger
from jobqueue.webhooks.payload import event
from jobqueue.webhooks.signature import keys_of
from jobqueue.webhooks.url import host_of, host_of_place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jobqueue.config.webhooks import WebhooksSettings
    from jobqueue.core.job import Job, JobSpec

OF_CALLBACKS = EndpointSettings(url="")
"""What holds for callbacks, where endpoints have settings of their own."""

CALLBACK = "@"
"""Begins the name of a host of callbacks, with its port if it is listed with one; no endpoint's name has it."""


log = event_logger(__name__)


class TargetFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What is shown of a receiver.

    Attributes:
        name: That of the endpoint; of callbacks `@` and the host as it is listed.
        events: Ends of jobs that it gets; of callbacks none.
        topics: Patterns of the topics that it gets.
        disabled: Why nothing is sent to it any more; None: it is not disabled.
        pending: Live deliveries.
        delivered_total: Deliveries that succeeded.
        failed_total: Deliveries that failed for good.
        attempts_failed_total: Attempts that failed, whatever came after.
        dropped_total: Events for which no delivery could be submitted.
        last_at: The end of the latest attempt, on the queue's clock; None: there was none.
        last_job_id: The job of this delivery.
        last_error: Why it failed; None: it succeeded.
        failures_in_a_row: Attempts that have failed since the last one that succeeded.
        failing_since: When the first of these ended, on the queue's clock; None: there are none.
        delivered_at: The end of the latest one that succeeded; None: there was none.
    """

    name: str
    host: str
    events: tuple[str, ...]
    topics: tuple[str, ...]
    disabled: str | None
    pending: int
    delivered_total: int
    failed_total: int
    attempts_failed_total: int
    dropped_total: int
    last_at: float | None
    last_job_id: str | None
    last_error: str | None
    failures_in_a_row: int
    failing_since: float | None
    delivered_at: float | None


class Target:
    """One receiver.

    Args:
        endpoint: None: it is a host of callbacks, each with a URL of its own.
        spec: That of its deliveries.

    Attributes:
        disabled: Why nothing is sent to it any more; None: it is not disabled.
        pending: Live deliveries.
    """

    def __init__(self, name: str, host: str, endpoint: EndpointSettings | None, secret: str, spec: JobSpec) -> None:
        settings = OF_CALLBACKS if endpoint is None else endpoint
        self.name, self.host, self.endpoint = name, host, endpoint
        self.url, self.timeout_s = settings.url, settings.timeout_s
        self.keys = keys_of(secret)
        self.spec = changed(spec, own=True, group=name, attempts_max=settings.attempts_max)
        self._pending_max = settings.pending_max
        self._states = frozenset(event.removeprefix("job.") for event in settings.events)
        self._types, self._queues = frozenset(settings.types), frozenset(settings.queues)
        self.disabled: str | None = None
        self.pending = self.dropped_total = self.failed_total = 0
        self._delivered_total = self._attempts_failed_total = 0
        self._last_at: float | None = None
        self._last_job_id: str | None = None
        self._last_error: str | None = None
        self._failures_in_a_row, self._failing_since = 0, 0.0
        self._delivered_at: float | None = None

    @classmethod
    def of(cls, settings: WebhooksSettings, spec: JobSpec) -> Iterator[Target]:
        """Yield the receivers of settings without faults. Args: spec: The default one of deliveries."""
        for name, endpoint in settings.endpoints.items():
            yield cls(name, host_of(endpoint.url), endpoint, settings.secret_of(endpoint) or "", spec)
        if settings.callbacks:
            for place in settings.callback_hosts:
                yield cls(f"{CALLBACK}{place}", host_of_place(place) or "", None, settings.secret or "", spec)

    def go_on_from(self, before: Target) -> None:
        """Take over the counts of the same receiver, before a reload; and its end, if its settings are the same."""
        if before.endpoint == self.endpoint:
            self.disabled = before.disabled
        self.dropped_total, self.failed_total = before.dropped_total, before.failed_total
        self._delivered_total, self._attempts_failed_total = before._delivered_total, before._attempts_failed_total
        self._last_at, self._last_job_id, self._last_error = before._last_at, before._last_job_id, before._last_error
        self._delivered_at = before._delivered_at
        self._failures_in_a_row, self._failing_since = before._failures_in_a_row, before._failing_since

    def wants_end_of(self, job: Job) -> bool:
        """Whether it gets the end of a job."""
        spec = job.spec
        return (
            job.state.value in self._states
            and (not self._types or spec.type in self._types)
            and (not self._queues or spec.queue in self._queues)
        )

    def refusal(self) -> str | None:
        """Return why no delivery to it is submitted, in words; None: it may be."""
        if self.disabled is not None:
            return self.disabled
        if self.pending >= self._pending_max:
            return f"{self.pending} deliveries to it are live, and pending_max is {self._pending_max}"
        return None

    def takes_one(self) -> bool:
        """Whether a delivery to it may be submitted; if not, count and log an event that is dropped."""
        reason = self.refusal()
        if reason is not None:
            self.dropped(reason)
        return reason is None

    def dropped(self, reason: str) -> None:
        """Count, and log, an event for which it gets no delivery."""
        self.dropped_total += 1
        log.sampled("webhook.dropped", every_s=10.0, webhook=self.name, reason=reason)

    def arguments(self, event: bytes, url: str | None = None) -> bytes:
        """Return the arguments of a delivery, as JSON. Args: url: Where it goes, if not to the endpoint's own URL."""
        to = {"to": self.name, "event": msgspec.Raw(event)}
        return msgspec.json.encode(to if url is None else to | {"url": url})

    def attempted(self, at: float, job_id: str, error: str | None) -> None:
        """Count an attempt. Args: error: Why it failed; None: it succeeded."""
        self._last_at, self._last_job_id, self._last_error = at, job_id, error
        if error is None:
            self._delivered_total += 1
            self._delivered_at = at
            self._failures_in_a_row = 0
        else:
            self._attempts_failed_total += 1
            self._failures_in_a_row += 1
            if self._failures_in_a_row == 1:
                self._failing_since = at

    def figures(self) -> TargetFigures:
        """Return what is shown of it."""
        return TargetFigures(
            name=self.name,
            host=self.host,
            events=() if self.endpoint is None else self.endpoint.events,
            topics=() if self.endpoint is None else self.endpoint.topics,
            disabled=self.disabled,
            pending=self.pending,
            delivered_total=self._delivered_total,
            failed_total=self.failed_total,
            attempts_failed_total=self._attempts_failed_total,
            dropped_total=self.dropped_total,
            last_at=self._last_at,
            last_job_id=self._last_job_id,
            last_error=self._last_error,
            failures_in_a_row=self._failures_in_a_row,
            failing_since=self._failing_since if self._failures_in_a_row else None,
            delivered_at=self._delivered_at,
        )


class TopicSubscription:
    """An endpoint as a subscriber of topics: what is published is sent to it.

    Args:
        wall: Returns the Unix seconds.
    """

    def __init__(self, target: Target, patterns: tuple[str, ...], wall: Callable[[], float]) -> None:
        self.name = f"{WEBHOOK}:{target.name}"  # which is the type of no handler
        self.spec = target.spec
        self.patterns = tuple(map(Pattern, patterns))
        self._target = target
        self._wall = wall

    def arguments(self, topic: str, data: bytes) -> bytes | None:
        """Return the arguments of its job for data, both JSON; None: the data is to be dropped."""
        if self._target.refusal() is not None:
            return None
        return self._target.arguments(event(topic, self._wall(), msgspec.Raw(data)))

    def left_out(self) -> None:
        """Count, and log, data that is dropped."""
        self._target.dropped(self._target.refusal() or "it took no more when the data was published")
