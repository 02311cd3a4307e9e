"""Draw a ramp: users, requests per second, latency and both CPUs over time, one above the other."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import msgspec

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.ticker import FuncFormatter, MaxNLocator

from bench.ramp.probe import p95_ms

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from bench.ramp.probe import Measurement

ALL = "Aggregated"  # the name of locust's own sum
WINDOW_S = 5.0
LAG_MS_MIN = 0.05  # smaller lags are drawn here: the axis is logarithmic
DPI = 160
COLOURS = {
    "submit 202": "tab:green",
    "submit 503": "tab:red",
    "submit 429": "tab:pink",
    "status 202": "tab:blue",
    "status 200": "tab:cyan",
    "submit 0": "black",
    "status 0": "dimgray",
}


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """CPU by consumer in the second before `at`, in shares of one core.

    `others` is everything else on the machine, steal time included; `server` is None
    where the server is on another.
    """

    at: float
    generator: float
    server: float | None
    others: float


class Row(msgspec.Struct, frozen=True):
    """One line of locust's history: one name at one second."""

    at: float
    name: str
    users: int
    requests_per_s: float
    p50_ms: float | None
    p95_ms: float | None


def read_history(path: Path) -> list[Row]:
    """Read what locust writes with --csv-full-history."""
    with path.open(newline="") as file:
        return parse_history(file)


def parse_history(lines: Iterable[str]) -> list[Row]:
    """Return the rows of locust's history; the first line names the columns."""
    return [
        Row(
            at=float(line["Timestamp"]),
            name=line["Name"],
            users=int(line["User Count"]),
            requests_per_s=float(line["Requests/s"]),
            p50_ms=_number(line["50%"]),
            p95_ms=_number(line["95%"]),
        )
        for line in csv.DictReader(lines)
    ]


def draw(
    rows: Sequence[Row],
    samples: Sequence[Sample],
    probe: Sequence[Measurement],
    *,
    title: str,
    verdict: str,
    path: Path,
) -> None:
    """Write the picture to `path`. Raises ValueError if there is nothing to draw."""
    total = [row for row in rows if row.name == ALL]
    if not total:
        raise ValueError("locust's history is empty: it ended before its first line")
    start = total[0].at
    figure, (users, rates, latencies, cpus) = plt.subplots(
        4, 1, sharex=True, figsize=(11, 13), height_ratios=(2, 3, 3, 2), layout="constrained"
    )
    figure.suptitle("\n".join([title, *verdict.split("; ")]), fontsize=12)
    _draw_users(users, total, start)
    _draw_rates(rates, rows, start)
    _draw_latencies(latencies, total, probe, start)
    _draw_cpus(cpus, samples, start)
    cpus.set_xlabel("time since the start (s)")
    cpus.set_xlim(0, max(row.at for row in total) - start or 1)
    for panel in (users, rates, latencies, cpus):
        panel.grid(alpha=0.3)
        panel.margins(y=0.08)
    figure.savefig(path, dpi=DPI)
    plt.close(figure)


def _draw_users(panel: Any, total: Sequence[Row], start: float) -> None:
    panel.fill_between([row.at - start for row in total], [row.users for row in total], color="tab:purple", alpha=0.25)
    panel.plot([row.at - start for row in total], [row.users for row in total], color="tab:purple")
    panel.set_ylabel("users")
    panel.set_ylim(bottom=0)
    panel.yaxis.set_major_locator(MaxNLocator(integer=True))
    panel.yaxis.set_major_formatter(_THOUSANDS)


def _draw_rates(panel: Any, rows: Sequence[Row], start: float) -> None:
    names = sorted({row.name for row in rows} - {ALL})
    for name in (ALL, *names):
        line = [row for row in rows if row.name == name]
        style = {"color": "black", "linewidth": 2} if name == ALL else {"color": COLOURS.get(name)}
        label = "all" if name == ALL else _meaning(name)
        panel.plot([row.at - start for row in line], [row.requests_per_s for row in line], label=label, **style)
    panel.set_ylabel("requests per second")
    panel.set_ylim(bottom=0)
    panel.yaxis.set_major_formatter(_THOUSANDS)
    _legend(panel)


def _draw_latencies(panel: Any, total: Sequence[Row], probe: Sequence[Measurement], start: float) -> None:
    for label, style, values in (
        ("p95", "-", [(row.at - start, row.p95_ms) for row in total]),
        ("p50", ":", [(row.at - start, row.p50_ms) for row in total]),
    ):
        seen = [(at, max(value, 1.0)) for at, value in values if value is not None]  # locust rounds to whole ms
        panel.plot(*_columns(seen), color="silver", linestyle=style, linewidth=2, label=f"locust's {label}, last 10 s")
    for kind, colour in (("POST", "tab:green"), ("HEAD", "tab:blue")):
        line = _p95_by_window([it for it in probe if it.kind == kind], start)
        panel.plot(*_columns(line), color=colour, label=f"probe's {kind}, p95 of {WINDOW_S:.0f} s")
    lags = [(it.at - start, max(it.ms or 0.0, LAG_MS_MIN)) for it in probe if it.kind == "lag"]
    panel.plot(*_columns(lags), color="tab:red", linewidth=1, label="lag of the server's event loop")
    panel.set_yscale("log")
    panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}" if value >= 1 else f"{value:g}"))
    panel.set_ylabel("latency (ms)")
    _legend(panel)


def _p95_by_window(measured: Sequence[Measurement], start: float) -> list[tuple[float, float]]:
    windows: dict[int, list[Measurement]] = {}
    for it in measured:
        windows.setdefault(int((it.at - start) // WINDOW_S), []).append(it)
    return [((at + 0.5) * WINDOW_S, p95_ms(those) or 0.0) for at, those in sorted(windows.items())]


def _columns(points: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [x for x, _ in points], [y for _, y in points]


def _draw_cpus(panel: Any, samples: Sequence[Sample], start: float) -> None:
    panel.plot([s.at - start for s in samples], [s.generator * 100 for s in samples], color="gray", label="locust")
    seen = [(s.at - start, s.server * 100) for s in samples if s.server is not None]
    if seen:
        panel.plot([at for at, _ in seen], [share for _, share in seen], color="tab:brown", label="server")
    others = [s.others * 100 for s in samples]
    panel.plot(
        [s.at - start for s in samples], others, color="silver", linestyle="--", label="everything else on the machine"
    )
    panel.axhline(100, color="black", linewidth=0.8, linestyle=":", label="one core")
    panel.set_ylabel("CPU (% of a core)")
    panel.set_ylim(bottom=0)
    _legend(panel)


def _legend(panel: Any) -> None:
    # Above the panel, where it hides nothing.
    panel.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=4, fontsize=9, frameon=False, borderaxespad=0.2)


def _meaning(name: str) -> str:
    meanings = {
        "submit 202": "submissions accepted",
        "submit 503": "submissions refused: 503",
        "submit 429": "submissions refused: 429",
        "status 202": "statuses: live",
        "status 200": "statuses: terminal",
        "submit 0": "submissions without an answer",
        "status 0": "statuses without an answer",
    }
    return meanings.get(name, name)


def _number(text: str) -> float | None:
    return None if text in ("", "N/A") else float(text)


_THOUSANDS = FuncFormatter(lambda value, _: f"{value:,.0f}")
