"""The limiter document: its members, in their order."""

from __future__ import annotations

from typing import Literal, TypedDict


class LimiterDocument(TypedDict):
    """A limiter: its limits, and the numbers of jobs that hold it and that wait for it."""

    kind: Literal["pool", "type", "groups"]
    name: str
    held: int
    waiting: int
    permits: int | None
    rate: str | None
    quarantined_until: str | None
