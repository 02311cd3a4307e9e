"""The families of schedules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jobqueue.core.schedule_troubles import TROUBLE_KINDS
from jobqueue.metrics import catalogue as of
from jobqueue.metrics.family import labelled

if TYPE_CHECKING:
    from jobqueue.metrics.queues import QueueFamilies

OUTCOMES: Final = ("submitted", "skipped", "elsewhere", "rejected", "missed")


def add_schedules(families: QueueFamilies) -> None:
    """Add the number of schedules, and what became of their ticks."""
    figures = families.schedules
    counts = figures.counts
    for state, number in (("active", figures.schedules - figures.paused), ("paused", figures.paused)):
        families[of.SCHEDULES].add(number, labelled(("state", state)))
    for outcome in OUTCOMES:
        families[of.SCHEDULE_TICKS].add(getattr(counts, f"{outcome}_total"), labelled(("outcome", outcome)))
    for kind in TROUBLE_KINDS:
        families[of.SCHEDULES_TROUBLED].add(figures.troubled.get(kind, 0), labelled(("trouble", kind)))
    families[of.SCHEDULE_DRIFT].add_histogram(tuple(counts.drift_counts), counts.drift_sum_s)
