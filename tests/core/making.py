"""Engines and specs for the tests of the core."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random

from jobqueue.core.engine import Engine
from jobqueue.core.events import (
    Event,
    Evicted,
    FlowChanged,
    LeaseLost,
    Paused,
    PolicyChanged,
    Quarantined,
    Released,
    Resumed,
    StopRequested,
    Together,
)
from jobqueue.core.ids import RUNS, IdIssuer
from jobqueue.core.job import LIVE, IdempotencyKey, Job, JobSpec, JobState, Unique, UniqueMode, Uniqueness
from jobqueue.core.lineage import Link, OnFailure
from jobqueue.core.policy import QueuePolicy
from jobqueue.core.quotas import Quota, Quotas
from jobqueue.core.report import ErrorCode, Failure, Success
from jobqueue.core.scheduling.scheduler import Shares
from jobqueue.core.store_bounds import StoreBounds
from jobqueue.core.stored_file import Upload
from jobqueue.core.submit import SubmitResult

OK = Success(b"1")
FAILED = Failure(ErrorCode.HANDLER_ERROR, "boom")
FINAL = Failure(ErrorCode.HANDLER_ERROR, "boom", final=True)
CRASHED = Failure(ErrorCode.WORKER_CRASHED, "killed")


def make_engine(
    *,
    capacity: int = 10,
    queues: dict[str, QueuePolicy] | None = None,
    bounds: StoreBounds | None = None,
    pools: dict[str, int] | None = None,
    shares: Shares = "weighted",
    caller_jobs_max: int | None = None,
    quotas: Quotas | None = None,
    run: int = 1,
    follow_ups: frozenset[str] = frozenset(),
) -> Engine:
    policy = QueuePolicy(capacity=capacity)
    return Engine(
        queues=queues if queues is not None else {"default": policy, "other": policy},
        ids=IdIssuer(secret=b"0123456789abcdef", run=RUNS[run]),
        rng=Random(1),
        bounds=bounds,
        pools=pools,
        shares=shares,
        quotas=quotas or Quotas(Quota(jobs_max=caller_jobs_max)),
        follow_ups=follow_ups,
    )


class Driver:
    """An engine and its clock, with one method for each step of a test.

    Options are typed `object`: a test names any field of a spec or engine, so the calls below ignore their types.
    """

    def __init__(self, engine: Engine | None = None, **options: object) -> None:
        self.engine = engine if engine is not None else make_engine(**options)  # type: ignore[arg-type]  # any option
        self.now = 1000.0
        self.events: list[Event] = []

    # -- clients

    def admit(
        self,
        args: bytes = b"{}",
        *,
        caller: str | None = None,
        key: str | None = None,
        unique: str | None = None,
        mode: UniqueMode = "return",
        upload: Upload | None = None,
        **spec: object,
    ) -> SubmitResult:
        """Submit a job, of type "t" by default. The fingerprint of a key is the arguments alone."""
        uniqueness = None
        if caller is not None or key is not None or unique is not None:
            uniqueness = Uniqueness(
                caller=caller,
                unique=None if unique is None else Unique(unique, mode),
                key=None if key is None else IdempotencyKey(key, fingerprint=args),
            )
        try:
            return self.engine.submit(JobSpec(**{"type": "t"} | spec), args, upload, uniqueness, now=self.now)  # type: ignore[arg-type]  # any field
        finally:
            self.note_events()

    def submit(self, args: bytes = b"{}", **options: object) -> Job:
        return self.admit(args, **options).job  # type: ignore[arg-type]  # any option

    def submit_after(self, *parents: Job, args: bytes = b"{}", on_failure: OnFailure = "cancel", **spec: object) -> Job:
        """Submit a job with parents."""
        link = Link(tuple(parent.id for parent in parents), on_failure=on_failure)
        asked = JobSpec(**{"type": "t"} | spec), args, None, None  # type: ignore[arg-type]  # any field
        try:
            (result,) = self.engine.submit_together([asked], [link], now=self.now)
        finally:
            self.note_events()
        return result.job

    def submit_flow(self, graph: Mapping[str, Sequence[str]], **spec: object) -> dict[str, Job]:
        """Submit a flow of jobs by name, each with the names of its parents; return its jobs by name."""
        names = list(graph)
        links = [Link(beside=tuple(map(names.index, graph[name])), name=name) for name in names]
        asked = JobSpec(**{"type": "t"} | spec), b"{}", None, None  # type: ignore[arg-type]  # any field
        try:
            view = self.engine.submit_flow([asked] * len(names), links, now=self.now).flow
        finally:
            self.note_events()
        return {name: self.engine.get(each.id) for name, each in zip(names, view.jobs, strict=True)}

    def cancel(self, job: Job) -> None:
        self.engine.cancel(job.id, now=self.now)
        self.note_events()

    def cancel_flow(self, flow_id: str) -> None:
        """Cancel a flow, a job at a time."""
        cancel = self.engine.flows.begin_cancel(flow_id)
        while cancel.go_on(self.now, 1):
            self.note_events()
        self.note_events()

    def retry(self, job: Job) -> None:
        try:
            self.engine.retry(job.id, now=self.now)
        finally:
            self.note_events()

    def run_now(self, job: Job) -> None:
        self.engine.run_now(job.id, now=self.now)
        self.note_events()

    # -- workers

    def start_next(self) -> Job | None:
        """Start the next job, as an idle worker does; return None if no job may start."""
        while self.engine.scheduler:
            job = self.engine.scheduler.pop(self.now)
            leased = self.engine.lease(job, now=self.now)
            self.note_events()
            if leased is not None:
                assert leased.job_id == job.id
                return job
        return None

    def try_lease(self, job: Job) -> bool:
        """Let a worker take this job next; return whether it runs now."""
        if job.live and not self.is_ready(job):
            return False
        self.engine.scheduler.remove(job)
        leased = self.engine.lease(job, now=self.now) is not None
        self.note_events()
        return leased

    def lease(self, job: Job) -> int:
        assert self.try_lease(job)
        return job.attempt

    def is_ready(self, job: Job) -> bool:
        return self.engine.scheduler.position(job) is not None

    def ack(self, job: Job, attempt: int | None = None, success: Success = OK) -> None:
        attempt = job.attempt if attempt is None else attempt
        self.engine.ack(job.id, attempt=attempt, success=success, now=self.now)
        self.note_events()

    def nack(self, job: Job, attempt: int | None = None, failure: Failure = FAILED) -> None:
        attempt = job.attempt if attempt is None else attempt
        self.engine.nack(job.id, attempt=attempt, failure=failure, now=self.now)
        self.note_events()

    def done(self, **options: object) -> Job:
        """Submit a job and let it succeed at once."""
        job = self.submit(**options)  # type: ignore[arg-type]  # any option
        self.lease(job)
        self.ack(job)
        return job

    def failed(self, failure: Failure = FAILED, **options: object) -> Job:
        """Submit a job and let it fail at once, without another attempt."""
        job = self.submit(**options)  # type: ignore[arg-type]  # any option
        self.lease(job)
        self.nack(job, failure=failure)
        assert not job.live
        return job

    # -- time

    def advance(self, seconds: float) -> None:
        """Let time pass as the timer would: a tick at each deadline on the way."""
        end = self.now + seconds
        while (at := self.engine.next_at()) is not None and at <= end:
            self.now = max(self.now, at)
            self.tick()
        self.now = end
        self.tick()

    def tick(self) -> float | None:
        next_at = self.engine.tick(self.now)
        self.note_events()
        return next_at

    # -- events

    def note_events(self) -> None:
        """Keep the events of the engine, and check that each is complete."""
        for event in self.engine.take_events():
            if isinstance(event, (StopRequested, LeaseLost)):
                assert event.attempt == event.job.attempt
            if not isinstance(event, (Quarantined, Released, Paused, Resumed, PolicyChanged, Together, FlowChanged)):
                for job in event.jobs if isinstance(event, Evicted) else (event.job,):
                    assert isinstance(job, Job)
            self.events.append(event)

    def shut_down(self, *, keep: bool = False) -> dict[JobState, int]:
        """Shut the engine down as the backend does; return the number of live jobs before it, by state."""
        lost = self.live_by_state()
        shut_down = self.engine.begin_shut_down(keep=keep)
        while shut_down.go_on(self.now):
            self.note_events()
        self.note_events()
        return lost

    def live_by_state(self) -> dict[JobState, int]:
        """Return the number of jobs in each live state."""
        counts = [queue_state.counts for queue_state in self.engine.queue_states.values()]
        return {state: sum(each[state] for each in counts) for state in LIVE}

    def of(self, kind: type) -> list[Event]:
        return [event for event in self.events if isinstance(event, kind)]
