"""The routes of callers. Part of the table in `routes`."""

from __future__ import annotations

from jobqueue.http.errors import InvalidRequest, MalformedRequest, PathNotFound
from jobqueue.http.resources.callers import CallerBlock, CallerDocument, CallersDocument, CallersQuery
from jobqueue.http.route import JSON_TYPE, Answer, Body, Route

CALLERS = "/v1/callers"
CALLER = f"{CALLERS}/{{caller}}"

ONE_CALLER = Answer(200, CallerDocument, JSON_TYPE, when="The caller")

CALLER_ROUTES: tuple[Route, ...] = (
    Route(
        method="GET",
        path=CALLERS,
        name="list_callers",
        scope="admin",
        summary="Answers with the callers that use most, and what each uses of its limits",
        handler=lambda resources: resources.callers.all,
        query=CallersQuery,
        answers=(Answer(200, CallersDocument, JSON_TYPE, when="The callers"),),
        problems=(MalformedRequest,),
    ),
    Route(
        method="POST",
        path=f"{CALLER}:block",
        name="block_caller",
        scope="admin",
        summary="Has every request of a caller rejected for a while",
        handler=lambda resources: resources.callers.block,
        body=Body(CallerBlock),
        answers=(ONE_CALLER,),
        problems=(PathNotFound, InvalidRequest),
    ),
    Route(
        method="POST",
        path=f"{CALLER}:unblock",
        name="unblock_caller",
        scope="admin",
        summary="Ends the block of a caller",
        handler=lambda resources: resources.callers.unblock,
        answers=(ONE_CALLER,),
        problems=(PathNotFound,),
    ),
)
