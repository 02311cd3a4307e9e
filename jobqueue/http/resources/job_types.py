"""Types as resources: what a client may submit, how its jobs run, and how they have ended so far."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any, TypedDict

import orjson

from jobqueue.core.backoff import Backoff
from jobqueue.core.counts import Durations, TypeCounts, together
from jobqueue.core.policy import Limits
from jobqueue.errors import shown
from jobqueue.handlers import RunIn  # noqa: TC001  # read from the annotations below, as the next ones
from jobqueue.handlers.arguments_schema import arguments_schema
from jobqueue.http.errors import TypeNotFound
from jobqueue.http.request.auth import GRANT
from jobqueue.http.response.documents import NO_REASON
from jobqueue.http.response.long_response import whole_answer
from jobqueue.http.response.queue_document import QuarantinedDocument  # noqa: TC001
from jobqueue.http.response.reply import JSON
from jobqueue.http.response.timestamps import timestamp
from jobqueue.http.response.value_types import Count, Duration  # noqa: TC001

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aiohttp import web

    from jobqueue.core.counts import QueueCounts
    from jobqueue.core.limits.quarantined_type import QuarantinedType
    from jobqueue.core.rate import Rate
    from jobqueue.handlers import Handler
    from jobqueue.service import Service

_REF = "#/$defs/{name}"


class BackoffDocument(TypedDict):
    """The wait before the next attempt: drawn between 0 and a ceiling, which doubles with each attempt.

    Attributes:
        backoff_s_base: The ceiling after the first attempt.
        backoff_s_max: The greatest ceiling.
    """

    backoff_s_base: Duration
    backoff_s_max: Duration


class QuantilesDocument(TypedDict):
    """Estimates from a histogram since the start.

    Attributes:
        p50: Half of the durations are shorter; null: there were none.
        p95: 95 % of them are shorter; null: there were none.
    """

    p50: Duration | None
    p95: Duration | None


class TypeDocument(TypedDict):
    """A type of jobs: its handler's options, its arguments, and the counts of its jobs since the start.

    Attributes:
        type: The handler's registered name.
        doc: The first line of the handler's docstring; null: it has none.
        run_in: Where its jobs run.
        queue: The queue of its jobs, unless a submission names another.
        timeout_s: The time that one attempt may take; null: no limit.
        attempts_max: How often a job may run, unless a submission says otherwise.
        rate: Starts per time, such as `10/s`; null: no limit.
        concurrency: How many of its jobs may run at once; null: no limit.
        group_rate: As `rate`, of each group.
        group_concurrency: As `concurrency`, of each group.
        backoff: The wait before the next attempt.
        redact: Names of arguments whose values are not shown.
        arguments: JSON Schema of `args`.
        queued: Jobs in this state now.
        running: Jobs in this state now.
        submitted_total: Submissions accepted.
        started_total: Attempts started.
        succeeded_total: Jobs ended in this state.
        failed_total: Jobs ended in this state.
        cancelled_total: Jobs ended in this state.
        expired_total: Jobs ended in this state.
        wait_s: From becoming queued to the start, of all jobs of the type's queue.
        run_s: Run times of its attempts, however they ended.
        quarantined: Since when, and why, its jobs don't start; null: they do.
    """

    type: str
    doc: str | None
    run_in: RunIn
    queue: str
    timeout_s: Duration | None
    attempts_max: Count
    rate: str | None
    concurrency: Count | None
    group_rate: str | None
    group_concurrency: Count | None
    backoff: BackoffDocument
    redact: list[str]
    arguments: dict[str, Any]
    queued: Count
    running: Count
    submitted_total: Count
    started_total: Count
    succeeded_total: Count
    failed_total: Count
    cancelled_total: Count
    expired_total: Count
    wait_s: QuantilesDocument
    run_s: QuantilesDocument
    quarantined: QuarantinedDocument | None


class TypesDocument(TypedDict):
    """All types.

    Attributes:
        types: In the order of their registration.
    """

    types: list[TypeDocument]


_NO_BACKOFF = Backoff()
_NO_LIMITS = Limits()


class JobTypes:
    """The handlers of `/v1/types`."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._schemas: dict[str, dict[str, Any]] = {}

    async def all(self, request: web.Request) -> web.StreamResponse:
        """GET /v1/types"""
        counts = {name: self._service.counts(name) for name in self._service.settings.queues}
        quarantined = self._quarantined(request)
        listed = [self._document(handler, counts, quarantined) for handler in self._service.registry]
        body: TypesDocument = {"types": listed}
        return whole_answer(request, orjson.dumps(body), JSON)

    async def one(self, request: web.Request) -> web.StreamResponse:
        """GET /v1/types/{name}"""
        name = request.match_info["name"]
        handler = self._service.registry.find(name)
        if handler is None:
            raise TypeNotFound(f"no handler has the type {shown(name)!r}; {self._near_or_all(name)}")
        counts = {queue: self._service.counts(queue) for queue in self._service.settings.queues}
        return whole_answer(request, orjson.dumps(self._document(handler, counts, self._quarantined(request))), JSON)

    def _near_or_all(self, name: str) -> str:
        known = sorted(handler.name for handler in self._service.registry)
        near = difflib.get_close_matches(name[:100], known, n=1)
        return f"did you mean {near[0]!r}?" if near else f"there are: {shown(', '.join(known), 500) or 'none'}"

    def _quarantined(self, request: web.Request) -> dict[str, QuarantinedDocument]:
        tells_reasons = request[GRANT].sees is None  # as in the documents of queues
        queues = self._service.backend.stats()[1]
        return {each.type: self._quarantine(each, tells_reasons) for each in (queues[0].quarantined if queues else ())}

    def _quarantine(self, quarantined: QuarantinedType, tells_reasons: bool) -> QuarantinedDocument:
        return {
            "type": quarantined.type,
            "since": timestamp(self._service.wall(quarantined.since)),
            "until": timestamp(self._service.wall(quarantined.until)),
            "reason": quarantined.reason if tells_reasons else NO_REASON,
        }

    def _document(
        self,
        handler: Handler,
        counts: Mapping[str, QueueCounts],
        quarantined: Mapping[str, QuarantinedDocument],
    ) -> TypeDocument:
        spec = handler.default_spec
        limits, backoff = spec.limits or _NO_LIMITS, spec.backoff or _NO_BACKOFF
        of_type = [found for queue in counts.values() if (found := queue.types.get(handler.name)) is not None]
        own_queue = counts.get(handler.queue)
        return {
            "type": handler.name,
            "doc": handler.summary,
            "run_in": handler.run_in,
            "queue": handler.queue,
            "timeout_s": handler.timeout_s,
            "attempts_max": handler.attempts_max,
            "rate": _text(limits.rate),
            "concurrency": limits.concurrency,
            "group_rate": _text(limits.group_rate),
            "group_concurrency": limits.group_concurrency,
            "backoff": {"backoff_s_base": backoff.backoff_s_base, "backoff_s_max": backoff.backoff_s_max},
            "redact": [] if handler.redaction is None else [*handler.redaction.names],
            "arguments": self._schema(handler),
            "queued": sum(each.waiting for each in of_type),
            "running": sum(each.running for each in of_type),
            "submitted_total": sum(each.submitted_total for each in of_type),
            "started_total": sum(each.started_total for each in of_type),
            "succeeded_total": sum(each.succeeded_total for each in of_type),
            "failed_total": sum(each.failed_total for each in of_type),
            "cancelled_total": sum(each.cancelled_total for each in of_type),
            "expired_total": sum(each.expired_total for each in of_type),
            "wait_s": _quantiles([] if own_queue is None else [own_queue.waits]),
            "run_s": _quantiles(_runs(of_type)),
            "quarantined": quarantined.get(handler.name),
        }

    def _schema(self, handler: Handler) -> dict[str, Any]:
        """Return the JSON Schema of a handler's arguments; kept, since it doesn't change."""
        schema = self._schemas.get(handler.name)
        if schema is None:
            try:
                schema, used = arguments_schema(handler.signature, _REF)
            except Exception:  # a type may have code of its own, and no schema
                schema, used = {"type": "object"}, {}
            if used:
                schema["$defs"] = used
            self._schemas[handler.name] = schema
        return schema


def _text(rate: Rate | None) -> str | None:
    return None if rate is None else str(rate)


def _runs(of_type: Sequence[TypeCounts]) -> list[Durations]:
    return [durations for each in of_type for durations in each.runs.values()]


def _quantiles(many: Sequence[Durations]) -> QuantilesDocument:
    durations = together(many)
    return {"p50": _rounded(durations.quantile_s(0.5)), "p95": _rounded(durations.quantile_s(0.95))}


def _rounded(duration_s: float | None) -> float | None:
    return None if duration_s is None else round(duration_s, 4)
