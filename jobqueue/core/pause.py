"""A pause of a queue: none of its jobs starts."""

from __future__ import annotations

import msgspec

REASON_LENGTH_MAX = 200
"""Maximum length of a reason, in characters."""


class Pause(msgspec.Struct, frozen=True, kw_only=True):
    """A pause.

    Attributes:
        since: When it began, on the engine's clock.
        reason: Why, in the words of the caller; None: none was given.
        until: When it ends by itself, on the same clock; None: it doesn't.
        by: The caller that has paused the queue; None: the application itself.
    """

    since: float
    reason: str | None = None
    until: float | None = None
    by: str | None = None
