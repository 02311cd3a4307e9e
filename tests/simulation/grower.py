"""The grower: a client that submits jobs with parents and flows, and cancels and retries these."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec

from jobqueue.core.lineage import Link
from jobqueue.errors import JobQueueError
from jobqueue.handlers import Submission

if TYPE_CHECKING:
    from jobqueue.core.submit import Asked
    from tests.simulation.fleet import Fleet

PAUSES_S = (0.0, 0.25, 1.0, 3.0)
JOBS_MAX = 5


class Grower:
    """One client for all flows of a run, with a generator of its own."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._rng = fleet.scenario.rng("grower")
        self._auditor, self._queue = fleet.auditor, fleet.queue
        self._flows: list[str] = []

    async def run(self) -> None:
        rng = self._rng
        for _ in range(rng.choice((0, 0, self._fleet.scenario.requests))):
            await asyncio.sleep(rng.choice(PAUSES_S))
            if not self._queue.running:
                return
            request = rng.choice((self._submit, self._submit, self._cancel, self._retry))
            try:
                await request()
            except JobQueueError as error:
                self._auditor.note("grower", type(error).__name__)
                self._auditor.counts[f"flow {type(error).__name__}"] += 1
            except RuntimeError:
                if self._queue.running:
                    raise

    def _asked(self) -> Asked:
        rng = self._rng
        plan = rng.choice(self._fleet.scenario.types)
        args = {"n": self._fleet.next_number(), "acts": [rng.choice(plan.acts) for _ in range(rng.randint(1, 3))]}
        submission = Submission(
            type=plan.name,
            delay_s=rng.choice((0.0, 0.0, 0.5)),
            start_by_s=rng.choice((None, None, 5.0)),
            attempts_max=rng.choice((None, 1, 3)),
            args=msgspec.Raw(msgspec.json.encode(args)),
        )
        return self._queue.service._asked(submission, None, None, None, None, None)

    async def _submit(self) -> None:
        rng, auditor, backend = self._rng, self._auditor, self._queue.service.backend
        many = [self._asked() for _ in range(rng.randint(1, JOBS_MAX))]
        ids = [job_id for job_id in self._fleet.ids[-20:] if job_id in auditor.known]
        links = [
            Link(
                tuple(rng.sample(ids, min(len(ids), rng.choice((0, 0, 1, 3))))),
                tuple(each for each in range(n) if rng.random() < 0.5),
                "run" if rng.random() < 0.3 else "cancel",
            )
            for n in range(len(many))
        ]
        before = auditor.submitted
        try:
            if rng.random() < 0.6:
                flow = (await backend.submit_flow(many, links)).flow
                self._flows.append(flow.id)
                submitted = [job.id for job in flow.jobs]
            else:
                joined = rng.choice((None, *self._flows[-1:]))
                submitted = [each.job.id for each in await backend.submit_together(many, links, flow=joined)]
        except JobQueueError:
            auditor.check(auditor.submitted == before, "jobs were rejected together, and some were accepted")
            raise
        auditor.check(auditor.submitted - before == len(many), "of jobs that were accepted together some are missing")
        self._fleet.ids += submitted
        auditor.counts["flows"] += 1

    async def _cancel(self) -> None:
        if self._flows and self._rng.random() < 0.5:
            flow_id = self._rng.choice(self._flows[-3:])
            backend = self._queue.service.backend
            with self._auditor.asked("cancel", [job.id for job in (await backend.flow(flow_id)).jobs]):
                await backend.cancel_flow(flow_id)

    async def _retry(self) -> None:
        if self._flows:
            flow_id = self._rng.choice(self._flows[-3:])
            backend = self._queue.service.backend
            with self._auditor.asked("retry", [job.id for job in (await backend.flow(flow_id)).jobs]):
                await backend.retry_flow(flow_id)
                self._auditor.counts["flow retried"] += 1
