"""Samples of a server: its queues at one instant, and their rates between two."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Any

import msgspec

from jobqueue.cli.remote import queues, store_line
from jobqueue.cli.remote.connection import Connection, optional
from jobqueue.cli.remote.output import seen
from jobqueue.cli.remote.queues import Queue
from jobqueue.cli.remote.status import health
from jobqueue.client import JobDocument

if TYPE_CHECKING:
    from collections.abc import Sequence

POINTS = 24
"""Samples in the line of a queue's throughput."""

FAILURES_SHOWN = 5
_BLOCKS = " ▁▂▃▄▅▆▇█"


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """What a server told at one instant.

    Attributes:
        at: By the monotonic clock, in seconds.
        queues: Those that are shown, as structs; `documents` as they came.
        failures: The latest failed jobs.
        kept: The line of its journal or its store; None: there is neither, or the key may not see it.
    """

    at: float
    state: str
    degraded: list[str]
    queues: tuple[Queue, ...]
    documents: tuple[dict[str, Any], ...]
    loop_lag_s: float | None = None
    failures: tuple[JobDocument, ...] = ()
    kept: str | None = None


class Row(msgspec.Struct, frozen=True):
    """A queue with its rates since the sample before."""

    queue: Queue
    in_per_s: float
    out_per_s: float
    points: tuple[float, ...]


class Rates:
    """The rates of queues, from the totals of samples."""

    def __init__(self) -> None:
        self._before: Sample | None = None
        self._points: dict[str, deque[float]] = {}

    def rows(self, sample: Sample) -> list[Row]:
        """Return the queues of a sample with the rates since the one before; none after a restart of the server."""
        before = {} if self._before is None else {queue.name: queue for queue in self._before.queues}
        passed_s = 0.0 if self._before is None else sample.at - self._before.at
        self._before = sample
        rows = []
        for queue in sample.queues:
            was = before.get(queue.name)
            into = out = 0.0
            if was is not None and passed_s > 0 and _ended(queue) >= _ended(was):
                into = max(0, queue.submitted_total - was.submitted_total) / passed_s
                out = (_ended(queue) - _ended(was)) / passed_s
            points = self._points.setdefault(queue.name, deque(maxlen=POINTS))
            points.append(out)
            rows.append(Row(queue, into, out, tuple(points)))
        return rows


def spark(points: Sequence[float]) -> str:
    """Return a line of blocks, the greatest point full."""
    top = max(points, default=0.0)
    if top <= 0:
        return ""
    return "".join(_BLOCKS[min(8, max(1 if point > 0 else 0, round(8 * point / top)))] for point in points)


def _ended(queue: Queue) -> int:
    return queue.succeeded_total + queue.failed_total + queue.cancelled_total + queue.expired_total


def read(connection: Connection, names: Sequence[str] | None = None) -> Sample:
    """Ask a server, with four requests. Raises NoAnswer if it is away."""
    state, degraded = health(connection)
    document = connection.read("/v1/queues")
    views = queues.views(document)
    pairs = zip(document["queues"], views, strict=True)
    listed = [(raw, queue) for raw, queue in pairs if not names or queue.name in names]
    lag_s = document.get("loop_lag_s")
    failed = optional(connection, f"/v1/jobs?state=failed&limit={FAILURES_SHOWN}") or {}
    server = optional(connection, "/v1/server") or {}
    return Sample(
        at=time.monotonic(),
        state=state,
        degraded=degraded,
        queues=tuple(queue for _, queue in listed),
        documents=tuple(raw for raw, _ in listed),
        loop_lag_s=lag_s if isinstance(lag_s, float | int) else None,
        failures=tuple(seen(job, JobDocument) for job in failed.get("jobs") or ()),
        kept=store_line.of_server(server),
    )
