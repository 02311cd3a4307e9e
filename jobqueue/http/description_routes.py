"""The routes that describe the service: types of jobs and of problems, index, API. Part of the table in `routes`.

Types of problems and the index are open: they tell what is published, too. `server.openapi` opens the last one.
"""

from __future__ import annotations

from jobqueue.http.errors import MalformedRequest, PathNotFound, TypeNotFound
from jobqueue.http.resources.api_description import DESCRIPTION, DescriptionDocument, DescriptionQuery
from jobqueue.http.resources.index import INDEX, IndexDocument
from jobqueue.http.resources.job_types import TypeDocument, TypesDocument
from jobqueue.http.resources.problem_types import ProblemTypeDocument, ProblemTypesDocument
from jobqueue.http.response.html import HTML_TYPE
from jobqueue.http.route import JSON_TYPE, OPENMETRICS_TYPE, TEXT_TYPE, Answer, Route

TYPES = "/v1/types"
PROBLEMS = "/problems"
METRICS = "get_metrics"
"""The route at a path of the settings (`metrics.path`); it may have a port of its own."""

PAGE = Answer(
    200, media_type=HTML_TYPE, headers=("Content-Security-Policy", "X-Content-Type-Options"), when="the same as a page"
)
"""The document as a page, for a browser."""

DESCRIPTION_ROUTES: tuple[Route, ...] = (
    Route(
        method="GET",
        path=TYPES,
        name="list_types",
        scope="read",
        summary="Answers with all types of jobs",
        handler=lambda resources: resources.job_types.all,
        answers=(Answer(200, TypesDocument, JSON_TYPE),),
    ),
    Route(
        method="GET",
        path=f"{TYPES}/{{name}}",
        name="get_type",
        scope="read",
        summary="Answers with the type: its options, the JSON Schema of its arguments, the counts of its jobs",
        handler=lambda resources: resources.job_types.one,
        answers=(Answer(200, TypeDocument, JSON_TYPE),),
        problems=(TypeNotFound,),
    ),
    Route(
        method="POST",
        path=f"{TYPES}/{{name}}:release",
        name="release_type",
        scope="operate",
        summary="Ends the quarantine of a type, if it is in one: its waiting jobs start",
        handler=lambda resources: resources.job_types.release,
        answers=(Answer(200, TypeDocument, JSON_TYPE, when="The type"),),
        problems=(TypeNotFound,),
    ),
    Route(
        method="GET",
        path=PROBLEMS,
        name="list_problem_types",
        scope=None,
        summary="Answers with all types of problems",
        handler=lambda resources: resources.problem_types.all,
        answers=(Answer(200, ProblemTypesDocument, JSON_TYPE, when="All types"), PAGE),
    ),
    Route(
        method="GET",
        path=f"{PROBLEMS}/{{slug}}",
        name="get_problem_type",
        scope=None,
        summary="Explains a type of problems: its causes, and what to do",
        handler=lambda resources: resources.problem_types.one,
        answers=(Answer(200, ProblemTypeDocument, JSON_TYPE, when="The type"), PAGE),
        problems=(PathNotFound,),
    ),
    Route(
        method="GET",
        path=INDEX,
        name="get_index",
        scope=None,
        summary="Answers with links to what this API has",
        handler=lambda resources: resources.index.links,
        answers=(
            Answer(200, IndexDocument, JSON_TYPE, when="The links"),
            Answer(302, headers=("Location",), when="For a browser, the place of the console"),
        ),
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
        answers=(
            Answer(200, DescriptionDocument, JSON_TYPE, ("ETag",), when="The description"),
            Answer(304, headers=("ETag",), when="The tag still holds"),
        ),
        problems=(MalformedRequest,),
    ),
    Route(
        method="GET",
        path="/metrics",
        name=METRICS,
        scope="read",
        opened=lambda settings: settings.metrics.access == "open",
        summary="Answers with the metrics, for Prometheus",
        handler=lambda resources: resources.metrics.scrape,
        answers=(Answer(200, media_type=TEXT_TYPE), Answer(200, media_type=OPENMETRICS_TYPE)),
    ),
)
