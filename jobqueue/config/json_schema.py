"""The JSON Schema of a settings file, for editors: made from the structs, so that it can't differ from them.

Only the schemas of numbers with units are written here; msgspec makes all others.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec
from msgspec import inspect

from jobqueue.config.settings import Settings
from jobqueue.config.units import Kind
from jobqueue.core.rate import RATE_PATTERN

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def render() -> str:
    """Return the schema as the text of `config.schema.json`."""
    schema = msgspec.json.schema(Settings)
    sections = schema["$defs"]
    root = sections.pop("Settings")
    sections["Rate"] = {"title": "Rate", "type": "string", "pattern": f"^{RATE_PATTERN}$"}
    for section in sections.values():
        if "properties" not in section:  # the words of an enum, the text of a rate
            continue
        section["properties"] = {name: _with_units(name, of) for name, of in section["properties"].items()}
        if not section["required"]:
            del section["required"]
    for of in root["properties"].values():
        if "description" not in of:
            del of["default"]  # a whole section's; each setting has its own
    document = {
        "$schema": DIALECT,
        "title": "Settings of jobqueue",
        "type": "object",
        "properties": root["properties"],
        "additionalProperties": False,
        "$defs": sections,
    }
    return json.dumps(document, indent=2) + "\n"


def _with_units(name: str, of: dict[str, Any]) -> dict[str, Any]:
    """Allow texts with a unit for a size or a duration."""
    if "anyOf" in of:  # a setting that may be null
        options = [_with_units(name, option) for option in of["anyOf"]]
        told = {key: option.pop(key) for option in options for key in ["description"] if key in option}
        return told | of | {"anyOf": [each for option in options for each in option.get("anyOf", [option])]}
    numbers: dict[str, type[inspect.Type]] = {"integer": inspect.IntType, "number": inspect.FloatType}
    number = numbers.get(of.get("type", ""))
    pattern = number and Kind(name, number()).spelling
    if not pattern:
        return of
    bounds = {key: of[key] for key in ("type", "minimum", "maximum")}
    rest = {key: value for key, value in of.items() if key not in bounds}
    return rest | {"anyOf": [bounds, {"type": "string", "pattern": pattern}]}
