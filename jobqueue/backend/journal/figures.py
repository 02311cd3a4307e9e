"""Figures of the journal: what metrics, findings, documents and commands show of it."""

from __future__ import annotations

from collections.abc import Mapping  # msgspec reads it from the annotations
from typing import Literal

import msgspec

JournalState = Literal["recovering", "ok", "full", "stalled", "failed"]
"""With the last three nothing can be kept, so nothing is admitted: there is no room, a sync takes over 10 s, or a write
or a sync has failed."""

TROUBLES: frozenset[JournalState] = frozenset({"full", "stalled", "failed"})

Sync = Literal["interval", "always"]


class JournalFigures(msgspec.Struct, frozen=True, kw_only=True):
    """The journal at one instant; totals run since the start.

    Attributes:
        folder: Where it is.
        sync: The setting `journal.sync`.
        reason: Why nothing can be kept; None: it can.
        bytes_used: All files of the folder that `bytes_max` bounds.
        segments: Number of files of the log.
        commit_counts: Commits by their duration (`histogram.BOUNDS_S`).
        commit_sum_s: The sum of all durations.
        commit_s_last, commit_s_p50, commit_s_max: Of the latest commits; None: there was none.
        errors_total: Writes and syncs that failed.
        snapshot_at: When the last snapshot was complete, in Unix seconds; None: there is none.
        snapshot_s: How long it took; None: it is of an earlier run, or there is none.
        recovered: Jobs that the start has restored, by state; empty: the folder was new.
        recovered_s: How long that took; None: it goes on, or there was nothing.
    """

    folder: str
    sync: Sync
    state: JournalState
    reason: str | None = None
    bytes_used: int = 0
    bytes_max: int
    segments: int = 0
    commits_total: int = 0
    commit_counts: tuple[int, ...] = ()
    commit_sum_s: float = 0.0
    commit_s_last: float | None = None
    commit_s_p50: float | None = None
    commit_s_max: float | None = None
    errors_total: int = 0
    snapshot_at: float | None = None
    snapshot_s: float | None = None
    recovered: Mapping[str, int] = {}
    recovered_s: float | None = None

    @property
    def admits(self) -> bool:
        """Whether jobs can be kept."""
        return self.state not in TROUBLES
