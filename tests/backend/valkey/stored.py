"""Records as the store tells them, read by the names of their fields."""

from __future__ import annotations

from typing import Any, Final

from jobqueue.backend.valkey.layout import HEAD

NUMBERS: Final = (*"slKhxyvank", "rc", *"zicdtrof", "sq")
TEXTS: Final = (*"qbw", "st", *"SCARPE")


def stored(told: bytes | list[Any]) -> dict[str, Any]:
    """Return the fields of a record, by their names in `records.lua`.

    Beside them: `H`, its history; `hr`, whether it has a result; its position.
    """
    text = told if isinstance(told, bytes) else told[0]
    head = HEAD.unpack_from(text)
    numbers, lengths = head[: len(NUMBERS)], head[len(NUMBERS) :]
    fields: dict[str, Any] = dict(zip(NUMBERS, numbers, strict=True))
    at = HEAD.size
    for name, length in zip(TEXTS, lengths, strict=True):
        fields[name] = text[at : at + length]
        at += length
    assert at == len(text), "a record ends with its last text"
    fields |= {"H": b"", "position": -1, "hr": int(fields["y"] >= 0)}
    if isinstance(told, list):
        fields |= dict(zip(("position", "A", "R", "H"), told[1:], strict=True))
    return fields


def record(**given: Any) -> bytes:
    """Return the text of a record with these fields, the others being empty."""
    numbers: dict[str, Any] = dict.fromkeys(NUMBERS, 0) | dict.fromkeys(("y", "k", *"trof", "sq"), -1)
    texts = [given.get(name, b"") for name in TEXTS]
    numbers |= {name: value for name, value in given.items() if name in numbers}
    return HEAD.pack(*numbers.values(), *map(len, texts)) + b"".join(texts)
