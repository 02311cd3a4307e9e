"""Submissions of one server: a schema for each type that it has a handler of, with the schema of its arguments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jobqueue.handlers.arguments_schema import arguments_schema
from jobqueue.http.openapi.schemas import REF, finish

if TYPE_CHECKING:
    from jobqueue.config import Settings
    from jobqueue.handlers import Handler, Registry


def by_type(components: dict[str, Any], registry: Registry, settings: Settings) -> None:
    """Replace the component `Submission` by the choice of the submissions of each type.

    The components of a type begin with its name and a full stop: no other name has one.
    """
    plain = components["Submission"]
    plain["properties"] |= _members_here(plain["properties"], settings)
    mapping: dict[str, str] = {}
    for handler in registry:
        arguments, used = arguments_schema(handler.signature, REF.replace("{name}", f"{handler.name}.{{name}}"))
        for name, schema in used.items():
            finish(schema)
            components[f"{handler.name}.{name}"] = schema
        name = f"{handler.name}.Submission"
        components[name] = _submission_of(handler, plain, arguments)
        mapping[handler.name] = REF.format(name=name)
    if mapping:
        components["Submission"] = {
            "description": plain["description"],
            "oneOf": [{"$ref": ref} for ref in mapping.values()],
            "discriminator": {"propertyName": "type", "mapping": mapping},
        }


def _members_here(members: dict[str, Any], settings: Settings) -> dict[str, Any]:
    """Return the members of a submission that the settings bound further."""
    queue = {key: value for key, value in members["queue"].items() if key not in ("type", "pattern")}
    return {
        "queue": {**queue, "enum": [*(name for name in settings.queues if name not in settings.own_queues), None]},
        "delay_s": {**members["delay_s"], "maximum": settings.limits.delay_s_max},
        "ttl_s": {**members["ttl_s"], "maximum": settings.statuses.ttl_s_max},
        "callback": members["callback"] if settings.webhooks.callbacks else {"type": "null"},
    }


def _submission_of(handler: Handler, plain: dict[str, Any], arguments: dict[str, Any]) -> dict[str, Any]:
    members = dict(plain["properties"])
    description = members["args"].get("description", "")
    members["type"] = {**members["type"], "const": handler.name}
    members["args"] = {"description": description, **arguments}
    if handler.timeout_s is not None:
        members["timeout_s"] = {**members["timeout_s"], "maximum": handler.timeout_s}
    required = ["type", "args"] if "required" in arguments else ["type"]
    return {**plain, "properties": members, "required": required}
