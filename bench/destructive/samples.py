"""Samples: what the monitor saw each tenth of a second, as rows of a CSV file. And sums over them."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, TextIO

import msgspec

from bench.destructive.block import FIELDS, Beat
from bench.destructive.cgroup import Usage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

EVERY_S = 0.1


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """The server at one instant, seen from outside.

    Attributes:
        at: Seconds on the system's monotonic clock.
        alive: Whether its process runs.
        rss_bytes: Of the server's process.
        wait_s: Time in which its loop could have run and had no CPU, because of its quota or of other programs.
        processes: In its group, itself included.
        usage: Of its group.
        beat: The last that it wrote.
    """

    at: float
    alive: bool
    rss_bytes: int
    cpu_s: float
    wait_s: float
    threads: int
    descriptors: int
    processes: int
    usage: Usage
    beat: Beat

    @property
    def memory_bytes(self) -> int:
        """The larger one of its resident set, and of all its processes' memory together."""
        return max(self.rss_bytes, self.usage.anonymous_bytes)

    @property
    def age_s(self) -> float:
        """The time since its last beat."""
        return self.at - self.beat.at if self.beat.at else 0.0


_OWN = ("at", "alive", "rss_bytes", "cpu_s", "wait_s", "threads", "descriptors", "processes")
_USAGE = Usage.__struct_fields__
COLUMNS = (*_OWN, *_USAGE, *(f"beat_{name}" for name in FIELDS))


class SampleFile:
    """The CSV file of a monitor: a row for each sample, complete at any time."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._rows = csv.writer(file)
        self._rows.writerow(COLUMNS)

    def write(self, sample: Sample) -> None:
        own = [getattr(sample, name) for name in _OWN]
        own[_OWN.index("alive")] = int(sample.alive)
        usage = [getattr(sample.usage, name) for name in _USAGE]
        beat = [getattr(sample.beat, name) for name in FIELDS]
        written = [str(int(number)) if number == int(number) else f"{number:.6f}" for number in beat]
        self._rows.writerow([*own, *usage, *written])
        self._file.flush()


def read(path: Path) -> list[Sample]:
    """Read a file. Raises ValueError if it is none of a monitor's; a last row that is cut is passed over."""
    with path.open(newline="") as file:
        return parse(file)


def parse(lines: Iterable[str]) -> list[Sample]:
    rows = csv.reader(lines)
    head = next(rows, [])
    if tuple(head) != COLUMNS:
        raise ValueError(f"the columns are {', '.join(head) or 'missing'}, not those of a monitor")
    return [_sample(row) for row in rows if len(row) == len(COLUMNS)]


def _sample(row: Sequence[str]) -> Sample:
    cells = dict(zip(COLUMNS, row, strict=True))
    usage = {name: float(cells[name]) if name == "throttled_s" else int(cells[name]) for name in _USAGE}
    return Sample(
        at=float(cells["at"]),
        alive=cells["alive"] == "1",
        rss_bytes=int(cells["rss_bytes"]),
        cpu_s=float(cells["cpu_s"]),
        wait_s=float(cells["wait_s"]),
        threads=int(cells["threads"]),
        descriptors=int(cells["descriptors"]),
        processes=int(cells["processes"]),
        usage=msgspec.convert(usage, Usage),
        beat=Beat(**{name: float(cells[f"beat_{name}"]) for name in FIELDS}),
    )


def complete_share(samples: Sequence[Sample], every_s: float = EVERY_S) -> float:
    """Return the share of the intended instants, from the first sample to the last, that have a sample."""
    if len(samples) < 2:
        return 0.0
    start = samples[0].at
    slots = {round((each.at - start) / every_s) for each in samples}
    return len(slots) / (max(slots) + 1)


def most(samples: Iterable[Sample], of: Callable[[Sample], float]) -> float:
    """Return the largest figure, 0 if there is no sample."""
    return max((of(each) for each in samples), default=0.0)


def between(samples: Sequence[Sample], start: float, end: float) -> list[Sample]:
    return [each for each in samples if start <= each.at <= end]


def thinned(samples: Sequence[Sample], count: int) -> list[Sample]:
    """Return at most so many samples, evenly spaced, for a plot."""
    step = max(1, -(-len(samples) // count))
    return list(samples[::step])
