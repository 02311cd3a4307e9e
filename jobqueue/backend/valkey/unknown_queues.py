"""Queues that the store does not know: it has been emptied, or another program has overwritten a key of theirs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jobqueue.backend.valkey.overwritten_keys import OVERWRITTEN, OverwrittenKeys
from jobqueue.errors import StoreUnavailable

if TYPE_CHECKING:
    from jobqueue.backend.valkey.calls import Calls

EMPTIED: Final = "the store has just been emptied, and learns its queues anew"
RETRY_AFTER_S: Final = 1.0
"""The wait until it knows them again, about."""


class UnknownQueues:
    """Tells why the store does not know a queue: the counts name those with an overwritten key."""

    def __init__(self, calls: Calls) -> None:
        self._keys = OverwrittenKeys(calls)
        self._names: set[str] = set()

    def note(self, queue: str, *, is_overwritten: bool) -> None:
        """Note what the counts tell of a queue; look for the key, for the log, while it is there."""
        if is_overwritten:
            self._names.add(queue)
            self._keys.look("counts")
        else:
            self._names.discard(queue)

    def rejection(self, queue: str) -> StoreUnavailable:
        """Return the rejection of what needs a queue that the store does not know."""
        return StoreUnavailable(OVERWRITTEN if queue in self._names else EMPTIED, RETRY_AFTER_S)
