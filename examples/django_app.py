"""A queue inside a Django application under ASGI, in one file: settings, views, and the lifespan that Django lacks.

    uvicorn --lifespan on examples.django_app:application --port 8000

    curl -i -X POST http://127.0.0.1:8000/reports/ -d city=Oslo -d days=7
    curl http://127.0.0.1:8000/reports/ID/
    curl 'http://127.0.0.1:8000/reports/ID/?wait_s=5'

With `--lifespan on` an error of the start ends the server; without it uvicorn would serve on, without a queue. One
process only: with `--workers 2` there would be two queues, and each would know its own jobs alone. Under WSGI run
`jobqueue serve` beside Django, and submit with `jobqueue.client.SyncClient`.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from math import ceil
from typing import Any

from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.management.utils import get_random_secret_key
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.urls import path, reverse
from django.views.decorators.http import require_GET, require_POST

from jobqueue import JobContext, JobQueue, JobState
from jobqueue.errors import InvalidSubmission, JobGone, JobNotFound, Refused

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

WAIT_S_MAX = 25.0

if not settings.configured:  # a project has a module of settings instead
    settings.configure(
        ALLOWED_HOSTS=["127.0.0.1", "localhost"],
        ROOT_URLCONF=__name__,
        SECRET_KEY=os.environ.get("SECRET_KEY") or get_random_secret_key(),
        USE_TZ=True,
    )

queue = JobQueue(drain_s=10.0)


@queue.handler(attempts_max=3, timeout_s=60)
async def report(ctx: JobContext, city: str, days: int) -> Message:
    """Make a report, day by day. For Django's ORM write a `def` handler, which runs in a thread."""
    for day in range(days):
        await asyncio.sleep(0.02)  # a call of a slow service
        ctx.progress((day + 1) / days, f"day {day + 1} of {days}")
    return {"city": city, "days": days}


@require_POST
async def post_report(request: HttpRequest) -> HttpResponse:
    """Submit a report."""
    days = request.POST.get("days", "7")
    args = {"city": request.POST.get("city"), "days": int(days) if days.isascii() and days.isdecimal() else days}
    try:
        job = await queue.submit("report", args)
    except InvalidSubmission as invalid:
        faults = [{"field": fault.pointer.rpartition("/")[2], "detail": fault.detail} for fault in invalid.errors]
        return JsonResponse({"errors": faults}, status=422)
    except Refused as refused:  # the queue is full, or draining
        headers = {"Retry-After": str(max(1, ceil(refused.retry_after_s)))}
        return JsonResponse({"detail": str(refused)}, status=503, headers=headers)
    location = reverse("report", args=[job.id])
    return JsonResponse({"id": job.id}, status=202, headers={"Location": location})


@require_GET
async def get_report(request: HttpRequest, job_id: str) -> HttpResponse:
    """Tell a report's state, at once or as soon as it is there."""
    job = queue.job(job_id)
    try:
        record = await job.status()
        if (wait_s := _wait_s(request)) and record.live:
            try:
                record = await job.wait(wait_s)
            except TimeoutError:
                record = await job.status()
    except (JobNotFound, JobGone):
        raise Http404("no such report, or it is not kept any more") from None
    return JsonResponse(
        {
            "id": job_id,
            "state": record.state,
            "progress": record.progress.fraction if record.progress else None,
            "result": await job.result() if record.state is JobState.SUCCEEDED else None,
            "error": record.error.message if record.error else None,
        }
    )


def _wait_s(request: HttpRequest) -> float:
    """Return the wait that is asked for, none where it is no number of seconds."""
    asked = request.GET.get("wait_s", "0")
    return min(float(asked), WAIT_S_MAX) if asked.isascii() and asked.isdecimal() else 0.0


urlpatterns = [
    path("reports/", post_report),
    path("reports/<str:job_id>/", get_report, name="report"),
]

django = get_asgi_application()


async def application(scope: Message, receive: Receive, send: Send) -> None:
    """Serve Django, and answer the server's lifespan: the queue runs from its start to its end."""
    if scope["type"] != "lifespan":
        await django(scope, receive, send)
        return
    await receive()  # lifespan.startup
    async with queue:
        await send({"type": "lifespan.startup.complete"})
        await receive()  # lifespan.shutdown
    await send({"type": "lifespan.shutdown.complete"})
