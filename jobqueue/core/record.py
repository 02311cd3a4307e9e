"""Records: the bases of small values of which many are made, cheap in both forms of the package.

Rules:

1. In pure Python a record is a struct (`struct_record`): C makes it, in half the time of a class with slots.
2. Compiled, it is a native class of mypyc: compiled code reads its fields without a lookup. No struct can be one.
3. Its fields are annotated, and `__init__` does nothing but assign them: its parameters are the fields, in their order.
   A struct has no `__init__`, and takes from it which fields are by keyword only, and their defaults.
4. In neither form does the garbage collector know it. So it must never be part of a reference cycle.
5. A record is never changed, a mutable one excepted.
"""

from __future__ import annotations

from types import FunctionType
from typing import Any, TypeVar

from mypy_extensions import mypyc_attr

T = TypeVar("T")


@mypyc_attr(acyclic=True)
class _Fields:
    """What a struct can do by itself."""

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and values_of(self) == values_of(other)

    def __hash__(self) -> int:
        return hash((type(self), *values_of(self).values()))

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={value!r}" for name, value in values_of(self).items())
        return f"{type(self).__name__}({fields})"


@mypyc_attr(acyclic=True)
class MutableRecord(_Fields):
    """A record with fields that change."""


@mypyc_attr(acyclic=True)
class Record(_Fields):
    """A record that is never changed."""


def values_of(record: Any) -> dict[str, Any]:
    """Return the fields of a compiled record, by name."""
    return {name: getattr(record, name) for name in record.__mypyc_attrs__ if not name.startswith("__")}


def changed(record: T, **fields: Any) -> T:
    """Return a copy of a record with other values of some fields."""
    return type(record)(**{**values_of(record), **fields})


if isinstance(values_of, FunctionType):  # not compiled
    import msgspec

    from jobqueue.core import struct_record

    globals().update(
        MutableRecord=struct_record.MutableRecord, Record=struct_record.Record, changed=msgspec.structs.replace
    )
