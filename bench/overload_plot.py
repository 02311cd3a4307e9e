"""The plots of the overload lab: what each policy makes of each load, to be seen at a glance."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any

import matplotlib as mpl

from bench.overload_crowd import MICE_LOAD, PRIORITIES, Manners
from bench.overload_figures import times
from bench.picture import save

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.ticker import FuncFormatter, PercentFormatter

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from bench.overload_figures import Figures
    from bench.overload_returns import ReturnFigures

BY_PRIORITY = ("fifo", "priority", "priority, start_by", "priority, red")
BY_GROUP = ("fifo", "fair", "fair, caller_queued", "fair, caller_queued, start_by")
BY_HERD = ("herd on a busy server", "herd on a busy server; all told 5 s")
OVERLOADS = (1.2, 2.0, 10.0)
MARKS = "osD^v<>PX*p"


def draw(runs: Sequence[Figures], returns: Sequence[ReturnFigures], folder: Path) -> list[Path]:
    """Draw all plots into a folder; return their paths."""
    plots: dict[str, Callable[[], Any]] = {
        "goodput": lambda: _by_load(runs, "goodput, in shares of the workers' time", lambda run: run.goodput),
        "dead-work": lambda: _by_load(runs, "share of the work done for nobody", lambda run: run.dead),
        "waits": lambda: _waits([run for run in runs if run.manners is Manners.OBEDIENT]),
        "refusals": lambda: _refusals([run for run in runs if run.manners is Manners.OBEDIENT]),
        "shares": lambda: _shares([run for run in runs if run.manners is Manners.OBEDIENT]),
        "returns": lambda: _returns([scene for scene in returns if scene.scene in BY_HERD]),
    }
    paths = []
    for name, plot in plots.items():
        paths.append(folder / f"{name}.png")
        save(plot(), paths[-1])
    return paths


def _by_load(runs: Sequence[Figures], label: str, value: Callable[[Figures], float]) -> Any:
    """Draw a line for each policy over the loads: the obedient clients' on the left, the others' on the right."""
    figure, panels = plt.subplots(1, 2, sharey=True, figsize=(11, 5.2), layout="constrained")
    for panel, manners in zip(panels, Manners, strict=True):
        for number, policy in enumerate(_policies(runs)):
            line = [run for run in runs if run.policy == policy and run.manners is manners]
            panel.plot(
                [run.load for run in line],
                [value(run) for run in line],
                marker=MARKS[number % len(MARKS)],
                markersize=5,
                label=policy,
                color=mpl.colormaps["tab20"](number % 20),
            )
        panel.set_title(f"{manners} clients", fontsize=11)
        _load_axis(panel, sorted({run.load for run in runs}))
        panel.yaxis.set_major_formatter(PercentFormatter(1.0))
    panels[0].set_ylabel(label)
    figure.legend(
        *panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=9, frameon=False
    )
    return figure


def _waits(runs: Sequence[Figures]) -> Any:
    """Draw how long starts and answers took under overload, from the median to p99, by policy."""
    loads = _overloads(runs)
    figure, panels = plt.subplots(1, len(loads), sharey=True, squeeze=False, figsize=(11, 4.6), layout="constrained")
    policies = _policies(runs)
    for panel, load in zip(panels[0], loads, strict=True):
        for offset, colour, label, quantiles in (
            (-0.15, "tab:blue", "start", attrgetter("wait_s")),
            (0.15, "tab:orange", "answer in time", attrgetter("answer_s")),
        ):
            for place, policy in enumerate(policies):
                seen = [quantiles(run) for run in runs if run.policy == policy and run.load == load]
                if seen and seen[0]["p50"] is not None:
                    at = len(policies) - place - offset
                    name = label if place == 0 or label not in panel.get_legend_handles_labels()[1] else None
                    values = [max(value, 0.02) for value in seen[0].values()]
                    panel.plot(values, [at] * 3, color=colour, linewidth=1)
                    panel.scatter(values, [at] * 3, color=colour, s=[30, 14, 6], label=name)
        panel.set_title(times(load), fontsize=11)
        panel.set_xscale("log")
        panel.set_xlabel("s after the submission: p50, p95, p99")
        panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        panel.set_yticks([len(policies) - place for place in range(len(policies))], policies, fontsize=9)
        panel.grid(alpha=0.3)
    figure.legend(
        *panels[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=9, frameon=False
    )
    return figure


def _refusals(runs: Sequence[Figures]) -> Any:
    """Draw which share of the submissions was refused or shed, by priority."""
    loads, levels = _overloads(runs), sorted(PRIORITIES)
    figure, panels = plt.subplots(1, len(loads), sharey=True, squeeze=False, figsize=(11, 4), layout="constrained")
    for panel, load in zip(panels[0], loads, strict=True):
        those = [run for run in runs if run.load == load and run.policy in BY_PRIORITY]
        for number, level in enumerate(levels):
            shares = [run.refused_by_priority[level] or 0.0 for run in those]
            places = [place + (number - 1) * 0.27 for place in range(len(those))]
            panel.bar(places, shares, 0.25, label=f"priority {level}", color=mpl.colormaps["viridis"](number / 2.5))
        panel.set_xticks(range(len(those)), [run.policy.replace(", ", ",\n") for run in those], fontsize=9)
        panel.set_title(times(load), fontsize=11)
        panel.yaxis.set_major_formatter(PercentFormatter(1.0))
        panel.grid(alpha=0.3, axis="y")
    panels[0][0].set_ylabel("submissions refused or shed")
    figure.legend(
        *panels[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=9, frameon=False
    )
    return figure


def _shares(runs: Sequence[Figures]) -> Any:
    """Draw how much of the capacity came to the mice and to the elephant as results in time."""
    policies = [policy for policy in _policies(runs) if policy in BY_GROUP]
    figure, panels = plt.subplots(
        1, max(1, len(policies)), sharey=True, squeeze=False, figsize=(11, 4), layout="constrained"
    )
    for panel, policy in zip(panels[0], policies, strict=False):
        those = sorted((run for run in runs if run.policy == policy), key=lambda run: run.load)
        places = range(len(those))
        mice = [run.goodput_mice for run in those]
        panel.bar(places, mice, label="50 mice", color="tab:green")
        panel.bar(places, [run.goodput_elephant for run in those], bottom=mice, label="1 elephant", color="tab:gray")
        panel.axhline(MICE_LOAD, color="black", linestyle=":", linewidth=1, label="what the mice want")
        panel.set_xticks(places, [times(run.load) for run in those])
        panel.set_title(policy, fontsize=10)
        panel.yaxis.set_major_formatter(PercentFormatter(1.0))
        panel.grid(alpha=0.3, axis="y")
    panels[0][0].set_ylabel("goodput, in shares of the workers' time")
    figure.legend(
        *panels[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=9, frameon=False
    )
    return figure


def _returns(scenes: Sequence[ReturnFigures]) -> Any:
    """Draw how many of the refused returned in each second, as told by the engine, or all the same."""
    figure, panels = plt.subplots(1, len(scenes), squeeze=False, figsize=(11, 3.4), layout="constrained")
    for panel, scene in zip(panels[0], scenes, strict=True):
        seconds = range(scene.returns_from_s, scene.returns_from_s + len(scene.returns_by_second))
        panel.bar(seconds, scene.returns_by_second, 1.0, color="tab:blue")
        panel.set_title(scene.scene, fontsize=10)
        panel.set_xlabel("s")
        panel.set_ylim(bottom=0)
        panel.grid(alpha=0.3)
    panels[0][0].set_ylabel("returns per second")
    return figure


def _load_axis(panel: Any, loads: Sequence[float]) -> None:
    panel.set_xscale("log")
    panel.set_xticks(loads, [times(load) for load in loads])
    panel.minorticks_off()
    panel.set_xlabel("load, in multiples of the capacity")
    panel.grid(alpha=0.3)


def _policies(runs: Sequence[Figures]) -> list[str]:
    return list(dict.fromkeys(run.policy for run in runs))


def _overloads(runs: Sequence[Figures]) -> list[float]:
    return [load for load in OVERLOADS if any(run.load == load for run in runs)]
