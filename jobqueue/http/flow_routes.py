"""The routes of flows. Part of the table in `routes`."""

from __future__ import annotations

from jobqueue import errors
from jobqueue.handlers.flow_submission import FlowSubmission
from jobqueue.http.errors import InvalidRequest, MalformedRequest, TooManyLongPolls
from jobqueue.http.request.body import BodyKind
from jobqueue.http.resources.flow_list import FlowsDocument, FlowsQuery
from jobqueue.http.resources.flows import FlowQuery
from jobqueue.http.response.flow_document import FlowDocument
from jobqueue.http.route import EVENT_STREAM, JSON_TYPE, Answer, Body, Route
from jobqueue.http.streams.event_document import EventDocument

FLOWS = "/v1/flows"
FLOW = "/v1/flows/{id}"

RUNNING = Answer(202, FlowDocument, JSON_TYPE, ("ETag",), when="The flow runs")
ENDED = Answer(200, FlowDocument, JSON_TYPE, ("ETag",), when="All its jobs have ended")
NO_FLOW = (errors.JobNotFound, errors.JobGone)
"""The id was never issued, or the flow is gone with the records of its jobs."""

NO_PARENT = NO_FLOW
"""A job that `after` names by its id was never issued, or its record is gone."""

FLOW_ROUTES: tuple[Route, ...] = (
    Route(
        method="GET",
        path=FLOW,
        name="get_flow",
        scope="read",
        summary="Answers with the flow: counts, state and graph",
        handler=lambda resources: resources.flows.look,
        query=FlowQuery,
        headers=("If-None-Match", "Prefer"),
        answers=(
            Answer(202, FlowDocument, JSON_TYPE, ("ETag", "Preference-Applied"), when="The flow runs"),
            Answer(200, FlowDocument, JSON_TYPE, ("ETag", "Preference-Applied"), when="All its jobs have ended"),
            Answer(304, headers=("ETag", "Preference-Applied"), when="The tag still holds"),
        ),
        problems=(MalformedRequest, *NO_FLOW, errors.NotInStore),
    ),
    Route(
        method="GET",
        path=FLOWS,
        name="list_flows",
        scope="read",
        summary="Answers with a page of the flows, newest first, without their jobs",
        handler=lambda resources: resources.flow_list.list_flows,
        query=FlowsQuery,
        answers=(Answer(200, FlowsDocument, JSON_TYPE, when="The list"),),
        problems=(MalformedRequest, errors.NotInStore),
    ),
    Route(
        method="POST",
        path=FLOWS,
        name="submit_flow",
        scope="submit",
        summary="Submits a graph of jobs, by names: all of them are accepted, or none",
        handler=lambda resources: resources.flows.submit,
        expect=lambda resources: resources.flows.expect,
        body=Body(FlowSubmission, (BodyKind.JSON,)),
        headers=("Idempotency-Key", "traceparent"),
        answers=(
            Answer(
                202,
                FlowDocument,
                JSON_TYPE,
                ("Location", "ETag", "Job-Deduplicated"),
                when="Accepted, or an existing flow that runs",
            ),
            Answer(
                200,
                FlowDocument,
                JSON_TYPE,
                ("Location", "ETag", "Job-Deduplicated"),
                when="For a repeated key: the flow has ended",
            ),
        ),
        problems=(
            MalformedRequest,
            *NO_PARENT,
            InvalidRequest,
            errors.InvalidSubmission,
            errors.UnknownType,
            errors.KeyReused,
            errors.NotInStore,
            errors.RateLimited,
            errors.QueueFull,
            errors.TypeQuarantined,
            errors.StatusesFull,
            errors.Overloaded,
            errors.Draining,
            errors.JournalFull,
            errors.JournalFailed,
        ),
    ),
    Route(
        method="GET",
        path=f"{FLOW}/events",
        name="stream_flow_events",
        scope="read",
        summary="The flow as it is, then the events of its jobs, and its end last",
        handler=lambda resources: resources.flows.events,
        headers=("Last-Event-ID",),
        answers=(
            Answer(200, EventDocument, EVENT_STREAM, headers=("X-Accel-Buffering",), when="The stream of events"),
            Answer(204, when="The flow has ended, and the client knows"),
        ),
        problems=(*NO_FLOW, errors.NotInStore, TooManyLongPolls),
    ),
    Route(
        method="POST",
        path=f"{FLOW}:cancel",
        name="cancel_flow",
        scope="operate",
        summary="Cancels all live jobs of the flow",
        handler=lambda resources: resources.flows.cancel,
        answers=(ENDED, RUNNING),
        problems=(*NO_FLOW, errors.WrongState, errors.NotInStore, errors.JournalFailed),
    ),
    Route(
        method="POST",
        path=f"{FLOW}:retry",
        name="retry_flow",
        scope="operate",
        summary="Runs the flow again from what has not succeeded",
        handler=lambda resources: resources.flows.retry,
        answers=(RUNNING,),
        problems=(
            *NO_FLOW,
            errors.WrongState,
            errors.NotInStore,
            errors.RateLimited,
            errors.QueueFull,
            errors.TypeQuarantined,
            errors.Draining,
            errors.JournalFull,
            errors.JournalFailed,
        ),
    ),
)
