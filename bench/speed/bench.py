"""The frame of every speed bench: a command with its options, a table on stdout, and two files in a folder.

    python -m bench.speed.<name> [--quick] [--out FOLDER] [its own options]

Command line, files and the order of contenders; measurements and reports are each bench's own.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec

from bench.load.driving import FOLDER
from bench.measure.builds import builds
from jobqueue.cli.parser import Parser

BUILD: Mapping[str, Mapping[str, Any]] = {
    "--build": {"type": builds, "metavar": "pure|compiled", "help": "measure this build alone (default: all there are)"}
}
"""The option of a bench that measures this program alone; the others have `--only`."""

BUSY = 0.9
"""A side that takes this share of its core is at its limit."""

Options = TypeVar("Options", bound=msgspec.Struct)
Results = TypeVar("Results", bound=msgspec.Struct)
Each = TypeVar("Each")


class SpeedBench(msgspec.Struct, Generic[Options, Results], frozen=True, kw_only=True):
    """One bench; its files are called as it is.

    Attributes:
        about: Its description, for `--help`.
        whole, quick: The options by default, and with `--quick`.
        flags: Options of the command that replace fields of these, with what `add_argument` takes.
        draw: Draws its plot into a file.
    """

    name: str
    about: str
    whole: Options
    quick: Options
    flags: Mapping[str, Mapping[str, Any]] = {}
    run: Callable[[Options], Results]
    report: Callable[[Results], str]
    draw: Callable[[Results, Path], None]

    def main(self, arguments: Sequence[str] | None = None) -> int:
        """Measure as the command line says; print the table, and write the files."""
        parser = Parser(prog=f"python -m bench.speed.{self.name}", description=self.about)
        parser.add_argument("--quick", action="store_true", help="less of it, in a minute or so")
        parser.add_argument("--out", type=Path, default=FOLDER, help=f"folder (default: {FOLDER})")
        for flag, how in self.flags.items():
            parser.add_argument(flag, **how)
        given = vars(parser.parse_args(arguments))
        quick, folder = given.pop("quick"), given.pop("out")
        changes = {name: value for name, value in given.items() if value is not None}
        results = self.run(msgspec.structs.replace(self.quick if quick else self.whole, **changes))
        self.save(results, folder)
        print(self.report(results))
        return 0

    def save(self, results: Results, folder: Path) -> None:
        """Write the figures and the plot into a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{self.name}.json").write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=1))
        self.draw(results, folder / f"{self.name}.png")


class Progress:
    """Prints progress on stderr, with the time elapsed."""

    def __init__(self) -> None:
        self._began = time.perf_counter()

    def tell(self, text: str) -> None:
        print(f"{time.perf_counter() - self._began:6.1f} s  {text}", file=sys.stderr, flush=True)


def in_turn(everyone: Sequence[Each], number: int) -> list[Each]:
    """Rotate the order in each round: the first of a round finds another machine than the last."""
    first = number % len(everyone)
    return [*everyone[first:], *everyone[:first]]


def names(text: str) -> tuple[str, ...]:
    """Split at commas."""
    return tuple(part.strip() for part in text.split(","))


def counts(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(","))
