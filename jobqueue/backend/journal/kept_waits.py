"""KeptWaits: waits for what is kept, in the order of the records that they are for."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobqueue.errors import JournalFailed

    Done = Callable[[JournalFailed | None], None]


class KeptWaits:
    """Waits for a number of records that must be kept. What one raises doesn't reach the others.

    Args:
        on_raised: Gets what a wait has raised.

    Attributes:
        add: Takes a wait: a number of records, not below that of the wait before, and what is called once so many are
            kept. Bound directly, as each submission has a wait.
    """

    def __init__(self, on_raised: Callable[[Exception], None]) -> None:
        self._on_raised = on_raised
        self._waits: deque[tuple[int, Done]] = deque()
        self.add: Callable[[tuple[int, Done]], None] = self._waits.append

    def __len__(self) -> int:
        return len(self._waits)

    def end_up_to(self, count: int) -> None:
        """End the waits for up to this number of records."""
        waits = self._waits
        while waits and waits[0][0] <= count:
            try:
                waits.popleft()[1](None)
            except Exception as raised:
                self._on_raised(raised)

    def fail(self, failure: Callable[[], JournalFailed]) -> None:
        """End all waits, each with an error of its own."""
        waits = list(self._waits)
        self._waits.clear()
        for _, done in waits:
            self.end(done, failure())

    def end(self, done: Done, error: JournalFailed | None) -> None:
        """End one wait."""
        try:
            done(error)
        except Exception as raised:
            self._on_raised(raised)
