"""The bases of records in pure Python: structs that the garbage collector doesn't know."""

from __future__ import annotations

import inspect
from typing import Any

import msgspec


class _RecordMeta(type(msgspec.Struct)):  # type: ignore[misc]  # a class in C, without types
    """Makes a struct of a class with an `__init__`, which only declares the fields."""

    def __new__(mcs, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **options: Any) -> Any:
        init = namespace.pop("__init__", None)
        if init is not None:
            for parameter in inspect.signature(init).parameters.values():
                if parameter.default is not parameter.empty:
                    namespace[parameter.name] = parameter.default
                if parameter.kind is parameter.KEYWORD_ONLY:
                    options["kw_only"] = True
        return super().__new__(mcs, name, bases, namespace, **options)


class MutableRecord(msgspec.Struct, metaclass=_RecordMeta, gc=False):
    """A record whose fields change."""


class Record(msgspec.Struct, metaclass=_RecordMeta, frozen=True, gc=False):
    """A record that is never changed."""
