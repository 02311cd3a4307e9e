"""Rules of findings about the store that holds the jobs of several servers, where there is one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobqueue.backend.store import MISSING_S
from jobqueue.duration import spell
from jobqueue.findings import thresholds as at
from jobqueue.findings.finding import Finding
from jobqueue.findings.quantile import quantile_s
from jobqueue.findings.words import counted, text

if TYPE_CHECKING:
    from jobqueue.backend.store import StoreFigures
    from jobqueue.findings.sight import Sight

NAMES_MAX = 5


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


def server_missing(sight: Sight, store: StoreFigures) -> Finding | None:
    """Servers of the store were lost, and none has taken their place."""
    if not store.missing:
        return None
    lost, jobs = store.missing, sum(each.jobs for each in store.missing)
    names = ", ".join(text(each.name, 80) for each in lost[:NAMES_MAX]) + (", …" if len(lost) > NAMES_MAX else "")
    moved = f"{counted(jobs, 'job')} that ran there went to the others, as far as attempts are left."
    if not jobs:
        moved = "No job ran there."
    return Finding(
        kind="server_missing",
        severity="warning",
        sentence=(
            f"{counted(len(lost), 'server')} of the store {'is' if len(lost) == 1 else 'are'} lost: {names}; "
            f"{counted(store.servers, 'server')} {'goes' if store.servers == 1 else 'go'} on."
        ),
        cause=(f"It was killed, is suspended, or can't reach the store: no sign of life for valkey.ttl_s. {moved}"),
        remedy=(
            "Start it again, or look at its machine and network. It is told until another server has joined, for "
            f"{spell(MISSING_S)} at most."
        ),
        since=min(each.heard_at for each in lost),
    )


RULES = (unavailable, slow, unsteady, server_missing)
