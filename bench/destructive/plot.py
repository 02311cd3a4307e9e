"""A scenario as a picture: memory, CPU, heartbeat and counts over time, one above the other; the load is shaded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib as mpl

mpl.use("Agg")
import itertools

from matplotlib import pyplot as plt

from bench.destructive.limits import CPUS, MEMORY_BYTES, MIB
from bench.destructive.samples import thinned
from bench.destructive.verdict import GAP_S_MAX, PEAK_BYTES_MAX
from bench.measure.picture import save

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bench.destructive.samples import Sample

POINTS = 1500


def draw(samples: Sequence[Sample], began: float, ended: float, title: str, path: Path) -> None:
    """Write the picture. Raises ValueError if there are no samples."""
    if not samples:
        raise ValueError(f"{title}: there are no samples to draw")
    start, shown = samples[0].at, thinned(samples, POINTS)
    figure, panels = plt.subplots(4, 1, sharex=True, figsize=(10, 10), layout="constrained")
    figure.suptitle(title, fontsize=12)
    at = [each.at - start for each in shown]
    _memory(panels[0], at, shown)
    _cpu(panels[1], shown, start)
    _heartbeat(panels[2], at, shown)
    _counts(panels[3], at, shown)
    for panel in panels:
        panel.axvspan(began - start, ended - start, color="gray", alpha=0.08)
        panel.grid(alpha=0.3)
        panel.set_ylim(bottom=0)
        panel.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=5, fontsize=8, frameon=False, borderaxespad=0.2)
    panels[-1].set_xlabel("time (s)")
    save(figure, path)


def _memory(panel: Any, at: Sequence[float], shown: Sequence[Sample]) -> None:
    panel.plot(at, [each.rss_bytes / MIB for each in shown], label="server's resident set")
    panel.plot(at, [each.usage.anonymous_bytes / MIB for each in shown], label="all processes, anonymous")
    panel.plot(at, [each.usage.charged_bytes / MIB for each in shown], color="silver", label="charged, with page cache")
    panel.axhline(PEAK_BYTES_MAX / MIB, color="tab:red", linestyle="--", linewidth=1, label="bound")
    panel.axhline(MEMORY_BYTES / MIB, color="black", linestyle=":", linewidth=1, label="limit")
    panel.set_ylabel("MiB")


def _cpu(panel: Any, shown: Sequence[Sample], start: float) -> None:
    pairs = [(one, two) for one, two in itertools.pairwise(shown) if two.at > one.at]
    at = [two.at - start for _, two in pairs]
    panel.plot(at, [max(0.0, two.cpu_s - one.cpu_s) / (two.at - one.at) for one, two in pairs], label="server's loop")
    throttled = [max(0.0, two.usage.throttled_s - one.usage.throttled_s) / (two.at - one.at) for one, two in pairs]
    panel.plot(at, throttled, color="tab:orange", label="throttled, CPUs' time a second")
    panel.axhline(CPUS, color="black", linestyle=":", linewidth=1, label="quota")
    panel.set_ylabel("CPUs")


def _heartbeat(panel: Any, at: Sequence[float], shown: Sequence[Sample]) -> None:
    panel.plot(at, [each.age_s * 1000 for each in shown], label="age of the last beat")
    panel.plot(at, [each.beat.gap_s_max * 1000 for each in shown], color="tab:purple", label="longest gap so far")
    panel.axhline(GAP_S_MAX * 1000, color="tab:red", linestyle="--", linewidth=1, label="bound")
    panel.set_ylabel("ms")


def _counts(panel: Any, at: Sequence[float], shown: Sequence[Sample]) -> None:
    for name in ("connections", "queued", "running", "terminal"):
        panel.plot(at, [getattr(each.beat, name) for each in shown], label=name)
    panel.set_ylabel("number")
