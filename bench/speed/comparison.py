"""A comparison of contenders: the shape of its figures, and the options that it takes from the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import msgspec

from bench.measure.machine import Machine
from bench.peers.contenders import slug
from bench.speed.bench import names

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Options = TypeVar("Options")
Reading = TypeVar("Reading")


class Named(Protocol):
    """A contender, in tables."""

    @property
    def name(self) -> str: ...


Each = TypeVar("Each", bound=Named)


class Comparison(msgspec.Struct, Generic[Options, Reading], frozen=True, kw_only=True):
    """The content of a bench's JSON file.

    Attributes:
        skipped: The contenders and sizes that could not be measured here, each with its reason.
        readings: One a contender, kind of work and round.
    """

    machine: Machine
    options: Options
    skipped: list[str]
    readings: list[Reading]


FLAGS: Mapping[str, Mapping[str, Any]] = {
    "--only": {
        "type": names,
        "metavar": "NAME,NAME",
        "help": "measure these contenders alone; a comma in a name is left out, a space is a hyphen",
    },
    "--rounds": {"type": int, "metavar": "N", "help": "number of measurements of each"},
    "--seconds": {"type": float, "metavar": "S", "help": "duration of each measurement"},
}


def chosen(everyone: Sequence[Each], only: Sequence[str]) -> list[Each]:
    """Return the contenders of these names, written as in tables or as a file's.

    Raises:
        SystemExit: There is none of a name; the message lists all.
    """
    by_name = {name: each for each in everyone for name in (each.name, slug(each.name))}
    if unknown := [name for name in only if name not in by_name]:
        there = ", ".join(slug(each.name) for each in everyone)
        raise SystemExit(f"there is no {', '.join(unknown)} here; there are: {there}")
    wanted = {by_name[name].name for name in only}
    return [each for each in everyone if each.name in wanted]
