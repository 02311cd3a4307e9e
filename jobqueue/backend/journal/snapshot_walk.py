"""SnapshotWalk: goes through all jobs, and writes them in portions while they go on changing.

A log that was begun before the snapshot tells the rest: what changes during the walk stands there, too. So the snapshot
and this log together are the state at the end of the log, whenever each portion was read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from jobqueue.backend.journal.gathered import Gathered
from jobqueue.backend.journal.recorder import Recorder

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from jobqueue.core.engine import Engine
    from jobqueue.core.flow import Flow
    from jobqueue.core.ids import IdIssuer
    from jobqueue.core.job import JobId
    from jobqueue.core.policy import QueuePolicy
    from jobqueue.core.schedule import KeptSchedule, ScheduleId

PORTION: Final = 50
"""Jobs of a portion: a tenth of a millisecond, unless they are large."""


class Sink(Protocol):
    """What a snapshot is written to, body by body."""

    def write(self, body: bytes) -> None: ...


class SnapshotWalk:
    """Writes a snapshot. Begin it after the log that belongs to it, and call `go_on` until it returns False.

    Args:
        sink: Takes the bodies. It is not closed, nor forced to disk.
        configured: Returns a queue's settings by the configuration.
        offset_s: From the engine's clock to Unix seconds.
        starts: When processes began since the last clean stop, in Unix seconds.
        schedules: What is kept of each schedule.
        portion: Jobs, or schedules, of one step.

    Attributes:
        jobs: The number of jobs that it has so far.
    """

    def __init__(
        self,
        engine: Engine,
        ids: IdIssuer,
        sink: Sink,
        *,
        configured: Callable[[str], QueuePolicy],
        offset_s: float,
        starts: list[float],
        schedules: Mapping[ScheduleId, KeptSchedule] | None = None,
        portion: int = PORTION,
    ) -> None:
        self._engine, self._sink = engine, sink
        self._starts, self._portion = starts, portion
        self._gathered = Gathered()
        self._recorder = Recorder(self._gathered, engine=engine, ids=ids, configured=configured, offset_s=offset_s)
        self._schedules = list((schedules or {}).items())
        self._after: JobId | None = None
        self._flows: list[Flow] = []
        self._begun = False
        self.jobs = 0

    def go_on(self, now: float) -> bool:
        """Write a portion; return whether there is more."""
        recorder = self._recorder
        if not self._begun:
            self._begun = True
            recorder.begin(now, starts=self._starts, snapshot=True)
            for queue_state in self._engine.queue_states.values():
                recorder.queue(queue_state.name, queue_state.policy, queue_state.pause)
            self._flows = self._engine.flows.all()
        if self._schedules:
            for id, schedule in self._schedules[-self._portion :]:
                if schedule.given is not None:
                    recorder.schedule(id, schedule)
                recorder.schedule_state(id, schedule)
            del self._schedules[-self._portion :]
            self._flush()
            return True
        if self._flows:
            for flow in self._flows[-self._portion :]:
                recorder.flow(flow)
            del self._flows[-self._portion :]
            self._flush()
            return True
        jobs = self._engine.portion(self._after, oldest_first=True, limit=self._portion)
        for job in jobs:
            recorder.job(job)
        self.jobs += len(jobs)
        if jobs:
            self._after = jobs[-1].id
        else:
            recorder.whole(self.jobs)
        self._flush()
        return bool(jobs)

    def _flush(self) -> None:
        for body in self._gathered.take():
            self._sink.write(body.data)
