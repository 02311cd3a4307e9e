"""The plots of the overload lab: each policy under each load.

1. A plot shows the policies to choose from (`CHOICES`), each with its name at its line's end. `…-all` shows every
   policy in a panel of its own, over the others in grey.
2. Panels of one figure share their scales.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any

import matplotlib as mpl

from bench.measure.picture import save
from bench.overload.clients import MICE_LOAD, PRIORITIES, RetryBehaviour
from bench.overload.figures import times
from bench.overload.policies import CHOICES

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, PercentFormatter

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from bench.overload.clients import Service
    from bench.overload.figures import Figures
    from bench.overload.returns import ReturnFigures

BY_PRIORITY = ("fifo", "priority", "priority start_by", "priority red")
BY_GROUP = ("fifo", "fair", "fair caller_jobs_max", "fair caller_jobs_max start_by")
BY_HERD = ("herd on a busy server", "herd on a busy server; constant 5 s")
OVERLOADS = (1.2, 2.0, 10.0)
COLOURS = ("tab:red", "tab:blue", "tab:green", "tab:purple", "tab:orange")
GREY = "0.8"
COLUMNS = 5
APART = 0.055  # of the axis: two labels that are nearer are moved apart
QUANTILES = (("p50", 70), ("p95", 26), ("p99", 8))  # and the size of their dots


def draw(runs: Sequence[Figures], returns: Sequence[ReturnFigures], folder: Path, service: Service) -> list[Path]:
    """Draw all plots into a folder; return their paths."""
    chosen = [policy.name(service) for policy in CHOICES]
    obedient = [run for run in runs if run.behaviour is RetryBehaviour.OBEDIENT]
    goodput, dead = "goodput (share of worker time)", "dead work (share of all work)"
    plots: dict[str, Callable[[], Any]] = {
        "goodput": lambda: _by_load(runs, goodput, attrgetter("goodput"), chosen),
        "goodput-all": lambda: _each_by_load(runs, goodput, attrgetter("goodput")),
        "dead-work": lambda: _by_load(runs, dead, attrgetter("dead"), chosen),
        "dead-work-all": lambda: _each_by_load(runs, dead, attrgetter("dead")),
        "waits": lambda: _waits(obedient, [name for name in chosen if name in _policies(runs)]),
        "waits-all": lambda: _waits(obedient, _policies(runs)),
        "refusals": lambda: _refusals(obedient),
        "shares": lambda: _shares(obedient),
    }
    if returns:
        plots["returns"] = lambda: _returns([scene for scene in returns if scene.scene in BY_HERD])
    paths = []
    for name, plot in plots.items():
        paths.append(folder / f"{name}.png")
        save(plot(), paths[-1])
    return paths


def _by_load(runs: Sequence[Figures], label: str, value: Callable[[Figures], float], chosen: Sequence[str]) -> Any:
    """Draw the chosen policies over the loads: obedient clients on the left, disobedient ones on the right."""
    figure, panels = plt.subplots(1, 2, sharey=True, figsize=(11, 4.6), layout="constrained")
    for panel, behaviour in zip(panels, RetryBehaviour, strict=True):
        ends = []
        for policy, colour in reversed(list(zip(chosen, COLOURS, strict=True))):
            line = _line(runs, policy, behaviour)
            if line:
                panel.plot([r.load for r in line], [value(r) for r in line], marker="o", markersize=5, color=colour)
                ends.append((value(line[-1]), policy, colour))
        panel.set_title(f"{behaviour} clients", fontsize=11)
        _load_axis(panel, sorted({run.load for run in runs}))
        panel.yaxis.set_major_formatter(PercentFormatter(1.0))
        panel.set_ylim(-0.03, 1.06)
        for place, (_, policy, colour) in _spread(ends):
            panel.annotate(
                policy, (1.015, place), xycoords=("axes fraction", "data"), color=colour, fontsize=9, va="center"
            )
    panels[0].set_ylabel(label)
    return figure


def _spread(ends: Sequence[tuple[float, str, str]]) -> list[tuple[float, tuple[float, str, str]]]:
    """Return a place for each label, near its line's end and at least `APART` from the next."""
    placed: list[tuple[float, tuple[float, str, str]]] = []
    floor = -1.0
    for end in sorted(ends):
        floor = max(end[0], floor + APART)
        placed.append((floor, end))
    over = max(0.0, floor - 1.04)
    ceiling = 2.0
    for number in range(len(placed) - 1, -1, -1):
        place = min(placed[number][0], ceiling - APART if over else placed[number][0], 1.04)
        ceiling = place
        placed[number] = (place, placed[number][1])
    return placed


def _each_by_load(runs: Sequence[Figures], label: str, value: Callable[[Figures], float]) -> Any:
    """Draw a small panel for each policy, over all others in grey."""
    policies = _policies(runs)
    rows = -(-len(policies) // COLUMNS)
    figure, panels = plt.subplots(
        rows, COLUMNS, sharex=True, sharey=True, squeeze=False, figsize=(11, 2.2 * rows + 0.6), layout="constrained"
    )
    for panel, policy in zip(panels.flat, policies, strict=False):
        for other in policies:
            for behaviour in RetryBehaviour:
                line = _line(runs, other, behaviour)
                panel.plot([r.load for r in line], [value(r) for r in line], color=GREY, linewidth=0.6, zorder=1)
        for behaviour, colour, style in (
            (RetryBehaviour.OBEDIENT, "tab:blue", "-"),
            (RetryBehaviour.DISOBEDIENT, "tab:red", "--"),
        ):
            line = _line(runs, policy, behaviour)
            panel.plot([r.load for r in line], [value(r) for r in line], color=colour, linestyle=style, label=behaviour)
        panel.set_title(policy, fontsize=9)
        _load_axis(panel, sorted({run.load for run in runs}))
        panel.set_xlabel("")
        panel.tick_params(labelsize=7)
        panel.yaxis.set_major_formatter(PercentFormatter(1.0))
    for panel in list(panels.flat)[len(policies) :]:
        panel.set_visible(False)
    figure.supylabel(label, fontsize=10)
    figure.supxlabel("load (multiples of capacity)", fontsize=10)
    return _with_legend(figure, panels, "upper")


def _waits(runs: Sequence[Figures], policies: Sequence[str]) -> Any:
    """Draw the time to a start and to an answer under overload, from the median to p99, by policy."""
    loads = _overloads(runs)
    height = 1.6 + 0.3 * len(policies)
    figure, panels = plt.subplots(
        1, len(loads), sharex=True, sharey=True, squeeze=False, figsize=(11, height), layout="constrained"
    )
    for panel, load in zip(panels[0], loads, strict=True):
        for offset, colour, quantiles in (
            (-0.15, "tab:blue", attrgetter("wait_s")),
            (0.15, "tab:orange", attrgetter("answer_s")),
        ):
            for place, policy in enumerate(policies):
                seen = [quantiles(run) for run in runs if run.policy == policy and run.load == load]
                if seen and seen[0]["p50"] is not None:
                    at = len(policies) - place - offset
                    values = [max(seen[0][name], 0.02) for name, _ in QUANTILES]
                    panel.plot(values, [at] * 3, color=colour, linewidth=1)
                    panel.scatter(values, [at] * 3, color=colour, s=[size for _, size in QUANTILES])
        panel.set_title(times(load), fontsize=11)
        panel.set_xscale("log")
        panel.set_xlabel("time since submission (s)")
        panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        panel.set_yticks([len(policies) - place for place in range(len(policies))], policies, fontsize=9)
        panel.grid(alpha=0.3)
    keys = [
        Line2D([], [], color=c, label=name) for c, name in (("tab:blue", "start"), ("tab:orange", "answer in time"))
    ]
    keys += [
        Line2D([], [], color="black", marker="o", linestyle="", markersize=size**0.5, label=name)
        for name, size in QUANTILES
    ]
    figure.legend(handles=keys, loc="outside lower center", ncols=len(keys), fontsize=9, frameon=False)
    return figure


def _refusals(runs: Sequence[Figures]) -> Any:
    """Draw which share of the submissions was rejected or shed, by priority."""
    loads, levels = _overloads(runs), sorted(PRIORITIES)
    figure, panels = plt.subplots(1, len(loads), sharey=True, squeeze=False, figsize=(11, 4), layout="constrained")
    for panel, load in zip(panels[0], loads, strict=True):
        those = [run for run in runs if run.load == load and run.policy in BY_PRIORITY]
        for number, level in enumerate(levels):
            shares = [run.refused_by_priority[level] or 0.0 for run in those]
            places = [place + (number - 1) * 0.27 for place in range(len(those))]
            panel.bar(places, shares, 0.25, label=f"priority {level}", color=mpl.colormaps["viridis"](number / 2.5))
        panel.set_xticks(range(len(those)), [run.policy.replace(" ", "\n") for run in those], fontsize=9)
        panel.set_title(times(load), fontsize=11)
        panel.yaxis.set_major_formatter(PercentFormatter(1.0))
        panel.grid(alpha=0.3, axis="y")
    panels[0][0].set_ylabel("share of submissions rejected or shed")
    return _with_legend(figure, panels, "lower")


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
        panel.axhline(MICE_LOAD, color="black", linestyle=":", linewidth=1, label="mice's demand")
        panel.set_xticks(places, [times(run.load) for run in those])
        panel.set_title(policy, fontsize=10)
        panel.yaxis.set_major_formatter(PercentFormatter(1.0))
        panel.grid(alpha=0.3, axis="y")
    panels[0][0].set_ylabel("goodput (share of worker time)")
    return _with_legend(figure, panels, "lower")


def _returns(scenes: Sequence[ReturnFigures]) -> Any:
    """Draw the returns of rejected clients in each second, with the engine's Retry-After, and with a constant one."""
    figure, panels = plt.subplots(1, len(scenes), sharey=True, squeeze=False, figsize=(11, 3.6), layout="constrained")
    for panel, scene in zip(panels[0], scenes, strict=True):
        seconds = range(scene.returns_from_s, scene.returns_from_s + len(scene.returns_by_second))
        panel.bar(seconds, scene.returns_by_second, 1.0, color="tab:blue")
        panel.set_title(scene.scene, fontsize=10)
        panel.set_xlabel("time (s)")
        panel.set_yscale("log")
        panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        panel.grid(alpha=0.3)
    panels[0][0].set_ylabel("returns per second")
    panels[0][0].set_ylim(0.5, 1.3 * max([1, *(max(scene.returns_by_second, default=1) for scene in scenes)]))
    return figure


def _with_legend(figure: Any, panels: Any, side: str) -> Any:
    keys, names = panels[0][0].get_legend_handles_labels()
    figure.legend(keys, names, loc=f"outside {side} center", ncols=len(names), fontsize=9, frameon=False)
    return figure


def _load_axis(panel: Any, loads: Sequence[float]) -> None:
    panel.set_xscale("log")
    panel.set_xticks(loads, [f"{load:g}" for load in loads])
    panel.minorticks_off()
    panel.set_xlabel("load (multiples of capacity)")
    panel.grid(alpha=0.3)


def _line(runs: Sequence[Figures], policy: str, behaviour: RetryBehaviour) -> list[Figures]:
    return sorted((run for run in runs if run.policy == policy and run.behaviour is behaviour), key=attrgetter("load"))


def _policies(runs: Sequence[Figures]) -> list[str]:
    return list(dict.fromkeys(run.policy for run in runs))


def _overloads(runs: Sequence[Figures]) -> list[float]:
    return [load for load in OVERLOADS if any(run.load == load for run in runs)]
