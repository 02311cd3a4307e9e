"""The HTTP API, for aiohttp. `application` is for a server of one's own; `jobqueue.server` is the ready-made one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobqueue.extras import extra

with extra("server", "jobqueue.http"):
    from aiohttp import web

    from jobqueue.http.assembly import Api

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from jobqueue.app import JobQueue

__all__ = ["api", "application"]


def application(queue: JobQueue) -> web.Application:
    """Return the API as an application to mount in another one, which then starts and drains the queue:

        app = web.Application()
        app.add_subapp("/jobs", jobqueue.http.application(queue))

    The limits on connections (`server.connections_max`, `limits.idle_timeout_s`, `write_timeout_s`, `header_bytes`)
    belong to the host application's server. So does the order of its shutdown: aiohttp stops
    listening before the queue drains, so statuses are not readable meanwhile.

    Web pages of other origins are rejected here, too (`server.origins`). Under which names the host may be reached is
    checked only where `server.hosts` lists them, because its addresses aren't known here; for the same reason documents
    have no tracebacks unless `server.tracebacks` is true.
    """

    async def life(app: web.Application) -> AsyncIterator[None]:
        async with queue:
            yield

    app = api(queue)
    app.cleanup_ctx.append(life)
    return app


def api(queue: JobQueue, lag: Callable[[], float] | None = None) -> web.Application:
    """Return the API of a queue that the caller starts and stops.

    Its `shutdown` answers waiting requests and ends the event streams: the server calls it before
    closing connections, as aiohttp's runners and `JobServer` do.

    Args:
        lag: Returns how many seconds late the event loop runs, so that submissions are rejected while it is
            over `limits.loop_lag_max_s`; `jobqueue.runtime.loop_monitor.LoopMonitor.lag` does.
    """
    app = web.Application()
    Api(queue.service, lag).add_to(app)
    return app
