"""The table of routes: what the API serves, and the one source of its documents.

Rules:

1. Rows of one path are adjacent, so that they are one resource of aiohttp, with one list of allowed methods.
2. aiohttp tries the resources below a path in their order, so the most frequent one comes first.
3. `docs/reference/http.md` says the same as the rows, in words.
4. Each row has the scope that it needs of a key; only the probes of a balancer, the types of problems, the index and
   the page of the console have none.
"""

from __future__ import annotations

from jobqueue import errors
from jobqueue.handlers import Submission
from jobqueue.http.caller_routes import CALLER_ROUTES
from jobqueue.http.console_routes import CONSOLE_ROUTES
from jobqueue.http.description_routes import DESCRIPTION_ROUTES
from jobqueue.http.errors import (
    BodyTooLarge,
    BodyTooSlow,
    CrossOrigin,
    HeadTooLarge,
    InvalidRequest,
    MalformedJson,
    MalformedRequest,
    MethodNotAllowed,
    MisdirectedRequest,
    PathNotFound,
    QueueNotFound,
    TooManyConnections,
    TooManyLongPolls,
    Unauthorized,
    UnknownExpectation,
    UnknownTransferCoding,
    UnsupportedMediaType,
)
from jobqueue.http.failure_routes import FAILURE_ROUTES
from jobqueue.http.flow_routes import FLOW_ROUTES
from jobqueue.http.request.batch import Batch
from jobqueue.http.request.body import BodyKind
from jobqueue.http.request.include import JobQuery
from jobqueue.http.resources.bulk import BulkDocument, BulkFilter
from jobqueue.http.resources.events import EventsQuery
from jobqueue.http.resources.health import AliveDocument, ReadyDocument
from jobqueue.http.resources.included_document import IncludedDocument
from jobqueue.http.resources.job_list import ListDocument, ListQuery
from jobqueue.http.resources.queues import QueueChange, QueuePause, QueuesDocument
from jobqueue.http.resources.stats import StatsDocument, StatsQuery
from jobqueue.http.resources.submissions import BatchDocument
from jobqueue.http.response.job_document import JobDocument
from jobqueue.http.response.queue_document import QueueDocument
from jobqueue.http.route import ANY_TYPE, EVENT_STREAM, JSON_TYPE, Answer, Body, Route, problem
from jobqueue.http.schedule_routes import SCHEDULE_ROUTES
from jobqueue.http.server_routes import SERVER_ROUTES
from jobqueue.http.streams.event_document import EventDocument
from jobqueue.http.topic_routes import TOPIC_ROUTES
from jobqueue.http.what_if_routes import WHAT_IF_ROUTES

JOBS = "/v1/jobs"
JOB = "/v1/jobs/{id}"
QUEUE = "/v1/queues/{name}"

OF_A_JOB = ("Job-State", "ETag")
LIVE = Answer(202, JobDocument, JSON_TYPE, (*OF_A_JOB, "Retry-After"), when="The job is live")
TERMINAL = Answer(200, JobDocument, JSON_TYPE, OF_A_JOB, when="The job is terminal")
COUNTED = Answer(200, BulkDocument, JSON_TYPE, when="What was done")
ONE_QUEUE = Answer(200, QueueDocument, JSON_TYPE, when="The queue")
STREAM = Answer(200, EventDocument, EVENT_STREAM, headers=("X-Accel-Buffering",), when="The stream of events")

NO_JOB = (errors.JobNotFound, errors.JobGone)
"""The id was never issued, or its record is gone."""

ANY_REQUEST: tuple[Answer, ...] = tuple(
    map(
        problem,
        (
            MalformedRequest,
            Unauthorized,
            CrossOrigin,
            PathNotFound,
            MethodNotAllowed,
            UnknownExpectation,
            MisdirectedRequest,
            errors.RateLimited,
            HeadTooLarge,
            Exception,
            errors.Overloaded,
            errors.Recovering,
            errors.StoreUnavailable,
            TooManyConnections,
        ),
    )
)
"""The answers to any request, whether a row has its method and path or not."""

PREFLIGHT = Answer(
    204, headers=("Access-Control-Allow-Methods", "Access-Control-Allow-Headers", "Access-Control-Max-Age")
)
"""The answer to the preflight of a listed origin, for every path."""

ANY_BODY: tuple[Answer, ...] = (
    Answer(100),
    *map(problem, (MalformedJson, BodyTooSlow, BodyTooLarge, UnsupportedMediaType, UnknownTransferCoding)),
)
"""The answers to any request of a row that has a body."""

ROUTES: tuple[Route, ...] = (
    Route(
        method="GET",
        path=JOB,
        name="get_job",
        scope="read",
        summary="Answers with the job",
        handler=lambda resources: resources.jobs.look,
        query=JobQuery,
        headers=("If-None-Match", "Prefer"),
        answers=(
            Answer(202, IncludedDocument, JSON_TYPE, (*LIVE.headers, "Preference-Applied"), when="The job is live"),
            Answer(200, IncludedDocument, JSON_TYPE, (*OF_A_JOB, "Preference-Applied"), when="The job is terminal"),
            Answer(304, headers=(*LIVE.headers, "Preference-Applied"), when="The tag still holds"),
        ),
        problems=(MalformedRequest, *NO_JOB),
    ),
    Route(
        method="DELETE",
        path=JOB,
        name="delete_job",
        scope="operate",
        summary="Deletes the record of a terminal job and its files",
        handler=lambda resources: resources.jobs.delete,
        answers=(Answer(204, when="The record is deleted"),),
        problems=(*NO_JOB, errors.WrongState, errors.JournalFailed),
    ),
    Route(
        method="POST",
        path=JOBS,
        name="submit_job",
        scope="submit",
        summary="Submits a job",
        handler=lambda resources: resources.submissions.submit,
        expect=lambda resources: resources.submissions.expect,
        body=Body(Submission, (BodyKind.JSON, BodyKind.MULTIPART)),
        headers=("Idempotency-Key", "Prefer", "traceparent"),
        answers=(
            Answer(
                202,
                JobDocument,
                JSON_TYPE,
                ("Location", *OF_A_JOB, "Retry-After", "Job-Deduplicated", "Preference-Applied"),
                when="Accepted, or an existing job that is live",
            ),
            Answer(
                200,
                JobDocument,
                JSON_TYPE,
                ("Location", *OF_A_JOB, "Job-Deduplicated", "Preference-Applied"),
                when="The job is terminal: after a wait, or for a repeated key",
            ),
        ),
        problems=(
            MalformedRequest,
            *NO_JOB,
            errors.Duplicate,
            errors.NotInStore,
            errors.UnknownType,
            errors.InvalidSubmission,
            errors.KeyReused,
            errors.RateLimited,
            errors.QueueFull,
            errors.TypeQuarantined,
            errors.StatusesFull,
            errors.SpoolFull,
            errors.Overloaded,
            errors.Draining,
            errors.JournalFull,
            errors.JournalFailed,
        ),
    ),
    Route(
        method="GET",
        path=JOBS,
        name="list_jobs",
        scope="read",
        summary="Answers with jobs by id, or with a page of those that match all given filters, newest first",
        handler=lambda resources: resources.job_list.list_jobs,
        query=ListQuery,
        headers=("If-None-Match", "Prefer"),
        answers=(
            Answer(200, ListDocument, JSON_TYPE, ("ETag", "Preference-Applied"), when="The list"),
            Answer(304, headers=("ETag", "Preference-Applied"), when="The tag still holds"),
        ),
        problems=(MalformedRequest,),
    ),
    Route(
        method="POST",
        path=f"{JOBS}:batch",
        name="submit_jobs",
        scope="submit",
        summary="Submits many jobs; each is accepted or rejected on its own",
        handler=lambda resources: resources.submissions.submit_batch,
        expect=lambda resources: resources.submissions.expect,
        body=Body(Batch),
        headers=("traceparent",),
        answers=(Answer(207, BatchDocument, JSON_TYPE, when="One result for each submission, in order"),),
        problems=(
            MalformedRequest,
            InvalidRequest,
            errors.RateLimited,
            errors.QueueFull,
            errors.Overloaded,
            errors.Draining,
            errors.JournalFull,
            errors.JournalFailed,
        ),
    ),
    Route(
        method="GET",
        path=f"{JOB}/result",
        name="get_result",
        scope="read",
        summary="Answers with the result alone: the JSON that the handler returned, or the file that it wrote",
        handler=lambda resources: resources.jobs.result,
        answers=(
            Answer(
                200,
                media_type=ANY_TYPE,
                headers=(
                    "Job-State",
                    "Content-Security-Policy",
                    "X-Content-Type-Options",
                    "Cross-Origin-Resource-Policy",
                ),
                when="The result",
            ),
        ),
        problems=(*NO_JOB, errors.WrongState, errors.Overloaded, errors.Refused),
    ),
    Route(
        method="GET",
        path=f"{JOB}/events",
        name="stream_job_events",
        scope="read",
        summary="The events of one job: its state of now first, its end last",
        handler=lambda resources: resources.streams.one,
        headers=("Last-Event-ID",),
        answers=(STREAM, Answer(204, when="The job is terminal, and the client knows")),
        problems=(*NO_JOB, TooManyLongPolls),
    ),
    Route(
        method="POST",
        path=f"{JOB}:cancel",
        name="cancel_job",
        scope="operate",
        summary="Cancels a live job",
        handler=lambda resources: resources.jobs.cancel,
        answers=(TERMINAL, LIVE),
        problems=(*NO_JOB, errors.WrongState, errors.JournalFailed),
    ),
    Route(
        method="POST",
        path=f"{JOB}:retry",
        name="retry_job",
        scope="operate",
        summary="Queues a failed job again, under the same id, with the same arguments and files and a new series of "
        "attempts",
        handler=lambda resources: resources.jobs.retry,
        answers=(LIVE,),
        problems=(
            *NO_JOB,
            errors.WrongState,
            errors.RateLimited,
            errors.QueueFull,
            errors.TypeQuarantined,
            errors.Draining,
            errors.JournalFull,
            errors.JournalFailed,
        ),
    ),
    Route(
        method="POST",
        path=f"{JOB}:run",
        name="run_job_now",
        scope="operate",
        summary="Lets a delayed job, or one that waits for its next attempt, start now",
        handler=lambda resources: resources.jobs.run,
        answers=(LIVE,),
        problems=(*NO_JOB, errors.WrongState, errors.JournalFailed),
    ),
    Route(
        method="POST",
        path=f"{JOBS}:retry",
        name="retry_jobs",
        scope="operate",
        summary="Retries all failed jobs that match",
        handler=lambda resources: resources.bulk.retry,
        body=Body(BulkFilter),
        answers=(COUNTED,),
        problems=(InvalidRequest, errors.JournalFailed),
    ),
    Route(
        method="POST",
        path=f"{JOBS}:cancel",
        name="cancel_jobs",
        scope="operate",
        summary="Cancels all live jobs that match",
        handler=lambda resources: resources.bulk.cancel,
        body=Body(BulkFilter),
        answers=(COUNTED,),
        problems=(InvalidRequest, errors.JournalFailed),
    ),
    Route(
        method="POST",
        path=f"{JOBS}:delete",
        name="delete_jobs",
        scope="operate",
        summary="Deletes the records of all terminal jobs that match",
        handler=lambda resources: resources.bulk.delete,
        body=Body(BulkFilter),
        answers=(COUNTED,),
        problems=(InvalidRequest, errors.JournalFailed),
    ),
    Route(
        method="POST",
        path=f"{JOBS}:run",
        name="run_jobs_now",
        scope="operate",
        summary="Lets all delayed jobs that match, or that wait for their next attempt, start now",
        handler=lambda resources: resources.bulk.run,
        body=Body(BulkFilter),
        answers=(COUNTED,),
        problems=(InvalidRequest, errors.JournalFailed),
    ),
    Route(
        method="GET",
        path="/v1/events",
        name="stream_events",
        scope="read",
        summary="The events of all jobs, from now on, or a sample of them",
        handler=lambda resources: resources.streams.all,
        query=EventsQuery,
        headers=("Last-Event-ID",),
        answers=(STREAM,),
        problems=(MalformedRequest, TooManyLongPolls),
    ),
    Route(
        method="GET",
        path="/v1/queues",
        name="list_queues",
        scope="read",
        summary="Answers with all queues",
        handler=lambda resources: resources.queues.all,
        answers=(Answer(200, QueuesDocument, JSON_TYPE, when="All queues"),),
    ),
    Route(
        method="GET",
        path=QUEUE,
        name="get_queue",
        scope="read",
        summary="Answers with the queue",
        handler=lambda resources: resources.queues.one,
        answers=(ONE_QUEUE,),
        problems=(QueueNotFound,),
    ),
    Route(
        method="PATCH",
        path=QUEUE,
        name="change_queue",
        scope="operate",
        summary="Changes what is given, at once, until that queue's configured settings change or, without a journal, "
        "a restart",
        handler=lambda resources: resources.queues.change,
        body=Body(QueueChange),
        answers=(ONE_QUEUE,),
        problems=(QueueNotFound, InvalidRequest, errors.JournalFailed),
    ),
    Route(
        method="POST",
        path=f"{QUEUE}:pause",
        name="pause_queue",
        scope="operate",
        summary="Starts no more jobs of the queue, until `:resume`, the end of the pause or, without a journal, "
        "a restart",
        handler=lambda resources: resources.queues.pause,
        body=Body(QueuePause, required=False),
        answers=(ONE_QUEUE,),
        problems=(QueueNotFound, InvalidRequest, errors.JournalFailed),
    ),
    Route(
        method="POST",
        path=f"{QUEUE}:resume",
        name="resume_queue",
        scope="operate",
        summary="Starts jobs of the queue again",
        handler=lambda resources: resources.queues.resume,
        answers=(ONE_QUEUE,),
        problems=(QueueNotFound, errors.JournalFailed),
    ),
    *WHAT_IF_ROUTES,
    *TOPIC_ROUTES,
    Route(
        method="GET",
        path="/v1/stats",
        name="get_stats",
        scope="read",
        summary="Answers with what queues or types did, in points of one length",
        handler=lambda resources: resources.stats.history,
        query=StatsQuery,
        answers=(Answer(200, StatsDocument, JSON_TYPE),),
        problems=(MalformedRequest, PathNotFound),
    ),
    Route(
        method="GET",
        path="/livez",
        name="get_liveness",
        scope=None,
        summary="Answers while the event loop runs",
        handler=lambda resources: resources.health.live,
        answers=(Answer(200, AliveDocument, JSON_TYPE, when="The event loop runs"),),
    ),
    Route(
        method="GET",
        path="/readyz",
        name="get_readiness",
        scope=None,
        summary="Tells whether jobs are admitted",
        handler=lambda resources: resources.health.ready,
        answers=(Answer(200, ReadyDocument, JSON_TYPE, when="Jobs are admitted"),),
        problems=(errors.Draining, errors.JournalFailed),  # `Recovering` is an answer to any request
    ),
    *FLOW_ROUTES,
    *SCHEDULE_ROUTES,
    *FAILURE_ROUTES,
    *CALLER_ROUTES,
    *SERVER_ROUTES,
    *DESCRIPTION_ROUTES,
    *CONSOLE_ROUTES,
)


def answers_of(route: Route) -> tuple[Answer, ...]:
    """Return every answer of a route, those to any request and any body too."""
    return (*route.own_answers, *ANY_REQUEST, *(ANY_BODY if route.body is not None else ()))
