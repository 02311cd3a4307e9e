"""Random graphs of jobs under random operations, and a naive evaluator of what each job's state must be."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from random import Random
from typing import TYPE_CHECKING

from jobqueue.core.job import JobSpec, JobState
from jobqueue.core.lineage import Link
from jobqueue.core.report import ErrorCode
from jobqueue.core.store_bounds import StoreBounds
from jobqueue.errors import JobQueueError
from tests.core.making import FAILED, FINAL, Driver

if TYPE_CHECKING:
    from jobqueue.core.flow_cancel import FlowCancel
    from jobqueue.core.job import Job, JobId

CAPACITY = 60
ASKED = (JobSpec(type="t", attempts_max=2), b"{}", None, None)
HASTY = (JobSpec(type="t", start_by_s=2.0), b"{}", None, None)
LATER = (JobSpec(type="t", delay_s=1.5), b"{}", None, None)


class Graphs:
    """An engine with jobs that depend on each other, and what the evaluator knows of them.

    Attributes:
        jobs: All that were accepted, by id.
        flows: Their ids, with those that are gone.
        cancels: Of flows, on their way.
    """

    def __init__(self, seed: int) -> None:
        self.rng = Random(seed)
        self.driver = Driver(capacity=CAPACITY, bounds=StoreBounds(jobs_max=500, ttl_s=5.0, failed_ttl_s=9.0))
        self.jobs: dict[JobId, Job] = {}
        self.flows: list[JobId] = []
        self.cancels: list[FlowCancel] = []
        self._waiting: set[JobId] = set()
        # Those that have ended once: children that run in any case don't wait for a retry.
        self._ended: set[JobId] = set()

    def step(self) -> None:
        """Do a random operation, have ticks tell all children, and check every job."""
        acts = (self.submit, self.submit, self.start, self.start, self.end, self.end, self.end, self.cancel)
        with suppress(JobQueueError):
            self.rng.choice((*acts, self.retry, self.act_on_flow, self.go_on, self.advance))()
        self.driver.note_events()
        while self.driver.engine.next_at() == 0.0:
            self.driver.tick()
        self.check()

    # -- operations

    def submit(self) -> None:
        rng, engine = self.rng, self.driver.engine
        count = rng.randint(1, 6)
        known = [job_id for job_id in self.jobs if engine.find(job_id) is not None]
        links = [
            Link(
                tuple(rng.sample(known, min(len(known), rng.choice((0, 0, 1, 3))))),
                tuple(each for each in range(n) if rng.random() < 0.4),
                "run" if rng.random() < 0.3 else "cancel",
            )
            for n in range(count)
        ]
        many = [rng.choice((ASKED, ASKED, HASTY, LATER)) for _ in range(count)]
        if rng.random() < 0.6:
            flow = engine.submit_flow(many, links, now=self.driver.now).flow
            self.flows.append(flow.id)
            ids = [job.id for job in flow.jobs]
        else:
            flow_id = rng.choice((None, *self.flows))
            ids = [each.job.id for each in engine.submit_together(many, links, flow=flow_id, now=self.driver.now)]
        self.jobs |= {job_id: engine.get(job_id) for job_id in ids}

    def start(self) -> None:
        job = self.driver.start_next()
        lineage = None if job is None else job.lineage
        cancelled = [cancel.flow.id for cancel in self.cancels]
        assert lineage is None or lineage.flow not in cancelled, "no job starts whose flow is being cancelled"

    def end(self) -> None:
        job = self.pick(JobState.RUNNING)
        match self.rng.choice(("ack", "ack", "nack", "final")):
            case "ack":
                self.driver.ack(job)
            case "nack":
                self.driver.nack(job, failure=FAILED)
            case _:
                self.driver.nack(job, failure=FINAL)

    def cancel(self) -> None:
        self.driver.cancel(self.pick(self.rng.choice((JobState.WAITING, JobState.QUEUED, JobState.DELAYED))))

    def retry(self) -> None:
        self.driver.retry(self.pick(JobState.FAILED))

    def act_on_flow(self) -> None:
        if self.flows:
            flow_id = self.rng.choice(self.flows)
            if self.rng.randrange(3):
                self.driver.engine.flows.retry(flow_id, now=self.driver.now)
            else:
                self.cancels.append(self.driver.engine.flows.begin_cancel(flow_id))

    def go_on(self) -> None:
        """Cancel one more job of a flow."""
        if self.cancels:
            cancel = self.rng.choice(self.cancels)
            if not cancel.go_on(self.driver.now, 1):
                self.cancels.remove(cancel)

    def advance(self) -> None:
        self.driver.advance(self.rng.choice((0.1, 1.0, 3.0, 6.0)))

    def pick(self, state: JobState) -> Job:
        found = [job for job in self.jobs.values() if job.state is state and self.driver.engine.find(job.id) is job]
        if not found:
            raise JobQueueError(f"no job is {state}")
        return self.rng.choice(found)

    # -- the evaluator

    def parents_of(self, job: Job) -> list[Job | None]:
        """Return the parents of a job; None for those without a record."""
        lineage = job.lineage
        return [] if lineage is None else [self.driver.engine.find(each) for each in lineage.parents]

    def check(self) -> None:
        """Check each held job against its parents, the counts of queues and flows, and what is kept."""
        engine = self.driver.engine
        held = {job_id: job for job_id, job in self.jobs.items() if engine.find(job_id) is job}
        for job in held.values():
            self._check_job(job)
        self._waiting = {job_id for job_id, job in held.items() if job.state is JobState.WAITING}
        self._ended |= {job_id for job_id, job in held.items() if not job.live}
        states = [job.state for job in held.values()]
        assert engine.queue_states["default"].counts[JobState.WAITING] == states.count(JobState.WAITING)
        assert engine.live() == sum(job.live for job in held.values())
        for flow in engine.flows.all():
            view = engine.flows.view(flow.id)
            mine = [job for job in held.values() if job.lineage is not None and job.lineage.flow == flow.id]
            assert [job.id for job in view.jobs] == [job.id for job in mine]
            counts = Counter(flow.evicted)
            counts.update(job.state for job in mine)
            assert view.counts == counts
            assert view.version == flow.versions + sum(job.version + 1 for job in mine)
            assert (view.state == "running") == any(job.live for job in mine)
            assert (view.finished_at is None) == any(job.live for job in mine)
        assert engine._transitions.flow_index.cancels == Counter(cancel.flow.id for cancel in self.cancels)
        if not any(job.lineage is not None for job in held.values()):
            assert not engine._transitions.flow_index.any, "nothing is left of jobs that are gone"

    def _check_job(self, job: Job) -> None:
        lineage = job.lineage
        if lineage is None or not lineage.parents:
            return
        parents = self.parents_of(job)
        if job.live or job.keeps_args:
            assert None not in parents, "a record that is needed is kept"
        live = [parent for parent in parents if parent is not None and parent.live]
        failed = [
            parent
            for parent in parents
            if parent is not None and not parent.live and parent.state is not JobState.SUCCEEDED
        ]
        if job.id in self._waiting and job.state in (JobState.QUEUED, JobState.DELAYED):
            first = [parent for parent in live if parent.id not in self._ended]
            assert not (first if lineage.on_failure == "run" else live), "no child is released before its parents' end"
            assert not failed or lineage.on_failure == "run"
        if job.state is JobState.WAITING:
            assert live, "a job waits for a live parent, and for no other"
            assert not failed or lineage.on_failure == "run"
        if job.error is not None and job.error.code is ErrorCode.PARENT_FAILED:
            assert lineage.on_failure == "cancel"
            assert (job.state, job.attempt) == (JobState.CANCELLED, 0) or job.attempts_before
            named = [each for each in lineage.parents if each in job.error.message]
            assert len(named) == 1, "the error names the parent"
