"""The listeners of a backend's own events: what this process has done to the jobs of the store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

from jobqueue.core.events import Event

if TYPE_CHECKING:
    from collections.abc import Callable


class Listeners:
    """Passes each event to its listeners, in the order in which they came."""

    def __init__(self) -> None:
        self._listeners: dict[type[Event], tuple[Callable[[Any], None], ...]] = dict.fromkeys(get_args(Event), ())

    def subscribe(self, listener: Callable[[Any], None], *kinds: type[Event]) -> Callable[[], None]:
        """As `Backend.subscribe`."""
        heard = kinds or tuple(self._listeners)
        for kind in heard:
            self._listeners[kind] = (*self._listeners[kind], listener)

        def unsubscribe() -> None:
            for kind in heard:
                self._listeners[kind] = tuple(each for each in self._listeners[kind] if each is not listener)

        return unsubscribe

    def publish(self, *events: Event) -> None:
        """Pass events on."""
        for event in events:
            for listener in self._listeners[type(event)]:
                listener(event)
