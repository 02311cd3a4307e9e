"""The JSON Schema of a handler's arguments, made from the struct that checks them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from jobqueue.encoder import is_model

if TYPE_CHECKING:
    from jobqueue.handlers.signature import Signature


def arguments_schema(signature: Signature, ref: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the schema of a handler's arguments, and those that it refers to, by name.

    Args:
        ref: The form of references, with `{name}` in the place of the name.
    """
    used: dict[str, Any] = {}

    def foreign(kind: type) -> dict[str, Any]:
        return _model_schema(kind, ref, used) if is_model(kind) else {"type": "string"}  # the others are paths

    arguments = signature.arguments
    (schema,), components = msgspec.json.schema_components([arguments], schema_hook=foreign, ref_template=ref)
    before, _, after = ref.partition("{name}")
    own: dict[str, Any] = components.pop(schema["$ref"].removeprefix(before).removesuffix(after))
    del own["title"]
    if not own["required"]:
        del own["required"]
    if signature.takes_more:
        own["properties"] = {**own["properties"], **{name: {"not": {}} for name in sorted(signature.reserved)}}
    return own, {**components, **used}


def _model_schema(kind: Any, ref: str, used: dict[str, Any]) -> dict[str, Any]:
    try:
        schema: dict[str, Any] = kind.model_json_schema(ref_template=ref.replace("{name}", "{model}"))
    except Exception:  # a model may have types of its own that have no schema
        return {"type": "object"}
    used |= schema.pop("$defs", {})
    return schema
