"""What is wrong now, as sentences: `GET /v1/findings`.

Rules:

1. A key that sees all jobs gets all findings. Any other gets those that say no more than `/v1/queues` tells it, without
   the messages of failed jobs.
2. A derivation is shared by all requests within a second (`findings.watch`), and so is its document.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NotRequired, TypedDict

import orjson

from jobqueue.findings.finding import Severity  # noqa: TC001  # read from the annotations below
from jobqueue.http.request.auth import GRANT
from jobqueue.http.request.query import parameters
from jobqueue.http.response.long_response import whole_answer
from jobqueue.http.response.reply import JSON
from jobqueue.http.response.timestamps import timestamp
from jobqueue.http.response.value_types import Count, Instant  # noqa: TC001  # as above

if TYPE_CHECKING:
    from aiohttp import web

    from jobqueue.findings.finding import Finding
    from jobqueue.findings.watch import Derived, Watch
    from jobqueue.service import Service


class SubjectDocument(TypedDict):
    """What a finding is about: a queue, a type, a schedule, a receiver of webhooks, or the server.

    Attributes:
        queue: The name of the queue.
        type: The name of the type.
        schedule: The name of the schedule.
        webhook: The name of the receiver.
        server: Of the server always true.
    """

    queue: NotRequired[str]
    type: NotRequired[str]
    schedule: NotRequired[str]
    webhook: NotRequired[str]
    server: NotRequired[bool]


class FindingDocument(TypedDict):
    """One thing that is wrong now.

    Attributes:
        kind: What it is, for programs.
        severity: `critical`: jobs are lost or don't run; `warning`: they will, or wait long; `info`: good to know.
        sentence: What is wrong.
        cause: Why, as far as it is known.
        remedy: What to do.
        since: Since when it is so.
        subject: What it is about.
        problem: The kind of problem that clients meet because of it, such as `queue-full`; null: none.
    """

    kind: str
    severity: Severity
    sentence: str
    cause: str
    remedy: str
    since: Instant
    subject: SubjectDocument
    problem: str | None


class FindingsDocument(TypedDict):
    """What is wrong now.

    Attributes:
        at: When it was derived, a second ago at most.
        findings: The worst first, then the oldest; an empty list: all is well.
        more: Further ones that are not told.
    """

    at: Instant
    findings: list[FindingDocument]
    more: Count


class Findings:
    """The handler of `/v1/findings`."""

    def __init__(self, service: Service, watch: Watch) -> None:
        self._service = service
        self._watch = watch
        self._derived: Derived | None = None
        self._documents: dict[bool, bytes] = {}

    async def look(self, request: web.Request) -> web.StreamResponse:
        """GET /v1/findings"""
        parameters(request, ())
        derived, sees_all = await self._watch.current(), request[GRANT].sees is None
        if derived is not self._derived:
            self._derived = derived
            self._documents.clear()
        body = self._documents.get(sees_all)
        if body is None:
            body = self._documents[sees_all] = orjson.dumps(self._document(derived, sees_all))
        return whole_answer(request, body, JSON)

    def _document(self, derived: Derived, sees_all: bool) -> FindingsDocument:
        told = [finding for finding in derived.findings if sees_all or finding.is_open]
        return {
            "at": timestamp(self._service.wall(max(0.0, derived.at))),
            "findings": [self._one(finding, derived, sees_all) for finding in told],
            "more": derived.more,
        }

    def _one(self, finding: Finding, derived: Derived, sees_all: bool) -> FindingDocument:
        return {
            "kind": finding.kind,
            "severity": finding.severity,
            "sentence": finding.sentence,
            "cause": finding.cause if sees_all or finding.open_cause is None else finding.open_cause,
            "remedy": finding.remedy,
            "since": timestamp(self._service.wall(derived.at if finding.since is None else finding.since)),
            "subject": _subject(finding),
            "problem": finding.problem,
        }


def _subject(finding: Finding) -> SubjectDocument:
    match finding.about:
        case "queue":
            return {"queue": finding.name or ""}
        case "type":
            return {"type": finding.name or ""}
        case "schedule":
            return {"schedule": finding.name or ""}
        case "webhook":
            return {"webhook": finding.name or ""}
        case _:
            return {"server": True}
