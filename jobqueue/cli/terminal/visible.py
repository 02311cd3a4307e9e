"""Texts of a server on a terminal: what a terminal would act on, or not show, is escaped.

A job's arguments, names, notes and errors come from anywhere. Escaped are control characters, line breaks and tabs
included; bidirectional controls; characters without a width; private ones. So a text stays in its cell, and can't look
like another one.
"""

from __future__ import annotations

import re
import unicodedata

_PLAIN = re.compile(r"[ -~]*")
_UNSEEN = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"})
_MARKS_MAX = 2
"""Combining marks on one character: more of them reach into the lines above and below."""

_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_ESCAPED_IN_JSON = re.compile("[\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]")


def visible(text: str, length_max: int | None = None) -> str:
    """Return a text as one line that shows all that it has, cut at `length_max` characters."""
    if length_max is not None and len(text) > length_max:
        text = f"{text[: length_max - 1]}…"
    if _PLAIN.fullmatch(text):
        return text
    shown: list[str] = []
    marks = 0
    for character in text:
        category = unicodedata.category(character)
        marks = marks + 1 if category in ("Mn", "Me") else 0
        shown.append(_escaped(character) if category in _UNSEEN or marks > _MARKS_MAX else character)
    return "".join(shown)


def visible_lines(text: str, lines_max: int = 200) -> list[str]:
    """Return a text of several lines, such as a traceback, each of them visible."""
    lines = text.split("\n")
    more = [f"… {len(lines) - lines_max} more lines"] if len(lines) > lines_max else []
    return [*(visible(line, 500) for line in lines[:lines_max]), *more]


def visible_json(text: str) -> str:
    """Escape in JSON what `json` leaves as it is, and a terminal acts on. The value is the same."""
    return _ESCAPED_IN_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def width_of(text: str) -> int:
    """Return the columns that a visible text takes on a terminal."""
    if text.isascii():
        return len(text)
    return sum(_columns(character) for character in text)


def _columns(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _escaped(character: str) -> str:
    number = ord(character)
    if character in _SHORT:
        return _SHORT[character]
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
