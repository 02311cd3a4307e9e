"""A history that is recorded from counts, as the server records it, and the part of it that is measured."""

from __future__ import annotations

from collections.abc import Sequence

from jobqueue.core.counting.history import BYTES_MIN, History, Rows
from jobqueue.core.counting.series import FIRST_REASON, FIRST_RUN, FIRST_SUM, FIRST_TOTAL, FIRST_WAIT, REASONS, TOTALS
from jobqueue.errors import Refused
from jobqueue.what_if.measured import Recorded, TypeOptions

SERIES = (("queue", "q"), ("queue", "other"), ("type", "a"), ("type", "b"))


def total(name: str) -> int:
    return FIRST_TOTAL + TOTALS.index(name)


def reason(kind: type[Refused]) -> int:
    return FIRST_REASON + REASONS.index(kind)


def wait(bucket: int) -> int:
    return FIRST_WAIT + bucket


def run(bucket: int) -> int:
    return FIRST_RUN + bucket


WAIT_MS, RUN_MS = FIRST_SUM, FIRST_SUM + 1


class Recording:
    """A history of the queue `q`, of types `a` and `b`, second by second."""

    def __init__(self) -> None:
        self.history = History(SERIES, BYTES_MIN)
        self._tick = 0

    def add(self, *, queue: dict[int, int], **types: dict[int, int]) -> None:
        """Record one second: what the queue did, and what each type did."""
        rows: Rows = {self.history.numbers["queue", "q"]: dict(queue)}
        rows |= {self.history.numbers["type", name]: dict(row) for name, row in types.items()}
        self.history.add(self._tick, rows)
        self._tick += 1

    def skip(self, seconds: int) -> None:
        """Let seconds pass without a sample."""
        self._tick += seconds

    def recorded(self, window_s: int = 600, types: Sequence[TypeOptions] | None = None) -> Recorded:
        """Return the latest complete seconds, with the types `a` and `b`."""
        numbers = self.history.numbers
        named = [TypeOptions(name=name, series=numbers["type", name]) for name in "ab"]
        return Recorded(
            series=numbers["queue", "q"],
            frames=self.history.latest(window_s),
            types=named if types is None else list(types),
        )
