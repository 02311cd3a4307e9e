"""Encoder: Python values to JSON bytes, the same for submissions, the client's included, and results.

Rules:

1. What a handler's signature can make out of JSON can be encoded, and makes an equal value again: beside what JSON has,
   dates and durations (ISO 8601), `Decimal`, `UUID`, paths and bytes (base64) as strings, sets and tuples as lists,
   mappings with keys of these, enums by their value, and as objects dataclasses, msgspec's structs, attrs' classes and
   pydantic's models.
2. Whole or not at all: no field is left out, no NaN becomes null, no two keys become one, no number is cut.
3. Without orjson, which the client alone does not need, msgspec encodes: the same, slower.
"""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from collections.abc import Mapping, Set
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

INTEGER_MIN, INTEGER_MAX = -(2**63), 2**64 - 1


def by_msgspec(value: Any, /, default: Callable[[Any], Any] | None = None, option: int | None = None) -> bytes:
    """Encode as `orjson.dumps` does with the options below."""
    return msgspec.json.encode(_whole(value), enc_hook=default)


try:
    import orjson
except ModuleNotFoundError:
    dumps: Callable[..., bytes] = by_msgspec
    _PLAINLY = 0
else:
    dumps = orjson.dumps
    # Types that orjson would write differently, or incompletely (it omits a dataclass's fields that begin with `_`).
    _PLAINLY = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_SUBCLASS


def encode(value: Any) -> bytes:
    """Encode a value as JSON bytes, without loss. Raises ValueError, with the reason, if it has no JSON form."""
    if value is None:  # the most common result
        return b"null"
    try:
        try:
            encoded = dumps(value, default=_plain, option=_PLAINLY)
        except TypeError:  # keys that are not text, or a type without a JSON form, for which the message here is better
            value = _whole(value)
            encoded = dumps(value, default=_plain, option=_PLAINLY)
        if encoded.find(b"null") >= 0:  # `in` makes and drops an exception first: four times as slow
            # orjson writes NaN as null; only a stricter encoder distinguishes it from None.
            json.dumps(_whole(value) if dumps is by_msgspec else value, default=_plain, allow_nan=False)
    except RecursionError:
        raise ValueError("nested too deeply, or circular") from None
    except (TypeError, AttributeError, OverflowError) as error:
        raise ValueError(str(error)) from error
    # A true copy: orjson leaves the block of some KiB that it wrote into behind a result of a few bytes.
    return b"%b" % encoded


def is_model(kind: type) -> bool:
    """Whether a class is a model of pydantic's, which need not be installed."""
    pydantic = sys.modules.get("pydantic")
    return pydantic is not None and issubclass(kind, pydantic.BaseModel)


def _whole(value: Any) -> Any:
    """Return a value in JSON's types, its keys as texts."""
    if isinstance(value, int) and not INTEGER_MIN <= value <= INTEGER_MAX:  # msgspec would write it
        raise TypeError("Integer exceeds 64-bit range")
    if isinstance(value, (str, int, float)) or value is None:
        return value
    if not isinstance(value, (list, tuple, Mapping)) or dataclasses.is_dataclass(value):
        return _whole(_plain(value))
    if not isinstance(value, Mapping):
        return [_whole(member) for member in value]
    members: dict[str, Any] = {}
    for key, member in value.items():
        name = _key(key)
        if name in members:
            raise ValueError(f"two keys of an object are both {name!r} in JSON")
        members[name] = _whole(member)
    return members


def _key(key: Any) -> str:
    if isinstance(key, Enum):
        key = key.value
    if isinstance(key, float) and not math.isfinite(key):
        raise ValueError(f"the key {key} of an object is not a valid JSON number")
    if isinstance(key, (int, float)) and not isinstance(key, bool):
        return dumps(_plain(key) if type(key) not in (int, float) else key).decode()
    text = key if type(key) is str else _plain(key) if key is not None and not isinstance(key, bool) else None
    if not isinstance(text, str):
        raise TypeError(f"an object's keys are strings, numbers or dates, not {type(key).__name__}")
    return text


def _plain(value: Any) -> Any:
    """Return a value in JSON's types, one level deep. Raises TypeError if it has no JSON form."""
    match value:
        case type():
            pass
        case Enum():
            return value.value
        case _ if dataclasses.is_dataclass(value):
            return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        case msgspec.Struct():
            return _struct(value)
        case datetime() | date() | time() | timedelta():
            return _moment(value)
        case Decimal() | UUID() | bytes() | bytearray() | memoryview():
            return msgspec.to_builtins(value)
        case PurePath():
            return str(value)
        case msgspec.Raw():
            return msgspec.json.decode(value)
        case Mapping():
            return dict(value)
        case list() | tuple() | Set():
            return list(value)
        case str():
            return str.__str__(value)
        case int():
            return int.__int__(value)
        case float():
            return float.__float__(value)
        case _ if is_model(type(value)):
            return value.model_dump(mode="json", by_alias=True)
        case _ if hasattr(value, "__attrs_attrs__"):
            return {field.name: getattr(value, field.name) for field in value.__attrs_attrs__}
    raise TypeError(f"JSON can't represent {type(value).__qualname__!r}")


def _struct(value: msgspec.Struct) -> Any:
    """Return a struct in its class's form, but with its defaults included."""
    config = value.__struct_config__
    named = zip(value.__struct_encode_fields__, value.__struct_fields__, strict=True)
    members = {name: getattr(value, field) for name, field in named}
    if config.array_like:
        return [*([] if config.tag is None else [config.tag]), *members.values()]
    tag = {} if config.tag_field is None else {config.tag_field: config.tag}
    return tag | {name: member for name, member in members.items() if member is not msgspec.UNSET}


def _moment(value: datetime | date | time | timedelta) -> Any:
    if isinstance(value, datetime) and _offset_s(value) % 60:
        value = value.astimezone(UTC)  # RFC 3339 has offsets in whole minutes, and older ones are not
    elif isinstance(value, time) and _offset_s(value) % 60:
        raise ValueError(f"the offset of {value} from UTC is not a whole number of minutes")
    return msgspec.to_builtins(value)


def _offset_s(value: datetime | time) -> float:
    offset = value.utcoffset()
    return 0 if offset is None else offset.total_seconds()
