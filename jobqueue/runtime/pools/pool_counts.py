"""Counts of one pool at one instant."""

from __future__ import annotations

import msgspec


class PoolCounts(msgspec.Struct, frozen=True, kw_only=True):
    """The threads or processes of a pool.

    `abandoned`: threads with a handler that runs on after its attempt was stopped. `restarts`: processes that were
    replaced since the start, by `RESTART_REASONS`.
    """

    size: int
    busy: int = 0
    idle: int = 0
    abandoned: int = 0
    restarts: dict[str, int] = {}


RESTART_REASONS = ("exited", "stopped", "server_lost")
"""Why a process is replaced: it ended by itself, it was killed to stop its attempt, the fork server died."""
