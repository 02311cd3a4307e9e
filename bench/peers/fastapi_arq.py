"""A job queue of FastAPI, arq and Redis, as their documentation puts it together, and tuned for speed.

    python -m bench.peers.fastapi_arq web|worker REDIS_SOCKET

The same resources as go/main.go, without the bench's handles. arq's defaults (10 jobs at once, a poll of Redis twice a
second) would make it ten times slower than necessary.
"""

from __future__ import annotations

import socket
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import uvicorn
import uvloop
from arq import create_pool, run_worker
from arq.connections import RedisSettings
from arq.jobs import Job, JobStatus
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Submission(BaseModel):
    type: str
    args: dict[str, Any]


async def echo(ctx: dict[str, Any], args: dict[str, Any]) -> dict[str, Any]:
    return args


async def submit(submission: Submission, request: Request) -> JSONResponse:
    job = await request.app.state.pool.enqueue_job(submission.type, submission.args)
    return JSONResponse(
        {"id": job.job_id, "state": "queued"}, status_code=202, headers={"Location": f"/jobs/{job.job_id}"}
    )


async def look(job_id: str, request: Request) -> Response:
    job = Job(job_id, request.app.state.pool)
    if request.method == "HEAD":
        status = await job.status()
    else:
        info = await job.result_info()
        if info is not None:
            return JSONResponse({"id": job_id, "state": "succeeded", "result": info.result})
        status = await job.status()
    if status is JobStatus.not_found:
        return JSONResponse({"detail": "no such job"}, status_code=404)
    code = 200 if status is JobStatus.complete else 202
    return JSONResponse({"id": job_id, "state": status.value}, status_code=code)


def main(part: str, path: str) -> None:
    settings = RedisSettings(unix_socket_path=path)
    uvloop.install()
    if part == "worker":
        run_worker(
            {
                "functions": [echo],
                "redis_settings": settings,
                "max_jobs": 256,
                "poll_delay": 0.01,
                "log_results": False,
            }
        )
        return

    @asynccontextmanager
    async def connected(app: Any) -> AsyncIterator[None]:
        app.state.pool = await create_pool(settings)
        yield
        await app.state.pool.aclose()

    app = FastAPI(lifespan=connected)
    app.post("/jobs")(submit)
    app.api_route("/jobs/{job_id}", methods=["GET", "HEAD"])(look)
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    print("port", listener.getsockname()[1], flush=True)
    config = uvicorn.Config(app, loop="uvloop", http="httptools", access_log=False, log_level="warning")
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main(*sys.argv[1:])
