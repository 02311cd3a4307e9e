"""Types as resources: what a client may submit, how its jobs run, and how they have ended so far."""

from __future__ import annotations

import asyncio
import difflib
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict

import orjson

from jobqueue.core.backoff import Backoff
from jobqueue.core.counting.counts import together
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
    from collections.abc import Mapping

    from aiohttp import web

    from jobqueue.core.counting.counts import Durations
    from jobqueue.core.limits.quarantined_type import QuarantinedType
    from jobqueue.core.rate import Rate
    from jobqueue.handlers import Handler
    from jobqueue.service import Service

_REF = "#/$defs/{name}"

SLICE_S = 0.001
"""Time of a loop iteration in which documents are made, in seconds."""


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

    The counts are those of all callers, so they are told to keys that see all jobs only.

    Attributes:
        type: The handler's registered name.
        built_in: Whether its jobs are made by the server alone, so that no submission may name it.
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
    built_in: bool
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
    queued: NotRequired[Count]
    running: NotRequired[Count]
    submitted_total: NotRequired[Count]
    started_total: NotRequired[Count]
    succeeded_total: NotRequired[Count]
    failed_total: NotRequired[Count]
    cancelled_total: NotRequired[Count]
    expired_total: NotRequired[Count]
    wait_s: NotRequired[QuantilesDocument]
    run_s: NotRequired[QuantilesDocument]
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
        quarantined, now = self._quarantined(request), asyncio.get_running_loop().time
        listed: list[bytes] = []
        until = now() + SLICE_S
        for handler in [*self._service.registry.every()]:
            if now() >= until:  # there may be hundreds of types, in a hundred queues
                await asyncio.sleep(0)
                until = now() + SLICE_S
            listed.append(orjson.dumps(self._document(request, handler, quarantined)))
        return whole_answer(request, b'{"types":[%b]}' % b",".join(listed), JSON)

    async def one(self, request: web.Request) -> web.StreamResponse:
        """GET /v1/types/{name}"""
        return self._answer(request, self._handler(request))

    async def release(self, request: web.Request) -> web.StreamResponse:
        """POST /v1/types/{name}:release: end its quarantine, if it is in one."""
        handler = self._handler(request)
        await self._service.backend.release(handler.name)
        return self._answer(request, handler)

    def _handler(self, request: web.Request) -> Handler:
        name = request.match_info["name"]
        handler = self._service.registry.find(name)
        if handler is None:
            raise TypeNotFound(f"no handler has the type {shown(name)!r}; {self._near_or_all(name)}")
        return handler

    def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        body = self._document(request, handler, self._quarantined(request))
        return whole_answer(request, orjson.dumps(body), JSON)

    def _near_or_all(self, name: str) -> str:
        known = sorted(handler.name for handler in self._service.registry)
        near = difflib.get_close_matches(name[:100], known, n=1)
        return f"did you mean {near[0]!r}?" if near else f"there are: {shown(', '.join(known), 500) or 'none'}"

    def _quarantined(self, request: web.Request) -> dict[str, QuarantinedDocument]:
        tells_reasons = request[GRANT].sees is None  # as in the documents of queues
        return {each.type: self._quarantine(each, tells_reasons) for each in self._service.backend.quarantined()}

    def _quarantine(self, quarantined: QuarantinedType, tells_reasons: bool) -> QuarantinedDocument:
        return {
            "type": quarantined.type,
            "since": timestamp(self._service.wall(quarantined.since)),
            "until": timestamp(self._service.wall(quarantined.until)),
            "reason": quarantined.reason if tells_reasons else NO_REASON,
        }

    def _document(
        self, request: web.Request, handler: Handler, quarantined: Mapping[str, QuarantinedDocument]
    ) -> TypeDocument:
        spec = handler.default_spec
        limits, backoff = spec.limits or _NO_LIMITS, spec.backoff or _NO_BACKOFF
        document: TypeDocument = {
            "type": handler.name,
            "built_in": self._service.registry.is_built_in(handler.name),
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
            "quarantined": quarantined.get(handler.name),
        }
        if request[GRANT].sees is None:
            counts, waits = self._service.backend.type_counts(handler.name, handler.queue)
            document["queued"] = counts.waiting
            document["running"] = counts.running
            document["submitted_total"] = counts.submitted_total
            document["started_total"] = counts.started_total
            document["succeeded_total"] = counts.succeeded_total
            document["failed_total"] = counts.failed_total
            document["cancelled_total"] = counts.cancelled_total
            document["expired_total"] = counts.expired_total
            document["wait_s"] = _quantiles(waits)
            document["run_s"] = _quantiles(together([*counts.runs.values()]))
        return document

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


def _quantiles(durations: Durations) -> QuantilesDocument:
    return {"p50": _rounded(durations.quantile_s(0.5)), "p95": _rounded(durations.quantile_s(0.95))}


def _rounded(duration_s: float | None) -> float | None:
    return None if duration_s is None else round(duration_s, 4)
