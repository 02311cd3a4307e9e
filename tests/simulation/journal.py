"""The journal of a simulated run: records of all events, in memory, and their image, which must equal the engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobqueue.backend.journal.gathered import Gathered
from jobqueue.backend.journal.image import Image
from jobqueue.backend.journal.recorder import Recorder
from jobqueue.backend.journal.snapshot_walk import SnapshotWalk
from jobqueue.handlers.restored_spec import restored_spec
from tests.backend.journal.differences import differences

if TYPE_CHECKING:
    from random import Random

    from jobqueue.app import JobQueue
    from jobqueue.core.job import JobSpec
    from jobqueue.core.policy import QueuePolicy
    from tests.simulation.auditor import Auditor

OFFSET_S = 1_700_000_000.0


class SimulatedJournal:
    """Hears all events of a run. At each check its image is that of the records so far, or a snapshot and a suffix.

    Args:
        rng: Draws when snapshots are begun, and how far they get between two checks.
    """

    def __init__(self, queue: JobQueue, auditor: Auditor, rng: Random) -> None:
        self._queue, self._auditor, self._rng = queue, auditor, rng
        engine = auditor.engine
        self._engine, self._ids = engine, engine._ids
        self._policies = {name: state.policy for name, state in engine.queue_states.items()}
        self._gathered = Gathered()
        self._recorder = Recorder(
            self._gathered, engine=engine, ids=self._ids, configured=self._configured, offset_s=OFFSET_S
        )
        self._image = self._empty()
        # A snapshot in progress: its bodies, and those of the log that belongs to it.
        self._writer: SnapshotWalk | None = None
        self._snapshot: list[bytes] = []
        self._suffix: list[bytes] = []
        self._recorder.begin(auditor.backend.now(), starts=[])
        for kind, hear in self._recorder.listeners.items():
            auditor.backend.subscribe(hear, kind)

    def write(self, body: bytes) -> None:
        """Take a body of the snapshot."""
        self._snapshot.append(body)

    def check(self) -> None:
        """Apply the new records, and compare."""
        now = self._auditor.backend.now()
        self._commit()
        if self._writer is None:
            if self._rng.random() < 0.2:
                self._begin_snapshot(now)
        elif not self._writer.go_on(now):
            self._image, self._writer = self._empty(), None
            for body in (*self._snapshot, *self._suffix):
                self._image.apply(body)
            self._auditor.counts["snapshot"] += 1
        found = differences(self._image, self._engine, self._ids, now=now, configured=self._policies)
        different = next(found, None)
        self._auditor.check(different is None, f"the journal is wrong: {different}")

    def _begin_snapshot(self, now: float) -> None:
        self._snapshot, self._suffix = [], []
        portion = self._rng.choice((1, 3, 20))
        self._writer = SnapshotWalk(
            self._engine,
            self._ids,
            self,
            configured=self._configured,
            offset_s=OFFSET_S,
            starts=[],
            portion=portion,
        )
        self._recorder.begin(now, starts=[])
        self._commit()

    def _commit(self) -> None:
        for body in [body.data for body in self._gathered.take()]:
            self._suffix.append(body)
            self._image.apply(body)

    def _configured(self, queue: str) -> QueuePolicy:
        return self._policies[queue]

    def _empty(self) -> Image:
        return Image(self._spec_of, offset_s=OFFSET_S)

    def _spec_of(self, stored: JobSpec) -> JobSpec:
        handler = self._queue.service.registry.find(stored.type)
        return restored_spec(stored, None if handler is None else handler.default_spec)
