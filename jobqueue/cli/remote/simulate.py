"""`jobqueue queues simulate`: a forecast of a queue under other settings and loads, as a table."""

from __future__ import annotations

import argparse
import difflib
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec

from jobqueue.cli.remote.output import seen
from jobqueue.cli.remote.server_flags import add_flags
from jobqueue.cli.terminal.table import Column
from jobqueue.cli.terminal.visible import visible
from jobqueue.cli.values import assignment, duration
from jobqueue.duration import spell

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jobqueue.cli.parser import Parser
    from jobqueue.cli.remote.connection import Connection
    from jobqueue.cli.remote.output import Output

COMPARED = ("discipline", "capacity", "workers", "patience_s")
TIMEOUT_S = 30.0
"""A simulation takes ten seconds, and its process some more on a busy machine."""


class Figure(msgspec.Struct, frozen=True):
    """A figure and its spread."""

    mean: float
    min: float
    max: float


class Cell(msgspec.Struct, frozen=True):
    """One setting under one load, as far as it is shown."""

    load: float
    goodput_per_s: Figure
    refused_share: Figure
    utilisation: Figure
    wait_p95_s: Figure | None = None


class Alternative(msgspec.Struct, frozen=True):
    """One setting."""

    settings: dict[str, Any]
    changes: tuple[str, ...]
    cells: tuple[Cell | None, ...]

    @property
    def name(self) -> str:
        """Its settings in words; the present ones are marked."""
        told = self.settings
        words = [str(told.get("discipline")), f"{told.get('capacity'):,} slots", f"{told.get('workers'):,} workers"]
        if "patience_s" in self.changes:
            words.append(f"patience {spell(told['patience_s'])}")
        return ", ".join(words) + ("" if self.changes else " (present)")


class Simulated(msgspec.Struct, frozen=True):
    """How much was simulated."""

    complete: bool
    seeds: int


class RunTimes(msgspec.Struct, frozen=True):
    """Run times."""

    mean: float
    p95: float


class Measured(msgspec.Struct, frozen=True):
    """What was measured."""

    window_s: int
    arrivals_per_s: float
    run_s: RunTimes


class Forecast(msgspec.Struct, frozen=True):
    """A forecast, as far as it is shown."""

    queue: str
    measured: Measured
    simulated: Simulated
    loads: tuple[float, ...]
    alternatives: tuple[Alternative, ...]
    assumptions: tuple[str, ...]


def _rate(cell: Cell) -> str:
    spread = (cell.goodput_per_s.max - cell.goodput_per_s.min) / 2
    return f"{cell.goodput_per_s.mean:,.4g}/s \N{PLUS-MINUS SIGN} {spread:,.2g}"


MEASURES: dict[str, Callable[[Cell], str]] = {
    "goodput": _rate,
    "wait p95": lambda cell: "" if cell.wait_p95_s is None else spell(cell.wait_p95_s.mean),
    "rejected": lambda cell: f"{cell.refused_share.mean:.0%}",
    "workers used": lambda cell: f"{cell.utilisation.mean:.0%}",
}


def simulate(connection: Connection, output: Output, options: argparse.Namespace) -> int:
    """Print the forecast of a queue."""
    names = ("loads", "seconds", "seed", "window_s", "arrivals_per_s", "run_s", "patience_s", "returns")
    question: dict[str, Any] = {name: value for name in names if (value := getattr(options, name)) is not None}
    if options.alternatives:
        question["alternatives"] = options.alternatives
    path = f"/v1/queues/{quote(options.name, safe='')}:simulate"
    document = connection.ask("POST", path, question)
    if not output.is_table:
        output.document(document, id="queue")
        return 0
    forecast: Forecast = seen(document, Forecast)
    _print(output, forecast)
    return 0


def _print(output: Output, forecast: Forecast) -> None:
    measured = forecast.measured
    basis = f"measured over {spell(measured.window_s)}" if measured.window_s else "given"
    output.line(
        f"{visible(forecast.queue, 50)}: {measured.arrivals_per_s:,.4g} arrivals/s, runs of "
        f"{spell(measured.run_s.mean)} on average, {spell(measured.run_s.p95)} at p95 ({basis})"
    )
    for title, text in MEASURES.items():
        output.line("")
        output.table(_columns(title, text, forecast.loads), forecast.alternatives)
    if not forecast.simulated.complete:
        output.line("")
        output.line(f"the time was enough for {forecast.simulated.seeds} seeds only: the spread is less certain")
    output.line("")
    for sentence in forecast.assumptions:
        output.line(f"- {visible(sentence, 400)}")


def _columns(title: str, text: Callable[[Cell], str], loads: Sequence[float]) -> list[Column]:
    def cell_of(number: int) -> Callable[[Alternative], str]:
        def read(alternative: Alternative) -> str:
            cell = alternative.cells[number]
            return "" if cell is None else text(cell)

        return read

    columns = [Column(title, lambda alternative: alternative.name, cut=60)]
    times = "\N{MULTIPLICATION SIGN}"
    return columns + [Column(f"{load:g}{times}", cell_of(number), right=True) for number, load in enumerate(loads)]


def _alternative(text: str) -> dict[str, Any]:
    """Parse `discipline=adaptive,capacity=200`."""
    found: dict[str, Any] = {}
    for part in text.split(","):
        name, value = assignment(part)
        if name not in COMPARED:
            near = difflib.get_close_matches(name, COMPARED, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"there are {', '.join(COMPARED)}"
            raise argparse.ArgumentTypeError(f"{visible(name, 50)!r} is not simulated, {hint}")
        found[name] = value
    return found


def _loads(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"numbers such as 1,1.5,2,5 are needed, not {visible(text, 50)!r}") from None


def add_question(parser: Parser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("name", metavar="NAME", help="the queue")
    parser.add_argument("--loads", type=_loads, metavar="N,N", help="multiples of the arrivals (default: 1,1.5,2,5)")
    parser.add_argument(
        "--with",
        dest="alternatives",
        action="append",
        type=_alternative,
        metavar="SETTING=VALUE,…",
        help="settings to compare, such as discipline=adaptive,capacity=200; may be repeated",
    )
    parser.add_argument("--window", dest="window_s", type=int, metavar="S", help="seconds that are measured (300)")
    parser.add_argument("--seconds", type=float, metavar="S", help="simulated seconds that count")
    parser.add_argument("--seed", type=int, metavar="N", help="of all that is drawn (1)")
    parser.add_argument("--arrivals", dest="arrivals_per_s", type=float, metavar="N", help="arrivals per second")
    parser.add_argument("--run", dest="run_s", type=duration, metavar="TIME", help="mean run time, such as 200ms")
    parser.add_argument("--patience", dest="patience_s", type=duration, metavar="TIME", help="of clients, such as 10s")
    parser.add_argument(
        "--returns", choices=("obedient", "disobedient", "never"), help="when rejected clients try again (obedient)"
    )
    add_flags(parser)
