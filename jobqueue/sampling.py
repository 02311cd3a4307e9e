"""Sampling: counts frequent events, to log them once a while instead of a line each. A leaf.

Rules:

1. The first event is logged at once. Events within `every_s` after it are counted, and logged as one when that is over.
2. The counts add up to the number of events; the fields are those of the latest.
3. Counting is safe in every thread.
"""

from __future__ import annotations

import math
import threading
import time
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class SampledLogger(Protocol):
    """A logger that writes counts."""

    def tell(self, event: str, fields: Mapping[str, object], count: int) -> None: ...


class Sample:
    """One frequent event: its count since it was last logged, and when it may be logged again."""

    __slots__ = ("count", "due_at", "event", "every_s", "fields", "log", "logged")

    def __init__(self, log: SampledLogger, event: str, every_s: float, fields: Mapping[str, object]) -> None:
        self.log = log
        self.event = event
        self.every_s = every_s
        self.fields = fields
        self.count = 0
        self.logged = 0
        self.due_at = 0.0

    @property
    def total(self) -> int:
        """Number of all its events."""
        return self.logged + self.count


class Samples:
    """The frequent events of this process. Their names are constants, so the table stays small."""

    def __init__(self) -> None:
        self.nudge: Callable[[], None] | None = None
        self._lock = threading.Lock()
        self._table: dict[tuple[SampledLogger, str], Sample] = {}
        self._waiting: dict[Sample, None] = {}

    def add(self, log: SampledLogger, event: str, fields: Mapping[str, object], every_s: float) -> int:
        """Count one; return the count to log now, or 0."""
        with self._lock:
            sample = self._table.get((log, event))
            if sample is None:
                sample = self._table[log, event] = Sample(log, event, every_s, fields)
            sample.fields = fields
        return self.count(sample)

    def count(self, sample: Sample) -> int:
        """Count one of a known event, as `add`."""
        now = time.monotonic()
        with self._lock:
            sample.count += 1
            if now >= sample.due_at:
                return self._take(sample, now)
            if sample in self._waiting:
                return 0
            self._waiting[sample] = None
        if self.nudge is not None:
            self.nudge()
        return 0

    def due_in_s(self) -> float | None:
        """Return the seconds until a count may be logged; None if none waits."""
        with self._lock:
            if not self._waiting:
                return None
            return max(0.0, min(sample.due_at for sample in self._waiting) - time.monotonic())

    def flush_due(self) -> None:
        """Log the counts that are due."""
        self._flush(time.monotonic())

    def flush(self) -> None:
        """Log every waiting count."""
        self._flush(math.inf)

    def _flush(self, until: float) -> None:
        if not self._waiting:
            return
        now = time.monotonic()
        with self._lock:
            due = [sample for sample in self._waiting if sample.due_at <= until]
            told = [(sample, sample.fields, self._take(sample, now)) for sample in due]
        for sample, fields, count in told:
            sample.log.tell(sample.event, fields, count)

    def _take(self, sample: Sample, now: float) -> int:
        count, sample.count = sample.count, 0
        sample.logged += count
        sample.due_at = now + sample.every_s
        self._waiting.pop(sample, None)
        return count
