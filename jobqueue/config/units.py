"""Units: converts a setting's text to its value, and back: counts, sizes, durations, rates, words.

Spellings are `1MiB`, `1h30m`, `250ms`; that of a rate is the core's. The kind of a setting follows from its type
and from the unit at the end of its name.
"""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Literal

from msgspec import inspect

from jobqueue.core.rate import RATE_EXPECTED, Rate

if TYPE_CHECKING:
    from collections.abc import Iterable

Tag = Literal["str", "int", "float", "bool", "null", "other"]
"""The type of a text in a source with types (YAML)."""

SIZE_UNITS = {
    "TiB": 2**40,
    "GiB": 2**30,
    "MiB": 2**20,
    "KiB": 2**10,
    "TB": 10**12,
    "GB": 10**9,
    "MB": 10**6,
    "kB": 10**3,
    "KB": 10**3,
    "B": 1,
}
DURATION_UNITS = {"d": Decimal(86_400), "h": Decimal(3600), "m": Decimal(60), "s": Decimal(1), "ms": Decimal("0.001")}

BOOLS = {"true": True, "false": False}

_NUMBER = r"[0-9]+(?:\.[0-9]+)?"
WHOLE_PATTERN = r"-?(?:0|[1-9][0-9]*(?:_[0-9]+)*)"
SIZE_PATTERN = rf"({_NUMBER}) ?({'|'.join(SIZE_UNITS)})"
DURATION_PATTERN = rf"(?=[0-9]){''.join(f'(?:({_NUMBER}){unit})?' for unit in DURATION_UNITS)}"
_PLAIN_NUMBER = re.compile(rf"-?{_NUMBER}")


def is_value(of: inspect.Type) -> bool:
    """Whether a setting's type is a value, not a section of further settings."""
    return not isinstance(of, inspect.StructType) or of.cls is Rate


class Kind:
    """How one setting's text is read: its valid forms and bounds."""

    def __init__(self, name: str, of: inspect.Type) -> None:
        annotated = of
        if isinstance(of, inspect.Metadata):
            of = of.type
        self.optional = isinstance(of, inspect.UnionType)
        if isinstance(of, inspect.UnionType):
            (of,) = (option for option in of.types if not isinstance(option, inspect.NoneType))
            annotated = of
            of = of.type if isinstance(of, inspect.Metadata) else of
        self.type = of
        self.is_size = isinstance(of, inspect.IntType) and name.endswith(("_bytes", "bytes_max"))
        self.is_list = isinstance(of, inspect.VarTupleType)
        self.examples = _examples(of, annotated)
        self.is_digest = name == "sha256"
        self.words: tuple[str, ...] = ()
        if isinstance(of, inspect.VarTupleType) and isinstance(of.item_type, inspect.LiteralType):
            self.words = tuple(map(str, of.item_type.values))

    def read(self, text: str, tag: Tag | None) -> object:
        """Turn a text into the value.

        Args:
            tag: The text's type in the source; None if the source has texts only.

        Raises:
            ValueError: It is invalid; `expected` names the valid forms.
        """
        if text in ("", "null", "~") and tag in ("null", None):
            if self.optional and (text or tag):  # an empty variable of a shell turns nothing off
                return None
            raise ValueError("empty")
        match self.type:
            case inspect.IntType():
                return self._within(_read_size(text) if self.is_size else _read_whole(text, tag))
            case inspect.FloatType():
                return self._within(read_duration(text))
            case inspect.BoolType():
                if text not in BOOLS or tag == "str":
                    raise ValueError(text)
                return BOOLS[text]
            case inspect.LiteralType(values=words):
                if text not in words:
                    raise ValueError(text)
                return text
            case inspect.EnumType(cls=words):
                return words(text)
            case inspect.StructType():
                return Rate.parse(text)
            case inspect.StrType(pattern=str(pattern)):
                if not re.fullmatch(pattern, text):
                    raise ValueError(text)
                return text
            case inspect.StrType(min_length=shortest, max_length=longest):
                fits = (shortest or 0) <= len(text) <= (longest or len(text))
                if tag not in ("str", None) or not fits or not text.isprintable():
                    raise ValueError(text)
                return text
            case inspect.VarTupleType():
                return self.read_items(_items(text))
        raise TypeError(f"no way to read a {self.type}")

    def read_items(self, items: Iterable[str]) -> tuple[str, ...]:
        """Turn the texts of a list into the value. Raises ValueError."""
        of, texts = self.type, tuple(items)
        assert isinstance(of, inspect.VarTupleType)
        if not (of.min_length or 0) <= len(texts) <= (of.max_length or len(texts)):
            raise ValueError(texts)
        if self.words:
            if not set(texts) <= set(self.words):
                raise ValueError(texts)
            return tuple(word for word in self.words if word in texts)
        item = of.item_type.type if isinstance(of.item_type, inspect.Metadata) else of.item_type
        assert isinstance(item, inspect.StrType)
        for text in texts:
            if len(text) > (item.max_length or len(text)) or not re.fullmatch(item.pattern or ".*", text):
                raise ValueError(text)
        return texts

    @property
    def expected(self) -> str:
        """The valid forms, as the rest of a sentence that begins with `must be`."""
        match self.type:
            case inspect.IntType(ge=int(low), le=int(high)) if self.is_size:
                phrase = f"a size from {write_size(low)} to {write_size(high)}, such as 1MiB, or a number of bytes"
            case inspect.IntType(ge=low, le=high):
                phrase = f"a whole number from {low} to {high}"
            case inspect.FloatType(ge=float(low), le=float(high)):
                bounds = f"from {write_duration(low)} to {write_duration(high)}"
                phrase = f"a duration {bounds}, such as 250ms or 10m, or a number of seconds"
            case inspect.BoolType():
                phrase = "true or false"
            case inspect.LiteralType(values=words):
                phrase = f"one of {', '.join(map(str, words))}"
            case inspect.EnumType(cls=words):
                phrase = f"one of {', '.join(word.value for word in words)}"
            case inspect.StructType():
                phrase = RATE_EXPECTED
            case inspect.StrType(pattern=str()) if self.is_digest:
                phrase = "the 64 hexadecimal digits (0-9, a-f) of a SHA-256"
            case inspect.StrType(pattern=str(), max_length=exact):
                form = f"string of {exact} characters" if len(self.examples[0]) == exact else "text"
                phrase = f"a {form}, such as {self.examples[0]}"
            case inspect.StrType(min_length=shortest, max_length=longest):
                length = f"{shortest} to {longest} printable characters"
                phrase = f"a string of {length} (in quotes if it looks like a number)"
            case inspect.VarTupleType() if self.words:
                phrase = f"a list of {', '.join(self.words)}, such as [{', '.join(self.examples)}]"
            case inspect.VarTupleType():
                phrase = f"a list such as [{', '.join(self.examples)}]"
            case _:
                raise TypeError(f"no words for a {self.type}")
        return f"{phrase}, or null" if self.optional else phrase

    @property
    def spelling(self) -> str | None:
        """The pattern of texts with a unit, valid beside plain numbers, if there are any."""
        if self.is_size:
            return f"^{SIZE_PATTERN}$"
        return f"^{DURATION_PATTERN}$" if isinstance(self.type, inspect.FloatType) else None

    def write(self, value: object) -> str:
        """Return a text that YAML and `read` convert to the same value."""
        if value is None:
            return "null"
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, int) and self.is_size:
            return write_size(value)
        if isinstance(value, float):
            return write_duration(value)
        if isinstance(self.type, inspect.StrType | inspect.IntType | inspect.VarTupleType):
            return json.dumps(value, ensure_ascii=False)
        return str(value)

    def _within(self, value: float) -> float:
        of = self.type
        assert isinstance(of, inspect.IntType | inspect.FloatType)
        if (of.ge is not None and value < of.ge) or (of.le is not None and value > of.le):
            raise ValueError(value)
        return value


def _items(text: str) -> list[str]:
    """Divide a list that is one text: `a, b`, or as YAML writes it, `[a, b]`."""
    if text.startswith("[") and text.endswith("]"):
        text = text[1:-1].strip()
        if not text:
            return []
    return [item.strip() for item in text.split(",")]


def _examples(of: inspect.Type, annotated: inspect.Type) -> list[str]:
    """Return the examples of a list's items, or of the setting itself."""
    if isinstance(of, inspect.VarTupleType) and isinstance(of.item_type, inspect.Metadata):
        annotated = of.item_type
    return (annotated.extra_json_schema or {}).get("examples", []) if isinstance(annotated, inspect.Metadata) else []


def write_size(size_bytes: int) -> str:
    """Spell a size with the largest binary unit that divides it."""
    for unit, factor in SIZE_UNITS.items():
        if unit.endswith("iB") and size_bytes and size_bytes % factor == 0:
            return f"{size_bytes // factor}{unit}"
    return str(size_bytes)


def write_duration(duration_s: float) -> str:
    """Spell a duration as `1h30m` or `250ms`; read again, it is the same number."""
    left = Decimal(repr(float(duration_s)))
    parts = []
    for unit, factor in DURATION_UNITS.items():
        count = left / factor if unit == "ms" else left // factor
        if count:
            parts.append(f"{count.normalize():f}{unit}")
            left -= count * factor
    return "".join(parts) or "0s"


def _read_whole(text: str, tag: Tag | None) -> int:
    # YAML and JSON take "8080" in quotes for a text, and so does an editor with our schema.
    if tag == "str" or not re.fullmatch(WHOLE_PATTERN, text):
        raise ValueError(text)
    return int(text)


def _read_size(text: str) -> int:
    if re.fullmatch(WHOLE_PATTERN, text):
        return int(text)
    match = re.fullmatch(SIZE_PATTERN, text)
    if match is None:
        raise ValueError(text)
    size = Decimal(match[1]) * SIZE_UNITS[match[2]]
    if size != int(size):
        raise ValueError(text)
    return int(size)


def read_duration(text: str) -> float:
    """Return the seconds of a duration. Raises ValueError."""
    if _PLAIN_NUMBER.fullmatch(text):
        return float(text)
    match = re.fullmatch(DURATION_PATTERN, text)
    if match is None:
        raise ValueError(text)
    counts = zip(match.groups(), DURATION_UNITS.values(), strict=True)
    return float(sum((Decimal(count) * factor for count, factor in counts if count is not None), Decimal(0)))
