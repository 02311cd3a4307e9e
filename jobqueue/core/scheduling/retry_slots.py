"""The retry slots of one caller, and the detection of no-shows.

Rules:

1. A key is kept as a 64-bit hash of the caller and the key, so its length costs nothing. A caller's keys are
   bounded by its share of `KEYS_MAX`; over the bound those of past slots are dropped, then the oldest eighth.
   So one caller's keys displace only its own.
2. A slot that was given back, or is expected to stay unused, is free: the caller's next rejection gets the soonest one.
3. An obedient client comes no sooner than its slot, and no later than the jitter, the rounding to whole seconds and a
   second of latency add. So a caller with only obedient clients submits at least as often as its slots came due; any
   difference over a span of time is no-shows.
"""

from __future__ import annotations

from math import floor
from typing import Final

from jobqueue.core.scheduling.seconds import Seconds

JITTER: Final = 0.1
"""Maximum jitter, as a share of the wait."""

LATE_S: Final = 2.0
"""Maximum lateness of an obedient client: Retry-After is rounded up to whole seconds, plus a second of latency."""

SILENT_S: Final = 2.0
SILENT_SLOTS: Final = 3
"""Number of due slots without any submission in `SILENT_S` after which a caller counts as gone."""

WINDOW_S: Final = 30.0
"""How long a caller's submissions are counted before they are compared with the slots that came due meanwhile."""

WINDOW_SLOTS = 10
SHOWS_MIN: Final = 0.8
"""If at least `WINDOW_SLOTS` slots came due in a window, and fewer submissions than this share of them came, the
missing share of the later slots is freed."""

KEYS_MAX = 10_000
"""Maximum number of keys: each caller's share is this, divided by the number of callers with slots. About 90 bytes
each. Callers that had a larger share before others came keep it until their slots are over: less than ten times as many
for 10,000 callers in all."""


class Slots:
    """One caller's slots: about 500 bytes, and up to 1.4 KB more while they reach from now to the longest wait.

    Args:
        at: The first slot.
        gap_s: Length that this slot added to the sequence of first slots.
        name: The hash of its key, if any.

    Attributes:
        last_at: The latest slot, behind which further ones follow.
        count: Number of slots given, less those given back.
        told_at: When the only one was last given.
        seen_at: When the caller last submitted anything.
        came: The submissions since `window_at`, without those that came early under a key.
        longest_s: The longest wait of them.
        due: Slots in use, by second.
        freed: Free slots, by second; None: there were none yet.
        keys: Slots by the hash of their key; None: no key was sent yet.
    """

    __slots__ = (
        "_since",
        "came",
        "count",
        "due",
        "freed",
        "gap_s",
        "keys",
        "last_at",
        "longest_s",
        "seen_at",
        "told_at",
        "window_at",
    )

    def __init__(self, at: float, gap_s: float, now: float, name: int | None) -> None:
        self.last_at = at
        self.gap_s = gap_s
        self._since = self.told_at = self.seen_at = self.window_at = now
        self.longest_s = at - now
        self.count = 1
        self.came = 0
        self.due = Seconds(floor(at))
        self.due.add(at)
        self.freed: Seconds | None = None
        self.keys: dict[int, float] | None = None if name is None else {name: at}

    @property
    def is_anonymous(self) -> bool:
        """Whether no slot was given under a key, or given back."""
        return self.keys is None and self.freed is None

    def move(self, at: float) -> None:
        """Move the only slot there is."""
        self.last_at = at
        self.due = Seconds(floor(at))
        self.due.add(at)

    def free(self, at: float, count: int, now: float) -> int:
        """Free up to `count` slots of a second; return the number freed."""
        freed = self.due.take(at, count)
        if freed:
            if self.freed is None:
                self.freed = Seconds(floor(now))
            self.freed.add(at, freed)
        return freed

    # -- keys

    def remember(self, name: int, at: float, now: float, callers: int) -> None:
        """Keep the key of a slot, within the caller's share among `callers`."""
        keys = self.keys or {}
        bound = max(1, KEYS_MAX // callers)
        if len(keys) >= bound and name not in keys:
            keys = _to_come(keys, now)
            if len(keys) >= bound:
                kept = bound - max(1, bound // 8)
                keys = dict(tuple(keys.items())[len(keys) - kept :])
        keys[name] = at
        self.keys = keys

    def held(self, name: int, now: float) -> float | None:
        """Return the slot of a key, if it is to come; a past one is dropped."""
        at = self.keys.get(name) if self.keys else None
        if at is not None and at <= now:
            assert self.keys is not None
            del self.keys[name]
            return None
        return at

    def drop_keys(self, now: float) -> None:
        """Drop the keys of past slots."""
        if self.keys is not None:
            self.keys = _to_come(self.keys, now)

    # -- no-shows (rule 3)

    def is_abandoned(self, now: float) -> bool:
        """Whether slots came due since the last submission, and none was used."""
        return self.due.between(self.seen_at, self._settled_until(now)) >= SILENT_SLOTS

    def lacking_share(self, now: float) -> float:
        """Close a window; return the share of its due slots that were not used, 0 if it isn't clear."""
        due = self.due.between(self.window_at, self._settled_until(now))
        came, self.came = self.came, 0
        self.window_at = now
        self.due.pass_until(now)
        if self.freed is not None:
            self.freed.pass_until(now)
        self.drop_keys(now)
        return 1.0 - came / due if due >= WINDOW_SLOTS and came < SHOWS_MIN * due else 0.0

    def _settled_until(self, now: float) -> float:
        """Return the instant up to which slots are settled: obedient clients would have come by now."""
        # A slot that is due by now was given no longer ago than the first one.
        return now - LATE_S - JITTER * min(self.longest_s, now - self._since)


def _to_come(keys: dict[int, float], now: float) -> dict[int, float]:
    return {name: at for name, at in keys.items() if at > now}
