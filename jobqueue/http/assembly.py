"""The API of one queue: its resources behind the routes, and the middleware around them.

It makes the resources, and what they share: the bound of waiting requests, the bodies being received.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec
from aiohttp import HttpVersion11, hdrs, web

from jobqueue.findings.watch import Watch
from jobqueue.http.answered import Answered, add_problems, problems
from jobqueue.http.console_routes import PAGE, placed
from jobqueue.http.description_routes import METRICS
from jobqueue.http.errors import CallerLimitExceeded, InsufficientScope, MalformedRequest
from jobqueue.http.in_flight import IN_FLIGHT, InFlightBudget
from jobqueue.http.request.auth import GRANT, Access, caller_of_request
from jobqueue.http.request.body import Bodies
from jobqueue.http.request.console_action import is_of_console
from jobqueue.http.request.early_refusal import EarlyRefusal
from jobqueue.http.request.origins import OriginPolicy
from jobqueue.http.request.rate_limit import RateLimits
from jobqueue.http.request.receiving import forget_frames
from jobqueue.http.request.sessions import SAFE, Sessions
from jobqueue.http.resources.api_description import ApiDescription
from jobqueue.http.resources.bulk import Bulk
from jobqueue.http.resources.callers import Callers
from jobqueue.http.resources.console import GUARD, Console
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
from jobqueue.http.response.descriptors import DESCRIPTORS, Descriptors
from jobqueue.http.response.problems import error_of
from jobqueue.http.response.responses import error_answer
from jobqueue.http.route import Resources
from jobqueue.http.routes import ROUTES
from jobqueue.http.streams.event_log import EventLog
from jobqueue.http.streams.shared_log import SharedLog
from jobqueue.http.streams.topic_log import TopicLog
from jobqueue.http.streams.waiters import Waiters
from jobqueue.http.transport.caller_connections import CALLER_CONNECTIONS, CallerConnections
from jobqueue.http.transport.fast_path import FastPath
from jobqueue.http.transport.store_path import StorePath
from jobqueue.metrics import catalogue as of
from jobqueue.recorder import Recorder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from aiohttp.typedefs import Middleware

    from jobqueue.config import Settings
    from jobqueue.handlers import Registry
    from jobqueue.http.resources.server import Process
    from jobqueue.http.route import Handler, Route
    from jobqueue.metrics.queues import QueueFamilies
    from jobqueue.service import Service

READ_ONLY = "the console is read-only (console.readonly): pages of this server change nothing; other programs may"
TOO_MANY_REQUESTS = 429

FAST_PATH = web.AppKey("fast_path", FastPath)
"""The key of an application's fast path, for a server that can use it."""


class Api:
    """All resources of one queue.

    Args:
        lag: Returns the lag of the event loop in seconds; None: it is not measured.

    Attributes:
        access: The keys in effect.
        in_flight: Counts bytes being received and sent, over all resources.
        policy: Checks origins and hosts.
        simulator: Runs the simulations.
        waiters: The waiting requests of all resources.
        watch: Derives what is wrong now.
        recorder: Samples the counts for the history, and for the watch.
        compactions: Each drops or copies what is kept for long: the latest events, the history.
    """

    def __init__(self, service: Service, lag: Callable[[], float] | None = None) -> None:
        self._service = service
        self._auth = service.settings.auth
        self.access = Access(self._auth, Sessions(readonly=service.settings.console.readonly))
        service.listeners.append(self._apply)
        self._rows: dict[web.AbstractRoute, Route] = {}
        self._page: web.AbstractResource | None = None
        self.in_flight = InFlightBudget(self._in_flight_bytes)
        bodies = Bodies(lambda: service.settings.limits, self.in_flight)
        self.policy = OriginPolicy(service.settings.server.origins, service.settings.server.hosts)
        self.answered = Answered()
        self.waiters = Waiters(lambda: service.settings.limits, lambda: service.callers)
        self.access.sessions.on_end = self.waiters.end_revoked
        console, actions = Console(service, lambda: self.access.required), ConsoleActions()
        early = EarlyRefusal(service, lag)
        is_shared = service.settings.backend == "valkey"
        self._descriptors, event_log = Descriptors(), SharedLog(service) if is_shared else EventLog(service)
        self._topic_log = TopicLog(service.topics)
        self._rate_limits = RateLimits(lambda: service.callers, lambda: service.backend.now())
        self._connections = CallerConnections(lambda: service.callers, lambda: self.access.required)
        self._fast_path = (StorePath if is_shared else FastPath)(
            service, early, self.policy, self.access, self.waiters, self._rate_limits
        )
        self.watch = Watch(
            service,
            process=lambda: None if self.process is None else self.process.counts(),
            problems=problems,
            long_polls=lambda: self.waiters.count,
        )
        self.recorder = Recorder(service, self.watch)
        self.compactions = (event_log.compact, self.recorder.compact)
        self._resources = Resources(
            submissions=Submissions(service, self.waiters, bodies, early, self._rate_limits),
            jobs=Jobs(service, self.waiters, self._descriptors, event_log),
            job_list=JobList(service, self.waiters),
            bulk=Bulk(service, bodies),
            queues=Queues(service, bodies, lag),
            what_if=WhatIf(service, self.recorder, bodies, self.waiters),
            stats=Stats(service, self.recorder),
            findings=Findings(service, self.watch),
            failures=FailedJobs(service),
            callers=Callers(service, bodies, self._rate_limits, self._connections, self.waiters, self.access),
            webhooks=Webhooks(service),
            health=Health(service, lambda: self._fast_path.in_use),
            streams=Streams(service, self.waiters, event_log),
            topics=Topics(service, self.waiters, bodies, early, self._rate_limits, self._topic_log),
            flows=Flows(service, self.waiters, bodies, early, self._rate_limits),
            flow_list=FlowList(service),
            job_types=JobTypes(service),
            schedules=Schedules(service, bodies),
            server=Server(service, bodies, self.waiters, lambda: event_log.count, lag),
            server_log=ServerLog(lambda: self.process),
            server_settings=ServerSettings(service, lambda: self.process),
            problem_types=ProblemTypes(),
            index=Index(lambda: [row.path for row in self._rows.values() if row.method == hdrs.METH_GET], console),
            api_description=ApiDescription(service, _describe),
            metrics=Metrics(service),
            console=console,
            console_session=ConsoleSession(console, self.access, actions),
            console_actions=actions,
        )
        self.simulator = self._resources.what_if.simulator
        self._resources.metrics.exposition.sources += [self.answered.add, add_problems, self._add_waiters]

    def add_metrics_source(self, source: Callable[[QueueFamilies], None]) -> None:
        """Have the metrics tell what the server counts."""
        self._resources.metrics.exposition.sources.append(source)

    def _add_waiters(self, families: QueueFamilies) -> None:
        families[of.HTTP_WAITERS].add(self.waiters.count)
        families[of.HTTP_WAITERS_MAX].add(self._service.settings.limits.long_polls_max)
        families[of.TOPICS_LISTENERS].add(self._topic_log.count)

    @property
    def process(self) -> Process | None:
        """The server process that serves it; None: it is mounted in an application."""
        return self._resources.server.process

    @process.setter
    def process(self, process: Process | None) -> None:
        self._resources.server.process = process

    def add_to(self, app: web.Application) -> None:
        """Register every resource, the middleware, and the end of waits and streams."""
        app.middlewares.append(_answering(self.policy, self._admit, self._note))
        if self.policy.origins:
            app.on_response_prepare.append(self.policy.expose)
        settings = self._service.settings.metrics
        own_port = settings.listen is not None
        for route in ROUTES:
            if route.name != METRICS:
                route = placed(route, self._service.settings.console)
                added = route.add_to(app.router, self._resources, self._check_key)
                self._rows |= added
                if route.name == PAGE:
                    self._page = next(iter(added)).resource
            elif settings.enabled and not own_port:
                self._add_metrics(app)
        app[FAST_PATH] = self._fast_path
        app[CALLER_CONNECTIONS] = self._connections
        app[IN_FLIGHT] = self.in_flight
        app[DESCRIPTORS] = self._descriptors
        app.on_startup.append(self._begin)
        app.on_shutdown.append(self._end)

    def add_metrics_to(self, app: web.Application) -> OriginPolicy:
        """Register the metrics alone, for a port of their own; return the policy, which needs its addresses."""
        policy = OriginPolicy((), self._service.settings.server.hosts)
        app.middlewares.append(_answering(policy, self._admit, self.answered.note))
        self._add_metrics(app)
        app[IN_FLIGHT] = self.in_flight
        app[CALLER_CONNECTIONS] = self._connections
        return policy

    def _add_metrics(self, app: web.Application) -> None:
        (route,) = (route for route in ROUTES if route.name == METRICS)
        route = msgspec.structs.replace(route, path=self._service.settings.metrics.path)
        self._rows |= route.add_to(app.router, self._resources, self._check_key)

    def listens_on(self, addresses: Iterable[tuple[str, int]]) -> bool:
        """Set the server's addresses, before it answers requests; return whether other machines can reach it.

        Loopback addresses turn on the check of hosts, and, unless set otherwise, tracebacks in documents.
        """
        self.policy.listens_on(addresses)
        self._resources.console.is_local = self.policy.is_local
        if self._service.settings.server.tracebacks is None:
            self._service.tells_tracebacks = self.policy.is_local
        return not self.policy.is_local

    def console_at(self, url: str) -> str:
        """Return the URL of the console of a server with this URL; empty: it is off, or no browser can open it."""
        console = self._resources.console
        return "" if console.why_off() or not url.startswith("http") else f"{url}{console.settings.path}/"

    def _admit(self, request: web.Request) -> None:
        """Check a request's key, and its caller's rate. Raises as the answers to any request."""
        # aiohttp: of a path without a resource, or a method that it hasn't got, the route is none of ours.
        self._check_key(request, self._rows.get(request.match_info.route))
        self._count(request)

    def _count(self, request: web.Request) -> None:
        """Count a request, and its connection, for its caller. Raises CallerLimitExceeded."""
        callers = self._service.callers
        if callers.connections and self.access.required and (caller := _key_of(request)) is not None:
            self._connections.admit(request, caller)
        if callers.requests or self._rate_limits.blocks:
            caller = caller_of_request(request)
            self._rate_limits.blocks.check(caller)
            self._rate_limits.take_request(caller)

    def _check_key(self, request: web.Request, row: Route | None) -> None:
        if row is not None and (row.scope is None or (row.opened is not None and row.opened(self._service.settings))):
            return
        request[GRANT] = grant = self.access.grant_of(request)
        self._connections.show_key(request)
        if row is None or row.scope is None:
            return
        read_only = self._service.settings.console.readonly and is_of_console(request, grant)
        if read_only or row.scope not in grant.scopes:
            self._count(request)  # else a key could send any number of requests that it may not send
            raise InsufficientScope(row.scope, READ_ONLY if read_only else None)
        if row.further_scope is not None and row.further_scope not in grant.scopes:
            self._count(request)
            raise InsufficientScope(row.further_scope)
        if self._service.why_not_ready is not None and row.needs_jobs:
            raise self._service.why_not_ready()

    def _note(self, request: web.Request, response: web.StreamResponse) -> None:
        """Count an answer; keep what the console has changed; guard what is below the console."""
        self.answered.note(request, response)
        if response.status == TOO_MANY_REQUESTS:
            with suppress(MalformedRequest):  # its connection was reset
                self._rate_limits.rejections.add(caller_of_request(request))
        if request.method not in SAFE and (row := self._rows.get(request.match_info.route)) is not None:
            self._resources.console_actions.note(request, response, row.name)
        if self._page is not None and request.path.startswith(self._page.canonical) and not response.prepared:
            response.headers.update(GUARD)

    def _apply(self, settings: Settings) -> None:
        """Put reloaded limits and keys into effect: what began with another key ends."""
        self._fast_path.heed_limits()
        self.access.sessions.set_readonly(settings.console.readonly)
        if settings.auth == self._auth:
            return
        self._auth = settings.auth
        self.access.replace(settings.auth)
        self._fast_path.forget_heads()
        self.waiters.end_revoked()

    def _in_flight_bytes(self) -> int:
        limits = self._service.settings.limits
        return max(limits.in_flight_bytes, 2 * limits.body_bytes)

    async def _begin(self, app: web.Application) -> None:
        self.recorder.start()

    async def _end(self, app: web.Application) -> None:
        self.recorder.stop()
        self.watch.stop()
        self.access.sessions.stop()
        self.waiters.end()
        self.simulator.stop()
        self._resources.streams.stop()
        self._topic_log.stop()


def _answering(
    policy: OriginPolicy,
    admit: Callable[[web.Request], None],
    note: Callable[[web.Request, web.StreamResponse], None],
) -> Middleware:
    """Return the middleware around all resources: it checks each request, answers exceptions, and counts answers.

    Args:
        admit: Checks its key.
        note: Counts its answer.
    """

    @web.middleware
    async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
        response = await respond(request, handler)
        note(request, response)
        return response

    async def respond(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            policy.check(request)
            if (fault := _framing_fault(request)) is not None:
                return _refuse_framing(request, fault)
            if request.method == hdrs.METH_OPTIONS and (preflight := policy.preflight(request)) is not None:
                return preflight
            admit(request)
            return await handler(request)
        except web.HTTPException as raised:
            error: Exception = error_of(raised, request)
            forget_frames(raised)  # aiohttp: the request keeps what its router raises
        except Exception as raised:
            error = raised
        try:
            response = error_answer(request, error)
            if isinstance(error, CallerLimitExceeded) and error.closes:
                response.force_close()
            return response
        finally:
            forget_frames(error)
            forget_frames(request.content.exception())
            del error

    return answer


def _describe(settings: Settings, registry: Registry | None = None, *, prefix: str = "") -> bytes:
    from jobqueue.http.openapi import describe  # imported now: most servers are never asked

    return describe(settings, registry, prefix=prefix)


def _key_of(request: web.Request) -> str | None:
    grant = request.get(GRANT)
    return None if grant is None else grant.caller


def _framing_fault(request: web.Request) -> str | None:
    """Return why the end of a request can't be trusted; None: it can (RFC 9112, sections 6.1 and 6.3)."""
    coding = request.headers.get(hdrs.TRANSFER_ENCODING)
    if coding is None:
        return None
    if request.version < HttpVersion11:
        return "HTTP/1.0 has no Transfer-Encoding: send a Content-Length"
    # The parser refuses all others that do not end with chunked.
    return None if coding else "the Transfer-Encoding is empty: send chunked, or a Content-Length"


def _refuse_framing(request: web.Request, detail: str) -> web.Response:
    response = error_answer(request, MalformedRequest(detail))
    response.force_close()
    return response
