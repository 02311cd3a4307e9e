"""A job queue as one writes it with aiohttp in an afternoon: a dict, an asyncio.Queue, some workers.

    python -m bench.peers.naive

No bounds on memory, no timeouts, no retries, no drain: the comparison shows the price of these.
The same resources, and the same handles for the bench, as go/main.go.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import Any

import orjson
from aiohttp import web

from bench.peers.serving import serve

WORKERS = 256
CAPACITY = 1 << 22
JSON = "application/json"


class Queue:
    def __init__(self) -> None:
        self._jobs: dict[str, dict[str, Any]] = {}
        self._waiting: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._capacity = CAPACITY
        self._open = asyncio.Event()
        self._open.set()
        self._workers: list[asyncio.Task[None]] = []

    async def start(self, app: web.Application) -> None:
        self._workers = [asyncio.create_task(self._work()) for _ in range(WORKERS)]

    async def submit(self, request: web.Request) -> web.Response:
        given = orjson.loads(await request.read())
        if self._waiting.qsize() >= self._capacity:
            return web.Response(status=503, text="full", headers={"Retry-After": "1"})
        job_id = secrets.token_urlsafe(16)
        job = {"id": job_id, "type": given["type"], "state": "queued", "args": given["args"], "result": None}
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

    async def control(self, request: web.Request) -> web.Response:
        given = request.query
        if given.get("held") == "1":
            self._open.clear()
        elif given.get("held") == "0":
            self._open.set()
        if "capacity" in given:
            self._capacity = int(given["capacity"])
        if "clear" in given:
            while not self._waiting.empty():
                self._waiting.get_nowait()
            self._jobs = {job_id: job for job_id, job in self._jobs.items() if job["type"] != "echo"}
        return web.Response(status=204)

    async def _work(self) -> None:
        while True:
            job = await self._waiting.get()
            await self._open.wait()
            job["state"] = "running"
            job["result"] = await echo(job["args"])
            job["state"] = "succeeded"


async def echo(args: Any) -> Any:
    return args


def main() -> None:
    queue = Queue()
    app = web.Application()
    app.on_startup.append(queue.start)
    app.router.add_post("/jobs", queue.submit)
    app.router.add_get("/jobs/{id}", queue.look)
    app.router.add_post("/control", queue.control)
    serve(app)


if __name__ == "__main__":
    main()
