"""The calls on topics, awaited."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, TypeVar

from jobqueue.client import topics
from jobqueue.client.events import JobEvent, Listener
from jobqueue.client.topics import Publication, TopicEvent

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from jobqueue.client.protocol import Steps

T = TypeVar("T")


class AsyncTopics(ABC):
    """These calls of `Client`, which carries their requests."""

    async def publish(
        self, topic: str, data: Any = None, *, idempotency_key: str | None = None, retry_for_s: float = 0.0
    ) -> Publication:
        """Publish data: one job for each subscriber of the topic, all of them or none.

        Args:
            idempotency_key: Your own key for this publish, instead of a generated one: published again under it, the
                jobs are the same.
            retry_for_s: As of `submit`.

        Raises:
            InvalidSubmission: The data does not fit a subscriber.
            KeyReused: Something else was published or submitted under this key.
            Refused, FateUnknown, Unreachable: As of `submit`; none of the jobs was accepted, or it is unknown.
            NotInStore: The server shares its jobs with others (`backend: valkey`).
            ErrorAnswer: The topic is malformed.
            ValueError: JSON can't say the data.
        """
        return await self._run(topics.publish(topic, data, idempotency_key, retry_for_s))

    async def topics(self) -> dict[str, Any]:
        """Return the subscribers and listeners by their patterns, with counts."""
        return await self._run(topics.topics())

    async def listen(
        self, pattern: str, *, last_event_id: str = "", retry_for_s: float = 30.0
    ) -> AsyncGenerator[TopicEvent, None]:
        """Yield what is published to the topics that match, from now on, without end, and at most once.

        A broken stream is resumed after the last event received; if the server holds what came after that no more, the
        next event is `reset`.

        Args:
            pattern: Such as `order.paid`, `order.*` or `order.>`.
            last_event_id, retry_for_s: As of `events`.

        Raises:
            NotInStore: As `publish`.
            ErrorAnswer: The pattern is malformed.
            Refused, NoAnswer: No stream could be opened for `retry_for_s`.
        """
        path = topics.events_path(pattern)
        listener = Listener(path, is_last=None, last_event_id=last_event_id, retry_for_s=retry_for_s)
        async with aclosing(self._heard(listener)) as events:
            async for event in events:
                yield TopicEvent.of(event)

    @abstractmethod
    async def _run(self, steps: Steps[T]) -> T: ...

    @abstractmethod
    def _heard(self, listener: Listener) -> AsyncGenerator[JobEvent, None]: ...
