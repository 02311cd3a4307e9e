"""Signatures: turns a handler's parameters into the struct that checks a job's arguments.

Rules:

1. The context is the parameter annotated `JobContext`, wherever that is: in a union with None, in `Annotated`, as
   a string. If none is, it is the one called `ctx` that has no annotation.
2. All others are arguments by name. Parameters that a partial has fixed are no arguments, so no client can set them.
"""

from __future__ import annotations

import inspect
import types
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args, get_origin, get_type_hints

import msgspec
import msgspec.inspect

from jobqueue.context import JobContext
from jobqueue.handlers import foreign

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jobqueue.handlers.callee import Callee

CONTEXT_NAME = "ctx"

_OPEN = (
    msgspec.inspect.AnyType,
    msgspec.inspect.CustomType,
    msgspec.inspect.DictType,
    msgspec.inspect.RawType,
)
"""Types that may have members of any name."""


class Signature(msgspec.Struct, frozen=True):
    """The parameters of a handler.

    Attributes:
        context_name: The context's parameter; empty if it goes by position only; None: not wanted.
        arguments: A struct of the arguments.
        takes_more: Arguments of other names are taken as well, but for those in `reserved`.
    """

    context_name: str | None
    arguments: type[msgspec.Struct]
    takes_more: bool
    reserved: frozenset[str]


class Members(msgspec.Struct, frozen=True):
    """The names that members of a job's arguments may have.

    Attributes:
        arguments: Those of the arguments themselves.
        all: Those of any depth.
        takes_more: Arguments of other names are taken as well.
        is_open: Members of other names are possible somewhere.
    """

    arguments: frozenset[str]
    all: frozenset[str]
    takes_more: bool
    is_open: bool


def read_signature(callee: Callee) -> Signature:
    """Read a handler's parameters.

    Raises:
        ValueError: The parameters can't be a job's arguments; the message continues "handler 'name': ".
    """
    try:
        parameters = [p for p in inspect.signature(callee.func).parameters.values() if p.name not in callee.fixed]
    except (ValueError, TypeError) as error:
        raise ValueError(f"its signature can't be read: {error}") from error
    hints = _hints(callee, parameters)
    context = _context_of(parameters, hints)
    arguments: dict[str, inspect.Parameter] = {}
    takes_more = False
    for parameter in parameters:
        if parameter is context:
            continue
        if parameter.kind is parameter.VAR_KEYWORD:
            takes_more = True
        elif parameter.kind in (parameter.VAR_POSITIONAL, parameter.POSITIONAL_ONLY):
            raise ValueError(f"arguments go by name, so {parameter} can't be one")
        elif parameter is parameters[0] and parameter.name == "self" and parameter.name not in hints:
            raise ValueError("it is a method without its object: register the method of an object instead")
        else:
            arguments[parameter.name] = parameter
    name = None if context is None else "" if context.kind is context.POSITIONAL_ONLY else context.name
    reserved = callee.fixed | ({context.name} if context is not None else set())
    return Signature(name, _struct_of(arguments, hints, takes_more), takes_more, reserved)


def classes_in(signature: Signature) -> Iterator[type]:
    """Yield the classes that an argument may hold instances of, beside those that JSON has."""
    for item in _types_in(msgspec.inspect.type_info(signature.arguments)):
        cls = getattr(item, "cls", None)
        if cls is not None and cls is not signature.arguments and not isinstance(item, msgspec.inspect.TypedDictType):
            yield get_origin(cls) or cls


def members_of(signature: Signature) -> Members:
    """Return the names that members may have, by the types of the arguments."""
    arguments = frozenset(signature.arguments.__struct_fields__)
    items = list(_types_in(msgspec.inspect.type_info(signature.arguments)))
    names = {item.encode_name for item in items if isinstance(item, msgspec.inspect.Field)}
    is_open = signature.takes_more or any(isinstance(item, _OPEN) for item in items)
    return Members(arguments, arguments | names, signature.takes_more, is_open)


def _hints(callee: Callee, parameters: list[inspect.Parameter]) -> dict[str, Any]:
    """Resolve the parameters' annotations, without the return annotation, which is not needed."""
    raw = {p.name: p.annotation for p in parameters if p.annotation is not p.empty}
    names = getattr(callee.innermost, "__globals__", {})
    holder = types.SimpleNamespace(
        __annotations__=raw, __type_params__=getattr(callee.innermost, "__type_params__", ())
    )
    try:
        try:
            return get_type_hints(holder, names, include_extras=True)
        except NameError:
            # Imported for type checkers only, as linters advise: the one name that every handler's module has.
            return get_type_hints(holder, names, {"JobContext": JobContext}, include_extras=True)
    except Exception as error:  # an annotation is an expression of the application's
        raise ValueError(f"its annotations can't be read: {error}") from error


def _context_of(parameters: list[inspect.Parameter], hints: dict[str, Any]) -> inspect.Parameter | None:
    found = [p for p in parameters if p.name in hints and _is_context(hints[p.name])]
    if not found:
        found = [p for p in parameters if p.name == CONTEXT_NAME and p.name not in hints]
        found = [p for p in found if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    if len(found) > 1:
        raise ValueError(f"it has one context, so {' and '.join(p.name for p in found)} can't both be it")
    if found and found[0].kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD):
        raise ValueError(f"its context is one parameter, so {found[0]} can't be it")
    return found[0] if found else None


def _is_context(hint: Any) -> bool:
    while get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    if get_origin(hint) in (Union, types.UnionType):
        others = [option for option in get_args(hint) if option is not types.NoneType]
        return len(others) == 1 and _is_context(others[0])
    if type(hint).__name__ == "TypeAliasType":  # Python 3.12's `type Context = JobContext`
        return _is_context(hint.__value__)
    return hint is JobContext


def _struct_of(
    arguments: dict[str, inspect.Parameter], hints: dict[str, Any], takes_more: bool
) -> type[msgspec.Struct]:
    fields: list[tuple[str, Any] | tuple[str, Any, Any]] = []
    try:
        for name, parameter in arguments.items():
            hint = hints.get(name, Any)
            if fault := foreign.unchecked(hint, parameter.default):
                raise TypeError(fault)
            if parameter.default is parameter.empty:
                fields.append((name, hint))
            else:
                # The default itself stays with the function: it need not be JSON, nor immutable.
                fields.append((name, hint | msgspec.UnsetType, msgspec.UNSET))
        struct = msgspec.defstruct("Arguments", fields, kw_only=True, forbid_unknown_fields=not takes_more)
        unknown = _unknown_type(struct)
    except TypeError as error:
        raise ValueError(f"JSON can't be checked against its signature: {error}") from error
    if unknown is not None:
        raise ValueError(f"JSON can't be checked against its signature: no JSON makes a {unknown!r}")
    return struct


def _unknown_type(struct: type[msgspec.Struct]) -> type | None:
    """Find a type inside an annotation that msgspec can't make from JSON; it would reject only once a job comes."""
    for item in _types_in(msgspec.inspect.type_info(struct)):
        if isinstance(item, msgspec.inspect.CustomType) and not foreign.is_known(item.cls):
            return item.cls
    return None


def _types_in(root: msgspec.inspect.Type) -> Iterator[msgspec.Struct]:
    """Yield msgspec's descriptions of a type and of all types inside of it."""
    stack: list[Any] = [root]
    seen: set[int] = set()
    while stack:
        item = stack.pop()
        if isinstance(item, (tuple, list)):
            stack.extend(item)
        elif isinstance(item, msgspec.Struct) and id(item) not in seen:
            seen.add(id(item))
            yield item
            stack.extend(getattr(item, name) for name in item.__struct_fields__)
