"""Readings by contender and number of connections, as tables and plots have them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

from bench.measure.spread import Spread, many, spread
from bench.speed.plot import Panel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence


class ByConnections(Protocol):
    """A reading of one contender in one round."""

    @property
    def contender(self) -> str: ...

    @property
    def connections(self) -> int: ...


R = TypeVar("R", bound=ByConnections)


def figure_of(readings: Iterable[R], contender: str, value: Callable[[R], float | None]) -> Spread | None:
    """Return a figure of a contender over the rounds; None: it has none."""
    found = (value(reading) for reading in readings if reading.contender == contender)
    return spread(figure for figure in found if figure is not None)


def panels_of(
    readings: Sequence[R], connections: Sequence[int], titles: Mapping[str, Callable[[R], float | None]]
) -> list[Panel]:
    """Return a panel for each title: its figure by contender and number of connections."""
    contenders = dict.fromkeys(reading.contender for reading in readings)
    groups = [many(count, "connection") for count in connections]

    def series(name: str, value: Callable[[R], float | None]) -> list[Spread | None]:
        return [figure_of([r for r in readings if r.connections == count], name, value) for count in connections]

    return [
        Panel(title=title, groups=groups, series={name: series(name, value) for name in contenders})
        for title, value in titles.items()
    ]
