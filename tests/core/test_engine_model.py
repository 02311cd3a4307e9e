"""The engine against a model of plain dicts, driven by random operations at random times.

`Modelled.spec` has values of any type, so arithmetic with them ignores their types.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from jobqueue.core.attempts import HISTORY_MAX
from jobqueue.core.events import Ended, Evicted, Ready
from jobqueue.core.job import LIVE, Job, JobState, StopReason, UniqueMode
from jobqueue.core.job_store import EXPIRY_BUCKET_S
from jobqueue.core.policy import Discipline, Limits, QueuePolicy
from jobqueue.core.record_size import EXTRAS_BYTES, key_bytes
from jobqueue.core.report import ATTEMPT_BYTES, ErrorCode, Failure, Success
from jobqueue.core.store_bounds import StoreBounds
from jobqueue.core.submit import SubmitResult
from jobqueue.core.transitions import LEASE_GRACE_S
from jobqueue.errors import (
    Duplicate,
    JobGone,
    KeyReused,
    QueueFull,
    RateLimited,
    StaleLease,
    StatusesFull,
    WrongState,
)
from tests.core.making import Driver

PATIENCE_S = 5.0
# The first queue stays FIFO, so its next job is known exactly.
QUEUES = {
    "default": QueuePolicy(capacity=5, workers=3, retry_budget=0),
    "other": QueuePolicy(capacity=3, workers=2, retry_budget=0, weight=2),
}
BOUNDS = StoreBounds(jobs_max=8, failed_max=2, bytes_max=4500, ttl_s=7.0, failed_ttl_s=13.0)
POOLS = {"process": 2}
CALLER_JOBS_MAX = 3
KINDS: dict[str, dict[str, object]] = {
    "plain": {},
    "pooled": {"pool": "process"},
    "single": {"limits": Limits(concurrency=1)},
    "grouped": {"pool": "process", "limits": Limits(concurrency=2, group_concurrency=1)},
}
WAITING = ("delayed", "queued")
FOR_ACTION = {
    "cancel": (*WAITING, "running"),
    "delete": ("succeeded", "failed", "cancelled", "expired"),
    "retry": ("failed",),
    "run_now": ("delayed",),
}


@dataclass
class Modelled:
    """The model's state of one job."""

    state: str
    kind: str
    queue: str
    args_bytes: int
    spec: dict[str, object]
    run_at: float
    start_by_at: float | None
    caller: str | None
    key: str | None
    fingerprint: bytes
    unique: str | None
    queued_at: float = 0.0
    in_front: bool = False
    attempt: int = 0
    attempts_before: int = 0
    started_at: float = 0.0
    stopped_at: float | None = None
    stop: str | None = None
    finished_at: float | None = None
    result_bytes: int = 0
    held: int = 0
    history: list[int] = field(default_factory=list)
    attempts_seen: list[int] = field(default_factory=list)

    @property
    def live(self) -> bool:
        return self.state in LIVE

    @property
    def size_bytes(self) -> int:
        return self.args_bytes + self.result_bytes + self.held + sum(self.history)

    @property
    def key_bytes(self) -> int:
        return 0 if self.key is None else key_bytes(self.key)

    @property
    def attempts_left(self) -> bool:
        return self.attempt < self.attempts_before + self.spec["attempts_max"]  # type: ignore[operator]  # a value of any type


PICK = st.integers(0, 999)


class EngineMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.driver = Driver(queues=QUEUES, bounds=BOUNDS, pools=POOLS, caller_jobs_max=CALLER_JOBS_MAX)
        self.policies = dict(QUEUES)
        self.paused: set[str] = set()
        self.model: dict[str, Modelled] = {}
        self.keys: dict[tuple[str | None, str], tuple[str, bytes]] = {}
        self.values: dict[tuple[str, str], str] = {}
        self.gone: set[str] = set()
        self.ended: set[str] = set()

    def pick(self, number: int, *states: str) -> str:
        """Choose a job, mostly one in these states, sometimes any other."""
        fit = [job_id for job_id, known in self.model.items() if known.state in states]
        found = fit if fit and number % 8 != 7 else list(self.model)
        return found[number // 8 % len(found)]

    # -- rules of clients

    @rule(
        args=st.sampled_from([2, 30, 700]),
        kind=st.sampled_from(["plain", "single", "pooled", "grouped", "plain"]),
        queue=st.sampled_from(["default", "default", "other"]),
        group=st.sampled_from([None, "g", "h"]),
        priority=st.integers(0, 9),
        delay_s=st.sampled_from([0.0, 0.0, 0.0, 2.0, 9.0]),
        start_by_s=st.sampled_from([None, None, 3.0, 12.0]),
        timeout_s=st.sampled_from([None, 1.5, 4.0]),
        attempts_max=st.integers(1, 3),
        ttl_s=st.sampled_from([None, None, 2.0]),
        caller=st.sampled_from([None, "ann", "bob"]),
        key=st.sampled_from([None, None, None, "k", "l"]),
        unique=st.sampled_from([None, None, "u", "v"]),
        mode=st.sampled_from(["return", "reject", "replace", "debounce"]),
    )
    def submit(self, **options: object) -> None:
        self.submit_one(**options)  # type: ignore[arg-type]  # the strategy draws what it takes

    def submit_one(
        self,
        args: int,
        kind: str,
        queue: str,
        caller: str | None,
        key: str | None,
        unique: str | None,
        mode: UniqueMode,
        **spec: object,
    ) -> None:
        new = Modelled(
            state="delayed" if spec["delay_s"] else "queued",
            kind=kind,
            queue=queue,
            args_bytes=args,
            spec=spec,
            run_at=self.driver.now + spec["delay_s"],  # type: ignore[operator]  # of any type
            start_by_at=self.start_by_at(queue, spec),
            caller=caller,
            key=key,
            fingerprint=b"x" * args,
            unique=unique,
            queued_at=self.driver.now,
        )
        for name in (key, unique):
            new.held += 0 if name is None else key_bytes(name)
        new.held += EXTRAS_BYTES if new.held else 0
        if key is not None and (caller, key) in self.keys:
            same, fingerprint = self.keys[caller, key]
            if fingerprint == new.fingerprint:
                self.admitted(new, mode, same)
            else:
                self.refused(new, mode, KeyReused)
        elif unique is not None and (kind, unique) in self.values:
            self.submit_beside(self.values[kind, unique], new, mode)
        else:
            self.submit_new(new, mode, replaced=None)

    @precondition(lambda self: self.values)
    @rule(
        number=PICK,
        args=st.sampled_from([2, 700]),
        queue=st.sampled_from(["default", "default", "other"]),
        delay_s=st.sampled_from([0.0, 2.0]),
        caller=st.sampled_from([None, "ann"]),
        key=st.sampled_from([None, "k"]),
        mode=st.sampled_from(["return", "replace", "debounce"]),
    )
    def submit_again(self, number: int, **options: object) -> None:
        """Submit a job with the unique value of a live one."""
        kind, unique = list(self.values)[number % len(self.values)]
        spec = {"group": "g", "priority": 5, "start_by_s": None, "timeout_s": 1.5, "attempts_max": 2, "ttl_s": None}
        self.submit_one(kind=kind, unique=unique, **spec, **options)  # type: ignore[arg-type]  # of any type

    def submit_beside(self, holder_id: str, new: Modelled, mode: UniqueMode) -> None:
        holder = self.model[holder_id]
        waits = holder.state in WAITING
        if mode == "return" and self.live_bytes() + new.key_bytes > BOUNDS.bytes_max:
            self.refused(new, mode, StatusesFull)
        elif mode == "return":
            self.share_key(new, holder_id)
            self.admitted(new, mode, holder_id)
            self.drop_evicted()
        elif mode == "reject":
            self.refused(new, mode, Duplicate)
        elif mode == "debounce" and waits and holder.queue == new.queue:
            self.debounce(holder_id, holder, new)
        else:
            accepted = self.submit_new(new, mode, replaced=holder if waits else None)
            if accepted and mode == "replace" and holder.state == "running" and holder.stop is None:
                holder.stop, holder.stopped_at = "cancelled", self.driver.now

    def debounce(self, holder_id: str, holder: Modelled, new: Modelled) -> None:
        if self.live_bytes() - holder.args_bytes + new.args_bytes + new.key_bytes > BOUNDS.bytes_max:
            self.refused(new, "debounce", StatusesFull)
            return
        holder.args_bytes = new.args_bytes
        if holder.state == "delayed" and holder.attempt == 0:
            holder.spec, holder.run_at, holder.start_by_at = new.spec, new.run_at, new.start_by_at
        self.share_key(new, holder_id)
        self.admitted(new, "debounce", holder_id)
        self.drop_evicted()

    def share_key(self, new: Modelled, holder_id: str) -> None:
        if new.key is not None:
            self.keys[new.caller, new.key] = (holder_id, new.fingerprint)
            self.model[holder_id].held += key_bytes(new.key)

    def submit_new(self, new: Modelled, mode: UniqueMode, *, replaced: Modelled | None) -> bool:
        refusal = self.refusal(new.queue, new.size_bytes, new.caller, replaced)
        if refusal is not None:
            self.refused(new, mode, refusal)
            return False
        job_id = self.admitted(new, mode, None)
        if replaced is not None:
            self.end(replaced, "cancelled")
        self.model[job_id] = new
        if new.key is not None:
            self.keys[new.caller, new.key] = (job_id, new.fingerprint)
        if new.unique is not None:
            self.values[new.kind, new.unique] = job_id
        self.drop_evicted()
        return True

    def admit(self, new: Modelled, mode: UniqueMode) -> SubmitResult:
        uniqueness = {"caller": new.caller, "key": new.key, "unique": new.unique, "mode": mode}
        spec = {"type": new.kind, "queue": new.queue, **KINDS[new.kind], **new.spec}
        return self.driver.admit(new.fingerprint, **uniqueness, **spec)  # type: ignore[arg-type]  # of any type

    def admitted(self, new: Modelled, mode: UniqueMode, same: str | None) -> str:
        """Submit a job and check that the result is the existing job `same`, or, if None, a new one."""
        submitted = self.admit(new, mode)
        assert submitted.duplicate == (same is not None)
        assert submitted.job.id == same or submitted.job.id not in self.model
        return submitted.job.id

    def refused(self, new: Modelled, mode: UniqueMode, error: type[Exception]) -> None:
        with pytest.raises(error):
            self.admit(new, mode)

    @precondition(lambda self: self.model)
    @rule(number=PICK, action=st.sampled_from(["retry", "cancel", "run_now", "delete", "retry"]))
    def act(self, number: int, action: str) -> None:
        job_id = self.pick(number, *FOR_ACTION[action])
        getattr(self, action)(job_id, self.model[job_id])

    def cancel(self, job_id: str, known: Modelled) -> None:
        job, now = self.driver.engine.get(job_id), self.driver.now
        if not known.live:
            with pytest.raises(WrongState):
                self.driver.cancel(job)
        elif known.state == "running":
            self.driver.cancel(job)
            if known.stop is None:
                known.stop, known.stopped_at = "cancelled", now
            assert job.stopping in (StopReason.CANCELLED, StopReason.TIMED_OUT)
        else:
            self.driver.cancel(job)
            self.end(known, "cancelled")

    def delete(self, job_id: str, known: Modelled) -> None:
        if known.live:
            with pytest.raises(WrongState):
                self.driver.engine.delete(job_id)
        else:
            self.driver.engine.delete(job_id)
            self.driver.note_events()
            self.drop(job_id)

    def retry(self, job_id: str, known: Modelled) -> None:
        job, value = self.driver.engine.get(job_id), (known.kind, known.unique or "")
        expect: type[Exception] | None = None
        if known.state != "failed" or (known.unique is not None and value in self.values):
            expect = WrongState
        else:
            expect = self.refusal(known.queue, known.size_bytes, known.caller, None)
        if expect is not None:
            with pytest.raises(expect):
                self.driver.retry(job)
            return
        self.driver.retry(job)
        known.state, known.attempts_before = "queued", known.attempt
        known.run_at = known.queued_at = self.driver.now
        known.in_front = False
        known.stop = known.stopped_at = known.finished_at = None
        if known.unique is not None:
            self.values[value] = job_id

    def run_now(self, job_id: str, known: Modelled) -> None:
        job = self.driver.engine.get(job_id)
        if known.state != "delayed":
            with pytest.raises(WrongState):
                self.driver.run_now(job)
            return
        self.driver.run_now(job)
        known.state, known.run_at, known.queued_at, known.in_front = "queued", job.run_at, self.driver.now, False
        assert job.run_at == self.driver.now

    # -- rules of workers

    def start(self, count: int) -> None:
        for _ in range(count):
            job = self.driver.start_next()
            if job is None:
                for job_id, known in self.model.items():
                    assert known.state != "queued" or not self.may_start(known), f"{job_id} may start but is not ready"
                return
            self.started(self.model[job.id], job)

    def started(self, known: Modelled, job: Job) -> None:
        assert known.state == "queued"
        assert self.may_start(known), "a permit was missing"
        if (known.queue, known.kind) == ("default", "plain") and not known.in_front:
            for other in self.model.values():
                if (other.state, other.queue, other.kind) == ("queued", "default", "plain"):
                    assert not other.in_front
                    assert other.queued_at >= known.queued_at, "first in, first out"
        assert job.attempt == known.attempt + 1
        assert job.attempt not in known.attempts_seen
        known.attempts_seen.append(job.attempt)
        known.state, known.attempt, known.started_at = "running", job.attempt, self.driver.now
        known.stop = known.stopped_at = None

    @precondition(lambda self: self.model)
    @rule(number=PICK, starts=st.sampled_from([1, 2, 0]), size=st.sampled_from([1, 200, 900]), late=st.integers(0, 4))
    def ack(self, number: int, starts: int, size: int, late: int) -> None:
        self.start(starts)
        job_id = self.pick(number, "running")
        known = self.model[job_id]
        job, success = self.driver.engine.get(job_id), Success(b"r" * size)
        if known.state != "running" or late == 1:
            with pytest.raises(StaleLease):
                self.driver.ack(job, known.attempt - late % 2, success)
            return
        before = self.live_bytes()
        self.driver.ack(job, success=success)
        if known.stop == "timed_out":
            self.failed(known, job, final=False)
        elif before - known.args_bytes + size > BOUNDS.bytes_max:
            self.failed(known, job, final=True)
        else:
            self.end(known, "succeeded", size)
        self.drop_evicted()

    @precondition(lambda self: self.model)
    @rule(
        number=PICK,
        starts=st.sampled_from([1, 2, 0]),
        code=st.sampled_from(["handler_error", "worker_crashed"]),
        final=st.booleans(),
    )
    def nack(self, number: int, starts: int, code: str, final: bool) -> None:
        self.start(starts)
        job_id = self.pick(number, "running")
        known = self.model[job_id]
        job = self.driver.engine.get(job_id)
        failure = Failure(ErrorCode(code), "no", final=final, retry_after_s=1.0, traceback="tb")
        if known.state != "running":
            with pytest.raises(StaleLease):
                self.driver.nack(job, known.attempt, failure)
            return
        self.driver.nack(job, failure=failure)
        if known.stop == "cancelled":
            self.end(known, "cancelled")
        elif known.stop == "timed_out":
            self.failed(known, job, final=False)
        else:
            room = self.live_bytes() + ATTEMPT_BYTES + 4 <= BOUNDS.bytes_max
            if room or len(known.history) == HISTORY_MAX:
                known.history = [*known.history, ATTEMPT_BYTES + 4][-HISTORY_MAX:]
            if code == "worker_crashed" and not final and known.attempts_left:
                known.state, known.in_front = "queued", True
            else:
                self.failed(known, job, final=final)
        self.drop_evicted()

    # -- rules of operators

    @rule(queue=st.sampled_from(["default", "other"]), paused=st.booleans())
    def pause(self, queue: str, paused: bool) -> None:
        pauses = self.driver.engine.pauses
        if paused:
            pauses.begin(queue, now=self.driver.now)
        else:
            pauses.end(queue)
        (self.paused.add if paused else self.paused.discard)(queue)

    @rule(discipline=st.sampled_from(Discipline), capacity=st.integers(1, 4), workers=st.integers(1, 3))
    def change_queue(self, discipline: Discipline, capacity: int, workers: int) -> None:
        self.policies["other"] = QueuePolicy(
            discipline=discipline, capacity=capacity, workers=workers, patience_s=PATIENCE_S, retry_budget=0
        )
        self.driver.engine.set_policy("other", self.policies["other"], now=self.driver.now)
        self.driver.note_events()

    @precondition(lambda self: self.model)
    @rule(seconds=st.sampled_from([0.25, 0.5, 1.0, 3.0, 10.0]))
    def advance(self, seconds: float) -> None:
        for _ in range(round(seconds * 4)):  # small steps: no job can end and be evicted within one
            self.driver.advance(0.25)
            self.apply_time()
            self.drop_evicted()

    # -- the model

    def live_bytes(self) -> int:
        return sum(known.size_bytes for known in self.model.values() if known.live)

    def start_by_at(self, queue: str, spec: dict[str, object]) -> float | None:
        now = self.driver.now
        if spec["start_by_s"] is not None:
            return now + spec["start_by_s"]  # type: ignore[operator]  # of any type
        if self.policies[queue].discipline is Discipline.ADAPTIVE:
            return now + spec["delay_s"] + PATIENCE_S  # type: ignore[operator]  # of any type
        return None

    def refusal(
        self, queue: str, size_bytes: int, caller: str | None, replaced: Modelled | None
    ) -> type[Exception] | None:
        """Return the error that rejects a job of that size, once `replaced` has ended."""
        live = [known for known in self.model.values() if known.live and known is not replaced]
        if sum(known.queue == queue for known in live) >= self.policies[queue].capacity:
            return QueueFull
        if len(live) >= BOUNDS.jobs_max or sum(known.size_bytes for known in live) + size_bytes > BOUNDS.bytes_max:
            return StatusesFull
        if caller is not None and sum(known.caller == caller for known in live) >= CALLER_JOBS_MAX:
            return RateLimited
        return None

    def may_start(self, known: Modelled) -> bool:
        """Return whether all limits permit one more run of this job."""
        running = [other for other in self.model.values() if other.state == "running"]
        if known.queue in self.paused:
            return False
        if sum(other.queue == known.queue for other in running) >= self.policies[known.queue].workers:
            return False
        of_kind = [other for other in running if other.kind == known.kind]
        in_pool = sum("pool" in KINDS[other.kind] for other in running)
        if "pool" in KINDS[known.kind] and in_pool >= POOLS["process"]:
            return False
        if known.kind == "single":
            return not of_kind
        if known.kind == "grouped":
            group = known.spec["group"]
            return len(of_kind) < 2 and (group is None or all(other.spec["group"] != group for other in of_kind))
        return True

    def end(self, known: Modelled, state: str, result_bytes: int = 0) -> None:
        known.state, known.finished_at, known.result_bytes = state, self.driver.now, result_bytes
        if state != "failed":
            known.args_bytes = 0
        self.release_value(known)

    def release_value(self, known: Modelled) -> None:
        value = (known.kind, known.unique or "")
        if value in self.values and self.model[self.values[value]] is known:
            del self.values[value]

    def failed(self, known: Modelled, job: Job, *, final: bool) -> None:
        if known.stop == "timed_out" or job.history is not None:
            known.history = [failed.size_bytes for failed in job.history or ()]
        if final or not known.attempts_left:
            self.end(known, "failed")
        else:
            known.state, known.run_at, known.in_front = "delayed", job.run_at, False
            assert self.driver.now <= job.run_at <= self.driver.now + 4.0

    def apply_time(self) -> None:
        """Apply to the model what deadlines did to the engine, checking that each was due."""
        now = self.driver.now
        for job_id, known in self.model.items():
            job = self.driver.engine.store.get(job_id)
            if job is None or job.state == known.state:
                if job is not None:
                    self.check_not_overdue(known)
                    if known.stop is None and job.stopping is StopReason.TIMED_OUT:
                        assert now >= known.started_at + known.spec["timeout_s"]  # type: ignore[operator]  # of any type
                        known.stop, known.stopped_at = "timed_out", known.started_at + known.spec["timeout_s"]  # type: ignore[operator]  # of any type
                continue
            if job.state is JobState.EXPIRED:
                assert known.start_by_at is not None
                assert now >= known.start_by_at
                assert known.attempt == 0
            elif known.state == "delayed":
                assert job.state is JobState.QUEUED
                assert now >= known.run_at
                known.queued_at, known.in_front = known.run_at, False
            elif known.state == "running":
                assert job.state in (JobState.FAILED, JobState.CANCELLED, JobState.DELAYED, JobState.QUEUED)
                assert known.stop == "cancelled" or now >= known.started_at + known.spec["timeout_s"] + LEASE_GRACE_S  # type: ignore[operator]  # of any type
                known.history = [failed.size_bytes for failed in job.history or ()]
                known.run_at, known.queued_at, known.in_front = job.run_at, job.run_at, False
            known.state = job.state
            if not job.live:
                known.finished_at = job.finished_at
                if job.state is not JobState.FAILED:
                    known.args_bytes = 0
                self.release_value(known)

    def check_not_overdue(self, known: Modelled) -> None:
        now = self.driver.now
        if known.state == "delayed":
            assert now < known.run_at
        if known.state in WAITING and known.attempt == 0 and known.start_by_at is not None:
            assert now < known.start_by_at
        if known.state == "running" and known.stopped_at is not None:
            assert now < known.stopped_at + LEASE_GRACE_S

    def ttl_s(self, known: Modelled) -> float:
        if known.spec["ttl_s"] is not None:
            return float(known.spec["ttl_s"])  # type: ignore[arg-type]  # of any type
        return BOUNDS.failed_ttl_s if known.state == "failed" else BOUNDS.ttl_s

    def drop_evicted(self) -> None:
        self.check_evictions()
        now = self.driver.now
        for job_id, known in list(self.model.items()):
            if self.driver.engine.store.get(job_id) is None:
                assert not known.live or job_id in self.ended, "a live record was evicted"
                self.drop(job_id)
            elif known.finished_at is not None:
                assert now < known.finished_at + self.ttl_s(known) + 2 * EXPIRY_BUCKET_S

    def check_evictions(self) -> None:
        for event in self.driver.events:
            match event:
                case Ended(job=job):
                    self.ended.add(job.id)
                case Ready(job=job):
                    self.ended.discard(job.id)
                case Evicted(jobs=jobs):
                    assert {job.id for job in jobs} <= self.ended, "a live record is never evicted"
        self.driver.events.clear()

    def drop(self, job_id: str) -> None:
        self.release_value(self.model[job_id])
        del self.model[job_id]
        self.gone.add(job_id)
        self.keys = {name: held for name, held in self.keys.items() if held[0] != job_id}

    # -- invariants

    @invariant()
    def every_record_matches_the_model(self) -> None:
        for job_id, known in self.model.items():
            job = self.driver.engine.store.get(job_id)
            assert job is not None
            assert job.state == known.state
            assert job.attempt == known.attempt <= known.attempts_before + job.spec.attempts_max
            assert job.size_bytes == known.size_bytes
            if job.live:
                assert (job.run_at, job.start_by_at) == (known.run_at, known.start_by_at)

    @invariant()
    def deleted_and_evicted_jobs_are_gone(self) -> None:
        for job_id in self.gone:
            with pytest.raises(JobGone):
                self.driver.engine.get(job_id)

    @invariant()
    def counts_add_up_and_bounds_hold(self) -> None:
        engine = self.driver.engine
        store, totals = engine.store, engine.totals()
        assert totals.accepted == store.live + store.terminal + totals.evicted
        assert len(store) <= BOUNDS.jobs_max
        assert store.bytes_used <= BOUNDS.bytes_max
        held = list(engine.newest_first(None))
        assert len(held) == len(store) == len(self.model)
        assert store.live == sum(job.live for job in held) == sum(q.live for q in engine.queue_states.values())
        assert store.live_bytes == sum(job.size_bytes for job in held if job.live)
        assert store.bytes_used == sum(job.size_bytes for job in held)
        assert sum(job.state is JobState.FAILED for job in held) <= BOUNDS.failed_max

    @invariant()
    def every_queued_job_is_ready_or_at_a_limiter(self) -> None:
        engine = self.driver.engine
        ready: Counter[str] = Counter()
        for job in engine.newest_first(None):
            is_ready, waits = self.driver.is_ready(job), engine.limiters.waits(job)
            assert is_ready + waits == (job.state is JobState.QUEUED), f"ready: {is_ready}, at a limiter: {waits}"
            ready[job.spec.queue] += is_ready
        for name, queue_state in engine.queue_states.items():
            assert engine.scheduler.waiting(name) == ready[name]
            assert set(queue_state.waiting) == {
                job_id for job_id, known in self.model.items() if (known.queue, known.state) == (name, "queued")
            }
            assert queue_state.counts[JobState.RUNNING] == sum(
                (known.queue, known.state) == (name, "running") for known in self.model.values()
            )

    @invariant()
    def limiters_count_running_and_waiting_jobs(self) -> None:
        running = [known for known in self.model.values() if known.state == "running"]
        for limiter in self.driver.engine.limiters.stats():
            if limiter.kind == "pool":
                assert limiter.held == sum("pool" in KINDS[known.kind] for known in running)
            elif limiter.kind == "type":
                assert limiter.held == sum(known.kind == limiter.name for known in running)
            assert limiter.held <= (limiter.permits or len(running)) or limiter.kind == "groups"

    @invariant()
    def the_uniqueness_index_matches_the_model(self) -> None:
        uniqueness_index = self.driver.engine._transitions.uniqueness_index
        assert uniqueness_index._by_key == self.keys
        assert uniqueness_index._by_value == {(None, *name): job_id for name, job_id in self.values.items()}

    @invariant()
    def the_holdings_match_the_model(self) -> None:
        holdings = self.driver.engine.store.holdings
        live = Counter(known.caller for known in self.model.values() if known.live)
        for caller in (None, *holdings.by_caller, *live):
            assert holdings.live_of(caller)[0] == live[caller]

    @invariant()
    def delayed_and_stopping_jobs_have_deadlines(self) -> None:
        for job in self.driver.engine.newest_first(None):
            if job.state is JobState.DELAYED or (job.stopping is not None and job.state is JobState.RUNNING):
                assert job.id in self.driver.engine._transitions.deadlines

    # -- the end

    def teardown(self) -> None:
        """Run all jobs to their ends, and check that no state is left."""
        driver, engine = self.driver, self.driver.engine
        for name in self.policies:
            engine.pauses.end(name)
        for _ in range(200):
            while (job := driver.start_next()) is not None:
                assert job.state is JobState.RUNNING
            for job in list(engine.newest_first(None)):
                if job.state is JobState.RUNNING:
                    driver.ack(job)
            if not engine.store.live:
                break
            driver.advance(0.5)
        assert not engine.store.live, "a live job never runs"
        driver.advance(BOUNDS.failed_ttl_s + 1)
        totals, store, uniqueness_index = engine.totals(), engine.store, engine._transitions.uniqueness_index
        assert totals.accepted == totals.evicted
        assert (len(store), store.bytes_used, store.live_bytes) == (0, 0, 0)
        assert (uniqueness_index._by_key, uniqueness_index._by_value, len(store.holdings)) == ({}, {}, 0)
        assert all((limiter.held, limiter.waiting) == (0, 0) for limiter in engine.limiters.stats())
        assert not any(engine.scheduler.waiting(name) for name in engine.queue_states)
        assert not any(queue_state.waiting or queue_state.live for queue_state in engine.queue_states.values())
        assert len(engine._transitions.deadlines) == 0
        assert engine.next_at() is None


EngineMachine.TestCase.settings = settings(max_examples=100, stateful_step_count=80, deadline=None)
TestEngineAgainstItsModel = EngineMachine.TestCase
