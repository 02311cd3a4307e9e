"""Rules of findings about the store that holds the jobs of several servers, where there is one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobqueue.duration import spell
from jobqueue.findings import thresholds as at
from jobqueue.findings.finding import Finding
from jobqueue.findings.quantile import quantile_s
from jobqueue.findings.words import text

if TYPE_CHECKING:
    from jobqueue.backend.store import StoreFigures
    from jobqueue.findings.sight import Sight


def unavailable(sight: Sight, store: StoreFigures) -> Finding | None:
    """The store doesn't answer."""
    if store.up:
        return None
    return Finding(
        kind="store_down",
        severity="critical",
        sentence="The store doesn't answer: no job is accepted or looked up.",
        cause=text(store.reason or "It gives no reason.", 500),
        remedy=f"Look at the store at {text(store.address)}, and the network to it; it connects again by itself.",
        since=store.since,
    )


def slow(sight: Sight, store: StoreFigures) -> Finding | None:
    """A tenth of the calls take long."""
    call_s = quantile_s(sight.call_counts, at.CALL_QUANTILE)
    if call_s <= at.CALL_S:
        return None
    return Finding(
        kind="store_slow",
        severity="warning",
        sentence=(
            f"A tenth of the calls of the store of the last {spell(at.CALLS_WINDOW_S)} took over {spell(call_s)}: "
            "each request for a job waits for one."
        ),
        cause="The store is at the end of its CPU, waits for its disk, or is far away.",
        remedy="Look at its CPU: one core feeds two to three of servers; shard by namespace, or give it a faster one.",
    )


def unsteady(sight: Sight, store: StoreFigures) -> Finding | None:
    """The connection is lost again and again."""
    if sight.reconnects <= at.RECONNECTS:
        return None
    return Finding(
        kind="store_unsteady",
        severity="warning",
        sentence=(
            f"The server has connected {sight.reconnects} times to the store within {spell(at.RECONNECTS_WINDOW_S)}."
        ),
        cause="The store restarts or fails over, or something between it and the server ends connections.",
        remedy="Look at the log of the store, and at time limits of proxies on the way.",
    )


RULES = (unavailable, slow, unsteady)
