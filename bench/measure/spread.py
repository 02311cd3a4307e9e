"""Figures of several rounds as one: median and range. And tables of them."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class Spread(msgspec.Struct, frozen=True):
    """A median, and the least and the most."""

    median: float
    least: float
    most: float

    def __str__(self) -> str:
        if self.least == self.most:
            return short(self.median)
        return f"{short(self.median)} [{short(self.least)}-{short(self.most)}]"


def spread(values: Iterable[float]) -> Spread | None:
    """Sum up; None if there is nothing to."""
    found = sorted(values)
    return Spread(statistics.median(found), found[0], found[-1]) if found else None


def short(value: float) -> str:
    """Write a figure with three digits: 0.42, 9.71, 18.3, 1,234."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Write a Markdown table that also reads well as text: aligned columns, figures to the right; None is a dash."""
    cells = [["-" if cell is None else str(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in (list(head), *cells)) for column in range(len(head))]

    def line(row: Sequence[str]) -> str:
        first, *rest = (
            cell.ljust(width) if not column else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        return "| " + " | ".join((first, *rest)) + " |"

    rule = "|" + "|".join("-" * (width + 1) + (":" if column else "-") for column, width in enumerate(widths)) + "|"
    return "\n".join([line(head), rule, *map(line, cells)])


def many(count: int, noun: str) -> str:
    """Write a number of things: 1 connection, 8,000 connections."""
    return f"{count:,} {noun}{'s' * (count != 1)}"
