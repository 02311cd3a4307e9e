"""The model of the whole: one server, several over one store, many stores; tables on stdout, plots in a folder.

    make scaling                             # with what bench/scaling/measured.json has
    make scaling ARGS="--measured tmp/bench/valkey.json"   # with what `make bench-valkey` has measured here

docs/explanation/scaling.md explains it, and has the tables: `make scaling ARGS="--measured FILE --page
docs/explanation/scaling.md"` writes them, and keeps the file. The same costs give the same figures.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import msgspec

from bench.measure.spread import table
from bench.scaling.cluster import Call, Costs, Figures, Shape, simulate
from bench.scaling.plot import draw_cluster, draw_shards
from bench.scaling.shards import Balance, Placement, balance
from jobqueue.cli.parser import Parser, end_with

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MEASURED = Path(__file__).parent / "measured.json"
"""A copy of valkey.json, of a whole run on a quiet machine."""

PAGE = Path("docs/explanation/scaling.md")
OUT = Path("docs/images/scaling")

SERVERS = (1, 2, 3, 4, 6, 8)
CLIENTS = (64, 256, 1024)
STORES = (1, 2, 4, 8, 16, 32, 64)
STORES_SHOWN = (4, 16, 32)
SKEWS = (0.5, 0.8, 1.1)
GROUPS = 100_000
MEMORY = 420
"""Bytes of the store for a job with small arguments."""


REQUEST_US = 12.0
"""CPU of the bench's generator for a request."""


class Life(msgspec.Struct, frozen=True):
    """A measurement of `make bench-valkey`: CPU of a job's life, in microseconds, and jobs a second."""

    contender: str
    connections: int
    servers_us: float
    store_us: float
    jobs_per_s: float


class Measured(msgspec.Struct, frozen=True):
    """What that bench has written.

    Attributes:
        costs: Those of one server.
    """

    costs: Costs
    readings: tuple[Life, ...] = ()


def run_cluster(costs: Costs, servers: Sequence[int], clients: Sequence[int]) -> dict[tuple[int, int], Figures]:
    """Simulate each number of servers, each of which has its core, as the store has, with clients on other machines."""
    costs = msgspec.structs.replace(costs, request_us=0.0)
    return {
        (number, each): simulate(costs, Shape(servers=number, clients=number * each), 0.4)
        for number in servers
        for each in clients
    }


def cluster_table(runs: Mapping[tuple[int, int], Figures]) -> str:
    rows = [
        [
            number,
            each,
            f"{run.lives_per_s:,.0f}",
            f"{run.server_us:.0f}",
            f"{run.store_us:.0f}",
            f"{run.servers_busy:.0%}",
            f"{run.store_busy:.0%}",
            f"{run.looks:.1f}",
            f"{run.batches[Call.SUBMIT]:.0f}",
            f"{run.life_ms:.1f}",
        ]
        for (number, each), run in runs.items()
    ]
    head = ["servers", "clients each", "jobs a second", "server, µs a job", "store, µs a job", "servers busy"]
    return table([*head, "store busy", "looks a job", "jobs a submit call", "life p50, ms"], rows)


def check_table(measured: Measured) -> str:
    """Compare predictions for servers that share a core with their store with what the bench has measured."""
    costs = msgspec.structs.replace(measured.costs, request_us=REQUEST_US)
    found: dict[tuple[int, int], list[Life]] = {}
    for each in measured.readings:
        if (shape := re.fullmatch(r"jobqueue, valkey, (\d+) servers?", each.contender)) is not None:
            found.setdefault((int(shape[1]), each.connections), []).append(each)
    rows = []
    for (servers, connections), lives in sorted(found.items()):
        clients = max(1, connections // servers) * servers
        run = simulate(costs, Shape(servers=servers, clients=clients, cores=1, shared=True), 0.5)
        pairs = (
            (run.server_us, [each.servers_us for each in lives]),
            (run.store_us, [each.store_us for each in lives]),
            (run.lives_per_s, [each.jobs_per_s for each in lives]),
        )
        cells = [f"{predicted:,.0f} / {median(of):,.0f} ({predicted / median(of):.2f})" for predicted, of in pairs]
        rows.append([servers, clients, *cells])
    return table(["servers", "clients", "servers, µs a job", "store, µs a job", "jobs a second"], rows)


def shards_table(balances: Sequence[Balance]) -> str:
    rows = [
        [f"{each.skew:g}", each.stores, each.placement, f"{each.worst:.2f}", f"{each.usable:.1f}"] for each in balances
    ]
    return table(["skew", "stores", "placement", "busiest / mean", "stores' worth"], rows)


def sizes_table(per_store: float, worst: float) -> str:
    """Write how many stores and servers a number of jobs a second takes, at 60 % of what a store takes."""
    rows = []
    for rate in (10_000, 100_000, 1_000_000):
        stores = max(1, -(-rate * worst // (0.6 * per_store)))
        rows.append([f"{rate:,}", f"{stores:,.0f}", f"{3 * stores:,.0f}", f"{rate * 3600 * MEMORY / 2**30:,.0f}"])
    return table(["jobs a second", "stores", "server cores", "GiB for an hour of records"], rows)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = Parser(prog="python -m bench.scaling", description="The model from one server to many stores.")
    parser.add_argument(
        "--measured",
        type=Path,
        default=MEASURED,
        help=f"what the bench has written (default: {MEASURED.name} beside this)",
    )
    parser.add_argument("--out", type=Path, default=OUT, help=f"folder of the plots (default: {OUT})")
    parser.add_argument("--page", type=Path, help=f"write the tables into it, and keep what was measured ({PAGE})")
    options = parser.parse_args(arguments)
    try:
        measured = msgspec.json.decode(options.measured.read_bytes(), type=Measured)
    except (OSError, msgspec.MsgspecError) as error:
        parser.error(f"{options.measured} has no costs: {error}")
    runs = run_cluster(measured.costs, SERVERS, CLIENTS)
    balances = [
        balance(stores, GROUPS, skew, placement) for skew in SKEWS for stores in STORES for placement in Placement
    ]
    options.out.mkdir(parents=True, exist_ok=True)
    draw_cluster(runs, options.out / "cluster.png")
    draw_shards(balances, options.out / "shards.png")
    best = max(run.lives_per_s for run in runs.values())
    tables = {
        "check": check_table(measured),
        "cluster": cluster_table(runs),
        "shards": shards_table([each for each in balances if each.stores in STORES_SHOWN]),
        "sizes": sizes_table(best, balance(16, GROUPS, 0.8, Placement.MOVED).worst),
    }
    print("\n\n".join(tables.values()))
    if options.page is not None:
        options.page.write_text(rendered(options.page.read_text(), tables))
        if options.measured.resolve() != MEASURED.resolve():
            MEASURED.write_bytes(options.measured.read_bytes())
    print(f"the plots are in {options.out}", file=sys.stderr)
    return 0


def rendered(page: str, tables: Mapping[str, str]) -> str:
    """Put each table between its marker and the next end."""
    for name, text in tables.items():
        marker = f"<!-- scaling: {name} -->\n"
        before, found, after = page.partition(marker)
        _, end, rest = after.partition("<!-- scaling: end -->")
        if not found or not end:
            raise ValueError(f"the page has no place for {name}")
        page = f"{before}{marker}\n{text}\n\n{end}{rest}"
    return page


if __name__ == "__main__":
    end_with(main)
