"""What handlers have that a store which several servers share has not."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from jobqueue.handlers.registry import Registry
    from jobqueue.handlers.subscribers import HandlerSubscriber

TYPES_MAX = 1000
"""Maximum number of types that a server tells the store, in one call, when it joins."""


def faults_of_handlers(registry: Registry, subscribers: Iterable[HandlerSubscriber], backend: str) -> Iterator[str]:
    """Yield each subscriber that does not fit `backend: valkey`, and too many handlers."""
    if backend != "valkey":
        return
    if (count := sum(1 for _ in registry)) > TYPES_MAX:
        yield f"{count:,} handlers do not fit backend: valkey, where a server has at most {TYPES_MAX:,}: split them"
    for subscriber in subscribers:
        yield (
            f"handler {subscriber.name!r}: @queue.on does not fit backend: valkey, where nothing is published: use "
            f"@queue.handler, and submit its jobs"
        )
