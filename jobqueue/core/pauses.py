"""Pauses: which queues start no jobs, since when and why, and when a pause ends by itself.

Rules:

1. A pause lasts until it is ended, or until its own end, if it has one. The engine's deadlines include that end, so it
   comes in time without a poll.
2. A pause of a paused queue replaces its reason and its end; `since` stays.
3. A change of the queue's policy leaves it as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobqueue.core.deadlines import Deadlines
from jobqueue.core.events import Paused, Resumed
from jobqueue.core.pause import Pause

if TYPE_CHECKING:
    from jobqueue.core.transitions import Transitions


class Pauses:
    """The pauses of all queues.

    Attributes:
        at: When the next of them ends by itself; None: none does.
    """

    def __init__(self, transitions: Transitions) -> None:
        self.at: float | None = None
        self._transitions = transitions
        self._ends: Deadlines[str] = Deadlines()

    def begin(
        self, queue: str, *, reason: str | None = None, for_s: float | None = None, by: str | None = None, now: float
    ) -> None:
        """Start no more jobs of a queue. Submissions are accepted meanwhile.

        Args:
            for_s: Seconds until it resumes by itself; None: it doesn't.
            by: The caller that pauses it.
        """
        queue_state = self._transitions.queue_states[queue]
        before = queue_state.pause
        since, until = now if before is None else before.since, None if for_s is None else now + for_s
        queue_state.pause = pause = Pause(since=since, reason=reason, until=until, by=by)
        queue_state.paused = True
        if until is None:
            self._ends.discard(queue)
        else:
            self._ends.set(queue, until)
        self.at = self._ends.next_at()
        self._transitions.events.append(Paused(queue, pause))

    def restore(self, queue: str, pause: Pause) -> None:
        """Begin a pause that an earlier process began, as it was."""
        queue_state = self._transitions.queue_states[queue]
        queue_state.paused, queue_state.pause = True, pause
        if pause.until is not None:
            self._ends.set(queue, pause.until)
            self.at = self._ends.next_at()

    def end(self, queue: str, *, by: str | None = None) -> None:
        """Start a queue's jobs again; nothing, if they start already."""
        queue_state = self._transitions.queue_states[queue]
        self._ends.discard(queue)
        self.at = self._ends.next_at()
        if queue_state.paused:
            queue_state.paused, queue_state.pause = False, None
            self._transitions.events.append(Resumed(queue, by))

    def tick(self, now: float) -> None:
        """End the pauses that are over."""
        while (queue := self._ends.pop_due(now)) is not None:
            self.end(queue)
