"""The resources of the API: which path and method is whose, and what an error becomes.

It owns the table of paths, and the rooms that share something (the bound on those who wait, the bodies that come
in). What a resource does is its room's: `submissions`, `jobs`, `lists`, `bulk`, `queues`, `sse`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from aiohttp import web

from jobqueue.errors import Draining
from jobqueue.http.answers import JSON, error_answer
from jobqueue.http.bulk import Bulk
from jobqueue.http.jobs import Jobs
from jobqueue.http.lane import FastLane
from jobqueue.http.limits import Bodies, answer_expectation
from jobqueue.http.lists import Lists
from jobqueue.http.problems import error_of
from jobqueue.http.queues import Queues
from jobqueue.http.sse import Streams
from jobqueue.http.submissions import Submissions
from jobqueue.http.waiting import Waiting

if TYPE_CHECKING:
    from jobqueue.app import JobQueue

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

LANE = web.AppKey("lane", FastLane)
"""Under which an application holds the fast lane to itself, for a server that can use it."""

JOB = "/v1/jobs/{id:[^/:]+}"
QUEUE = "/v1/queues/{name:[^/:]+}"


class Api:
    """All resources of one queue.

    Args:
        lag: Returns how many seconds late the event loop runs; None: nobody measures it.

    Attributes:
        waiting: Those who wait, over all resources.
    """

    def __init__(self, queue: JobQueue, lag: Callable[[], float] | None = None) -> None:
        bodies = Bodies(lambda: queue.settings.limits)
        self._queue = queue
        self.waiting = Waiting(lambda: queue.settings.limits)
        self._submissions = Submissions(queue, self.waiting, bodies, lag)
        self._jobs = Jobs(queue, self.waiting)
        self._lists = Lists(queue, self.waiting)
        self._bulk = Bulk(queue, bodies)
        self._lane = FastLane(queue, self._submissions)
        self._queues = Queues(queue, bodies, self._lane, lag)
        self._streams = Streams(queue, self.waiting)

    def add_to(self, app: web.Application) -> None:
        """Register every resource, and the end of those who wait."""
        router = app.router

        async def expect(request: web.Request) -> web.StreamResponse | None:
            return await answer_expectation(request)

        # The one asked for most comes first: aiohttp tries the resources below a path in their order.
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
            ("/v1/queues", self._queues.all),
            (QUEUE, self._queues.one),
            ("/livez", self._livez),
            ("/readyz", self._readyz),
        ):
            router.add_get(path, handler, expect_handler=expect)
        for path, stream in ((f"{JOB}/events", self._streams.one), ("/v1/events", self._streams.all)):
            router.add_get(path, stream, allow_head=False, expect_handler=expect)
        router.add_patch(QUEUE, self._queues.change, expect_handler=expect)
        for path, act in (
            (f"{JOB}:cancel", self._jobs.cancel),
            (f"{JOB}:retry", self._jobs.retry),
            (f"{JOB}:run", self._jobs.run),
            ("/v1/jobs:retry", self._bulk.retry),
            ("/v1/jobs:cancel", self._bulk.cancel),
            ("/v1/jobs:delete", self._bulk.delete),
            (f"{QUEUE}:pause", self._queues.pause),
            (f"{QUEUE}:resume", self._queues.resume),
        ):
            router.add_post(path, act, expect_handler=expect)
        app[LANE] = self._lane
        app.on_shutdown.append(self._end)

    async def _end(self, app: web.Application) -> None:
        self.waiting.end()
        self._streams.stop()

    async def _livez(self, request: web.Request) -> web.Response:
        """GET /livez: the loop turns."""
        return web.Response(body=b'{"status":"alive"}', headers=JSON)

    async def _readyz(self, request: web.Request) -> web.Response:
        """GET /readyz: jobs are admitted. A full queue is ready, a draining server is not."""
        if self._queue.draining:
            raise Draining
        return web.Response(body=b'{"status":"ready"}', headers=JSON)


@web.middleware
async def answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn whatever a handler raises into its answer."""
    try:
        return await handler(request)
    except web.HTTPException as raised:
        return error_answer(request, error_of(raised, request))
    except Exception as raised:
        return error_answer(request, raised)
