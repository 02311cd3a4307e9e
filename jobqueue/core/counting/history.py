"""History: what queues and types did, second by second, in rings of a fixed size.

Rules:

1. Time is counted in whole seconds of the engine's clock (ticks). Each ring has points of one length; the last one of a
   ring is that of now, and not yet complete.
2. A point of a ring is a frame: the rows of all series that did something then, encoded together. So an idle second
   takes no memory, an idle series none, and a busy one 20 to 40 bytes in each frame.
3. All frames together take at most `bytes_max`, since each one may take its share. When the rows of a point don't fit,
   the series that are last go into those of `OTHERS`, from then on: totals stay right.
4. Seconds without a sample are gaps. The point after them has what happened meanwhile, and says how many seconds it
   covers.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Final

import msgspec

from jobqueue.core.counting.series import RUNNING, WAITING, Row, add, follow

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

RINGS: Final = ((1, 600), (10, 1080), (60, 2880))
"""Seconds of a point, and points: 10 minutes, 3 hours, 48 hours."""

BYTES_MIN: Final = 6 * 1024 * 1024
"""The least `bytes_max`: a frame has room for the series of `OTHERS` at least."""

FRAME_BYTES: Final = 64
"""Memory of one frame beside its content: the object, and its places in the ring."""

OTHERS: Final = (0, 1)
"""The numbers of two series: of queues, and of types that don't fit."""

Rows = dict[int, Row]

_decode: Final = msgspec.msgpack.Decoder(Rows).decode
_encode: Final = msgspec.msgpack.encode


class Ring:
    """The points of one length; the oldest one is overwritten.

    Attributes:
        step_s: Seconds of a point.
        newest: The number of the point that is not complete; -1: there is none.
        covered_s, rows: Those of that point.
    """

    def __init__(self, step_s: int, points: int) -> None:
        self.step_s = step_s
        self.points = points
        self.newest = -1
        self.covered_s = 0
        self.rows: Rows = {}
        self._frames = [b""] * points
        self._numbers = array("q", [-1]) * points
        self._covered_s = array("I", [0]) * points

    def put(self, number: int, covered_s: int, frame: bytes) -> int:
        """Store a complete point; return by how much the content of the ring has grown, in bytes."""
        slot = number % self.points
        grown = len(frame) - len(self._frames[slot])
        self._frames[slot], self._numbers[slot], self._covered_s[slot] = frame, number, covered_s
        return grown

    def at(self, number: int) -> tuple[int, Rows]:
        """Return the seconds that a point covers, and its rows; 0: it is a gap, or no longer held."""
        if number == self.newest:
            return self.covered_s, self.rows
        slot = number % self.points
        if self._numbers[slot] != number:
            return 0, {}
        frame = self._frames[slot]
        return self._covered_s[slot], _decode(frame) if frame else {}

    def compact(self) -> None:
        """Copy all frames into adjacent memory.

        Spread among the objects of a load, each would keep a 1 MiB arena of CPython in use (`jobqueue.caches`).
        """
        self._frames = [bytes(memoryview(each)) for each in self._frames]

    def frames(self, numbers: range) -> list[tuple[int, bytes]]:
        """Return complete points as they are stored, without the gaps."""
        slots = [number % self.points for number in numbers if self._numbers[number % self.points] == number]
        return [(self._covered_s[slot], self._frames[slot]) for slot in slots]


class History:
    """The rings of all series.

    Args:
        series: Queues and types, each by a pair; those that come first are folded last.
        bytes_max: Memory of all frames; at least `BYTES_MIN`.

    Attributes:
        folded: The numbers of series that go into those of `OTHERS`.
        content_bytes: The content of all frames.
        first, last: The ticks of the first and the last sample; None: there was none.
    """

    def __init__(
        self, series: Sequence[tuple[str, str]], bytes_max: int, rings: Sequence[tuple[int, int]] = RINGS
    ) -> None:
        self.names = [("queue", None), ("type", None), *series]
        self.numbers = {key: number for number, key in enumerate(self.names)}
        self.rings = [Ring(step_s, points) for step_s, points in rings]
        self.folded: set[int] = set()
        self.content_bytes = 0
        self.first: int | None = None
        self.last: int | None = None
        self.frame_bytes_max = bytes_max // sum(points for _, points in rings) - FRAME_BYTES

    def add(self, tick: int, rows: Rows) -> None:
        """Add what happened since the last sample; a tick that is not later belongs to the same second."""
        if self.last is None:
            self.first, covered_s = tick, 1
        else:
            tick = max(tick, self.last)
            covered_s = tick - self.last
        self.last = tick
        if not self.folded.isdisjoint(rows):
            self._fold(rows)
        for ring in self.rings:
            number = tick // ring.step_s
            if number != ring.newest:
                self._complete(ring)
                ring.newest = number
            ring.covered_s += covered_s
            for series, row in ring.rows.items():
                if series not in rows:  # its gauges are 0 now
                    follow(row, {})
            for series, row in rows.items():
                follow(ring.rows.setdefault(series, {}), row)

    def _complete(self, ring: Ring) -> None:
        if ring.newest < 0:
            return
        rows = {series: row for series, row in ring.rows.items() if row}
        self._fold(rows)
        frame = _encode(rows) if rows else b""
        if len(frame) > self.frame_bytes_max:
            self._choose(rows)
            self._fold(rows)
            frame = _encode(rows)
        self.content_bytes += ring.put(ring.newest, ring.covered_s, frame)
        ring.covered_s, ring.rows = 0, {}

    def _choose(self, rows: Rows) -> None:
        """Fold the last ones of these series, so that the others fit, and those of `OTHERS` in any form."""
        left = self.frame_bytes_max - 2 * _LONGEST_ROW - _PER_SERIES
        for series in sorted(rows):
            if series in OTHERS:
                continue
            left -= len(_encode(rows[series])) + _PER_SERIES
            if left < 0:
                self.folded.add(series)

    def _fold(self, rows: Rows) -> None:
        for series in self.folded & rows.keys():
            kind = self.names[series][0]
            add(rows.setdefault(OTHERS[kind == "type"], {}), rows.pop(series))

    def latest(self, points: int) -> list[tuple[int, bytes]]:
        """Return the latest complete points of the finest ring: the seconds that each covers, and its rows, encoded."""
        ring = self.rings[0]
        return ring.frames(range(max(0, ring.newest - min(points, ring.points - 1)), ring.newest))

    def oldest(self, step_s: int) -> int | None:
        """Return the tick at which the oldest points begin that a ring with such steps has; None: there is no ring.

        A longer step is made of the steps of the coarsest ring that divides it.
        """
        ring = self._ring(step_s)
        if ring is None or self.last is None:
            return None
        return (self.last // ring.step_s - ring.points + 1) * ring.step_s

    def _ring(self, step_s: int) -> Ring | None:
        fitting = [ring for ring in self.rings if step_s % ring.step_s == 0]
        return fitting[-1] if fitting else None


_PER_SERIES: Final = 5
"""Bytes of a series' number and of the map around it, at most."""

_LONGEST_ROW: Final = 600
"""Bytes of a row of all columns, each of 64 bits at most."""


class Reading:
    """The points of some series, of one length, put together from those of a ring.

    Args:
        since: The tick at which the first point begins.
        points: Their number.
        wanted: The numbers of the series.

    Attributes:
        covered_s: Seconds that each point covers; 0: a gap.
        columns: Values by series and column, one for each point; a column that is not there is 0 throughout.
    """

    def __init__(self, history: History, *, step_s: int, since: int, points: int, wanted: frozenset[int]) -> None:
        ring = history._ring(step_s)
        assert ring is not None, "some ring divides the step"
        self._ring = ring
        self._step_s = step_s
        self._since = since
        self._points = points
        self._wanted = wanted
        self.covered_s = [0] * points
        self.columns: dict[int, dict[int, list[int]]] = {}

    def read(self) -> Iterator[int]:
        """Read all points; yields the number of rows that were decoded after each of the ring's."""
        step_s = self._ring.step_s
        for number in range(self._since // step_s, (self._since + self._points * self._step_s) // step_s):
            covered_s, rows = self._ring.at(number)
            if covered_s:
                self._take((number * step_s - self._since) // self._step_s, covered_s, rows)
            yield len(rows)

    def _take(self, point: int, covered_s: int, rows: Rows) -> None:
        self.covered_s[point] += covered_s
        for columns in self.columns.values():  # those of the point's last instant count
            for gauge in (WAITING, RUNNING):
                if gauge in columns:
                    columns[gauge][point] = 0
        for series in self._wanted & rows.keys():
            columns = self.columns.setdefault(series, {})
            for column, value in rows[series].items():
                values = columns.get(column)
                if values is None:
                    values = columns[column] = [0] * self._points
                values[point] += value
