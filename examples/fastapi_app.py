"""A queue inside a FastAPI application: its lifespan starts and drains the queue, an endpoint submits, another tells.

    uvicorn examples.fastapi_app:app --port 8000

    curl -i -X POST http://127.0.0.1:8000/reports -H 'Content-Type: application/json' -d '{"city": "Oslo", "days": 7}'
    curl http://127.0.0.1:8000/reports/ID
    curl 'http://127.0.0.1:8000/reports/ID?wait_s=5'

One process only: with `--workers 2` there would be two queues, and each would know its own jobs alone.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from math import ceil
from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from jobqueue import JobContext, JobQueue, JobState
from jobqueue.errors import JobGone, JobNotFound, Refused

queue = JobQueue(drain_s=10.0)


@queue.handler(attempts_max=3, timeout_s=60)
async def report(ctx: JobContext, city: str, days: int) -> dict[str, Any]:
    """Make a report, day by day."""
    for day in range(days):
        await asyncio.sleep(0.02)  # a call of a slow service
        ctx.progress((day + 1) / days, f"day {day + 1} of {days}")
    return {"city": city, "days": days}


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with queue:
        yield


app = FastAPI(title="Reports", lifespan=lifespan)


class Asked(BaseModel):
    """What a report is about."""

    city: Annotated[str, Field(min_length=1, max_length=100)]
    days: Annotated[int, Field(ge=1, le=366)] = 7


class Report(BaseModel):
    """A report that is asked for, and its content once it is there."""

    id: str
    state: JobState
    progress: float | None = None
    note: str | None = None
    result: Any = None
    error: str | None = None


@app.exception_handler(Refused)
async def reject(request: Request, refused: Refused) -> JSONResponse:
    """Tell the client when to come back: the queue is full, or draining."""
    headers = {"Retry-After": str(max(1, ceil(refused.retry_after_s)))}
    return JSONResponse({"detail": str(refused)}, 503, headers)


@app.post("/reports", status_code=202)
async def post_report(asked: Asked, request: Request, response: Response) -> Report:
    """Submit a report; asked for again while it is being made, it is the same one."""
    job = await queue.submit("report", asked.model_dump(), unique=f"{asked.city} {asked.days}")
    response.headers["Location"] = request.app.url_path_for("get_report", job_id=job.id)
    return Report(id=job.id, state=(await job.status()).state)


@app.get("/reports/{job_id}")
async def get_report(job_id: str, wait_s: Annotated[float, Query(ge=0, le=25)] = 0.0) -> Report:
    """Tell a report's state, at once or as soon as it is there."""
    job = queue.job(job_id)
    try:
        record = await job.status()
        if wait_s and record.live:
            try:
                record = await job.wait(wait_s)
            except TimeoutError:
                record = await job.status()
    except (JobNotFound, JobGone):
        raise HTTPException(404, "no such report, or it is not kept any more") from None
    progress = record.progress
    return Report(
        id=job_id,
        state=record.state,
        progress=progress.fraction if progress else None,
        note=progress.note if progress else None,
        result=await job.result() if record.state is JobState.SUCCEEDED else None,
        error=record.error.message if record.error else None,
    )
