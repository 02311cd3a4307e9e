"""A publish to a hundred subscribers among a thousand, as the core does it: found by the topic, submitted together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobqueue.core.job import Job, JobSpec
from jobqueue.core.topics import Pattern, TopicIndex

if TYPE_CHECKING:
    from jobqueue.core.engine import Engine

HEARING, OTHERS = 100, 900
TOPIC = "order.paid.late"
ARGS = b'{"data":{"id":17},"topic":"order.paid.late"}'
PATTERNS = (TOPIC, "order.paid.*", "order.*.late", "order.>")


class Publisher:
    """The subscribers of an engine's queue `default`."""

    def __init__(self) -> None:
        self._index = TopicIndex[JobSpec]()
        for number in range(HEARING):
            self._index.add((Pattern(PATTERNS[number % len(PATTERNS)]),), JobSpec(type=f"hears {number}"))
        for number in range(OTHERS):
            self._index.add((Pattern(f"user.{number}.*"),), JobSpec(type=f"hears nothing {number}"))

    def publish(self, engine: Engine, now: float) -> list[Job]:
        """Make a job for each subscriber of the topic."""
        results = engine.submit_together([(spec, ARGS, None, None) for spec in self._index.of(TOPIC)], now=now)
        assert len(results) == HEARING
        return [each.job for each in results]
