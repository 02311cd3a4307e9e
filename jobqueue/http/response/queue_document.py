"""The queue document: its members, in their order."""

from __future__ import annotations

from typing import TypedDict

from jobqueue.http.response.value_types import Count, Duration, Instant  # noqa: TC001  # read from the annotations below


class QuarantinedDocument(TypedDict):
    """A type in quarantine.

    Attributes:
        type: The handler's registered name.
        since: The begin of the quarantine.
        until: When the next job of the type is tried.
        reason: Code and message of the last failure that counted.
    """

    type: str
    since: Instant
    until: Instant
    reason: str


class PauseDocument(TypedDict):
    """A pause of a queue.

    Attributes:
        since: When it began.
        reason: Why; null: no reason was given.
        until: When the queue resumes by itself; null: with `:resume` alone.
        by: The caller that has paused it; null: the application itself, or another key than that of the request.
    """

    since: Instant
    reason: str | None
    until: Instant | None
    by: str | None


class QueueDocument(TypedDict):
    """A queue: settings, present counts, drain rate, counters since start.

    Attributes:
        name: Its name.
        discipline: The order in which its jobs start.
        weight: Its share of the workers relative to the other queues' weights.
        workers: How many of its jobs run at once.
        capacity: How many live jobs it holds.
        paused: Whether its jobs don't start.
        pause: Since when, why, and until when; null: it is not paused.
        waiting: Jobs in this state now, for their parents.
        delayed: Jobs in this state now.
        queued: Jobs in this state now.
        running: Jobs in this state now.
        oldest_queued_at: Since when the oldest queued job is ready to run; null: no job is queued.
        oldest_queued_s: The seconds since then; null: no job is queued.
        drain_rate_per_s: Jobs ended per second, lately.
        drain_s: Estimated seconds until it is empty, if no more came; null: not known, or more than 30 days.
        quarantined: The types in quarantine, of all queues.
        submitted_total: Submissions accepted since the start.
        refused_total: Submissions rejected for lack of room since the start.
        retried_total: Failed jobs queued again on request since the start.
        succeeded_total: Jobs ended in this state since the start.
        failed_total: Jobs ended in this state since the start.
        cancelled_total: Jobs ended in this state since the start.
        expired_total: Jobs ended in this state since the start.
    """

    name: str
    discipline: str
    weight: int
    workers: int
    capacity: int
    paused: bool
    pause: PauseDocument | None
    waiting: Count
    delayed: Count
    queued: Count
    running: Count
    oldest_queued_at: Instant | None
    oldest_queued_s: Duration | None
    drain_rate_per_s: Duration
    drain_s: Duration | None
    quarantined: list[QuarantinedDocument]
    submitted_total: Count
    refused_total: Count
    retried_total: Count
    succeeded_total: Count
    failed_total: Count
    cancelled_total: Count
    expired_total: Count
