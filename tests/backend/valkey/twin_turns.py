"""The law of a fair queue: between two starts of a group, each other group that waits all the time has one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

Group = tuple[str | None, str | None]
"""The owner, and the name."""


class Turns:
    """Which groups of which queues wait since when, and when each had its last turn."""

    def __init__(self) -> None:
        self._step = 0
        self._waits_since: dict[tuple[str, Group], int] = {}
        self._started: dict[tuple[str, Group], int] = {}

    def note(self, ready: AbstractSet[tuple[str, Group]]) -> None:
        """Take which groups have a ready job now: one that had none in between has a new turn."""
        self._step += 1
        for gone in self._waits_since.keys() - ready:
            del self._waits_since[gone]
            self._started.pop(gone, None)
        for new in ready - self._waits_since.keys():
            self._waits_since[new] = self._step

    def forget(self, queue: str) -> None:
        """Forget what waited in a queue: its policy has changed."""
        for known in [each for each in self._waits_since if each[0] == queue]:
            del self._waits_since[known]
            self._started.pop(known, None)

    def start(self, queue: str, group: Group) -> str | None:
        """Note a start. Returns what is wrong with it; None: nothing is."""
        self._step += 1
        last = self._started.get((queue, group))
        self._started[queue, group] = self._step
        for other, since in self._waits_since.items():
            if last is not None and other[0] == queue and max(since, self._started.get(other, 0)) < last:
                return f"group {group} starts again before {other[1]}, which waits since before its last start"
        return None
