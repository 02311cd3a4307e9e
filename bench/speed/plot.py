"""The plots of the speed benches: grouped bars with their spread, and lines over a scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import msgspec

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.ticker import FuncFormatter

from bench.measure.picture import save
from bench.measure.spread import Spread, short

if TYPE_CHECKING:
    from pathlib import Path

WIDE = 11.0


class Panel(msgspec.Struct, frozen=True, kw_only=True):
    """Groups of bars side by side; a series has a figure for each group, None where there is none."""

    title: str
    groups: Sequence[str]
    series: Mapping[str, Sequence[Spread | None]]


class Curves(msgspec.Struct, frozen=True, kw_only=True):
    """Lines over a logarithmic scale."""

    title: str
    x: Sequence[float]
    series: Mapping[str, Sequence[Spread | None]]


def bars(panels: Sequence[Panel], *, label: str, path: Path) -> None:
    """Draw panels below each other: medians as bars, least to most as whiskers; the bars of a group are centred."""
    figure, axes = plt.subplots(
        len(panels), 1, figsize=(WIDE, 1 + 2.6 * len(panels)), squeeze=False, layout="constrained"
    )
    for axis, panel in zip(axes.flat, panels, strict=True):
        width = 0.85 / max(1, len(panel.series))
        drawn = [0] * len(panel.groups)
        counts = [sum(figures[at] is not None for figures in panel.series.values()) for at in range(len(drawn))]
        for number, (name, figures) in enumerate(panel.series.items()):
            seen = []
            for group, found in enumerate(figures):
                if found is not None:
                    seen.append((group + (drawn[group] - (counts[group] - 1) / 2) * width, found))
                    drawn[group] += 1
            axis.bar(
                [at for at, _ in seen],
                [found.median for _, found in seen],
                width * 0.95,
                yerr=_whiskers([found for _, found in seen]),
                label=name,
                color=mpl.colormaps["tab10"](number),
                error_kw={"linewidth": 0.8},
            )
            for at, found in seen:
                text = f" {short(found.median)}"  # upright: side by side they would overlap
                axis.annotate(text, (at, found.most), ha="center", va="bottom", fontsize=7, rotation=90)
        axis.set_xticks(range(len(panel.groups)), panel.groups)
        axis.margins(y=0.2)
        axis.set_title(panel.title, fontsize=11)
        _finish(axis, label)
    figure.legend(*axes.flat[0].get_legend_handles_labels(), loc="outside lower center", ncols=6, frameon=False)
    save(figure, path)


def curves(panels: Sequence[Curves], *, x_label: str, y_label: str, path: Path) -> None:
    """Draw panels beside each other, on the same scale."""
    figure, axes = plt.subplots(1, len(panels), sharey=True, figsize=(WIDE, 6.0), squeeze=False, layout="constrained")
    for axis, panel in zip(axes.flat, panels, strict=True):
        for number, (name, figures) in enumerate(panel.series.items()):
            seen = [(at, found) for at, found in zip(panel.x, figures, strict=True) if found is not None]
            axis.errorbar(
                [at for at, _ in seen],
                [found.median for _, found in seen],
                yerr=_whiskers([found for _, found in seen]),
                label=name,
                marker="osD^v<>PX*"[number % 10],
                color=mpl.colormaps["tab20"](number % 20),
                markersize=5,
                elinewidth=0.8,
            )
        axis.set_xscale("log")
        axis.set_xlabel(x_label)
        axis.set_title(panel.title, fontsize=11)
        if panel.series:
            axis.legend(fontsize=8, frameon=False, ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.12))
        _finish(axis, y_label if axis is axes.flat[0] else "")
    save(figure, path)


def timeline(panels: Mapping[str, Mapping[str, Sequence[tuple[float, float]]]], *, title: str, path: Path) -> None:
    """Draw panels below each other over the same time, in seconds; a line is its points, a panel's name its axis."""
    figure, axes = plt.subplots(
        len(panels), 1, sharex=True, figsize=(WIDE, 1 + 2.4 * len(panels)), squeeze=False, layout="constrained"
    )
    figure.suptitle(title, fontsize=11)
    for axis, (label, lines) in zip(axes.flat, panels.items(), strict=True):
        for number, (name, points) in enumerate(lines.items()):
            at, values = zip(*points, strict=True) if points else ((), ())
            axis.plot(at, values, label=name, color=mpl.colormaps["tab10"](number % 10))
        if len(lines) > 1:
            axis.legend(fontsize=8, frameon=False, ncols=6, loc="lower left", bbox_to_anchor=(0, 1))
        _finish(axis, label)
    axes.flat[-1].set_xlabel("s")
    save(figure, path)


def _whiskers(figures: Sequence[Spread]) -> list[list[float]]:
    return [[found.median - found.least for found in figures], [found.most - found.median for found in figures]]


def _finish(axis: Any, label: str) -> None:
    axis.set_ylabel(label)
    axis.set_ylim(bottom=0)
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axis.grid(axis="y", alpha=0.3)
    axis.set_axisbelow(True)
