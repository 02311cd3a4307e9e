"""Foreign values: keys of the store that another program has overwritten with a value of another type.

A call that needs such a key fails, and is answered as if the store were away: what it holds of the jobs can't be told.
The log names the keys.
"""

from __future__ import annotations

import asyncio
from math import inf
from typing import TYPE_CHECKING, Final

from jobqueue.errors import StoreUnavailable
from jobqueue.log import event_logger

if TYPE_CHECKING:
    from jobqueue.backend.valkey.calls import Calls, Reply

FOREIGN: Final = "a key of the store holds a value of another program: the log names it (store.foreign_value)"
HINT: Final = (
    "another program has written it: find that program, give it another database or namespace, delete the key, "
    "and restart the servers"
)
EVERY_S: Final = 60.0

log = event_logger(__name__)


EMPTIED: Final = "the store has just been emptied, and learns its queues anew"
RETRY_AFTER_S: Final = 1.0
"""The wait until it knows them again, about."""


class ForeignValues:
    """Looks for foreign values after a call has met one, and logs them; at most every `EVERY_S`."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._looked_at = -inf

    def look(self, function: str) -> None:
        """Look for them soon. Args: function: That of the call that has met one."""
        now = asyncio.get_running_loop().time()
        if function != "foreign" and now - self._looked_at >= EVERY_S:
            self._looked_at = now
            looking = self._calls.call("foreign", ())
            looking.add_done_callback(lambda _: self._tell(function, looking))

    def _tell(self, function: str, looking: asyncio.Future[Reply]) -> None:
        if looking.cancelled() or looking.exception() is not None:
            return  # the next call that meets one looks again
        keys = told(looking.result()[1]) or "one of a single job, group or server"
        log.error("store.foreign_value", function=function, keys=keys, hint=HINT)


class ForeignQueues:
    """The queues of which the counts tell that their key holds a foreign value: the others go on without them."""

    def __init__(self, calls: Calls) -> None:
        self._values = ForeignValues(calls)
        self._names: set[str] = set()

    def note(self, queue: str, *, is_foreign: bool) -> None:
        """Note what the counts tell of a queue; look for the key, for the log, while it is there."""
        if is_foreign:
            self._names.add(queue)
            self._values.look("counts")
        else:
            self._names.discard(queue)

    def unknown(self, queue: str) -> StoreUnavailable:
        """Return the rejection of what needs a queue that the store does not know."""
        return StoreUnavailable(FOREIGN if queue in self._names else EMPTIED, RETRY_AFTER_S)


def told(flat: list[bytes]) -> str:
    """Return keys with their types, and those that would be right, as a text."""
    rows = zip(*(iter(each.decode("utf-8", "replace") for each in flat),) * 3, strict=True)
    return ", ".join(f"{key} is a {is_} and should be a {right}" for key, is_, right in rows)
