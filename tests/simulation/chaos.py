"""Chaos: operator actions on a live queue, and deaths of its workers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec

from jobqueue.core.policy import Discipline

if TYPE_CHECKING:
    from jobqueue.app import JobQueue
    from tests.simulation.auditor import Auditor
    from tests.simulation.scenario import Scenario

PAUSES_S = (0.1, 0.25, 0.5, 1.0)
ACTIONS_MAX = 30
"""Maximum number of actions in one run."""


class Chaos:
    """Disturbs a queue until `run` is cancelled or `ACTIONS_MAX` is reached."""

    def __init__(self, scenario: Scenario, queue: JobQueue, auditor: Auditor) -> None:
        self._scenario = scenario
        self._queue = queue
        self._auditor = auditor
        self._rng = scenario.rng("chaos")

    async def run(self) -> None:
        if not self._scenario.chaos:
            return
        for _ in range(ACTIONS_MAX):
            await asyncio.sleep(self._rng.choice(PAUSES_S))
            if not self._queue.running:
                return
            action = self._rng.choice(self._scenario.chaos)
            self._auditor.counts[action] += 1
            match action:
                case "kill":
                    self._kill()
                case "pause":
                    await self._pause()
                case "change":
                    await self._change()
                case "reload":
                    await self._reload()
                case "quota":
                    await self._quota()
        await self.calm()

    async def calm(self) -> None:
        """Resume every queue."""
        for name in self._scenario.queues:
            await self._queue.resume(name)

    def _kill(self) -> None:
        """Cancel the task of an idle or busy worker."""
        assert self._queue.service._wiring is not None
        workers = list(self._queue.service._wiring._workers._workers.items())
        if not workers:
            return
        task, worker = self._rng.choice(workers)
        lease = worker.lease
        if lease is not None:
            known = self._auditor.known.get(lease.job_id)
            self._auditor.check(known is not None and known.running, f"a worker holds {known}, which does not run")
            self._auditor.note("chaos", f"kills the worker of {known}")
        else:
            self._auditor.note("chaos", "kills an idle worker")
        task.cancel()

    async def _pause(self) -> None:
        name = self._rng.choice(self._scenario.queues)
        paused = self._auditor.engine.queue_states[name].paused
        self._auditor.note("chaos", f"{'resumes' if paused else 'pauses'} {name}")
        if paused:
            await self._queue.resume(name)
        else:
            await self._queue.pause(name, for_s=self._rng.choice((None, 1.0, 5.0)))
        queue_state = self._auditor.engine.queue_states[name]
        self._auditor.check(queue_state.paused is not paused, f"{name} did not change its paused state")

    async def _change(self) -> None:
        rng = self._rng
        name = rng.choice(self._scenario.queues)
        workers, capacity = rng.choice((None, 1, 3)), rng.choice((None, 2, 20))
        discipline, weight = rng.choice((None, *Discipline)), rng.choice((None, 1, 4))
        self._auditor.reordered.add(name)
        self._auditor.note("chaos", f"changes {name}: {workers} workers, {capacity} slots, {discipline}, {weight}")
        await self._queue.change(name, workers=workers, capacity=capacity, discipline=discipline, weight=weight)
        policy = self._auditor.engine.queue_states[name].policy
        asked = {"workers": workers, "capacity": capacity, "discipline": discipline, "weight": weight}
        kept = [what for what, value in asked.items() if value is not None and getattr(policy, what) != value]
        self._auditor.check(not kept, f"{name} keeps its {', '.join(kept)}")

    async def _reload(self) -> None:
        """Reload settings with changes to one queue."""
        rng, settings = self._rng, self._queue.settings
        name = rng.choice(self._scenario.queues)
        queue = msgspec.structs.replace(
            settings.queues[name],
            retry_budget=rng.choice((0, 1, 3)),
            patience_s=rng.choice((2.0, 10.0)),
            aging_s=rng.choice((None, 0.5)),
            discipline=rng.choice(tuple(Discipline)),
        )
        self._auditor.reordered.add(name)
        self._auditor.note("chaos", f"reloads {name}: {queue.discipline}, budget {queue.retry_budget}")
        changed = msgspec.structs.replace(settings, queues={**settings.queues, name: queue})
        restart = await self._queue.reload(changed)
        taken_over = self._auditor.engine.queue_states[name].policy == queue.policy
        self._auditor.check(taken_over or queue == settings.queues[name], f"{name} keeps its old settings")
        self._auditor.check(restart == [], f"a reload of one queue needs a restart, for {restart}")

    async def _quota(self) -> None:
        settings = self._queue.settings
        caller_jobs_max = self._rng.choice((None, 1, 3))
        self._auditor.note("chaos", f"sets caller_jobs_max to {caller_jobs_max}")
        limits = msgspec.structs.replace(settings.limits, caller_jobs_max=caller_jobs_max)
        await self._queue.reload(msgspec.structs.replace(settings, limits=limits))
