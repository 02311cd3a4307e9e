"""Foreign types: types in signatures that msgspec doesn't know, made from JSON by a decoder hook.

Rules:

1. Models of pydantic's check themselves, as they would check JSON, and each of their faults keeps its position.
   pydantic is no dependency: there is a model only where the application has imported it.
2. Paths are texts.
3. What pydantic would check, and msgspec does not see, is rejected at registration: its dataclasses, its fields and
   those of annotated-types beside a parameter.
"""

from __future__ import annotations

import dataclasses
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, get_args

from jobqueue.encoder import is_model
from jobqueue.errors import FAULTS_MAX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NAMED_MAX = 1000
"""Faults of one model that are read: pydantic makes a list of all of them, or none."""


class ModelFaults(ValueError):
    """The faults of a model: for each its path, as steps from the model, and the expected value.

    Args:
        kind: The model.
        document: The JSON that it rejected.
    """

    def __init__(self, faults: list[tuple[tuple[str | int, ...], str]], count: int, kind: Any, document: bytes) -> None:
        super().__init__(faults[0][1] if faults else f"{count} faults")
        self.faults = faults
        self.count = count
        self.kind = kind
        self.document = document


def is_known(kind: Any) -> bool:
    """Whether `make` supports this type."""
    return isinstance(kind, type) and (issubclass(kind, PurePath) or is_model(kind))


def make(kind: Any, value: Any) -> Any:
    """Make an object out of parsed JSON; a hook of msgspec's decoders. Raises ValueError, TypeError."""
    if is_model(kind):
        return _model(kind, value)
    if not isinstance(value, str):
        raise TypeError(f"Expected `str`, got `{type(value).__name__}`")
    return kind(value)


def repeating(refusal: BaseException | None) -> Callable[[Any, Any], Any]:
    """Return `make`, but with the faults of a model that has just rejected a document kept: it isn't asked twice."""
    if not isinstance(refusal, ModelFaults):
        return make
    faults, count, model, document = refusal.faults, refusal.count, refusal.kind, refusal.document

    def make_again(kind: Any, value: Any) -> Any:
        if kind is model and _written(value) == document:
            raise ModelFaults(faults, count, model, document)
        return make(kind, value)

    return make_again


def unchecked(hint: Any, default: object) -> str | None:
    """Return the part of a parameter's annotation that would silently not be checked, if any."""
    for part in (*_parts(hint), default):
        module = type(part).__module__.partition(".")[0]
        if module in ("pydantic", "annotated_types") and not isinstance(part, type):
            return (
                f"{type(part).__name__} is not checked beside a parameter: use msgspec.Meta, or a model with that field"
            )
        if isinstance(part, type) and dataclasses.is_dataclass(part) and hasattr(part, "__pydantic_validator__"):
            return f"{part.__name__} is a pydantic dataclass, and its checks would not run: use a model"
    return None


def _parts(hint: Any) -> Iterator[Any]:
    """Yield a type and its parts, with the annotations beside it."""
    stack = [hint]
    while stack:
        part = stack.pop()
        yield part
        stack += [*get_args(part), *getattr(part, "__metadata__", ())]


def _written(value: Any) -> bytes:
    """Return the JSON of what was decoded."""
    import orjson  # here, since settings need no extra, and their schedules are checked as submissions are

    return orjson.dumps(value)


def _model(kind: Any, value: Any) -> Any:
    import pydantic  # there is one, since there is a model

    # As JSON, not as Python's objects: a strict model takes a text for a date there.
    document = _written(value)
    try:
        return kind.model_validate_json(document)
    except pydantic.ValidationError as error:
        count = error.error_count()
        found = (
            error.errors(include_url=False, include_context=False, include_input=False) if count <= NAMED_MAX else []
        )
        faults = [(tuple(fault["loc"]), fault["msg"]) for fault in found[:FAULTS_MAX]]
    # Not in there: it would keep pydantic's exception, which is up to a hundred times as large as what came. Nor from
    # a variable of this frame, which its traceback holds.
    raise ModelFaults(faults, count, kind, document)
