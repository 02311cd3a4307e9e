"""The values of arguments: durations, instants, counts, assignments, JSON. Their errors name what would be right."""

from __future__ import annotations

import json
import re
import sys
from argparse import ArgumentTypeError
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn

from jobqueue.paths import written_path

JSON_BYTES_MAX = 1 << 24
"""Of arguments from a file or a pipe, in bytes: a server takes less."""

_UNITS = {"d": 86_400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_NUMBER = r"[0-9]+(?:\.[0-9]+)?"
_DURATION = re.compile(rf"(?=[0-9]){''.join(f'(?:({_NUMBER}){unit})?' for unit in _UNITS)}", re.ASCII)


def duration(text: str) -> float:
    """Read a duration, in seconds: `5m`, `1h30m`, `250ms`; a number alone is seconds."""
    if re.fullmatch(_NUMBER, text, re.ASCII):
        return float(text)
    if not (found := _DURATION.fullmatch(text)):
        raise ArgumentTypeError(f"{text!r} is no duration; write it as 30s, 5m, 1h30m or 250ms")
    return sum(float(number) * unit for number, unit in zip(found.groups(), _UNITS.values(), strict=True) if number)


def instant(text: str) -> datetime:
    """Read an instant in ISO 8601; without an offset, of the local time zone."""
    try:
        return datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError):
        example = "2026-01-31T18:00 or 2026-01-31T18:00Z"
        raise ArgumentTypeError(f"{text!r} is no instant; write it as {example}") from None


def instant_or_age(text: str) -> datetime:
    """Read an instant, or a duration before now."""
    try:
        return datetime.now().astimezone() - timedelta(seconds=duration(text))
    except OverflowError:
        raise ArgumentTypeError(f"{text!r} is too long ago") from None
    except ArgumentTypeError:
        return instant(text)


def count(text: str) -> int:
    """Read a whole number, 1 or more."""
    if not re.fullmatch(r"[0-9]{1,15}", text, re.ASCII) or int(text) < 1:
        raise ArgumentTypeError(f"must be a whole number, 1 or more, not {text!r}")
    return int(text)


def assignment(text: str) -> tuple[str, Any]:
    """Read `name=value`: the value is JSON if it can be read as such, else the text as it is."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise ArgumentTypeError(f"{text!r} is no argument of the job; write it as name=value")
    return name, loose(value)


def assigned_text(text: str) -> tuple[str, str]:
    """Read `PATH=VALUE`, the value as it is written."""
    path, equals, value = text.partition("=")
    if not equals or not path:
        raise ArgumentTypeError(f"{text!r} has no value; write it as path=value, such as user.id=17")
    return path, value


def loose(text: str) -> Any:
    """Return the value of a JSON text, or the text itself: `7` is a number, `7a` and `007` are texts."""
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return text


def arguments(text: str) -> dict[str, Any]:
    """Read the arguments of a job: a JSON object, `@FILE` with one, or `-` for standard input."""
    value = json_value(text)
    if not isinstance(value, dict):
        raise ArgumentTypeError(f'{_place(text)} must be a JSON object, as in {{"width": 128}}')
    return value


def json_value(text: str) -> Any:
    """Read JSON, `@FILE` with it, or `-` for standard input."""
    source, where = "standard input" if text == "-" else text.removeprefix("@"), _place(text)
    try:
        content = _read(text)
    except OSError as error:
        raise ArgumentTypeError(f"{source} can't be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ArgumentTypeError(f"{source} is not UTF-8") from None
    try:
        return json.loads(content, parse_constant=_no_constant)
    except RecursionError:
        raise ArgumentTypeError(f"{where} is nested too deeply") from None
    except ValueError as error:
        hint = "; for a file, write @FILE" if where == "it" and Path(text).is_file() else ""
        raise ArgumentTypeError(f"{where} is not JSON ({error}){hint}") from None


def _place(text: str) -> str:
    """Return how messages name where JSON was read."""
    return "standard input" if text == "-" else text.removeprefix("@") if text.startswith("@") else "it"


def part(text: str) -> tuple[str, Path]:
    """Read `PART=PATH`: a file to submit."""
    name, equals, place = text.partition("=")
    if not equals or not name or not place:
        raise ArgumentTypeError(f"{text!r} names no file of the job; write it as part=PATH")
    path = path_of(place)
    if not path.is_file():
        raise ArgumentTypeError(f"{place}: {'is a folder' if path.is_dir() else 'no such file'}")
    return name, path


def path_of(text: str) -> Path:
    """Read a path; `~` is the home folder."""
    try:
        return written_path(text)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from None


def unique(text: str) -> str | dict[str, str]:
    """Read `VALUE` or `VALUE:MODE`."""
    value, colon, mode = text.rpartition(":")
    if colon and value and mode in ("return", "reject", "replace", "debounce"):
        return {"value": value, "mode": mode}
    if not text:
        raise ArgumentTypeError("a unique value has 1 to 200 characters")
    return text


def _read(text: str) -> str:
    if text == "-":
        content = sys.stdin.buffer.read(JSON_BYTES_MAX + 1)
    elif text.startswith("@"):
        with path_of(text[1:]).open("rb") as file:
            content = file.read(JSON_BYTES_MAX + 1)
    else:
        return text
    if len(content) > JSON_BYTES_MAX:
        raise ArgumentTypeError(f"{text.removeprefix('@')} has more than {JSON_BYTES_MAX >> 20} MiB")
    return content.decode()


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
