"""The calls on topics, blocking."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import closing
from typing import TYPE_CHECKING, Any, TypeVar

from jobqueue.client import topics
from jobqueue.client.events import JobEvent, Listener
from jobqueue.client.topics import Publication, TopicEvent

if TYPE_CHECKING:
    from collections.abc import Generator

    from jobqueue.client.protocol import Steps

T = TypeVar("T")


class SyncTopics(ABC):
    """These calls of `SyncClient`, which carries their requests."""

    def publish(
        self, topic: str, data: Any = None, *, idempotency_key: str | None = None, retry_for_s: float = 0.0
    ) -> Publication:
        """As `Client.publish`."""
        return self._run(topics.publish(topic, data, idempotency_key, retry_for_s))

    def topics(self) -> dict[str, Any]:
        """As `Client.topics`."""
        return self._run(topics.topics())

    def listen(
        self, pattern: str, *, last_event_id: str = "", retry_for_s: float = 30.0
    ) -> Generator[TopicEvent, None, None]:
        """As `Client.listen`."""
        path = topics.events_path(pattern)
        listener = Listener(path, is_last=None, last_event_id=last_event_id, retry_for_s=retry_for_s)
        with closing(self._heard(listener)) as events:
            for event in events:
                yield TopicEvent.of(event)

    @abstractmethod
    def _run(self, steps: Steps[T]) -> T: ...

    @abstractmethod
    def _heard(self, listener: Listener) -> Generator[JobEvent, None, None]: ...
