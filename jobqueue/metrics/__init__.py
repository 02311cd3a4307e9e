"""Metrics: what a queue and its server count, as families of Prometheus.

`jobqueue serve` answers with them at `/metrics`. An application with metrics of its own registers a `QueueCollector`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobqueue.extras import extra

if TYPE_CHECKING:
    from jobqueue.metrics.collector import QueueCollector

__all__ = ["QueueCollector"]


def __getattr__(name: str) -> object:
    """Import the collector on first use: a server needs no prometheus_client."""
    if name != "QueueCollector":
        raise AttributeError(f"module 'jobqueue.metrics' has no attribute {name!r}")
    with extra("prometheus", "jobqueue.metrics.QueueCollector"):
        from jobqueue.metrics.collector import QueueCollector

    return QueueCollector
