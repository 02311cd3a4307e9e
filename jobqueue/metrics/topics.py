"""The families of topics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobqueue.metrics import catalogue as of
from jobqueue.metrics.family import labelled

if TYPE_CHECKING:
    from jobqueue.metrics.queues import QueueFamilies


def add_topics(families: QueueFamilies) -> None:
    """Add what was published, and the jobs of each subscriber."""
    topics = families.topics
    families[of.TOPICS_PUBLISHED].add(topics.published_total)
    families[of.TOPICS_UNHEARD].add(topics.unheard_total)
    for subscriber in topics.subscribers:
        name = labelled(("subscriber", subscriber.name))
        families[of.TOPICS_DELIVERED].add(topics.delivered[subscriber.name], name)
