"""A job queue as one writes it with aiohttp, whose submissions are answered once a store has kept them.

Jobs live in a dict, and go to the store when they are submitted, when they start and when they end; the answer to a
submission waits for the store, starts and ends don't. What is told to the store in one turn of the loop, or while it is
busy, goes there as one group. So the stores are compared, not the queues around them: bench.peers.kept_by_sqlite and
bench.peers.kept_by_redis.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import Any, NamedTuple, Protocol

import orjson
from aiohttp import web

from bench.peers.serving import serve

WORKERS = 256
JSON = "application/json"


class Change(NamedTuple):
    """What the store is told of a job; `args` with its submission alone, `result` with its end."""

    id: str
    state: str
    type: str = ""
    args: bytes = b""
    result: bytes = b""


class Store(Protocol):
    """Keeps changes; those of one call all together."""

    async def open(self) -> None: ...

    async def keep(self, changes: list[Change]) -> None:
        """Return once they are as durable as the store promises."""

    async def close(self) -> None: ...


class Queue:
    """The queue over its store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._jobs: dict[str, dict[str, Any]] = {}
        self._waiting: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._gathered: list[Change] = []
        self._told = asyncio.Event()
        self._kept: asyncio.Future[None] | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self, app: web.Application) -> None:
        await self._store.open()
        self._tasks = [asyncio.create_task(self._keep()), *(asyncio.create_task(self._work()) for _ in range(WORKERS))]

    async def stop(self, app: web.Application) -> None:
        for task in self._tasks:
            task.cancel()
        await self._store.close()

    async def submit(self, request: web.Request) -> web.Response:
        given = orjson.loads(await request.read())
        job_id = secrets.token_urlsafe(16)
        job = {"id": job_id, "type": given["type"], "state": "queued", "args": given["args"], "result": None}
        kept = self._tell(Change(job_id, "queued", given["type"], orjson.dumps(given["args"])))
        await asyncio.shield(kept)
        self._jobs[job_id] = job
        self._waiting.put_nowait(job)
        headers = {"Location": f"/jobs/{job_id}"}
        return web.Response(status=202, body=orjson.dumps(job), content_type=JSON, headers=headers)

    async def look(self, request: web.Request) -> web.Response:
        job = self._jobs.get(request.match_info["id"])
        if job is None:
            return web.Response(status=404, text="no such job")
        status = 200 if job["state"] == "succeeded" else 202
        return web.Response(status=status, body=orjson.dumps(job), content_type=JSON)

    def _tell(self, change: Change) -> asyncio.Future[None]:
        """Tell the store; the future is done once it has kept this and all that came before."""
        if self._kept is None:
            self._kept = asyncio.get_running_loop().create_future()
        self._gathered.append(change)
        self._told.set()
        return self._kept

    async def _keep(self) -> None:
        while True:
            await self._told.wait()
            self._told.clear()
            changes, kept = self._gathered, self._kept
            self._gathered, self._kept = [], None
            await self._store.keep(changes)
            if kept is not None:
                kept.set_result(None)

    async def _work(self) -> None:
        while True:
            job = await self._waiting.get()
            job["state"] = "running"
            self._tell(Change(job["id"], "running"))
            job["result"] = await echo(job["args"])
            job["state"] = "succeeded"
            self._tell(Change(job["id"], "succeeded", result=orjson.dumps(job["result"])))


async def echo(args: Any) -> Any:
    return args


def serve_over(store: Store) -> None:
    """Serve a queue over this store until SIGTERM."""
    queue = Queue(store)
    app = web.Application()
    app.on_startup.append(queue.start)
    app.on_cleanup.append(queue.stop)
    app.router.add_post("/jobs", queue.submit)
    app.router.add_get("/jobs/{id}", queue.look)
    serve(app)
