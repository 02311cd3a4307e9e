"""Records as the store tells them, read by the names of their fields."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from jobqueue.backend.valkey.layout import HEAD, KIND, REST

if TYPE_CHECKING:
    from struct import Struct

HEAD_FIELDS: Final = (*"slhxyvaztof", "w", "st", *"AR", "kind")
KIND_FIELDS: Final = tuple("qSC")
REST_FIELDS: Final = (*"Knk", "rc", *"icdr", "sq", *"bPE")


def stored(told: bytes | list[Any]) -> dict[str, Any]:
    """Return the fields of a record, by their names in `records.lua`.

    Beside them: `H`, its history; `hr`, whether it has a result; its position.
    """
    text = told if isinstance(told, bytes) else told[0]
    fields, rest = _read(HEAD, HEAD_FIELDS, 5, text)
    fields |= _read(KIND, KIND_FIELDS, 3, fields.pop("kind"))[0]
    others, end = _read(REST, REST_FIELDS, 3, rest)
    assert end == b"", "a record ends with its last text"
    fields |= others | {"H": b"", "position": -1, "hr": int(fields["y"] >= 0)}
    if isinstance(told, list):
        fields |= dict(zip(("position", "A", "R", "H"), told[1:], strict=True))
    return fields


def _read(numbers: Struct, names: tuple[str, ...], texts: int, text: bytes) -> tuple[dict[str, Any], bytes]:
    """Return the fields of a part, the last so many being texts, and what follows it."""
    fields: dict[str, Any] = dict(zip(names, numbers.unpack_from(text), strict=True))
    at = numbers.size
    for name in names[-texts:]:
        length = fields[name]
        fields[name] = text[at : at + length]
        at += length
    return fields, text[at:]


def record(**given: Any) -> bytes:
    """Return the text of a record with these fields, the others being empty."""
    fields = dict.fromkeys(("y", "k", *"trof", "sq"), -1) | given
    fields["kind"] = _write(KIND, KIND_FIELDS, 3, fields)
    return _write(HEAD, HEAD_FIELDS, 5, fields) + _write(REST, REST_FIELDS, 3, fields)


def _write(numbers: Struct, names: tuple[str, ...], texts: int, fields: dict[str, Any]) -> bytes:
    written = [fields.get(name, b"") for name in names[-texts:]]
    return numbers.pack(*(fields.get(name, 0) for name in names[:-texts]), *map(len, written)) + b"".join(written)
