"""Routes: what one row of the table in `routes` says, and its registration with aiohttp.

A row is a method and a path, with everything that a client may send to it and may receive from it.

Rules:

1. A row is complete: an answer that it doesn't name, and that no row of answers to any request names, is a fault.
2. A row is true: each answer that it names can be provoked.
3. A GET has a HEAD with the same answers and no body. An event stream has none.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
from aiohttp import hdrs, web

from jobqueue import errors
from jobqueue.config import Settings
from jobqueue.http.errors import InsufficientScope, MethodNotAllowed, Unauthorized, UnsupportedMediaType
from jobqueue.http.request.body import BodyKind, answer_expectation
from jobqueue.http.response.problems import GONE_REASON, INTERNAL, TABLE, Row
from jobqueue.http.response.responses import closing_problem
from jobqueue.keys import Scope  # msgspec reads it from the annotations

if TYPE_CHECKING:
    from jobqueue.http.resources.api_description import ApiDescription
    from jobqueue.http.resources.bulk import Bulk
    from jobqueue.http.resources.callers import Callers
    from jobqueue.http.resources.console import Console
    from jobqueue.http.resources.console_actions import ConsoleActions
    from jobqueue.http.resources.console_session import ConsoleSession
    from jobqueue.http.resources.events import Streams
    from jobqueue.http.resources.failures import FailedJobs
    from jobqueue.http.resources.findings import Findings
    from jobqueue.http.resources.flow_list import FlowList
    from jobqueue.http.resources.flows import Flows
    from jobqueue.http.resources.health import Health
    from jobqueue.http.resources.index import Index
    from jobqueue.http.resources.job_list import JobList
    from jobqueue.http.resources.job_types import JobTypes
    from jobqueue.http.resources.jobs import Jobs
    from jobqueue.http.resources.metrics import Metrics
    from jobqueue.http.resources.problem_types import ProblemTypes
    from jobqueue.http.resources.queues import Queues
    from jobqueue.http.resources.schedules import Schedules
    from jobqueue.http.resources.server import Server
    from jobqueue.http.resources.server_log import ServerLog
    from jobqueue.http.resources.server_settings import ServerSettings
    from jobqueue.http.resources.stats import Stats
    from jobqueue.http.resources.submissions import Submissions
    from jobqueue.http.resources.topics import Topics
    from jobqueue.http.resources.webhooks import Webhooks
    from jobqueue.http.resources.what_if import WhatIf

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
ExpectHandler = Callable[[web.Request], Awaitable[web.StreamResponse | None]]

JSON_TYPE = "application/json"
PROBLEM_TYPE = "application/problem+json"
EVENT_STREAM = "text/event-stream"
TEXT_TYPE = "text/plain"
OPENMETRICS_TYPE = "application/openmetrics-text"
ANY_TYPE = "*/*"

OF_JOBS = ("/v1/jobs", "/v1/events", "/v1/failures", "/v1/flows", "/v1/schedules")
CHANGED_BY_THEM = ("/v1/queues", "/v1/types", "/v1/topics")
"""Beginnings of the paths of `Route.needs_jobs`."""

_HEADERS: tuple[tuple[type[BaseException], tuple[str, ...]], ...] = (
    (errors.Refused, ("Retry-After",)),
    (MemoryError, ("Retry-After",)),
    (errors.JobGone, (GONE_REASON,)),
    (errors.WrongState, ("Job-State",)),
    (MethodNotAllowed, ("Allow",)),
    (Unauthorized, ("WWW-Authenticate",)),
    (InsufficientScope, ("WWW-Authenticate",)),
    (UnsupportedMediaType, ("Accept-Post", "Accept-Patch", "Accept")),
)
"""The headers that a problem may have, as `problem_of` sets them."""


@dataclass(frozen=True, kw_only=True)
class Resources:
    """The resources of one queue; the rows name their methods."""

    submissions: Submissions
    jobs: Jobs
    job_list: JobList
    bulk: Bulk
    queues: Queues
    what_if: WhatIf
    stats: Stats
    findings: Findings
    failures: FailedJobs
    callers: Callers
    webhooks: Webhooks
    streams: Streams
    topics: Topics
    flows: Flows
    flow_list: FlowList
    health: Health
    job_types: JobTypes
    schedules: Schedules
    metrics: Metrics
    server: Server
    server_log: ServerLog
    server_settings: ServerSettings
    problem_types: ProblemTypes
    index: Index
    api_description: ApiDescription
    console: Console
    console_session: ConsoleSession
    console_actions: ConsoleActions


class Answer(msgspec.Struct, frozen=True):
    """One answer that a client may receive.

    Attributes:
        document: Type of the JSON; None: it has none, or any value.
        media_type: Of the body; empty: it has none.
        headers: Names of the headers that it may have, beside those of all answers.
        problem: Of an answer from 400 on.
        when: What it means, in a few words; empty: what its status means.
    """

    status: int
    document: object = None
    media_type: str = ""
    headers: tuple[str, ...] = ()
    problem: Row | None = None
    when: str = ""


class Body(msgspec.Struct, frozen=True):
    """A body that a request must or may have.

    Attributes:
        document: Type of the JSON; in a form, of its part `job`.
        kinds: The media types.
        required: False: the request may have none.
    """

    document: type[msgspec.Struct]
    kinds: tuple[BodyKind, ...] = (BodyKind.JSON,)
    required: bool = True


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """A row: a method and a path, with its requests and its answers.

    Attributes:
        path: With names in braces: `/v1/jobs/{id}`. A name stands for text without `/` and `:`, `{caller}` for any.
        name: Identifies the operation.
        summary: One sentence, without a full stop.
        handler: Names the method of a resource that answers.
        expect: Names the method that answers `Expect: 100-continue`; by default it is always continued.
        body: None: the request takes none, and one that is sent is ignored.
        scope: What the key of a request must have; None: the request needs no key.
        further_scope: What it must have beside that; None: no more.
        opened: Whether the settings open it to requests without a key; None: never.
        query: Its fields are the parameters of the query.
        headers: The request's headers that change the answer, beside those of every request.
        answers: Those below 400, beside the answers to any request and any body.
        problems: The exceptions that become its answers from 400 on.
    """

    method: str
    path: str
    name: str
    summary: str
    handler: Callable[[Resources], Handler]
    answers: tuple[Answer, ...]
    scope: Scope | None
    further_scope: Scope | None = None
    expect: Callable[[Resources], ExpectHandler] | None = None
    body: Body | None = None
    opened: Callable[[Settings], bool] | None = None
    query: type[msgspec.Struct] | None = None
    headers: tuple[str, ...] = ()
    problems: tuple[type[BaseException], ...] = ()

    @property
    def pattern(self) -> str:
        """The path as aiohttp matches it."""
        return re.sub(r"\{(\w+)\}", r"{\1:[^/:]+}", self.path.replace("{caller}", "{caller:.+}"))

    @property
    def methods(self) -> tuple[str, ...]:
        """The method, and HEAD with GET."""
        streams = any(answer.media_type == EVENT_STREAM for answer in self.answers)
        return (hdrs.METH_GET, hdrs.METH_HEAD) if self.method == hdrs.METH_GET and not streams else (self.method,)

    @property
    def needs_jobs(self) -> bool:
        """Whether it reads or changes what a start brings back from the journal."""
        return self.path.startswith(OF_JOBS) or (self.method != hdrs.METH_GET and self.path.startswith(CHANGED_BY_THEM))

    @property
    def own_answers(self) -> tuple[Answer, ...]:
        """Its answers, those from 400 on too."""
        problems = self.problems if self.scope is None else (*self.problems, InsufficientScope)
        return (*self.answers, *map(problem, problems))

    def add_to(
        self, router: web.UrlDispatcher, resources: Resources, admit: Callable[[web.Request, Route], object]
    ) -> dict[web.AbstractRoute, Route]:
        """Register it with aiohttp; return aiohttp's routes.

        Args:
            admit: Checks the key of a request before its body is asked for; the middleware does so for all others.
        """
        handler = self.handler(resources)
        answer = _always_continue if self.expect is None else self.expect(resources)

        async def expect(request: web.Request) -> web.StreamResponse | None:
            try:
                admit(request, self)
            except errors.JobQueueError as error:
                return closing_problem(error)
            return await answer(request)

        # HEAD first: it is the more frequent one.
        methods = self.methods[::-1]
        return {router.add_route(method, self.pattern, handler, expect_handler=expect): self for method in methods}


def problem(kind: type[BaseException]) -> Answer:
    """Return the answer that an exception of the table of problems becomes; of `Exception`, that is a 500."""
    row = INTERNAL if kind is Exception else TABLE[kind]
    headers = next((headers for base, headers in _HEADERS if issubclass(kind, base)), ())
    return Answer(row.status, media_type=PROBLEM_TYPE, headers=headers, problem=row)


async def _always_continue(request: web.Request) -> web.StreamResponse | None:
    return await answer_expectation(request)
