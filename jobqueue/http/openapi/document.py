"""The description of the API in OpenAPI 3.1, made from the rows of the routes and the structs that serve.

Rules:

1. What a row says is not repeated here. A row, an answer or a document that is added is described.
2. It depends on nothing but the rows, the settings, and the handlers if these are asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import orjson

from jobqueue import __version__
from jobqueue.http.console_routes import is_of_console, placed
from jobqueue.http.description_routes import METRICS
from jobqueue.http.openapi.answers import Responses, header_components
from jobqueue.http.openapi.operations import KEY_SCHEME, TAGS, operation_id, operation_of
from jobqueue.http.openapi.parameters import components as parameter_components
from jobqueue.http.openapi.schemas import Schemas
from jobqueue.http.openapi.submissions import by_type
from jobqueue.http.response.problems import INTERNAL, TABLE, ProblemDocument
from jobqueue.http.routes import JOB, ROUTES
from jobqueue.http.streams.event_document import EVENT_DATA, EventDocument
from jobqueue.http.streams.topic_event import PublishedDocument

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jobqueue.config import Settings
    from jobqueue.handlers import Registry
    from jobqueue.http.route import Route

VERSION = "3.1.1"

ABOUT = """\
A job queue in one process: submit jobs, watch them, read their results.

- An answer with one job is a **202** while the job is live, a **200** once it is terminal; `Job-State` has its state.
- Every answer from 400 on is a problem (RFC 9457), `application/problem+json`, and its `type` names the kind.
- 429 is the caller's quota, 503 the server's capacity; both have `Retry-After`.
- If the server has keys, each request needs one: `Authorization: Bearer jq_…`.
- Every answer has `Server`, `Date` and `Cache-Control`, and one with a body `Content-Type` and `Content-Length` or
  `Transfer-Encoding`; for web pages of listed origins the headers of CORS are added.
- More members may be added to a document: ignore those that you don't know.
"""


def describe(settings: Settings, registry: Registry | None = None, *, prefix: str = "") -> bytes:
    """Return the description as JSON.

    Args:
        registry: The handlers: with it a submission has a schema for each type.
        prefix: The path below which the API is mounted; empty in a server of its own.
    """
    schemas = Schemas(dict.fromkeys(_documents()))
    links = {operation_id(row.name, row.method): row for row in ROUTES if row.path.startswith(JOB)}
    responses = Responses(schemas, links)
    paths = _paths(schemas, responses, settings)
    schemas.components["Problem"]["properties"]["type"] |= {"enum": [f"/problems/{slug}" for slug in _slugs()]}
    if registry is not None:
        by_type(schemas.components, registry, settings)
    document = {
        "openapi": VERSION,
        "info": {
            "title": "jobqueue",
            "version": __version__,
            "description": ABOUT,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": prefix or "/", "description": "This server"}],
        "tags": [{"name": name, "description": words} for name, words in TAGS.items()],
        "paths": paths,
        "components": {
            "schemas": dict(sorted(schemas.components.items())),
            "responses": dict(sorted(responses.components.items())),
            "parameters": parameter_components(),
            "headers": header_components(),
            "links": {name: _link(name, row) for name, row in links.items()},
            "securitySchemes": {KEY_SCHEME: _key_scheme()},
        },
    }
    return orjson.dumps(document)


def _link(name: str, row: Route) -> dict[str, Any]:
    return {"operationId": name, "parameters": {"id": "$response.body#/id"}, "description": row.summary}


def _paths(schemas: Schemas, responses: Responses, settings: Settings) -> dict[str, Any]:
    paths: dict[str, Any] = {}
    for row in _rows(settings):
        for method in row.methods:
            operation = operation_of(row, method, schemas, responses, settings)
            paths.setdefault(row.path, {})[method.lower()] = operation
    return paths


def _rows(settings: Settings) -> Iterator[Route]:
    """Yield the rows of a server with these settings: they place the metrics."""
    metrics = settings.metrics
    for row in ROUTES:
        if is_of_console(row):
            if settings.console.enabled:
                yield placed(row, settings.console)
        elif row.name != METRICS:
            yield row
        elif metrics.enabled and metrics.listen is None:
            yield msgspec.structs.replace(row, path=metrics.path)


def _documents() -> Iterator[Any]:
    for row in ROUTES:
        yield from (answer.document for answer in row.answers if answer.document is not None)
        if row.query is not None:
            yield row.query
        if row.body is not None:
            yield row.body.document
    yield ProblemDocument
    yield EventDocument
    yield from EVENT_DATA
    yield PublishedDocument


def _slugs() -> list[str]:
    return sorted({row.slug for row in (*TABLE.values(), INTERNAL)})


def _key_scheme() -> dict[str, str]:
    return {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "jq_<id>_<secret>",
        "description": "An API key. Each operation names the scope that the key needs: `submit`, `read`, `operate` "
        "(includes `read`) or `admin` (includes all).",
    }
