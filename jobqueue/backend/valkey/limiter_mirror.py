"""The limiters of types and of their groups, as the store counts them over all processes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jobqueue.core.limits.limiter_stats import LimiterStats
from jobqueue.core.rate import Rate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def limiters_of(name: str, counts: dict[str, Any], at: Callable[[int], float]) -> Iterator[LimiterStats]:
    """Yield those of a type and of its groups, for each that has limits.

    That of the type comes in quarantine and after failures, too.

    In the store all ready jobs of a type with limits wait at its limiter, and those of groups with limits at theirs.

    Args:
        counts: What a reply of `counts` tells of the type.
        at: Returns the instant of a number of milliseconds, on this process's clock.
    """
    until = counts["until"]
    if until > 0 or counts["fails"] or counts["concurrency"] or counts["rate_count"]:
        yield LimiterStats(
            kind="type",
            name=name,
            held=counts["running"],
            waiting=counts["waiting"],
            permits=counts["concurrency"] or None,
            rate=_rate(counts, ""),
            shut_until=at(until) if until > 0 else None,
        )
    if counts["group_concurrency"] or counts["group_rate_count"]:
        yield LimiterStats(
            kind="groups",
            name=name,
            held=counts["groups_running"],
            waiting=counts["groups_waiting"],
            permits=counts["group_concurrency"] or None,
            rate=_rate(counts, "group_"),
        )


def _rate(counts: dict[str, Any], of: str) -> Rate | None:
    count = counts[f"{of}rate_count"]
    if not count:
        return None
    return Rate(count, counts[f"{of}rate_period_ms"] / 1000.0, counts[f"{of}burst"] or None)
