"""A comparison of contenders: the shape of its figures, and the options that it takes from the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec

from bench.measure.machine import Machine
from bench.speed.bench import names

if TYPE_CHECKING:
    from collections.abc import Mapping

Options = TypeVar("Options")
Reading = TypeVar("Reading")


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
    "--only": {"type": names, "metavar": "NAME,NAME", "help": "measure these contenders alone"},
    "--rounds": {"type": int, "metavar": "N", "help": "number of measurements of each"},
    "--seconds": {"type": float, "metavar": "S", "help": "duration of each measurement"},
}
