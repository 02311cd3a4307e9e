"""The routes of what describes the service itself: index, types of problems, the API. Part of the table in `routes`.

The first two are open: they tell what is published, too. `server.openapi` opens the third.
"""

from __future__ import annotations

from jobqueue.http.errors import MalformedRequest, PathNotFound
from jobqueue.http.resources.api_description import DESCRIPTION, DescriptionDocument, DescriptionQuery
from jobqueue.http.resources.index import INDEX, IndexDocument
from jobqueue.http.resources.problem_types import ProblemTypeDocument, ProblemTypesDocument
from jobqueue.http.response.html import HTML_TYPE
from jobqueue.http.route import JSON_TYPE, Answer, Route

PROBLEMS = "/problems"

PAGE = Answer(200, media_type=HTML_TYPE, headers=("Content-Security-Policy", "X-Content-Type-Options"))
"""The document as a page, for a browser."""

DESCRIPTION_ROUTES: tuple[Route, ...] = (
    Route(
        method="GET",
        path=PROBLEMS,
        name="list_problem_types",
        scope=None,
        summary="Answers with all types of problems",
        handler=lambda resources: resources.problem_types.all,
        answers=(Answer(200, ProblemTypesDocument, JSON_TYPE), PAGE),
    ),
    Route(
        method="GET",
        path=f"{PROBLEMS}/{{slug}}",
        name="get_problem_type",
        scope=None,
        summary="Explains a type of problems: its causes, and what to do",
        handler=lambda resources: resources.problem_types.one,
        answers=(Answer(200, ProblemTypeDocument, JSON_TYPE), PAGE),
        problems=(PathNotFound,),
    ),
    Route(
        method="GET",
        path=INDEX,
        name="get_index",
        scope=None,
        summary="Answers with links to what this API has",
        handler=lambda resources: resources.index.links,
        answers=(Answer(200, IndexDocument, JSON_TYPE),),
    ),
    Route(
        method="GET",
        path=DESCRIPTION,
        name="get_api_description",
        scope="read",
        opened=lambda settings: settings.server.openapi == "open",
        summary="Answers with the description of this API, in OpenAPI 3.1",
        handler=lambda resources: resources.api_description.document,
        query=DescriptionQuery,
        headers=("If-None-Match",),
        answers=(Answer(200, DescriptionDocument, JSON_TYPE, ("ETag",)), Answer(304, headers=("ETag",))),
        problems=(MalformedRequest,),
    ),
)
