"""Targets beside measurements, and the result."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from bench.measure.spread import Spread, table

if TYPE_CHECKING:
    from collections.abc import Iterable


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """A required figure and a goal; as a lower or an upper bound.

    Attributes:
        measured: None: it could not be measured here.
        short_of: The conditions that the measurement lacks, such as "with 20,000 records".
    """

    what: str
    must: float
    stretch: float
    measured: Spread | None
    at_least: bool = False
    short_of: str = ""

    @property
    def verdict(self) -> str:
        """Judge by the median."""
        if self.measured is None:
            return "not measured"
        found, must, stretch = self.measured.median, self.must, self.stretch
        if self.at_least:
            found, must, stretch = -found, -must, -stretch
        verdict = "stretch" if found <= stretch else "met" if found <= must else "missed"
        return f"{verdict}, but {self.short_of}" if self.short_of else verdict


def target_table(targets: Iterable[Target]) -> str:
    """Write targets as a table."""
    rows = []
    for target in targets:
        sign = "≥" if target.at_least else "≤"
        rows.append(
            [target.what, f"{sign} {target.must:g}", f"{sign} {target.stretch:g}", target.measured, target.verdict]
        )
    return table(["", "must", "stretch", "measured", ""], rows)
