"""A job queue of aiohttp, SAQ and Redis, as their documentation puts it together.

    python -m bench.peers.aiohttp_saq web|worker REDIS_SOCKET

The same resources as go/main.go, without the bench's handles.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import orjson
import uvloop
from aiohttp import web
from redis.asyncio import Redis
from saq import Worker
from saq.queue.redis import RedisQueue

from bench.peers.serving import serve


async def echo(ctx: dict[str, Any], *, args: dict[str, Any]) -> dict[str, Any]:
    return args


class Jobs:
    def __init__(self, queue: Any) -> None:
        self._queue = queue

    async def start(self, app: web.Application) -> None:
        await self._queue.connect()

    async def submit(self, request: web.Request) -> web.Response:
        given = orjson.loads(await request.read())
        job = await self._queue.enqueue(given["type"], args=given["args"])
        body = orjson.dumps({"id": job.key, "state": "queued"})
        headers = {"Location": f"/jobs/{job.key}"}
        return web.Response(status=202, body=body, content_type="application/json", headers=headers)

    async def look(self, request: web.Request) -> web.Response:
        job = await self._queue.job(request.match_info["id"])
        if job is None:
            return web.Response(status=404, text="no such job")
        body = orjson.dumps({"id": job.key, "state": job.status.value, "result": job.result})
        return web.Response(status=200 if job.completed else 202, body=body, content_type="application/json")


async def work(queue: Any) -> None:
    await queue.connect()
    await Worker(queue, functions=[("echo", echo)], concurrency=256).start()


def main(part: str, path: str) -> None:
    queue = RedisQueue(Redis.from_url(f"unix://{path}"))
    if part == "worker":
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(work(queue))
        return
    jobs = Jobs(queue)
    app = web.Application()
    app.on_startup.append(jobs.start)
    app.router.add_post("/jobs", jobs.submit)
    app.router.add_get("/jobs/{id}", jobs.look)
    serve(app)


if __name__ == "__main__":
    main(*sys.argv[1:])
