"""Chaos: what operators do to a live queue, and what befalls its workers."""

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
TROUBLES = 30
"""How often something happens in one run, at most."""


class Chaos:
    """Makes trouble for a queue.

    Args:
        queue: Is made trouble until `run` is cancelled, or enough of it was made.
    """

    def __init__(self, scenario: Scenario, queue: JobQueue, auditor: Auditor) -> None:
        self._scenario = scenario
        self._queue = queue
        self._auditor = auditor
        self._rng = scenario.rng("chaos")

    async def run(self) -> None:
        if not self._scenario.chaos:
            return
        for _ in range(TROUBLES):
            await asyncio.sleep(self._rng.choice(PAUSES_S))
            if not self._queue.running:
                return
            trouble = self._rng.choice(self._scenario.chaos)
            self._auditor.counts[trouble] += 1
            match trouble:
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
        """Let every queue run again."""
        for name in self._scenario.queues:
            await self._queue.resume(name)

    def _kill(self) -> None:
        """Cancel a worker's task from outside, idle or busy."""
        assert self._queue._wiring is not None
        workers = list(self._queue._wiring._workers._workers.items())
        if not workers:
            return
        task, worker = self._rng.choice(workers)
        lease = worker.lease
        if lease is not None:
            known = self._auditor.known.get(lease.job_id)
            self._auditor.check(known is not None and known.running, f"a worker holds {known}, which doesn't run")
            self._auditor.note("chaos", f"kills the worker of {known}")
        else:
            self._auditor.note("chaos", "kills an idle worker")
        task.cancel()

    async def _pause(self) -> None:
        name = self._rng.choice(self._scenario.queues)
        paused = self._auditor.engine.queue_states[name].paused
        self._auditor.note("chaos", f"{'resumes' if paused else 'pauses'} {name}")
        await (self._queue.resume(name) if paused else self._queue.pause(name))
        queue_state = self._auditor.engine.queue_states[name]
        self._auditor.check(queue_state.paused is not paused, f"{name} was to change whether it is paused")

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
        """Reload with one queue's other settings changed."""
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
        self._auditor.check(taken_over or queue == settings.queues[name], f"{name} keeps what it had")
        self._auditor.check(restart == [], f"a reload of one queue needs a restart, for {restart}")

    async def _quota(self) -> None:
        settings = self._queue.settings
        caller_jobs_max = self._rng.choice((None, 1, 3))
        self._auditor.note("chaos", f"lets a caller have {caller_jobs_max} jobs")
        limits = msgspec.structs.replace(settings.limits, caller_jobs_max=caller_jobs_max)
        await self._queue.reload(msgspec.structs.replace(settings, limits=limits))
