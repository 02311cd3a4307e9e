"""The routes of groups of failed jobs. Part of the table in `routes`."""

from __future__ import annotations

from jobqueue.http.errors import MalformedRequest, PathNotFound
from jobqueue.http.resources.failures import FailureDocument, FailuresDocument, FailuresQuery
from jobqueue.http.route import JSON_TYPE, Answer, Route

FAILURES = "/v1/failures"

FAILURE_ROUTES: tuple[Route, ...] = (
    Route(
        method="GET",
        path=FAILURES,
        name="list_failures",
        scope="read",
        summary="Answers with the failed jobs that match, grouped by type, error and masked message",
        handler=lambda resources: resources.failures.all,
        query=FailuresQuery,
        answers=(Answer(200, FailuresDocument, JSON_TYPE, when="The groups"),),
        problems=(MalformedRequest,),
    ),
    Route(
        method="GET",
        path=f"{FAILURES}/{{failure}}",
        name="get_failure",
        scope="read",
        summary="Answers with one group of failed jobs, and with what their arguments have in common",
        handler=lambda resources: resources.failures.one,
        answers=(Answer(200, FailureDocument, JSON_TYPE, when="The group"),),
        problems=(PathNotFound,),
    ),
)
