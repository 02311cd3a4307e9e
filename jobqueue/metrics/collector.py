"""A collector for prometheus_client: the metrics of a queue, in an application that has metrics of its own.

Each queue is registered by the application, where it wants: nothing is registered by importing this. Two queues in one
registry have the same names, so each needs a registry of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client.parser import text_string_to_metric_families

from jobqueue.metrics.catalogue import CATALOGUE
from jobqueue.metrics.exposition import TEXT, Exposition

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Protocol

    from prometheus_client import Metric

    from jobqueue.service import Service

    class HasService(Protocol):
        """A `JobQueue`."""

        @property
        def service(self) -> Service: ...


OURS = frozenset(spec.name.removesuffix("_total") for spec in CATALOGUE if spec.name.startswith("jobqueue_"))


class QueueCollector:
    """Collects the metrics of one queue at each scrape; without those of the process, which the application has.

    While the queue doesn't run, it has none.
    """

    def __init__(self, queue: HasService) -> None:
        self._service = queue.service

    def describe(self) -> Iterator[Metric]:
        """Return nothing, so that registering it asks for no scrape."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Yield the families of this instant."""
        if not self._service.running:
            return
        text = Exposition(self._service).write_now(TEXT).decode() + "\n"
        for family in text_string_to_metric_families(text):
            if family.name in OURS:
                yield family
