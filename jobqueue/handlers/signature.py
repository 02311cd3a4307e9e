"""Signatures: a handler's parameters become the struct that a job's arguments are checked against."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, get_type_hints

import msgspec
import msgspec.inspect

from jobqueue.context import JobContext

if TYPE_CHECKING:
    from collections.abc import Callable


def read_signature(func: Callable[..., Any], label: str) -> tuple[str | None, type[msgspec.Struct], bool]:
    """Return the context's name (None: not wanted), a struct of the other arguments, and whether any more are taken."""
    try:
        hints = get_type_hints(func, include_extras=True)
    except (NameError, TypeError) as error:
        raise ValueError(f"handler {label!r}: its annotations can't be read: {error}") from error
    parameters = list(inspect.signature(func).parameters.values())
    wants_context = bool(parameters) and (
        hints.get(parameters[0].name) is JobContext or (parameters[0].name == "ctx" and parameters[0].name not in hints)
    )
    fields: list[tuple[str, Any, Any] | tuple[str, Any]] = []
    takes_more = False
    for parameter in parameters[1:] if wants_context else parameters:
        if parameter.kind is parameter.VAR_KEYWORD:
            takes_more = True
        elif parameter.kind in (parameter.VAR_POSITIONAL, parameter.POSITIONAL_ONLY):
            raise ValueError(f"handler {label!r}: arguments go by name, so {parameter} can't be one")
        elif parameter.default is parameter.empty:
            fields.append((parameter.name, hints.get(parameter.name, Any)))
        else:
            # The default itself stays with the function: it need not be JSON, nor immutable.
            annotated = hints.get(parameter.name, Any)
            fields.append((parameter.name, annotated | msgspec.UnsetType, msgspec.UNSET))
    context_name = parameters[0].name if wants_context else None
    return context_name, _arguments_struct(label, fields, takes_more), takes_more


def _arguments_struct(label: str, fields: list[Any], takes_more: bool) -> type[msgspec.Struct]:
    try:
        struct = msgspec.defstruct("Arguments", fields, kw_only=True, forbid_unknown_fields=not takes_more)
        unknown = _unknown_type(msgspec.inspect.type_info(struct))
    except TypeError as error:
        raise ValueError(f"handler {label!r}: JSON can't be checked against its signature: {error}") from error
    if unknown is not None:
        raise ValueError(f"handler {label!r}: JSON can't be checked against its signature: no JSON makes a {unknown!r}")
    return struct


def _unknown_type(root: msgspec.inspect.Type) -> type | None:
    """Find a type inside an annotation that msgspec can't make from JSON; it would refuse only once a job comes."""
    stack: list[Any] = [root]
    seen: set[int] = set()
    while stack:
        item = stack.pop()
        if isinstance(item, (tuple, list)):
            stack.extend(item)
        elif isinstance(item, msgspec.inspect.CustomType):
            return item.cls
        elif isinstance(item, msgspec.Struct) and id(item) not in seen:
            seen.add(id(item))
            stack.extend(getattr(item, name) for name in item.__struct_fields__)
    return None
