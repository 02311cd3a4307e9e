"""Tuning: the work that one step does before other tasks run, and other bounds that no setting names.

The defaults serve every deployment; a test passes smaller ones, so that each bound is met.
"""

from __future__ import annotations

import msgspec


class Tuning(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of the work that one step does.

    Attributes:
        tick_work_max: Maximum number of deadlines met, and of records evicted, in one tick. Defaults to 1000.
        offers_max: Maximum number of jobs of one wait list that are offered a permit at once. Defaults to 32.
        moves_max: Maximum number of jobs that are offered a permit, or move on to another wait list, in one operation.
            Defaults to 256.
        lease_tries: Number of ready jobs that a lease finds held back by a limiter before it yields to the loop.
            Defaults to 100.
        search_slice: Units of work (`JobFilter.cost`) that all searches together do in one iteration of the loop.
            Defaults to 256.
        search_first: Units that a search does at once, before its first turn. Defaults to 128.
        search_max: Units after which the search for one page ends, or a count. Defaults to 200,000.
        search_s_max: Seconds after which it ends, too. Defaults to 2.
        bulk_portion: Number of jobs that a bulk action changes before it yields to the loop. Defaults to 64.
        abandoned_min: Number of stuck workers that are replaced, even if the pool is smaller. Defaults to 100.
    """

    tick_work_max: int = 1000
    offers_max: int = 32
    moves_max: int = 256
    lease_tries: int = 100
    search_slice: int = 256
    search_first: int = 128
    search_max: int = 200_000
    search_s_max: float = 2.0
    bulk_portion: int = 64
    abandoned_min: int = 100


TUNING = Tuning()
"""The defaults."""
