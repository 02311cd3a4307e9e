"""Figures of the store: what metrics, documents and commands show of it, put together."""

from __future__ import annotations

from math import isinf
from typing import TYPE_CHECKING, Final

from jobqueue.backend.store import StoreFigures
from jobqueue.backend.valkey.library import FUNCTIONS

if TYPE_CHECKING:
    from jobqueue.backend.valkey.calls import Calls
    from jobqueue.backend.valkey.mirror import Mirror

ERRORS: Final = ("timeout", "connection", "unanswered", "unconfirmed", "refused", "oom", "readonly", "busy", "misconf")
"""Kinds of errors that are shown before the first one."""


def figures_of(calls: Calls, mirror: Mirror, namespace: str) -> StoreFigures:
    """Return the figures of this instant."""
    (reason, since), of_calls = calls.state(), calls.figures
    return StoreFigures(
        product=of_calls.server,
        address=of_calls.address,
        namespace=namespace,
        up=reason is None,
        since=since,
        reason=reason,
        servers=mirror.processes,
        durability=of_calls.durability,
        call_s_p50=of_calls.p50_s(),
        calls=dict.fromkeys(FUNCTIONS, 0) | of_calls.calls,
        call_counts=tuple(of_calls.counts),
        call_sum_s=of_calls.sum_s,
        errors=dict.fromkeys(ERRORS, 0) | of_calls.errors,
        reconnects_total=of_calls.reconnects,
        copy_age_s=None if isinf(mirror.read_at) else max(0.0, mirror.now() - mirror.read_at),
        members=mirror.roster.servers(),
        missing=mirror.roster.missing(),
    )
