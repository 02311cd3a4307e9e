"""Subscribers: handlers that get a job for what is published to topics.

Rules:

1. A subscriber is a handler with patterns. Its arguments are among `data` and `topic`, or have defaults.
2. Its jobs are jobs as any others: their arguments are the published data, checked against its signature.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from jobqueue.core.topics import Pattern, pattern_fault
from jobqueue.errors import InvalidField, InvalidSubmission

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobqueue.core.job import JobSpec
    from jobqueue.handlers.registry import Handler

PATTERNS_MAX: Final = 100
"""Maximum number of patterns of one subscriber."""

GIVEN: Final = ("data", "topic")
"""The arguments that a subscriber may take."""

_DATA: Final = "/args/data"

_ANY: Final = (Any, Any | msgspec.UnsetType)
_TEXT: Final = (str, str | msgspec.UnsetType)
"""Types of arguments that any data, and any topic, fits; with a default, too."""


class HandlerSubscriber:
    """A handler with its patterns.

    Raises:
        ValueError: The handler takes other arguments.
    """

    def __init__(self, handler: Handler, patterns: tuple[Pattern, ...]) -> None:
        for field in msgspec.structs.fields(handler.signature.arguments):
            if field.required and field.name not in GIVEN:
                raise ValueError(
                    f"handler {handler.name!r}: the arguments of a subscriber are data and topic, or have defaults, "
                    f"unlike {field.name!r}"
                )
        self.patterns = patterns
        self._handler = handler
        signature = handler.signature
        taken = GIVEN if signature.takes_more else signature.arguments.__struct_fields__
        self._takes_data, self._takes_topic = "data" in taken, "topic" in taken
        kinds = {field.name: field.type for field in msgspec.structs.fields(signature.arguments)}
        # Any data fits, so it is not decoded: of a hundred subscribers each would take as long as the request itself.
        self._takes_any = kinds.get("data", Any) in _ANY and kinds.get("topic", str) in (*_ANY, *_TEXT)

    @property
    def name(self) -> str:
        return self._handler.name

    @property
    def spec(self) -> JobSpec:
        return self._handler.default_spec

    def arguments(self, topic: str, data: bytes) -> bytes:
        """As `Subscriber.arguments` of `publishing`."""
        members = []
        if self._takes_data:
            members.append(b'"data":%b' % data)
        if self._takes_topic:
            members.append(b'"topic":%b' % msgspec.json.encode(topic))
        args = b"{%b}" % b",".join(members)
        if self._takes_any:
            return args
        try:
            return self._handler.check(args)
        except InvalidSubmission as invalid:
            raise InvalidSubmission(*map(self._of_data, invalid.errors), more=invalid.more) from None

    def left_out(self) -> None:
        """Nothing: it has arguments for all data that it can take."""

    def _of_data(self, fault: InvalidField) -> InvalidField:
        """Return a fault of an argument as one of the data, which names the subscriber."""
        below = fault.pointer.removeprefix(_DATA) if fault.pointer.startswith(_DATA) else ""
        return InvalidField(pointer=f"/data{below}", detail=f"subscriber {self.name!r}: {fault.detail}")


def checked_patterns(patterns: Sequence[object]) -> tuple[Pattern, ...]:
    """Return the patterns of one subscriber. Raises ValueError: One of them is none, or their number is wrong."""
    if not patterns or callable(patterns[0]):
        raise ValueError('@queue.on takes the patterns of topics: write @queue.on("order.paid")')
    if len(patterns) > PATTERNS_MAX:
        raise ValueError(f"@queue.on takes at most {PATTERNS_MAX} patterns, got {len(patterns)}")
    for pattern in patterns:
        if not isinstance(pattern, str):
            raise ValueError(f"@queue.on takes patterns as strings, got {pattern!r:.100}")
        if (fault := pattern_fault(pattern)) is not None:
            raise ValueError(f"@queue.on({pattern[:100]!r}): {fault}")
    return tuple(Pattern(str(pattern)) for pattern in patterns)
