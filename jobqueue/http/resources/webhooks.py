"""Receivers of webhooks: `GET /v1/webhooks`.

Counts and the latest attempt are about the jobs of all callers, so they are told to keys that see all jobs only. Of a
URL only the host is told: the rest may hold a secret of the receiver.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NotRequired, TypedDict

import orjson

from jobqueue.http.request.auth import GRANT
from jobqueue.http.request.query import parameters
from jobqueue.http.response.long_response import whole_answer
from jobqueue.http.response.reply import JSON
from jobqueue.http.response.timestamps import timestamp
from jobqueue.http.response.value_types import Count, Instant  # noqa: TC001  # read from the annotations below

if TYPE_CHECKING:
    from aiohttp import web

    from jobqueue.runtime.webhook_target import TargetFigures
    from jobqueue.service import Service


class DeliveryAttemptDocument(TypedDict):
    """The latest attempt of any delivery to a receiver.

    Attributes:
        at: Its end.
        job_id: The job of the delivery.
        error: Why it failed; null: it succeeded.
    """

    at: Instant
    job_id: str
    error: str | None


class WebhookDocument(TypedDict):
    """A receiver of webhooks.

    Attributes:
        name: The name of the endpoint; of a host of callbacks `@` and the host.
        host: Where its events go.
        events: Ends of jobs that it gets; of callbacks an empty list: each is about one job.
        topics: Patterns of the topics that it gets.
        state: `disabled`: it has answered 410, and gets nothing until its settings change or the server starts again.
        disabled_reason: Why it is disabled; null: it is not.
        pending: Live deliveries.
        delivered_total: Deliveries that succeeded, since the start.
        failed_total: Deliveries that failed for good, since the start; their jobs can be retried.
        attempts_failed_total: Attempts that failed, whatever came after, since the start.
        dropped_total: Events for which there was no delivery: it has too many, the queue is full, it is disabled.
        last_attempt: The latest attempt; null: there was none since the start.
        delivered_at: The end of the latest attempt that succeeded; null: there was none since the start.
    """

    name: str
    host: str
    events: list[str]
    topics: list[str]
    state: Literal["enabled", "disabled"]
    disabled_reason: str | None
    pending: NotRequired[Count]
    delivered_total: NotRequired[Count]
    failed_total: NotRequired[Count]
    attempts_failed_total: NotRequired[Count]
    dropped_total: NotRequired[Count]
    last_attempt: NotRequired[DeliveryAttemptDocument | None]
    delivered_at: NotRequired[Instant | None]


class WebhooksDocument(TypedDict):
    """All receivers.

    Attributes:
        webhooks: The endpoints in the order of the settings, then the hosts of callbacks.
    """

    webhooks: list[WebhookDocument]


class Webhooks:
    """The handler of `/v1/webhooks`."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def all(self, request: web.Request) -> web.StreamResponse:
        """GET /v1/webhooks"""
        parameters(request, ())
        sees_all = request[GRANT].sees is None
        document: WebhooksDocument = {"webhooks": [self._one(each, sees_all) for each in self._service.webhooks]}
        return whole_answer(request, orjson.dumps(document), JSON)

    def _one(self, figures: TargetFigures, sees_all: bool) -> WebhookDocument:
        document: WebhookDocument = {
            "name": figures.name,
            "host": figures.host,
            "events": [*figures.events],
            "topics": [*figures.topics],
            "state": "enabled" if figures.disabled is None else "disabled",
            "disabled_reason": figures.disabled,
        }
        if sees_all:
            document |= {
                "pending": figures.pending,
                "delivered_total": figures.delivered_total,
                "failed_total": figures.failed_total,
                "attempts_failed_total": figures.attempts_failed_total,
                "dropped_total": figures.dropped_total,
                "last_attempt": self._last(figures),
                "delivered_at": None if figures.delivered_at is None else self._instant(figures.delivered_at),
            }
        return document

    def _last(self, figures: TargetFigures) -> DeliveryAttemptDocument | None:
        if figures.last_at is None or figures.last_job_id is None:
            return None
        return {"at": self._instant(figures.last_at), "job_id": figures.last_job_id, "error": figures.last_error}

    def _instant(self, at: float) -> str:
        return timestamp(self._service.wall(at))
