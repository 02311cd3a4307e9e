"""Operations: a method and a path, as a row of the routes says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiohttp import hdrs

from jobqueue.http.openapi.examples import of_requests
from jobqueue.http.openapi.parameters import parameters_of
from jobqueue.http.request.body import BodyKind
from jobqueue.http.routes import answers_of

if TYPE_CHECKING:
    from jobqueue.config import Settings
    from jobqueue.http.openapi.answers import Responses
    from jobqueue.http.openapi.schemas import Schemas
    from jobqueue.http.route import Body, Route

KEY_SCHEME = "key"

TAGS = {
    "Jobs": "Submit a job, look at it, wait for it, change it.",
    "Bulk": "Actions on all jobs that match a filter.",
    "Events": "Server-sent events.",
    "Queues": "Counts, rates and settings of queues.",
    "Types": "What can be submitted.",
    "Server": "The process: health, numbers, this description.",
    "Console": "The web console: page, files, session.",
}


def operation_of(row: Route, method: str, schemas: Schemas, responses: Responses, settings: Settings) -> dict[str, Any]:
    """Return the operation of a row's method."""
    head = method == hdrs.METH_HEAD
    operation: dict[str, Any] = {
        "operationId": operation_id(row.name, method),
        "tags": [tag_of(row.path, settings.console.path)],
        "summary": f"{row.summary}, without a body" if head else row.summary,
        "description": _access(row),
        "security": _security(row, settings),
    }
    if parameters := parameters_of(row, schemas):
        operation["parameters"] = parameters
    if row.body is not None:
        operation["requestBody"] = _request_body(row.name, row.body, schemas)
    operation["responses"] = responses.of(row.name, answers_of(row), submits=row.scope == "submit", head=head)
    return operation


def operation_id(name: str, method: str) -> str:
    """Return a row's name as an identifier in camel case; of its HEAD the verb is `head`."""
    verb, *others = name.split("_")
    verb = "head" if method == hdrs.METH_HEAD else verb
    return verb + "".join(other.title() for other in others)


def tag_of(path: str, console: str) -> str:
    """Return the group of operations that a path belongs to. Args: console: The path of the console."""
    if f"{path}/".startswith(f"{console}/"):
        return "Console"
    if path.endswith("/events"):
        return "Events"
    if path.startswith("/v1/jobs:") and not path.endswith(":batch"):
        return "Bulk"
    part = path.removeprefix("/v1/").partition("/")[0].partition(":")[0].title()
    return part if part in TAGS else "Server"


def _access(row: Route) -> str:
    if row.scope is None:
        return "Needs no key."
    unless = "" if row.opened is None else ", unless the settings open it to all"
    scopes = f"scope `{row.scope}`" if row.further_scope is None else f"scopes `{row.scope}` and `{row.further_scope}`"
    return f"Needs the {scopes}, where keys are needed{unless}."


def _security(row: Route, settings: Settings) -> list[dict[str, list[str]]]:
    if row.scope is None or (row.opened is not None and row.opened(settings)):
        return []
    key: dict[str, list[str]] = {KEY_SCHEME: [scope for scope in (row.scope, row.further_scope) if scope is not None]}
    return [key] if settings.auth.required else [key, {}]


def _request_body(name: str, body: Body, schemas: Schemas) -> dict[str, Any]:
    schema = schemas.of(body.document)
    content: dict[str, Any] = {}
    if BodyKind.JSON in body.kinds:
        content[BodyKind.JSON.value] = {"schema": schema}
        if examples := of_requests(name):
            content[BodyKind.JSON.value]["examples"] = examples
    if BodyKind.MULTIPART in body.kinds:
        content[BodyKind.MULTIPART.value] = _form(schema)
    return {"required": body.required, "content": content}


def _form(job: dict[str, Any]) -> dict[str, Any]:
    """Return the form of a submission with files: its first part is the job, the others may have any name."""
    file = {"type": "string", "contentMediaType": "application/octet-stream"}
    parts = {
        "type": "object",
        "description": "The part `job` comes first. Each other part is a file; its name is free, and may come again.",
        "properties": {"job": job},
        "required": ["job"],
        "additionalProperties": {"anyOf": [file, {"type": "array", "items": file, "minItems": 1}]},
        "propertyNames": {"minLength": 1},
    }
    return {"schema": parts, "encoding": {"job": {"contentType": BodyKind.JSON.value}}}
