"""The families of a store outside this process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobqueue.core.histogram import BUCKETS
from jobqueue.metrics import catalogue as of
from jobqueue.metrics.family import labelled

if TYPE_CHECKING:
    from jobqueue.metrics.queues import QueueFamilies


def add_store(families: QueueFamilies) -> None:
    """Add the samples of a queue whose jobs are in a store."""
    store = families.shared_store
    if store is None:
        return
    families[of.STORE_UP].add(int(store.up))
    families[of.STORE_SERVERS].add(store.servers)
    families[of.STORE_SERVERS_MISSING].add(len(store.missing))
    families[of.STORE_RECONNECTS].add(store.reconnects_total)
    families[of.STORE_CALL].add_histogram(store.call_counts or (0,) * BUCKETS, store.call_sum_s)
    for function, calls in store.calls.items():
        families[of.STORE_CALLS].add(calls, labelled(("function", function)))
    for kind, errors in store.errors.items():
        families[of.STORE_ERRORS].add(errors, labelled(("kind", kind)))
    if store.copy_age_s is not None:
        families[of.STORE_COPY_AGE].add(store.copy_age_s)
