"""Overwritten keys: those of the store that another program has given a value of another type.

A call that needs such a key fails, and is answered as if the store were away: what it holds of the jobs can't be told.
The log names the keys.
"""

from __future__ import annotations

import asyncio
from math import inf
from typing import TYPE_CHECKING, Final

from jobqueue.log import event_logger

if TYPE_CHECKING:
    from jobqueue.backend.valkey.calls import Calls, Reply

OVERWRITTEN: Final = "a key of the store holds a value of another program: the log names it (store.key_overwritten)"
ELSEWHERE: Final = "none of the keys of the whole store, of a queue or of a type"
HINT: Final = (
    "another program has written it: find that program, give it another database or namespace, delete the key, "
    "and restart the servers"
)
EVERY_S: Final = 60.0

log = event_logger(__name__)


class OverwrittenKeys:
    """Looks for overwritten keys after a call has met one, and logs them; at most every `EVERY_S`."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._looked_at = -inf

    def look(self, function: str) -> None:
        """Look for them soon. Args: function: That of the call that has met one."""
        now = asyncio.get_running_loop().time()
        if function != "overwritten" and now - self._looked_at >= EVERY_S:
            self._looked_at = now
            looking = self._calls.call("overwritten", ())
            looking.add_done_callback(lambda _: self._tell(function, looking))

    def _tell(self, function: str, looking: asyncio.Future[Reply]) -> None:
        if looking.cancelled() or looking.exception() is not None:
            return  # the next call that meets one looks again
        keys = keys_as_text(looking.result()[1]) or ELSEWHERE
        log.error("store.key_overwritten", function=function, keys=keys, hint=HINT)


def keys_as_text(flat: list[bytes]) -> str:
    """Return keys with their types, and those that would be right, as a text."""
    rows = zip(*(iter(each.decode("utf-8", "replace") for each in flat),) * 3, strict=True)
    return ", ".join(f"{key} is a {is_} and should be a {right}" for key, is_, right in rows)
