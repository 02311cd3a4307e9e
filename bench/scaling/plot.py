"""The plots of the model: what servers over one store take, and how evenly groups load many stores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt

from bench.measure.picture import save
from bench.measure.spread import many

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from bench.scaling.cluster import Figures
    from bench.scaling.shards import Balance

WIDE = 10.0


def draw_cluster(runs: Mapping[tuple[int, int], Figures], path: Path) -> None:
    """Draw runs by the number of servers and of clients a server: lives a second, and how busy the store is."""
    figure, (lives, busy) = plt.subplots(1, 2, figsize=(WIDE, 4.0), layout="constrained")
    servers = sorted({number for number, _ in runs})
    for each in sorted({clients for _, clients in runs}):
        line = [runs[number, each] for number in servers]
        label = f"{many(each, 'client')} a server"
        lives.plot(servers, [run.lives_per_s / 1000 for run in line], marker="o", label=label)
        busy.plot(servers, [run.store_busy for run in line], marker="o", label=label)
    lives.set(title="thousand jobs a second", xlabel="servers, a core each", ylim=(0, None))
    busy.set(title="share of its core that the store takes", xlabel="servers, a core each", ylim=(0, 1.05))
    _finish(figure, (lives, busy), servers, path)


def draw_shards(balances: Sequence[Balance], path: Path) -> None:
    """Draw how many stores' worth groups use of a number of stores: a panel a skew, a line a placement."""
    skews = sorted({each.skew for each in balances})
    figure, panels = plt.subplots(1, len(skews), figsize=(WIDE, 3.8), sharey=True, layout="constrained")
    stores = sorted({each.stores for each in balances})
    for panel, skew in zip(panels, skews, strict=True):
        here = [each for each in balances if each.skew == skew]
        for placement in dict.fromkeys(each.placement for each in here):
            line = sorted((each.stores, each.usable) for each in here if each.placement is placement)
            panel.plot(*zip(*line, strict=True), marker="o", label=str(placement))
        panel.plot(stores, stores, color="0.7", linestyle=":", label="all of them")
        panel.axhline(1 / here[0].largest, color="0.7", linewidth=1)
        panel.set(title=f"skew {skew:g}: largest group {here[0].largest:.1%}", xlabel="stores")
        panel.set_xscale("log", base=2)
        panel.set_yscale("log", base=2)
        panel.set_ylim(0.8, max(stores) * 1.2)
    panels[0].set_ylabel("stores' worth of jobs, until the busiest is full")
    _finish(figure, panels, stores, path)


def _finish(figure: Any, panels: Sequence[Any], ticks: Sequence[int], path: Path) -> None:
    for panel in panels:
        panel.set_xticks(ticks, labels=[str(tick) for tick in ticks])
        panel.grid(color="0.92")
    panels[0].legend(fontsize=8)
    save(figure, path)
