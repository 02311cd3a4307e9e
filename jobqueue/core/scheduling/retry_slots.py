"""Slots: the retry slots of one caller, and what tells whether its clients come at them.

Rules:

1. A key is remembered as a 64-bit hash of the caller and the key, so its length costs nothing. A caller's keys are
   bounded by its share of `KEYS_MAX`; over the bound those whose slots are over are forgotten, then the oldest eighth.
   So one caller's keys push out its own only.
2. A slot given up, or taken for one that will not be used, is free: the caller's next refusal gets the soonest such.
3. An obedient client comes no sooner than its slot, and no later than the jitter, the rounding to whole seconds and a
   second on the way add. So a caller whose clients all obey submits at least as often as its slots came due, and what
   lacks in a span of time didn't come.
"""

from __future__ import annotations

from math import floor

from jobqueue.core.scheduling.seconds import Seconds

JITTER = 0.1
"""How much of a wait is added to it by chance, at most."""

LATE_S = 2.0
"""How much later than told an obedient client may come: Retry-After is rounded up to whole seconds, and a second for
the way."""

SILENT_S = 2.0
SILENT_SLOTS = 3
"""A caller that submitted nothing for that long, while so many of its slots came due, has no crowd that waits."""

WINDOW_S = 30.0
"""How long a caller's submissions are counted before they are held against the slots that came due meanwhile."""

WINDOW_SLOTS = 10
SHOWS_MIN = 0.8
"""Where at least so many slots came due in a window, and fewer submissions than this share of them came, the share of
those that lack is freed of the slots to come."""

KEYS_MAX = 10_000
"""How many keys are remembered: each caller's share is this, divided by the callers that have slots. About 90 bytes
each. Callers that had a larger share before others came keep it until their slots are over: less than ten times as many
for 10,000 callers in all."""


class Slots:
    """One caller's slots: about 500 bytes, and up to 1.4 KB more while they reach from now to the longest wait.

    Args:
        at: The first slot.
        gap_s: What that slot added to the line of first slots.
        name: The hash of the key under which it was given, if any.

    Attributes:
        last_at: The latest slot, behind which further ones follow.
        count: How many slots were given, less those given up.
        told_at: When the only one was last told.
        seen_at: When the caller last submitted anything.
        came: The submissions since `window_at`, without those that came early under a key.
        due: Slots that are to be used, by second.
        freed: Slots that are free again, by second; None: there were none yet.
        keys: Slots by the hash of their key; None: no key was sent yet.
    """

    __slots__ = (
        "_longest_s",
        "_since",
        "came",
        "count",
        "due",
        "freed",
        "gap_s",
        "keys",
        "last_at",
        "seen_at",
        "told_at",
        "window_at",
    )

    def __init__(self, at: float, gap_s: float, now: float, name: int | None) -> None:
        self.last_at = at
        self.gap_s = gap_s
        self._since = self.told_at = self.seen_at = self.window_at = now
        self._longest_s = at - now
        self.count = 1
        self.came = 0
        self.due = Seconds(floor(at))
        self.due.add(at)
        self.freed: Seconds | None = None
        self.keys: dict[int, float] | None = None if name is None else {name: at}

    @property
    def is_anonymous(self) -> bool:
        """Whether no slot was given under a key, or given up."""
        return self.keys is None and self.freed is None

    def give(self, at: float, now: float) -> None:
        """Count a further slot."""
        self.count += 1
        self.due.add(at)
        if at - now > self._longest_s:
            self._longest_s = at - now

    def move(self, at: float) -> None:
        """Move the only slot there is."""
        self.last_at = at
        self.due = Seconds(floor(at))
        self.due.add(at)

    def free(self, at: float, count: int, now: float) -> int:
        """Free up to `count` slots of a second; return how many there were."""
        freed = self.due.take(at, count)
        if freed:
            if self.freed is None:
                self.freed = Seconds(floor(now))
            self.freed.add(at, freed)
        return freed

    # -- keys

    def remember(self, name: int, at: float, now: float, callers: int) -> None:
        """Note under which key a slot was given, while there are so many callers."""
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
        """Return the slot that was given under a key, if it is to come; one that came is forgotten."""
        at = self.keys.get(name) if self.keys else None
        if at is not None and at <= now:
            assert self.keys is not None
            del self.keys[name]
            return None
        return at

    def forget_keys(self, now: float) -> None:
        """Forget the keys whose slots are over."""
        if self.keys is not None:
            self.keys = _to_come(self.keys, now)

    # -- no-shows (rule 3)

    def is_abandoned(self, now: float) -> bool:
        """Tell whether slots came due since the last submission, and none was used."""
        return self.due.between(self.seen_at, self._settled_until(now)) >= SILENT_SLOTS

    def lacking_share(self, now: float) -> float:
        """Close a window; return the share of the slots due in it for which nothing came, 0 if it isn't clear."""
        due = self.due.between(self.window_at, self._settled_until(now))
        came, self.came = self.came, 0
        self.window_at = now
        self.due.pass_until(now)
        if self.freed is not None:
            self.freed.pass_until(now)
        self.forget_keys(now)
        return 1.0 - came / due if due >= WINDOW_SLOTS and came < SHOWS_MIN * due else 0.0

    def _settled_until(self, now: float) -> float:
        """Return an instant: the clients whose slots were before it would have come by now."""
        # A slot that is due by now was told no longer ago than the first one.
        return now - LATE_S - JITTER * min(self._longest_s, now - self._since)


def _to_come(keys: dict[int, float], now: float) -> dict[int, float]:
    return {name: at for name, at in keys.items() if at > now}
