"""Two plots of a run as SVG: what happened each second, and how long requests took. Text in, text out.

Written by hand, because the fleet's users have neither a browser's plotting library at hand nor matplotlib installed.
"""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from clients.counters import Latency
    from clients.report import Moment, Report

WIDTH = 880
LEFT, RIGHT, TOP, BOTTOM = 64, 120, 16, 36
HEIGHT = 280
ROW = 26
SERIES = (("ended", "jobs done"), ("accepted", "accepted"), ("refused", "refused"), ("errors", "errors"))
LABEL_GAP = 15


def rates_of(moments: Sequence[Moment]) -> dict[str, list[tuple[float, float]]]:
    """Return for each series its rate per second over time; a series that is always 0 has none."""
    rates: dict[str, list[tuple[float, float]]] = {}
    for name, _ in SERIES:
        before_s, before = 0.0, 0
        points: list[tuple[float, float]] = []
        for moment in moments:
            since_s, count = moment.elapsed_s - before_s, getattr(moment, name)
            if since_s >= 0.2 or not points:  # the last moment may come just after the one before it
                points.append((moment.elapsed_s, (count - before) / max(since_s, 1e-3)))
                before_s, before = moment.elapsed_s, count
        if any(rate for _, rate in points):
            rates[name] = points
    return rates


def rates_plot(moments: Sequence[Moment]) -> str:
    """Draw the rates over time, each line with its name at its end."""
    rates = rates_of(moments)
    if not rates:
        return ""
    end_s = max(moment.elapsed_s for moment in moments)
    top = _nice(max(rate for points in rates.values() for _, rate in points))

    def at(x_s: float, rate: float) -> str:
        return f"{_across(x_s / end_s):.1f},{_down(rate / top):.1f}"

    parts = [_y_axis(top), _x_axis(end_s)]
    labels: list[tuple[float, str, str]] = []
    for name, title in SERIES:
        if name in rates:
            line = " ".join(at(*point) for point in rates[name])
            parts.append(f'<polyline class="line {name}" points="{line}"/>')
            labels.append((_down(rates[name][-1][1] / top), name, title))
    for y, name, title in _spread(labels):
        parts.append(f'<text class="label {name}" x="{WIDTH - RIGHT + 8}" y="{y + 4:.1f}">{escape(title)}</text>')
    return _svg(HEIGHT, "Rates per second over time", parts)


def latencies_plot(report: Report, titles: dict[str, str]) -> str:
    """Draw for each kind of request a bar from p50 to p99, with dots at p95 and the maximum, on a logarithmic scale."""
    rows = [(titles[name], report.latency_ms[name]) for name in titles if name in report.latency_ms]
    if not rows:
        return ""
    low = math.floor(math.log10(max(1e-3, min(latency.p50 for _, latency in rows))))
    high = max(low + 1, math.ceil(math.log10(max(latency.max for _, latency in rows))))
    left, right, height = 290, 24, TOP + ROW * len(rows) + BOTTOM

    def x(ms: float) -> float:
        share = (math.log10(max(ms, 10.0**low)) - low) / (high - low)
        return left + share * (WIDTH - left - right)

    parts = []
    for power in range(low, high + 1):
        across = x(10.0**power)
        parts.append(f'<line class="grid" x1="{across:.1f}" x2="{across:.1f}" y1="{TOP}" y2="{height - BOTTOM}"/>')
        parts.append(
            f'<text class="tick" x="{across:.1f}" y="{height - 16}" text-anchor="middle">{_time(power)}</text>'
        )
    for number, (title, latency) in enumerate(rows):
        parts += _range(title, latency, TOP + ROW * number + ROW / 2, left, x)
    return _svg(height, "Latencies from p50 to p99, with p95 and the maximum", parts)


def _range(title: str, latency: Latency, y: float, left: int, x: Callable[[float], float]) -> list[str]:
    told = f"{title}: p50 {latency.p50:,.2f}, p95 {latency.p95:,.2f}, p99 {latency.p99:,.2f}, max {latency.max:,.2f} ms"
    width = max(2.0, x(latency.p99) - x(latency.p50))
    return [
        f"<g><title>{escape(told)}</title>",
        f'<text class="name" x="{left - 12}" y="{y + 4:.1f}" text-anchor="end">{escape(title)}</text>',
        f'<line class="reach" x1="{x(latency.p50):.1f}" x2="{x(latency.max):.1f}" y1="{y:.1f}" y2="{y:.1f}"/>',
        f'<rect class="range" x="{x(latency.p50):.1f}" y="{y - 5:.1f}" width="{width:.1f}" height="10" rx="2"/>',
        f'<circle class="p95" cx="{x(latency.p95):.1f}" cy="{y:.1f}" r="4"/>',
        f'<circle class="max" cx="{x(latency.max):.1f}" cy="{y:.1f}" r="3"/></g>',
    ]


def _y_axis(top: float) -> str:
    parts = []
    for step in range(5):
        y, rate = _down(step / 4), top * step / 4
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick" x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{rate:,.6g}/s</text>')
    return "".join(parts)


def _x_axis(end_s: float) -> str:
    step = _nice(end_s / 6)
    parts = []
    for number in range(int(end_s / step) + 1):
        x = _across(number * step / end_s)
        parts.append(
            f'<text class="tick" x="{x:.1f}" y="{HEIGHT - 14}" text-anchor="middle">{number * step:,.6g} s</text>'
        )
    return "".join(parts)


def _spread(labels: list[tuple[float, str, str]]) -> list[tuple[float, str, str]]:
    """Move labels apart, downwards, and back up from the bottom."""
    ordered = sorted(labels)
    heights = [y for y, _, _ in ordered]
    for n in range(1, len(heights)):
        heights[n] = max(heights[n], heights[n - 1] + LABEL_GAP)
    floor = float(HEIGHT - BOTTOM)
    for n in reversed(range(len(heights))):
        heights[n] = min(heights[n], floor)
        floor = heights[n] - LABEL_GAP
    return [(y, name, title) for y, (_, name, title) in zip(heights, ordered, strict=True)]


def _across(share: float) -> float:
    return LEFT + share * (WIDTH - LEFT - RIGHT)


def _down(share: float) -> float:
    return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)


def _nice(number: float) -> float:
    """Return the next number that reads well: 1, 2, 4, 5 or 10 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(max(number, 1e-9)))
    return next(power * step for step in (1, 2, 4, 5, 10) if power * step >= number * 0.999999)


def _time(power: int) -> str:
    return f"{10.0**power:,.6g} ms" if power < 3 else f"{10.0 ** (power - 3):,.6g} s"


def _svg(height: float, title: str, parts: list[str]) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escape(title)}">{"".join(parts)}</svg>'
