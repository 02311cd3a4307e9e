"""Log ring: the latest lines of the log, for `GET /v1/server/log`.

Rules:

1. It has the lines as they were logged, in JSON whatever the form of the log is. What the log drops, it has not.
2. At most `LINES_MAX` lines, and `BYTES_MAX` bytes of them; one of over `LINE_BYTES_MAX` has its long texts cut.
3. Only a logged line costs anything: a few hundred nanoseconds, and without JSON in the log the form.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

LINES_MAX = 500
BYTES_MAX = 1024 * 1024
LINE_BYTES_MAX = 16 * 1024

FIELDS_MAX = 50
NAME_CHARACTERS = 100
TEXT_CHARACTERS = (2000, 400, 50)
"""What stays of a long text, a quarter of it its beginning: of a traceback the end says more. The first that fits."""


class Line(NamedTuple):
    """A line: its level as of `logging`, the name of its event, and the JSON."""

    level: int
    event: str
    json: bytes


class LogRing:
    """The latest lines: added by one thread at a time, and read by any."""

    def __init__(self) -> None:
        self._lines: deque[Line] = deque(maxlen=LINES_MAX)
        self.bytes_used = 0

    def add(self, level: int, event: str, json: bytes) -> None:
        """Keep a line, of at most `LINE_BYTES_MAX`, and forget the oldest ones beyond the bounds."""
        lines = self._lines
        if len(lines) == LINES_MAX:
            self.bytes_used -= len(lines.popleft().json)
        lines.append(Line(level, event, json))
        self.bytes_used += len(json)
        while self.bytes_used > BYTES_MAX:
            self.bytes_used -= len(lines.popleft().json)

    def compact(self) -> None:
        """Copy all lines into adjacent memory.

        Spread among the objects of a load, each would keep a 1 MiB arena of CPython in use (`jobqueue.caches`).
        """
        lines = [Line(each.level, each.event, bytes(memoryview(each.json))) for each in self._lines]
        self._lines = deque(lines, maxlen=LINES_MAX)

    def lines(self) -> list[Line]:
        """Return the lines, oldest first."""
        return list(self._lines)  # in one step: no code of Python's runs meanwhile


def shortened(fields: Mapping[str, object], line: Callable[[Mapping[str, object]], bytes]) -> bytes:
    """Return a line of at most `LINE_BYTES_MAX` with what is left of the fields. Args: line: Makes one of fields."""
    for characters in TEXT_CHARACTERS:
        made = line(_cut(fields, characters))
        if len(made) <= LINE_BYTES_MAX:
            return made
    return line({"cut": ["all fields"]})


def _cut(fields: Mapping[str, object], characters: int) -> dict[str, object]:
    """Return the first fields, with long texts cut, and the names of those under `cut`."""
    cut: list[str] = []
    kept: dict[str, object] = {}
    for name, value in list(fields.items())[:FIELDS_MAX]:
        text = value if isinstance(value, str) else str(value)
        if len(text) > characters:
            cut.append(name[:NAME_CHARACTERS])
            head = characters // 4
            value = f"{text[:head]} … {text[head - characters :]}"
        kept[name[:NAME_CHARACTERS]] = value
    if len(fields) > FIELDS_MAX:
        cut.append(f"{len(fields) - FIELDS_MAX} more fields")
    return {**kept, "cut": cut}
