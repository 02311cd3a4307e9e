"""The bases of records in pure Python: structs that the garbage collector doesn't know."""

from __future__ import annotations

import inspect
from typing import Any

import msgspec

_make_struct: Any = type(msgspec.Struct)


class _Declared(type):
    """Makes a struct of a class with an `__init__`, which only declares the fields.

    The struct is of msgspec's own metaclass: if that has a subclass, Python calls the class in a way that takes longer,
    and makes a dict of the arguments by keyword.
    """

    def __new__(mcs, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **options: Any) -> Any:
        if not bases:
            return super().__new__(mcs, name, bases, namespace)
        init = namespace.pop("__init__", None)
        if init is not None:
            for parameter in inspect.signature(init).parameters.values():
                if parameter.default is not parameter.empty:
                    namespace[parameter.name] = parameter.default
                if parameter.kind is parameter.KEYWORD_ONLY:
                    options["kw_only"] = True
        base, *others = bases
        return _make_struct(name, (msgspec.Struct, *others), namespace, frozen=base is Record, gc=False, **options)


class MutableRecord(metaclass=_Declared):
    """A record with fields that change."""


class Record(metaclass=_Declared):
    """A record that is never changed."""
