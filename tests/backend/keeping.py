"""Keepers for tests: what is recorded is kept when the test says so, or a turn of the loop later."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

from jobqueue.backend.journal.figures import JournalFigures
from jobqueue.backend.journal.schedule_book import ScheduleBook
from jobqueue.errors import JournalFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jobqueue.backend.memory import MemoryBackend
    from jobqueue.core.engine import Engine
    from jobqueue.core.events import Event
    from jobqueue.core.job import Job
    from jobqueue.core.policy import QueuePolicy

BROKEN = "the disk is broken"


class HeldKeeper:
    """Keeps nothing until `release`.

    Attributes:
        waiting: What is to be called then, in order.
        broken: Nothing can be kept.
        waits: False: what is recorded is kept at once, as with `sync: interval`.
    """

    def __init__(self, *, waits: bool = True) -> None:
        self.waiting: list[Callable[[JournalFailed | None], None]] = []
        self.recorded = self.kept = 0
        self.broken = False
        self.waits = waits
        self.with_files: list[Job] = []
        self.policies: dict[str, QueuePolicy] = {}
        self.schedules = ScheduleBook()
        self.unclean_starts = 0

    def attach(self, backend: MemoryBackend, engine: Engine) -> None:
        backend.subscribe(self._on_event)

    def _on_event(self, event: Event) -> None:
        self.recorded += 1

    async def restore(self, spec_of: object, knows_type: object) -> None:
        pass

    async def record(self, begun: Callable[[Sequence[Job]], None]) -> None:
        begun(())

    @property
    def progress(self) -> float:
        return 1.0

    def figures(self) -> JournalFigures:
        return JournalFigures(folder="", sync="always", state="ok", bytes_max=0)

    async def close(self) -> None:
        pass

    def unlock(self) -> None:
        pass

    @property
    def troubled(self) -> bool:
        return self.broken

    def check(self) -> None:
        if self.broken:
            raise JournalFailed(BROKEN, 10.0)

    def settle(self) -> bool:
        if not self.waits:
            self.check()
            self.kept = self.recorded
        return self.kept == self.recorded

    def when_kept(self, done: Callable[[JournalFailed | None], None]) -> None:
        assert self.kept < self.recorded, "nothing is waited for that is kept"
        self.waiting.append(done)

    def kept_together(self, tell: Callable[[list[Any], JournalFailed | None], None]) -> list[Any]:
        waiting: list[Any] = []
        self.when_kept(partial(tell, waiting))
        return waiting

    def release(self) -> None:
        """Keep all that is recorded, or tell that it can't be."""
        told, self.waiting = self.waiting, []
        if not self.broken:
            self.kept = self.recorded
        for done in told:
            done(JournalFailed(BROKEN, 10.0) if self.broken else None)


class LateKeeper(HeldKeeper):
    """Keeps all in a later turn of the loop."""

    TURNS = 3

    def when_kept(self, done: Callable[[JournalFailed | None], None]) -> None:
        super().when_kept(done)
        if len(self.waiting) == 1:
            self._later(self.TURNS)

    def _later(self, turns: int) -> None:
        if turns:
            asyncio.get_running_loop().call_soon(self._later, turns - 1)
        else:
            self.release()
