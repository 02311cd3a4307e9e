"""The families of webhooks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobqueue.metrics import catalogue as of
from jobqueue.metrics.family import labelled

if TYPE_CHECKING:
    from jobqueue.metrics.queues import QueueFamilies


def add_webhooks(families: QueueFamilies) -> None:
    """Add the samples of each receiver."""
    for each in families.webhooks:
        outcomes = {"delivered": each.delivered_total, "failed": each.failed_total, "dropped": each.dropped_total}
        for outcome, count in outcomes.items():
            families[of.WEBHOOK_DELIVERIES].add(count, labelled(("webhook", each.name), ("outcome", outcome)))
        name = labelled(("webhook", each.name))
        families[of.WEBHOOK_ATTEMPTS_FAILED].add(each.attempts_failed_total, name)
        families[of.WEBHOOK_FAILURES].add(each.failures_in_a_row, name)
        families[of.WEBHOOK_PENDING].add(each.pending, name)
        families[of.WEBHOOK_DISABLED].add(int(each.disabled is not None), name)
