"""Parameters of requests: those in paths, queries and headers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from jobqueue.api_limits import IDS_MAX
from jobqueue.http.request.idempotency import KEY_PATTERN
from jobqueue.http.request.include import INCLUDABLE
from jobqueue.http.request.job_filter import ARG, ARGS_MAX

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jobqueue.http.openapi.schemas import Schemas
    from jobqueue.http.route import Route

_NAME_IN_PATH = re.compile(r"\{(\w+)\}")

PATHS: dict[str, tuple[str, str]] = {
    "/v1/jobs/{id}": ("Id of the job, as its submission was answered.", "0aB000000-1c3FfGhIjKlM"),
    "/v1/flows/{id}": ("Id of the flow, as its submission was answered.", "0aB000000-1c3FfGhIjKlM"),
    "/v1/queues/{name}": ("Name of the queue.", "default"),
    "/v1/topics/{topic}": ("Topic: tokens of letters, digits, `_` and `-`, joined by dots.", "order.paid"),
    "/v1/topics/{pattern}": ("Pattern: a token may be `*`, for any one; the last may be `>`, for the rest.", "order.*"),
    "/v1/schedules/{name}": ("Name of the schedule.", "nightly"),
    "/v1/types/{name}": ("Type of jobs: the name of a handler.", "echo"),
    "/console/{version}": ("Version of the console, as its page has it.", "5f0c9a1b2c3d4e5f"),
    "/console/{version}/{file}": ("Name of the file.", "main.js"),
    "/console/{version}/{folder}": ("Name of the folder.", "pages"),
    "/console/{version}/{folder}/{file}": ("Name of the file.", "jobs.js"),
    "/v1/failures/{failure}": ("Id of the group of failures.", "0123456789abcdef"),
    "/v1/callers/{caller}": ("Name of the caller, percent-encoded.", "key:ci"),
    "/problems/{slug}": ("Last part of the `type` of a problem.", "queue-full"),
}
"""Description and example of a name in a path, by the path up to it."""

HEADERS: dict[str, dict[str, Any]] = {
    "Idempotency-Key": {
        "description": "Makes a repeated submission safe: the same key with the same content is answered with the "
        "first job. 1 to 255 printable ASCII characters, in quotes or bare.",
        "schema": {"type": "string", "pattern": f"^(?:{KEY_PATTERN})$"},
    },
    "Prefer": {
        "description": "`wait=N` delays the answer until there is news, at most N seconds (RFC 7240). An invalid "
        "preference is ignored.",
        "schema": {"type": "string"},
        "example": "wait=5",
    },
    "traceparent": {
        "description": "The trace that the request belongs to (W3C Trace Context): it stands in the log lines of the "
        "job, and its handler gets it. A malformed one is ignored.",
        "schema": {"type": "string"},
        "example": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    },
    "If-None-Match": {
        "description": "Entity tags that the client has: while one holds, the answer is a 304.",
        "schema": {"type": "string"},
        "example": 'W/"2"',
    },
    "Last-Event-ID": {
        "description": "Id of the last event that the client has seen: what it has missed comes first.",
        "schema": {"type": "string"},
        "example": "5f0c9a1b2c3d-17",
    },
}
"""By name, each with its schema."""

_LISTS: dict[str, dict[str, Any]] = {
    "ids": {"type": "array", "items": {"type": "string", "minLength": 1}, "minItems": 1, "maxItems": IDS_MAX},
    "include": {"type": "array", "items": {"type": "string", "enum": [*INCLUDABLE]}, "minItems": 1},
}
"""Parameters that hold several values, separated by commas."""

_ANY_ARG = f"{ARG}PATH"


def parameters_of(row: Route, schemas: Schemas) -> list[dict[str, Any]]:
    """Return the parameters of a row, in the order of a request: path, query, headers."""
    found = [*_of_path(row.path)]
    if row.query is not None:
        found += _of_query(schemas.members(row.query))
    return found + [{"$ref": f"#/components/parameters/{name}"} for name in row.headers]


def components() -> dict[str, Any]:
    """Return the parameters that operations refer to: the headers."""
    return {name: {"name": name, "in": "header", **header} for name, header in HEADERS.items()}


def _of_path(path: str) -> Iterator[dict[str, Any]]:
    for found in _NAME_IN_PATH.finditer(path):
        description, example = PATHS.get(path[: found.end()], ("", ""))
        yield {
            "name": found[1],
            "in": "path",
            "required": True,
            "description": description,
            "schema": {"type": "string", "minLength": 1},
            "example": example,
        }


def _of_query(query: dict[str, Any]) -> Iterator[dict[str, Any]]:
    required = query.get("required", ())
    for name, member in query["properties"].items():
        schema = dict(member)
        if name == _ANY_ARG:
            yield _arguments(schema)
            continue
        description = schema.pop("description", "")
        several = None if "enum" in schema else _LISTS.get(name)
        parameter = {"name": name, "in": "query", "description": description, "schema": several or schema}
        if name in required:
            parameter["required"] = True
        if several is not None:
            parameter["explode"] = False
        yield parameter


def _arguments(value: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters for conditions on arguments: an object of which each member is a parameter."""
    return {
        "name": "arg",
        "in": "query",
        "description": value.pop("description"),
        "style": "form",
        "explode": True,
        "schema": {
            "type": "object",
            "additionalProperties": value,
            "propertyNames": {"pattern": f"^{re.escape(ARG)}."},
            "maxProperties": ARGS_MAX,
        },
        "example": {f"{ARG}user.id": "17"},
    }
