"""Routes: the methods and paths of the API, with their handlers, and the middleware around them.

It makes the resources, and what they share: the bound of waiting requests, the bodies being received.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING

from aiohttp import HttpVersion11, hdrs, web

from jobqueue.http.errors import MalformedRequest
from jobqueue.http.in_flight import IN_FLIGHT, InFlightBudget
from jobqueue.http.request.body import Bodies, answer_expectation
from jobqueue.http.request.early_refusal import EarlyRefusal
from jobqueue.http.request.origins import OriginPolicy
from jobqueue.http.request.receiving import forget_frames
from jobqueue.http.resources.bulk import Bulk
from jobqueue.http.resources.events import Streams
from jobqueue.http.resources.health import Health
from jobqueue.http.resources.job_list import JobList
from jobqueue.http.resources.jobs import Jobs
from jobqueue.http.resources.queues import Queues
from jobqueue.http.resources.submissions import Submissions
from jobqueue.http.response.descriptors import DESCRIPTORS, Descriptors
from jobqueue.http.response.problems import error_of
from jobqueue.http.response.responses import error_answer
from jobqueue.http.streams.waiters import Waiters
from jobqueue.http.transport.fast_path import FastPath

if TYPE_CHECKING:
    from aiohttp.typedefs import Middleware

    from jobqueue.service import Service

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

FAST_PATH = web.AppKey("fast_path", FastPath)
"""The key of an application's fast path, for a server that can use it."""

JOB = "/v1/jobs/{id:[^/:]+}"
QUEUE = "/v1/queues/{name:[^/:]+}"


class Api:
    """All resources of one queue.

    Args:
        lag: Returns the lag of the event loop in seconds; None: it is not measured.

    Attributes:
        in_flight: Counts bytes being received and sent, over all resources.
        policy: Checks origins and hosts.
        waiters: The waiting requests of all resources.
    """

    def __init__(self, service: Service, lag: Callable[[], float] | None = None) -> None:
        self._service = service
        self.in_flight = InFlightBudget(self._in_flight_bytes)
        bodies = Bodies(lambda: service.settings.limits, self.in_flight)
        self.policy = OriginPolicy(service.settings.server.origins, service.settings.server.hosts)
        self.waiters = Waiters(lambda: service.settings.limits)
        early = EarlyRefusal(service, lag)
        self._submissions = Submissions(service, self.waiters, bodies, early)
        self._descriptors = Descriptors()
        self._jobs = Jobs(service, self.waiters, self._descriptors)
        self._lists = JobList(service, self.waiters)
        self._bulk = Bulk(service, bodies)
        self._fast_path = FastPath(service, early, self.policy)
        self._services = Queues(service, bodies, lag)
        self._health = Health(service, lambda: self._fast_path.in_use)
        self._streams = Streams(service, self.waiters)

    def add_to(self, app: web.Application) -> None:
        """Register every resource, the middleware, and the end of waits and streams."""
        app.middlewares.append(_answering(self.policy))
        if self.policy.origins:
            app.on_response_prepare.append(self.policy.expose)
        router = app.router

        async def expect(request: web.Request) -> web.StreamResponse | None:
            return await answer_expectation(request)

        # The most frequent one comes first: aiohttp tries the resources below a path in their order.
        router.add_get(JOB, self._jobs.look, expect_handler=expect)
        router.add_delete(JOB, self._jobs.delete, expect_handler=expect)
        for path, submit in (
            ("/v1/jobs", self._submissions.submit),
            ("/v1/jobs:batch", self._submissions.submit_batch),
        ):
            router.add_post(path, submit, expect_handler=self._submissions.expect)
        for path, handler in (
            ("/v1/jobs", self._lists.list_jobs),
            (f"{JOB}/result", self._jobs.result),
            ("/v1/queues", self._services.all),
            (QUEUE, self._services.one),
            ("/livez", self._health.live),
            ("/readyz", self._health.ready),
        ):
            router.add_get(path, handler, expect_handler=expect)
        for path, stream in ((f"{JOB}/events", self._streams.one), ("/v1/events", self._streams.all)):
            router.add_get(path, stream, allow_head=False, expect_handler=expect)
        router.add_patch(QUEUE, self._services.change, expect_handler=expect)
        for path, act in (
            (f"{JOB}:cancel", self._jobs.cancel),
            (f"{JOB}:retry", self._jobs.retry),
            (f"{JOB}:run", self._jobs.run),
            ("/v1/jobs:retry", self._bulk.retry),
            ("/v1/jobs:cancel", self._bulk.cancel),
            ("/v1/jobs:delete", self._bulk.delete),
            (f"{QUEUE}:pause", self._services.pause),
            (f"{QUEUE}:resume", self._services.resume),
        ):
            router.add_post(path, act, expect_handler=expect)
        app[FAST_PATH] = self._fast_path
        app[IN_FLIGHT] = self.in_flight
        app[DESCRIPTORS] = self._descriptors
        app.on_shutdown.append(self._end)

    def listens_on(self, addresses: Iterable[tuple[str, int]]) -> bool:
        """Set the server's addresses, before it answers requests; return whether other machines can reach it.

        Loopback addresses turn on the check of hosts, and, unless set otherwise, tracebacks in documents.
        """
        self.policy.listens_on(addresses)
        if self._service.settings.server.tracebacks is None:
            self._service.tells_tracebacks = self.policy.is_local
        return not self.policy.is_local

    def _in_flight_bytes(self) -> int:
        limits = self._service.settings.limits
        return max(limits.in_flight_bytes, 2 * limits.body_bytes)

    async def _end(self, app: web.Application) -> None:
        self.waiters.end()
        self._streams.stop()


def _answering(policy: OriginPolicy) -> Middleware:
    """Return the middleware around all resources: it checks each request, and answers exceptions."""

    @web.middleware
    async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            policy.check(request)
            if request.version < HttpVersion11 and hdrs.TRANSFER_ENCODING in request.headers:
                return _refuse_framing(request)
            if request.method == hdrs.METH_OPTIONS and (preflight := policy.preflight(request)) is not None:
                return preflight
            return await handler(request)
        except web.HTTPException as raised:
            error: Exception = error_of(raised, request)
            forget_frames(raised)  # aiohttp: the request keeps what its router raises
        except Exception as raised:
            error = raised
        try:
            return error_answer(request, error)
        finally:
            forget_frames(error)
            forget_frames(request.content.exception())
            del error

    return answer


def _refuse_framing(request: web.Request) -> web.Response:
    """Reject a transfer coding in HTTP/1.0: the body's end can't be trusted (RFC 9112, section 6.1)."""
    detail = f"HTTP/{request.version.major}.{request.version.minor} has no Transfer-Encoding: send a Content-Length"
    response = error_answer(request, MalformedRequest(detail))
    response.force_close()
    return response
