"""`Prefer: wait` (RFC 7240) from the client's side: whether the server waited as long as it says."""

from __future__ import annotations

import re

SLACK_S = 0.1
"""Maximum difference between a wait and the applied one that it counts as."""

_APPLIED = re.compile(r"\bwait=([0-9]{1,9})\b")


def waited_out(preference_applied: str, waited_s: float) -> bool:
    """Whether the answer for a live job took the wait that the server applied.

    If it did not, the wait was cut short (the server is about to exit), or the server didn't wait (too many long
    polls): a client must not ask again at once.

    Args:
        preference_applied: The answer's `Preference-Applied`; empty: it has none.
        waited_s: Seconds from the request to the answer.
    """
    applied = _APPLIED.search(preference_applied)
    return applied is not None and 1 <= int(applied[1]) <= waited_s + SLACK_S
