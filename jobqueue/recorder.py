"""Recorder: samples the counts of a service once a second, keeps their history, and shows them to an observer.

Rules:

1. The hot path pays nothing: counts are kept anyway, and a point is the difference of two samples.
2. A sample takes one queue in an iteration of the loop. A queue that did nothing, and has no live job, is not copied.
3. After a sample of many types it rests: at most `TYPES_PER_S` of them are copied in a second, about 1 % of its time.
4. A second that passes without a sample (a rest, a blocked loop, a suspended process) is a gap in the history.
"""

from __future__ import annotations

import asyncio
from math import ceil, floor
from typing import TYPE_CHECKING, Protocol

from jobqueue.core.counting.history import BYTES_MIN, History, Rows
from jobqueue.core.counting.series import add, rows_of_queue

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jobqueue.backend.base import Backend
    from jobqueue.core.counting.counts import QueueCounts
    from jobqueue.core.counting.stats import QueueStats, StoreStats
    from jobqueue.service import Service

TYPES_PER_S = 1000

LATE_S = 0.01
"""After the end of a second, so that a timer that fires a little early is not in the one before."""

REST_S_MIN = 0.1


class Observer(Protocol):
    """What sees each sample."""

    def begin(self) -> None:
        """Forget what was seen: another run begins."""

    def see_queue(self, counts: QueueCounts, before: QueueCounts | None, at: float) -> None:
        """See a queue that did something, or has live jobs, and its counts of the sample before; None: it had none."""

    def see(self, stats: tuple[StoreStats, Sequence[QueueStats]], at: float) -> None:
        """See the end of a sample: the stats with which it began, `at` an instant of the engine's clock."""


class Recorder:
    """Records one service's history while its queue runs; another run has a new one.

    Args:
        observer: Sees each sample, too; with one, samples are taken also where there is no history.

    Attributes:
        history: That of the present run; None: there is none yet, or `stats.bytes_max` is 0.
    """

    def __init__(self, service: Service, observer: Observer | None = None) -> None:
        self.history: History | None = None
        self._observer = observer
        self._service = service
        self._backend: Backend | None = None
        self._before: dict[str, QueueCounts] = {}
        self._idle: dict[str, tuple[int, ...]] = {}
        self._is_first = True
        self._stats: tuple[StoreStats, Sequence[QueueStats]]
        self._handle: asyncio.Handle | None = None

    def start(self) -> None:
        """Sample from now on, on the running loop."""
        if self._handle is None and (self._service.settings.stats.bytes_max or self._observer is not None):
            self._handle = asyncio.get_running_loop().call_soon(self._begin)

    def stop(self) -> None:
        """Sample no more."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def compact(self) -> None:
        """Copy the history into adjacent memory (`Ring.compact`)."""
        if self.history is not None:
            for ring in self.history.rings:
                ring.compact()

    def types_in(self, queue: str) -> list[str]:
        """Return the types that have had jobs in a queue, as of the last sample."""
        counts = self._before.get(queue)
        return [] if counts is None else list(counts.types)

    def _begin(self) -> None:
        service = self._service
        if not service.running:
            self._backend = None
            self._rest(1.0)
            return
        if service.backend is not self._backend:
            self._forget(service.backend)
        backend = service.backend
        self._stats = backend.stats()
        # The second that is over: what happened in it is known now.
        self._go_on(floor(backend.now()) - 1, iter(self._stats[1]), {}, 0)

    def _forget(self, backend: Backend) -> None:
        service = self._service
        series = [("queue", name) for name in service.settings.queues]
        series += [("type", handler.name) for handler in service.registry.every()]
        bytes_max = service.settings.stats.bytes_max
        self.history = History(series, max(BYTES_MIN, bytes_max)) if bytes_max else None
        if self._observer is not None:
            self._observer.begin()
        self._backend, self._before, self._idle, self._is_first = backend, {}, {}, True

    def _go_on(self, tick: int, queues: Iterator[QueueStats], rows: Rows, types: int) -> None:
        """Sample the next queue that did something, and the others in further iterations of the loop."""
        service = self._service
        if not service.running or service.backend is not self._backend:
            self._rest(REST_S_MIN)
            return
        for stats in queues:
            copied = self._sample(stats, rows)
            if copied:
                loop = asyncio.get_running_loop()
                self._handle = loop.call_soon(self._go_on, tick, queues, rows, types + copied)
                return
        if self.history is not None:
            self.history.add(tick, rows)
        self._is_first = False
        if self._observer is not None:
            self._observer.see(self._stats, service.backend.now())
        now, rest_s = service.backend.now(), max(1, ceil(types / TYPES_PER_S))
        self._rest(max(REST_S_MIN, tick + 1 + rest_s + LATE_S - now))

    def _sample(self, stats: QueueStats, rows: Rows) -> int:
        """Add the rows of a queue, and return the number of types that were copied."""
        name = stats.name
        totals = (stats.submitted_total, stats.refused_total, stats.retried_total, *_ended(stats))
        if stats.live == 0 and self._idle.get(name) == totals:
            return 0
        self._idle[name] = totals
        counts = self._service.counts(name)
        # What happened before the first sample belongs to no second of it.
        before = counts if self._is_first else self._before.get(name)
        self._before[name] = counts
        if self._observer is not None:
            self._observer.see_queue(counts, before, self._service.backend.now())
        if self.history is not None:
            _add_rows(self.history, counts, before, rows)
        return 1 + len(counts.types)

    def _rest(self, rest_s: float) -> None:
        self._handle = asyncio.get_running_loop().call_later(rest_s, self._begin)


def _add_rows(history: History, counts: QueueCounts, before: QueueCounts | None, rows: Rows) -> None:
    """Add what a queue, and each type in it, did since an earlier count."""
    row, by_type = rows_of_queue(counts, before)
    if row:
        rows[history.numbers["queue", counts.name]] = row
    for type_name, of_type in by_type.items():
        number = history.numbers.get(("type", type_name))
        if number is not None:
            add(rows.setdefault(number, {}), of_type)


def _ended(stats: QueueStats) -> tuple[int, ...]:
    return stats.succeeded_total, stats.failed_total, stats.cancelled_total, stats.expired_total
