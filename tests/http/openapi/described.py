"""Comparison of received responses with the description of the API: status, headers and JSON."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import jsonschema_rs
import orjson

from jobqueue.config import Settings
from jobqueue.http.openapi import describe

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@cache
def description() -> dict[str, Any]:
    document: dict[str, Any] = orjson.loads(describe(Settings()))
    return document


def resolved(part: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    """Return what a reference refers to; anything else itself."""
    while "$ref" in part:
        found: Any = document
        for step in part["$ref"].removeprefix("#/").split("/"):
            found = found[step]
        part = found
    return part


@cache
def response_of(method: str, path: str, status: int) -> dict[str, Any] | None:
    """Return the described response; None: the status is not described."""
    operation = description()["paths"].get(path, {}).get(method.lower(), {})
    response = operation.get("responses", {}).get(str(status))
    return None if response is None else resolved(response, description())


@cache
def _validator(method: str, path: str, status: int, media_type: str) -> Any:
    response = response_of(method, path, status)
    content = {} if response is None else response.get("content", {})
    if media_type not in content:
        return None
    return _validator_of(content[media_type]["schema"])


def _validator_of(schema: dict[str, Any]) -> Any:
    whole = {**schema, "components": description()["components"]}
    return jsonschema_rs.validator_for(whole, validate_formats=True)


def differences_from_description(
    method: str, path: str, status: int, headers: Mapping[str, str], body: bytes | None
) -> Iterator[str]:
    """Yield what in a response differs from its description.

    Args:
        path: That of the row, with names in braces.
    """
    response = response_of(method, path, status)
    if response is None:
        yield f"{status} is not described"
        return
    yield from _in_headers(response.get("headers", {}), headers)
    media_type = headers.get("Content-Type", "").partition(";")[0]
    if not body or method == "HEAD":
        return
    validator = _validator(method, path, status, media_type)
    if validator is None:
        if "*/*" not in response.get("content", {}):
            yield f"{media_type} is not described"
    elif "json" in media_type:
        for error in validator.iter_errors(orjson.loads(body)):
            yield f"at {'/'.join(map(str, error.instance_path))}: {error.message}"


def _in_headers(described: Mapping[str, Any], headers: Mapping[str, str]) -> Iterator[str]:
    for name, ref in described.items():
        header = resolved(ref, description())
        value: Any = headers.get(name)
        if value is None:
            if header.get("required"):
                yield f"the header {name} is missing"
            continue
        if header["schema"].get("type") == "integer" and value.isdecimal():
            value = int(value)
        if not _header_validator(name).is_valid(value):
            yield f"the header {name} is {value!r}"


@cache
def _header_validator(name: str) -> Any:
    return _validator_of(description()["components"]["headers"][name]["schema"])
