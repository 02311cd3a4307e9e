"""The engine against a model of plain dicts, driven by random operations at random times."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, precondition, rule

from jobqueue.core.engine import LEASE_GRACE_S
from jobqueue.core.job import LIVE, ErrorCode, Failure, JobState, StopReason, Success
from jobqueue.core.statuses import DRAWER_S, StatusBounds
from jobqueue.errors import JobGone, QueueFull, StaleLease, StatusesFull, WrongState
from tests.core.making import Driver

CAPACITY = 5
BOUNDS = StatusBounds(jobs_max=8, bytes_max=400, ttl_s=7.0, failed_ttl_s=13.0)
LANES = {"process": 2}


@dataclass
class Modelled:
    """What the model knows of one job."""

    state: str
    created_at: float
    args_bytes: int
    spec: dict[str, object]
    attempt: int = 0
    started_at: float = 0.0
    stopped_at: float | None = None
    stop: str | None = None
    finished_at: float | None = None
    result_bytes: int = 0
    attempts_seen: list[int] = field(default_factory=list)


class EngineMachine(RuleBasedStateMachine):
    jobs: Bundle[str] = Bundle("jobs")

    def __init__(self) -> None:
        super().__init__()
        self.driver = Driver(capacity=CAPACITY, bounds=BOUNDS, lanes=LANES)
        self.model: dict[str, Modelled] = {}
        self.gone: set[str] = set()

    # -- the rules

    @rule(
        target=jobs,
        args=st.integers(2, 120),
        delay_s=st.sampled_from([0.0, 0.0, 2.0, 9.0]),
        start_by_s=st.sampled_from([None, None, 3.0, 12.0]),
        timeout_s=st.sampled_from([None, 1.5, 4.0]),
        attempts_max=st.integers(1, 3),
        lane=st.sampled_from([None, None, "process"]),
        ttl_s=st.sampled_from([None, None, 2.0]),
    )
    def submit(self, args: int, **spec: object) -> str:
        live = [m for m in self.model.values() if m.state in LIVE]
        fits = len(live) < BOUNDS.jobs_max and sum(m.args_bytes for m in live) + args <= BOUNDS.bytes_max
        if len(live) >= CAPACITY:
            with pytest.raises(QueueFull):
                self.driver.submit(args=b"x" * args, **spec)
            return ""
        if not fits:
            with pytest.raises(StatusesFull):
                self.driver.submit(args=b"x" * args, **spec)
            return ""
        job = self.driver.submit(args=b"x" * args, **spec)
        self.model[job.id] = Modelled(job.state, self.driver.now, args, spec)
        assert job.state == ("delayed" if spec["delay_s"] else "queued")
        self.forget_evicted()
        return job.id

    @rule(job_id=jobs)
    def lease(self, job_id: str) -> None:
        known = self.model.get(job_id)
        if known is None:
            return
        lease = self.driver.engine.lease(job_id, now=self.driver.now)  # type: ignore[arg-type]
        if lease is not None:
            assert known.state == "queued"
            assert lease.attempt == known.attempt + 1
            assert lease.attempt not in known.attempts_seen
            known.attempts_seen.append(lease.attempt)
            known.state, known.attempt, known.started_at = "running", lease.attempt, self.driver.now
            known.stop = known.stopped_at = None
        else:
            in_lane = [m for m in self.model.values() if m.state == "running" and m.spec["lane"]]
            assert known.state != "queued" or (known.spec["lane"] and len(in_lane) <= LANES["process"])

    @rule(job_id=jobs, size=st.integers(1, 200), late=st.booleans())
    def ack(self, job_id: str, size: int, late: bool) -> None:
        known = self.model.get(job_id)
        if known is None:
            return
        attempt = known.attempt - 1 if late else known.attempt
        engine, now = self.driver.engine, self.driver.now
        success = Success(b"r" * size)
        if known.state != "running" or late:
            with pytest.raises(StaleLease):
                engine.ack(job_id, attempt=attempt, success=success, now=now)  # type: ignore[arg-type]
            return
        engine.ack(job_id, attempt=attempt, success=success, now=now)  # type: ignore[arg-type]
        live_bytes = sum(m.args_bytes for i, m in self.model.items() if m.state in LIVE and i != job_id)
        if known.stop == "timed_out":
            self.failed(known, final=False)
        elif live_bytes + size > BOUNDS.bytes_max:
            self.failed(known, final=True)
        else:
            self.over(known, "succeeded", size)
        self.forget_evicted()

    @rule(job_id=jobs, code=st.sampled_from(["handler_error", "worker_crashed"]), final=st.booleans())
    def nack(self, job_id: str, code: str, final: bool) -> None:
        known = self.model.get(job_id)
        if known is None:
            return
        failure = Failure(ErrorCode(code), "no", final=final, retry_after_s=1.0)
        engine, now = self.driver.engine, self.driver.now
        if known.state != "running":
            with pytest.raises(StaleLease):
                engine.nack(job_id, attempt=known.attempt, failure=failure, now=now)  # type: ignore[arg-type]
            return
        engine.nack(job_id, attempt=known.attempt, failure=failure, now=now)  # type: ignore[arg-type]
        if known.stop == "cancelled":
            self.over(known, "cancelled")
        elif known.stop == "timed_out":
            self.failed(known, final=False)
        elif code == "worker_crashed" and not final and known.attempt < known.spec["attempts_max"]:  # type: ignore[operator]
            known.state = "queued"
        else:
            self.failed(known, final=final)

    @rule(job_id=jobs)
    def cancel(self, job_id: str) -> None:
        known = self.model.get(job_id)
        if known is None:
            return
        engine, now = self.driver.engine, self.driver.now
        if known.state not in LIVE:
            with pytest.raises(WrongState):
                engine.cancel(job_id, now=now)
        elif known.state == "running":
            job = engine.cancel(job_id, now=now)
            if known.stop is None:
                known.stop, known.stopped_at = "cancelled", now
            assert job.stopping is not None
            assert job.stopping in (StopReason.CANCELLED, StopReason.TIMED_OUT)
        else:
            engine.cancel(job_id, now=now)
            self.over(known, "cancelled")

    @rule(job_id=jobs)
    def delete(self, job_id: str) -> None:
        known = self.model.get(job_id)
        if known is None:
            return
        if known.state in LIVE:
            with pytest.raises(WrongState):
                self.driver.engine.delete(job_id)
        else:
            self.driver.engine.delete(job_id)
            self.gone.add(job_id)
            del self.model[job_id]

    @precondition(lambda self: self.model)
    @rule(seconds=st.sampled_from([0.25, 0.5, 1.0, 3.0, 10.0]))
    def advance(self, seconds: float) -> None:
        for _ in range(round(seconds * 4)):  # so finely that a job can't both end and be evicted unseen
            self.driver.advance(0.25)
            self.live_through_time()
            self.forget_evicted()

    # -- what the model does

    def over(self, known: Modelled, state: str, result_bytes: int = 0) -> None:
        known.state, known.finished_at, known.result_bytes = state, self.driver.now, result_bytes
        known.args_bytes = 0

    def failed(self, known: Modelled, *, final: bool) -> None:
        if final or known.attempt >= known.spec["attempts_max"]:  # type: ignore[operator]
            self.over(known, "failed")
        else:
            known.state = "delayed"

    def live_through_time(self) -> None:
        """Take over what time did, once it is seen to be allowed at this instant."""
        now = self.driver.now
        for job_id, known in self.model.items():
            job = self.driver.engine.statuses.get(job_id)
            if job is None or job.state == known.state:
                if job is not None:
                    self.check_not_overdue(known, job.run_at)
                    if known.stop is None and job.stopping is StopReason.TIMED_OUT:
                        assert now >= known.started_at + known.spec["timeout_s"]  # type: ignore[operator]
                        known.stop, known.stopped_at = "timed_out", known.started_at + known.spec["timeout_s"]  # type: ignore[operator]
                continue
            if job.state is JobState.EXPIRED:
                assert now >= known.created_at + known.spec["start_by_s"]  # type: ignore[operator]
                assert known.attempt == 0
            elif known.state == "delayed":
                assert job.state is JobState.QUEUED
                assert now >= job.run_at
            elif known.state == "running":
                assert job.state in (JobState.FAILED, JobState.CANCELLED, JobState.DELAYED, JobState.QUEUED)
                assert known.stop == "cancelled" or now >= known.started_at + known.spec["timeout_s"] + LEASE_GRACE_S  # type: ignore[operator]
            known.state = job.state
            if not job.live:
                known.finished_at, known.args_bytes = job.finished_at, 0

    def check_not_overdue(self, known: Modelled, run_at: float) -> None:
        now = self.driver.now
        if known.state == "delayed":
            assert now < run_at
        if known.state in ("delayed", "queued") and known.attempt == 0 and known.spec["start_by_s"] is not None:
            assert now < known.created_at + known.spec["start_by_s"]  # type: ignore[operator]
        if known.state == "running" and known.stopped_at is not None:
            assert now < known.stopped_at + LEASE_GRACE_S

    def ttl_s(self, known: Modelled) -> float:
        if known.spec["ttl_s"] is not None:
            return float(known.spec["ttl_s"])  # type: ignore[arg-type]
        return BOUNDS.failed_ttl_s if known.state == "failed" else BOUNDS.ttl_s

    def forget_evicted(self) -> None:
        now = self.driver.now
        for job_id, known in list(self.model.items()):
            if self.driver.engine.statuses.get(job_id) is None:
                assert known.state not in LIVE, "a live record is never evicted"
                self.gone.add(job_id)
                del self.model[job_id]
            elif known.finished_at is not None:
                assert now < known.finished_at + self.ttl_s(known) + 2 * DRAWER_S

    # -- what must hold at every step

    @invariant()
    def every_record_is_as_the_model_says(self) -> None:
        for job_id, known in self.model.items():
            job = self.driver.engine.statuses.get(job_id)
            if job is None:
                assert known.state not in LIVE
                continue
            assert job.state == known.state or (known.state == "queued" and job.state == "expired")
            assert job.attempt == known.attempt <= job.spec.attempts_max

    @invariant()
    def what_is_gone_says_so(self) -> None:
        for job_id in self.gone:
            with pytest.raises(JobGone):
                self.driver.engine.get(job_id)

    @invariant()
    def nothing_is_lost_and_no_bound_is_broken(self) -> None:
        engine = self.driver.engine
        statuses, totals = engine.statuses, engine.totals()
        assert totals.accepted == statuses.live + statuses.terminal + totals.evicted
        assert len(statuses) <= BOUNDS.jobs_max
        assert statuses.bytes_used <= BOUNDS.bytes_max
        held = [job for job in engine.newest_first(None)]
        assert len(held) == len(statuses)
        assert statuses.live == sum(job.live for job in held) == sum(q.live for q in engine.ledgers.values())
        assert statuses.live_bytes == sum(len(job.args) for job in held)
        assert statuses.bytes_used == sum(len(job.args) + len(job.result or b"") for job in held)
        assert all(q.live <= CAPACITY for q in engine.ledgers.values())
        running_in_lane = [job for job in held if job.state is JobState.RUNNING and job.spec.lane]
        assert len(running_in_lane) <= LANES["process"]

    @invariant()
    def every_live_job_that_time_can_move_has_a_deadline(self) -> None:
        for job in self.driver.engine.newest_first(None):
            if job.state is JobState.DELAYED or (job.stopping is not None and job.state is JobState.RUNNING):
                assert job.id in self.driver.engine._deadlines


EngineMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
TestEngineAgainstItsModel = EngineMachine.TestCase
