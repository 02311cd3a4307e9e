"""The schedules of a run: they are put, paused, resumed, run and deleted at random, and each tick is audited.

The auditor's rules: no instant has two ticks, and none comes before its instant; each job of a schedule that the engine
accepted is counted, once.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec

from jobqueue.core.events import Submitted
from jobqueue.errors import Draining, Duplicate, Refused
from jobqueue.handlers.schedule_submission import ScheduleSubmission

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from jobqueue.app import JobQueue
    from jobqueue.core.schedule import Plan
    from jobqueue.core.schedules import Due, Outcome
    from tests.simulation.auditor import Auditor
    from tests.simulation.scenario import Scenario

SHARE = 0.3
"""Runs with schedules."""

NAMES = ("s1", "s2", "s3")
PAUSES_S = (0.0, 0.25, 0.5, 1.0, 3.0)
ARGS = msgspec.Raw(b'{"n":0,"acts":["ok"]}')
"""Of no client: those number their submissions from 1."""


class SimulatedSchedules:
    """The schedules of one run, and what steers them."""

    def __init__(self, scenario: Scenario, queue: JobQueue, auditor: Auditor) -> None:
        self._scenario, self._queue, self._auditor = scenario, queue, auditor
        self._rng = scenario.rng("schedules")
        self._wanted = self._rng.random() < SHARE
        self._steering: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Put schedules into a queue that has just started, and watch their ticks."""
        if not self._wanted:
            return
        schedules = self._queue.service.schedules.runner.schedules
        self._done: set[tuple[object, float]] = set()
        self._jobs = 0
        self._permitted: dict[object, AbstractContextManager[None]] = {}
        self._take: Callable[[float], list[Due]] = schedules.take
        self._settle: Callable[[Due, Sequence[Outcome], float], None] = schedules.settle
        watched: Any = schedules
        watched.take, watched.settle = self._taken, self._settled
        self._auditor.backend.subscribe(self._on_submitted, Submitted)
        self._steering = asyncio.create_task(self._steer(), name="schedules")

    async def stop(self) -> None:
        """Have no further ticks; check that each job was counted."""
        if self._steering is None:
            return
        self._steering.cancel()
        with suppress(asyncio.CancelledError):
            await self._steering
        self._steering = None
        if self._queue.running:
            runner = self._queue.service.schedules.runner
            await runner.stop()
            counted = runner.schedules.counts.submitted_total
            self._auditor.check(counted == self._jobs, f"schedules have {self._jobs} jobs, and {counted} are counted")

    def _on_submitted(self, event: Submitted) -> None:
        if event.job.args == bytes(ARGS):
            self._jobs += 1

    def _taken(self, now: float) -> list[Due]:
        taken = self._take(now)
        for due in taken:
            name = due.schedule.id[1]
            permit = self._permitted[due.schedule] = self._auditor.asked("cancel", self._replaced_by(name, due.plan))
            permit.__enter__()  # until the outcomes are told
            for instant in due.instants:
                self._auditor.counts["tick"] += 1
                self._auditor.check(instant <= now, f"the tick of {name} at {instant} comes at {now}")
                self._auditor.check((due.schedule, instant) not in self._done, f"{name} has two ticks at {instant}")
        return taken

    def _replaced_by(self, name: str, plan: Plan) -> list[str]:
        """Return the live jobs that a tick may cancel."""
        if plan.overlap != "replace":
            return []
        held = [(known, known.job.uniqueness) for known in self._auditor.known.values() if known.live]
        return [
            known.job.id
            for known, uniqueness in held
            if uniqueness is not None
            and uniqueness.unique is not None
            and uniqueness.unique.value == f"schedule:{name}"
        ]

    def _settled(self, due: Due, outcomes: Sequence[Outcome], now: float) -> None:
        self._permitted.pop(due.schedule).__exit__(None, None, None)
        for instant, outcome in zip(due.instants, outcomes, strict=True):
            if outcome.retry_after_s is not None:
                break
            self._done.add((due.schedule, instant))
        self._settle(due, outcomes, now)

    async def _steer(self) -> None:
        while self._queue.running:
            await self._act(self._rng.choice(NAMES))
            await asyncio.sleep(self._rng.choice(PAUSES_S))

    async def _act(self, name: str) -> None:
        rng, operations = self._rng, self._queue.service.schedules
        definition = operations.runner.definitions.get((None, name))
        act = rng.choice(("put", "put", "pause", "resume", "resume", "run", "delete"))
        self._auditor.note("schedules", f"{act} {name}")
        if act == "put" or definition is None:
            overlap, catch_up = rng.choice((("skip", "one"), ("queue", "all"), ("queue", "none"), ("replace", "one")))
            given = ScheduleSubmission(
                type=rng.choice(self._scenario.types).name,
                args=ARGS,
                every_s=rng.choice((1.0, 2.0, 5.0)),
                jitter_s=rng.choice((0.0, 0.5)),
                overlap=overlap,
                catch_up=catch_up,
            )
            operations.put(name, given, owner=None, caller=None)
        elif act == "pause":
            operations.pause(definition, by=None)
        elif act == "resume":
            operations.resume(definition, by=None)
        elif act == "delete":
            operations.delete(definition, by=None)
        else:
            replaced = self._replaced_by(name, definition.plan)
            with self._auditor.asked("cancel", replaced), suppress(Duplicate, Draining, Refused):
                await operations.run(definition)
