"""The limiter document: its members, in their order."""

from __future__ import annotations

from typing import Literal, TypedDict

from jobqueue.http.response.value_types import Count, Instant  # noqa: TC001  # read from the annotations below


class LimiterDocument(TypedDict):
    """A limiter: its limits, and the numbers of jobs that hold it and that wait for it.

    Attributes:
        kind: Of threads or processes, of a type, or of all groups of a type together.
        name: `thread`, `process`, or the type.
        held: Jobs that run by it now.
        waiting: Jobs that wait for it now.
        permits: How many may run at once, of `groups` in each group; null: no such limit.
        rate: Starts per time, such as `10/s`; null: no such limit.
        quarantined_until: When the next job of a quarantined type is tried; null: the type is not in quarantine.
    """

    kind: Literal["pool", "type", "groups"]
    name: str
    held: Count
    waiting: Count
    permits: Count | None
    rate: str | None
    quarantined_until: Instant | None
