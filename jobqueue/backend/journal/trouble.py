"""Trouble: why a journal can't keep more, or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from jobqueue.errors import JournalFailed

if TYPE_CHECKING:
    from collections.abc import Callable


RETRY_AFTER_S: Final = 10.0
"""When to ask again for what could not be kept."""


class Trouble(NamedTuple):
    """Why nothing should be admitted.

    Attributes:
        kind: `failed`: a file is given up, and records are dropped. `stalled`: the disk does not answer. `full`: there
            is no room for the next segment.
        reason: One sentence, with the path of the folder.
    """

    kind: Literal["failed", "stalled", "full"]
    reason: str

    def __str__(self) -> str:
        return self.reason


class Troubles:
    """The kinds of trouble that a journal is in, and the worst of them.

    Args:
        on_failed: Called when there is trouble, or a worse or a milder one than before.
        on_recovered: Called when there is none any more.

    Attributes:
        failed: The reason; empty: there is no such trouble.
        stalled: Likewise.
        full: Likewise.
        worst: As of the last `judge`.
    """

    def __init__(self, on_failed: Callable[[Trouble], None], on_recovered: Callable[[], None]) -> None:
        self.failed = ""
        self.stalled = ""
        self.full = ""
        self.worst: Trouble | None = None
        self._on_failed = on_failed
        self._on_recovered = on_recovered

    def judge(self) -> None:
        """Find the worst trouble, and tell of a change."""
        before, self.worst = self.worst, self._find()
        if self.worst is None:
            if before is not None:
                self._on_recovered()
        elif before is None or before.kind != self.worst.kind:
            self._on_failed(self.worst)

    def _find(self) -> Trouble | None:
        if self.failed:
            return Trouble("failed", self.failed)
        if self.stalled:
            return Trouble("stalled", self.stalled)
        return Trouble("full", self.full) if self.full else None


def failure(reason: str) -> JournalFailed:
    """Return the error of what can't be kept."""
    return JournalFailed(reason, retry_after_s=RETRY_AFTER_S)


def told(error: BaseException | None) -> str:
    """Return what an error says; its name, if it says nothing."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
