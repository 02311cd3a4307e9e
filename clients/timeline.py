"""The timeline: growth of a fleet's counts, in a bounded number of moments."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clients.report import Moment

if TYPE_CHECKING:
    from clients.counters import Counts

MOMENTS_MAX = 1200
"""Twenty minutes at one a second; a longer run has them further apart."""


class Timeline:
    """Takes the counts about once a second; when it has too many, every other one goes."""

    def __init__(self) -> None:
        self._moments: list[Moment] = []
        self._every = 1
        self._came = 0

    @property
    def moments(self) -> tuple[Moment, ...]:
        return tuple(self._moments)

    def add(self, elapsed_s: float, counts: Counts) -> None:
        """Take the counts of a time."""
        self._came += 1
        if self._came % self._every:
            return
        names = (name for name in Moment.__struct_fields__ if name != "elapsed_s")
        self._moments.append(Moment(elapsed_s=round(elapsed_s, 3), **{name: getattr(counts, name) for name in names}))
        if len(self._moments) > MOMENTS_MAX:
            self._moments = self._moments[1::2]
            self._every *= 2
