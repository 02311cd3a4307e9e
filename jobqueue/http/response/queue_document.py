"""The queue document: its members, in their order."""

from __future__ import annotations

from typing import TypedDict


class QuarantinedDocument(TypedDict):
    """A type in quarantine."""

    type: str
    since: str
    until: str
    reason: str


class QueueDocument(TypedDict):
    """A queue: settings, present counts, drain rate, counters since start."""

    name: str
    discipline: str
    weight: int
    workers: int
    capacity: int
    paused: bool
    delayed: int
    queued: int
    running: int
    oldest_queued_at: str | None
    oldest_queued_s: float | None
    drain_rate_per_s: float
    drain_s: float | None
    quarantined: list[QuarantinedDocument]
    submitted_total: int
    refused_total: int
    retried_total: int
    succeeded_total: int
    failed_total: int
    cancelled_total: int
    expired_total: int
