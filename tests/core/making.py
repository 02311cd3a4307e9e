"""What core tests build engines and specs with."""

from __future__ import annotations

from random import Random

from jobqueue.core.engine import Engine
from jobqueue.core.events import Event, Evicted, LeaseLost, StopRequested
from jobqueue.core.ids import RUNS, IdIssuer
from jobqueue.core.job import ErrorCode, Failure, Job, JobSpec, Success
from jobqueue.core.statuses import StatusBounds

OK = Success(b"1")
FAILED = Failure(ErrorCode.HANDLER_ERROR, "boom")
CRASHED = Failure(ErrorCode.WORKER_CRASHED, "killed")


def make_engine(
    *,
    capacity: int = 10,
    bounds: StatusBounds | None = None,
    lanes: dict[str, int] | None = None,
    run: int = 1,
) -> Engine:
    return Engine(
        queues={"default": capacity, "other": capacity},
        ids=IdIssuer(secret=b"0123456789abcdef", run=RUNS[run]),
        rng=Random(1),
        bounds=bounds,
        lanes=lanes,
    )


class Driver:
    """An engine and its clock, spoken to in a test's words."""

    def __init__(self, engine: Engine | None = None, **options: object) -> None:
        self.engine = engine if engine is not None else make_engine(**options)  # type: ignore[arg-type]
        self.now = 1000.0
        self.facts: list[Event] = []

    def submit(self, args: bytes = b"{}", **spec: object) -> Job:
        job = self.engine.submit(JobSpec(type="t", **spec), args, None, now=self.now)  # type: ignore[arg-type]
        self.note_facts()
        return job

    def lease(self, job: Job) -> int:
        lease = self.engine.lease(job.id, now=self.now)
        self.note_facts()
        assert lease is not None
        return lease.attempt

    def try_lease(self, job: Job) -> bool:
        leased = self.engine.lease(job.id, now=self.now) is not None
        self.note_facts()
        return leased

    def ack(self, job: Job, attempt: int = 1, success: Success = OK) -> None:
        self.engine.ack(job.id, attempt=attempt, success=success, now=self.now)
        self.note_facts()

    def nack(self, job: Job, attempt: int = 1, failure: Failure = FAILED) -> None:
        self.engine.nack(job.id, attempt=attempt, failure=failure, now=self.now)
        self.note_facts()

    def cancel(self, job: Job) -> None:
        self.engine.cancel(job.id, now=self.now)
        self.note_facts()

    def done(self, **spec: object) -> Job:
        """Submit a job and let it succeed at once."""
        job = self.submit(**spec)  # type: ignore[arg-type]
        self.ack(job, self.lease(job))
        return job

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
        self.note_facts()
        return next_at

    def note_facts(self) -> None:
        """Keep what the engine reports, each fact whole."""
        for fact in self.engine.take_facts():
            for job in fact.jobs if isinstance(fact, Evicted) else (fact.job,):
                assert isinstance(job, Job)
            if isinstance(fact, (StopRequested, LeaseLost)):
                assert fact.attempt == fact.job.attempt
            self.facts.append(fact)

    def of(self, kind: type) -> list[Event]:
        return [fact for fact in self.facts if isinstance(fact, kind)]
