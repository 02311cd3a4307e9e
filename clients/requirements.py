"""Requirements of a run, such as `p95<50ms` or `refused<1%`, and whether they were met.

Rules:

1. A requirement is a metric, a comparison (`<`, `<=`, `>`, `>=`) and a bound with its unit.
2. `p50`, `p95`, `p99` and `max` are latencies of all requests but those that wait for a job; `life.p95` is that of one
   row of the report. Their bounds are times: `us`, `ms`, `s` or `min`.
3. Counts, such as `refused` or `errors`, have a bound without a unit, or a share: `refused<1%` of the submissions.
4. Rates are per second: `jobs_per_s>100`.
5. A metric without a figure, such as the latency of requests that were never sent, meets no requirement.
"""

from __future__ import annotations

import argparse
import operator
import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

LATENCIES = (
    "request",
    "submit",
    "refusal",
    "batch",
    "status",
    "status-sent",
    "wait",
    "events",
    "until-accepted",
    "life",
)
POINTS = ("p50", "p95", "p99", "max")
RATES = ("jobs_per_s", "goodput_per_s", "requests_per_s")
SECONDS = {"us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0}

# A count, and what it is a share of.
SHARES = {
    "accepted": "created",
    "given_up": "created",
    "unknown_fate": "created",
    "invalid": "created",
    "refused": "submissions",
    "errors": "requests",
    "unseen": "accepted",
    "shutdown": "accepted",
    "ended": "accepted",
    "succeeded": "ended",
    "failed": "ended",
    "cancelled": "ended",
    "expired": "ended",
}

EXAMPLES = "p95<50ms, life.p99<2s, refused<1%, errors<=0, jobs_per_s>100"
METRICS = f"""{", ".join(POINTS)} (of all requests; or of one kind, such as life.p95: {", ".join(LATENCIES[1:])});
counts, or shares in %: {", ".join(SHARES)}; rates: {", ".join(RATES)}""".replace("\n", " ")

_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}
_FORM = re.compile(r"\s*([A-Za-z][\w.-]*)\s*(<=|>=|<|>)\s*(\d+(?:\.\d+)?)\s*(us|µs|ms|s|min|%|/s)?\s*")


class Requirement(msgspec.Struct, frozen=True):
    """A bound of one metric.

    Attributes:
        bound: In seconds, in percent, or as the count or rate is.
        unit: `s` of latencies, `%` of shares, `/s` of rates, "" of counts.
        text: As it was written.
    """

    metric: str
    comparison: str
    bound: float
    unit: str
    text: str


class Checked(msgspec.Struct, frozen=True):
    """A requirement, its measured figure (None: there is none), and whether it was met."""

    text: str
    figure: float | None
    unit: str
    met: bool

    @property
    def told(self) -> str:
        if self.figure is None:
            return "no figure"
        if self.unit == "s":
            return f"{self.figure * 1e3:,.2f} ms"
        return f"{self.figure:,.6g}{' ' if self.unit == '%' else ''}{self.unit}"


def requirement(text: str) -> Requirement:
    """Parse a requirement, for argparse. Raises ArgumentTypeError with the valid forms."""
    parts = _FORM.fullmatch(text)
    if parts is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a requirement; examples: {EXAMPLES}, without spaces")
    metric, comparison, number, unit = parts.groups(default="")
    kind, bound = _kind_of(metric, text), float(number)
    if kind == "s":
        if unit not in SECONDS:
            raise argparse.ArgumentTypeError(
                f"{text!r}: {metric} is a time; say its unit, as in {metric}{comparison}{number}ms"
            )
        return Requirement(metric, comparison, bound * SECONDS[unit], "s", text)
    if kind == "/s" and unit in ("", "/s"):
        return Requirement(metric, comparison, bound, "/s", text)
    if kind == "" and unit in ("", "%"):
        return Requirement(metric, comparison, bound, unit, text)
    right = "a number a second" if kind == "/s" else "a number, or a share in %"
    raise argparse.ArgumentTypeError(f"{text!r}: {metric} is {right}, and has no unit {unit!r}")


def checked(requirements: tuple[Requirement, ...], figures: Mapping[str, Any]) -> tuple[Checked, ...]:
    """Compare the figures of a run's report, by name, with its requirements."""
    return tuple(_checked(each, figures) for each in requirements)


def _checked(required: Requirement, figures: Mapping[str, Any]) -> Checked:
    figure = _figure(required, figures)
    met = figure is not None and _COMPARISONS[required.comparison](figure, required.bound)
    return Checked(required.text, None if figure is None else round(figure, 9), required.unit, met)


def _kind_of(metric: str, text: str) -> str:
    name, _, point = metric.rpartition(".")
    if point in POINTS and (not name or name in LATENCIES):
        return "s"
    if metric in RATES:
        return "/s"
    if metric in SHARES:
        return ""
    known = [*POINTS, *(f"{name}.{point}" for name in LATENCIES for point in POINTS), *RATES, *SHARES]
    close = get_close_matches(metric, known, n=1)
    meant = f", did you mean {close[0]}?" if close else f"; there are: {METRICS}"
    raise argparse.ArgumentTypeError(f"{text!r}: there is no metric {metric!r}{meant}")


def _figure(required: Requirement, figures: Mapping[str, Any]) -> float | None:
    name, _, point = required.metric.rpartition(".")
    if required.unit == "s":
        latency = figures["latency_ms"].get(name or "request")
        return None if latency is None else float(getattr(latency, point)) / 1e3
    if required.unit == "/s":
        return float(figures[required.metric])
    count = _count(required.metric, figures)
    if required.unit == "":
        return float(count)
    whole = _whole(SHARES[required.metric], figures)
    return 100.0 * count / whole if whole else None


def _count(metric: str, figures: Mapping[str, Any]) -> int:
    count: int = figures["ended_by_state"].get(metric, 0) if SHARES[metric] == "ended" else figures[metric]
    return count


def _whole(name: str, figures: Mapping[str, Any]) -> int:
    parts = {"submissions": ("accepted", "refused", "invalid"), "requests": ("answers", "errors")}.get(name, (name,))
    return sum(figures[part] for part in parts)
