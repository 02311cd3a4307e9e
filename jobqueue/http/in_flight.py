"""The in-flight budget: bytes of requests being received and of unsent responses, over all connections.

It counts them, and chooses the connection to cut when the budget is full.

Rules:

1. A share counts what one connection holds in one direction. A share that changes makes progress; one that holds
   nothing costs nothing.
2. A share has stalled once it is `STALLED_S` behind a progress of `RATE_BYTES_S_MIN`. Bursts are not saved up: many
   bytes at first buy no patience later.
3. When the budget is full, stalled shares are cut, the longest stalled first. Where none has stalled, the share that
   wants to grow is rejected, so a body that makes progress is never dropped for a newer one.
4. A share may become large (over `SMALL_BYTES`) up to 5 eighths of the budget, a large one grow up to 7, a small one up
   to the whole: a long upload is not dropped for newer ones, and large bodies can't keep small ones out.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from aiohttp import web

from jobqueue.log import event_logger

if TYPE_CHECKING:
    from collections.abc import Callable

RATE_BYTES_S_MIN = 16 * 1024
"""Minimum transfer rate in both directions, in bytes/s."""

STALLED_S = 0.5
SMALL_BYTES = 64 * 1024

LOOK_S = 0.05
"""Minimum time between two searches for stalled shares after one without a result, in seconds."""

FREED_SHARE = 8
"""Connections are cut until one part in this many of the budget is free, so that not each arrival cuts one."""

log = event_logger(__name__)


class InFlightBudget:
    """The budget of all connections' shares.

    Args:
        bytes_max: Returns the present budget; it may change while the server runs.
        clock: Seconds on a clock that never steps.

    Attributes:
        used_bytes: Sum over all shares.
    """

    def __init__(self, bytes_max: Callable[[], int], clock: Callable[[], float] = time.monotonic) -> None:
        self.used_bytes = 0
        self.clock = clock
        self._bytes_max = bytes_max
        self._holding: set[Share] = set()
        self._next_look_at = 0.0

    def share(self, cut: Callable[[], bool]) -> Share:
        """Return an empty share. What `cut` refers to must not refer to the share, or both wait for the collector."""
        return _SharedBy(self, cut)

    def has_room(self, share: Share, size_bytes: int) -> bool:
        """Whether a share may grow by a size, after cutting stalled ones if necessary."""
        budget_bytes = self._bytes_max()
        eighths = 8 if share.held_bytes + size_bytes <= SMALL_BYTES else 7 if share.large else 5
        bytes_max = budget_bytes * eighths // 8
        if self.used_bytes + size_bytes <= bytes_max:
            return True
        self._cut_stalled(bytes_max - max(size_bytes, budget_bytes // FREED_SHARE))
        return self.used_bytes + size_bytes <= bytes_max

    def _cut_stalled(self, used_bytes_max: int) -> None:
        now = self.clock()
        if now < self._next_look_at:
            return
        latest = now - STALLED_S
        stalled = sorted((each.kept_up_at, id(each), each) for each in self._holding if each.kept_up_at <= latest)
        was_bytes = self.used_bytes
        for _, _, share in stalled:
            if self.used_bytes <= used_bytes_max:
                break
            if not share.cut():
                share.kept_up_at = now
        freed_bytes = was_bytes - self.used_bytes
        if freed_bytes:
            log.sampled("http.stalled_cut", every_s=10.0, freed_bytes=freed_bytes)
        else:
            self._next_look_at = now + LOOK_S

    def count(self, share: Share, change_bytes: int) -> None:
        """Count the change of a share. For `Share`."""
        self.used_bytes += change_bytes
        if share.held_bytes:
            self._holding.add(share)
        else:
            self._holding.discard(share)


class Share:
    """The part of the budget of one connection in one direction.

    Attributes:
        kept_up_at: The time up to which it has kept up with the minimum rate.
        large: It has held more than `SMALL_BYTES` since it was closed last.
    """

    __slots__ = ("_budget", "held_bytes", "kept_up_at", "large")

    def __init__(self, budget: InFlightBudget) -> None:
        self._budget = budget
        self.held_bytes = 0
        self.kept_up_at = 0.0
        self.large = False

    def cut(self) -> bool:
        """Free as many bytes as possible at once, and end the request; called when the budget is full.

        Returns False, and frees nothing, after progress that the share has not counted yet.
        """
        return False

    def take(self, size_bytes: int) -> bool:
        """Count bytes before they are in memory; False: there is no room, and nothing was counted."""
        if not self._budget.has_room(self, size_bytes):
            return False
        self._change(size_bytes)
        return True

    def give(self, size_bytes: int) -> None:
        """Release counted bytes."""
        self._change(-min(size_bytes, self.held_bytes))

    def hold(self, size_bytes: int) -> bool:
        """Count bytes that are in memory already, in place of the share's former count; False: there is no room.

        They are counted all the same, until they are released.
        """
        growth_bytes = size_bytes - self.held_bytes
        fits = growth_bytes <= 0 or self._budget.has_room(self, growth_bytes)
        if growth_bytes:
            self._change(growth_bytes)
        return fits

    def close(self) -> None:
        """Release all bytes; the count starts again at 0."""
        self.large = False
        if self.held_bytes:
            self._change(-self.held_bytes)

    def _change(self, change_bytes: int) -> None:
        now = self._budget.clock()
        if self.held_bytes:
            self.kept_up_at = min(now, self.kept_up_at + abs(change_bytes) / RATE_BYTES_S_MIN)
        else:
            self.kept_up_at = now
        self.held_bytes += change_bytes
        self.large = self.large or self.held_bytes > SMALL_BYTES
        self._budget.count(self, change_bytes)


class _SharedBy(Share):
    """A share with a callback that cuts it."""

    __slots__ = ("_on_cut",)

    def __init__(self, budget: InFlightBudget, on_cut: Callable[[], bool]) -> None:
        super().__init__(budget)
        self._on_cut = on_cut

    def cut(self) -> bool:
        if not self._on_cut():
            return False
        self.close()
        return True


IN_FLIGHT = web.AppKey("in_flight", InFlightBudget)
"""The key of an application's budget, for the server's connections and for responses."""
