"""KeptWaits: waits for what is kept, in the order of the records that they are for."""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobqueue.errors import JournalFailed

    Done = Callable[[JournalFailed | None], None]
    Tell = Callable[[list[Any], JournalFailed | None], None]


class KeptWaits:
    """Waits for a number of records that must be kept. What one raises doesn't reach the others.

    Args:
        report: Gets the context of what a wait has raised, as a loop's `call_exception_handler`.
        begin: Called by `together` where no list has begun for a `tell`: it returns one.

    Attributes:
        add: Takes a wait: a number of records, not below that of the wait before, and what is called once so many are
            kept.
    """

    def __init__(self, report: Callable[[dict[str, Any]], object], begin: Callable[[Tell], list[Any]]) -> None:
        self._report, self._begin = report, begin
        self._waits: deque[tuple[int, Done]] = deque()
        self.add: Callable[[tuple[int, Done]], None] = self._waits.append
        # What waits for all that gathers, and is told together; the number of those that are told with another.
        self._tell: Tell | None = None
        self._together: list[Any] = []
        self._others = 0

    def __len__(self) -> int:
        """Return the number of answers that wait."""
        return len(self._waits) + self._others + len(self._together)

    def together(self, tell: Tell) -> list[Any]:
        """As `LocalBackend.kept_together`."""
        return self._together if self._tell is tell else self._begin(tell)

    def begin_together(self, tell: Tell) -> list[Any] | None:
        """Return a list of what `tell` gets once all is kept that was appended by `end_together`.

        None: a list of another `tell` has begun.
        """
        if self._tell is not None:
            return None
        self._tell = tell
        return self._together

    def end_together(self, count: int) -> None:
        """Let the list that has begun, if any, wait for this number of records."""
        tell, waiting = self._tell, self._together
        if tell is not None:
            self._tell, self._together = None, []
            self._others += len(waiting) - 1
            self.add((count, partial(self._tell_all, tell, waiting)))

    def _tell_all(self, tell: Tell, waiting: list[Any], error: JournalFailed | None) -> None:
        self._others -= len(waiting) - 1
        tell(waiting, error)

    def end_up_to(self, count: int) -> None:
        """End the waits for up to this number of records."""
        waits = self._waits
        while waits and waits[0][0] <= count:
            self.end(waits.popleft()[1], None)

    def fail(self, failure: Callable[[], JournalFailed]) -> None:
        """End all waits, each with an error of its own, but for those that are told together."""
        self.end_together(0)
        waits = list(self._waits)
        self._waits.clear()
        for _, done in waits:
            self.end(done, failure())

    def end(self, done: Done, error: JournalFailed | None) -> None:
        """End one wait."""
        try:
            done(error)
        except Exception as raised:
            self._report({"message": "a wait for the journal raised", "exception": raised})
