"""The operations of a twin: each on the engine and on the store, with their answers compared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from jobqueue.backend.valkey.submissions import outcomes
from jobqueue.core.events import Requeued
from jobqueue.core.job import (
    DELAYED,
    FAILED,
    QUEUED,
    RUNNING,
    IdempotencyKey,
    Job,
    JobSpec,
    StopReason,
    Unique,
    Uniqueness,
)
from jobqueue.core.policy import Discipline, Limits
from jobqueue.core.quotas import Quota
from jobqueue.core.record_size import held_bytes
from jobqueue.core.report import ErrorCode, Failure, Progress, Success
from jobqueue.errors import (
    Duplicate,
    JobGone,
    JobNotFound,
    KeyReused,
    QueueFull,
    RateLimited,
    StaleLease,
    StatusesFull,
    WrongState,
)
from tests.backend.valkey.stored import stored
from tests.backend.valkey.twin import PROCESSES, STEP_MS, TTL_MS, Twin

if TYPE_CHECKING:
    from collections.abc import Callable


MODES: Final = ("return", "reject", "replace", "debounce")
CODES_OF: Final[dict[type[Exception], tuple[int, ...]]] = {
    QueueFull: (-1,),
    StatusesFull: (-2,),
    KeyReused: (-4,),
    RateLimited: (-5, -6, -7),
    Duplicate: (-8,),
}


class Operations(Twin):
    """A twin with the operations by name: `do_…`."""

    # -- operations

    def do_submit(self) -> str:
        spec, uniqueness, args = self.draw_submission()
        error: Exception | None = None
        result = None
        before = {job.id for job in self.engine.newest_first(None)}
        try:
            result = self.engine.submit(spec, args, None, uniqueness, now=self.now)
        except tuple(CODES_OF) as raised:
            error = raised
        new = result is not None and not result.duplicate
        job_id = result.job.id if result is not None and new else f"refused{self.operations:015d}"
        item = [job_id, held_bytes(spec, None, uniqueness), self.packed(spec), args, self.claims(uniqueness)]
        ((code, found, *_),) = outcomes(self.call("submit", spec.queue, 1, 1, *item))
        what = f"{job_id} {spec.type} to {spec.queue} p{spec.priority} delay {spec.delay_s} {uniqueness}: {code}"
        if error is not None:
            if code not in CODES_OF[type(error)]:
                self.fail(f"{what}, and the engine raised {error!r}")
        elif result is not None and result.duplicate:
            if code not in (3, 4) or found.decode() != result.job.id:
                self.fail(f"{what} of {found}, and the engine has the existing {result.job.id}")
        elif code != 1:
            self.fail(f"{what}, and the engine accepted it")
        elif result is not None:
            self.jobs[job_id] = result.job
            self.submitted.append([spec.queue, *item])
        del before
        return what

    def draw_submission(self) -> tuple[JobSpec, Uniqueness | None, bytes]:
        draw, config = self.random, self.config
        queue = draw.choice(list(config.queues))
        kind = draw.choice(list(config.limits))
        delay_s = draw.choice([0, 0, 0, 0.5, 2])
        spec = JobSpec(
            type=kind,
            queue=queue,
            priority=draw.randrange(10),
            delay_s=delay_s,
            start_by_s=draw.choice([None, None, 0.5, 3]) if config.start_by else None,
            attempts_max=draw.randrange(1, 4),
            limits=config.limits[kind],
            group=draw.choice(config.groups) if config.groups else None,
        )
        caller = draw.choice(config.callers)
        key = value = None
        if draw.random() < 0.2:
            key = IdempotencyKey(f"k{draw.randrange(6)}", draw.choice([b"f1", b"f2"]))
        if draw.random() < 0.3:
            value = Unique(f"v{draw.randrange(3)}", draw.choice(MODES))
        uniqueness = None
        owner = draw.choice(config.owners) if config.owners else None
        if caller or key or value or owner:
            uniqueness = Uniqueness(caller, value, key, plain=not (key or value), owner=owner)
        return spec, uniqueness, b"x" * draw.randrange(config.max_args)

    def packed(self, spec: JobSpec) -> bytes:
        limits = spec.limits or Limits()
        limited = 1 if limits.concurrency or limits.rate else 0
        if spec.group is not None and (limits.group_concurrency or limits.group_rate):
            limited = 2
        delay, start_by = round(spec.delay_s * 1000), spec.start_by_s
        return msgspec.msgpack.encode(
            [
                spec.type,
                "",
                limited,
                spec.priority,
                delay,
                None,
                None if start_by is None else round(start_by * 1000),
                None,
                spec.attempts_max,
                spec.group,
            ]
        )

    def claims(self, uniqueness: Uniqueness | None) -> bytes:
        if uniqueness is None:
            return b""
        key, unique = uniqueness.key, uniqueness.unique
        quota = self.config.quota if uniqueness.caller is not None else Quota()
        return msgspec.msgpack.encode(
            [
                uniqueness.caller,
                uniqueness.owner,
                None if key is None else key.key,
                None if key is None else key.fingerprint.hex(),
                None if unique is None else unique.value,
                None if unique is None else unique.mode,
                quota.jobs_max,
                quota.records_max,
                quota.bytes_max,
            ]
        )

    def do_resend(self) -> str:
        """A submission that was done is sent again."""
        if not self.submitted:
            return "nothing"
        queue, *item = self.random.choice(self.submitted)
        held = self.engine.find(str(item[0])) is not None
        if not held:
            return "gone"
        ((code, *_),) = outcomes(self.call("submit", queue, 1, 1, *item))
        if code != 2:
            self.fail(f"the resend of {item[0]!r} has the code {code}")
        return str(item[0])

    def do_lease(self) -> str:
        queue = self.random.choice(list(self.config.queues))
        number = self.operations
        process = self.random.choice(self.processes)
        reply = self.call("lease", process, number, 1, 1, "", 1, queue)
        if self.again() and self.call("lease", process, number, 1, 1, "", 1, queue)[4:] != reply[4:]:
            self.fail("the same lease again has other jobs")
        if len(reply) == 4:
            job = self.engine_takes(queue)
            if job is not None:
                self.fail(f"the store leases nothing of {queue}, and the engine {job.id}")
            return f"{queue}: nothing"
        job_id, record = reply[4].decode(), stored(reply[5])
        attempt = record["a"]
        self.holders[job_id] = process
        self.engine_leases(queue, job_id)
        job = self.engine.get(job_id)
        if attempt != job.attempt or record["A"] != job.args:
            self.fail(f"the store leases {job_id} with attempt {attempt}, and the engine with {job.attempt}")
        return f"{queue}: {job_id} {attempt}"

    def engine_takes(self, queue: str) -> Job | None:
        """Lease a queue's next job by the engine's own order; None: there is none."""
        scheduler = self.engine.scheduler
        while scheduler.waiting(queue) and scheduler.may_start(queue):
            job = scheduler._orders[queue].pop(self.now)
            if self.engine.lease(job, now=self.now) is not None:
                return job
        return None

    def engine_leases(self, queue: str, job_id: str) -> None:
        """Lease the job that the store has chosen; the engine must allow it, and choose it where its order is sure."""
        scheduler, engine = self.engine.scheduler, self.engine
        job = engine.get(job_id)
        if not scheduler.may_start(queue):
            self.fail(f"the store leases {job_id}, and the engine has no worker for {queue}")
        is_sure = not any(self.config.limits.values()) and not engine.quarantine.count
        if self.config.queues[queue].discipline is Discipline.FAIR and (is_sure or self.config.wide):
            self.take_turn(queue, job)
        elif is_sure:
            order, first = scheduler._orders[queue], None
            while first is None:
                if not len(order):
                    self.fail(f"the store leases {job_id}, and the engine has no job that may start")
                first = order.pop(self.now)
                if self.is_late(first):
                    engine.lease(first, now=self.now)  # it expires
                    first = None
            order.push(first, now=engine.queue_states[queue].waiting[first.id], front=True)
            # A returned job is the first of all in the engine, and at its place of before in the store.
            settled = not {first.id, job_id} & self.returned and not were_due_together(first, job)
            if first.id != job_id and settled:
                self.fail(f"the store leases {job_id}, and the engine has {first.id} first")
        scheduler.remove(job)
        if not self.starts(job):
            self.fail(f"the store leases {job_id}, and the engine has no permit for it")
        self.returned.discard(job_id)

    def starts(self, job: Job) -> bool:
        """Lease a job where its limiters have room, though the engine has offered that to another one."""
        limiters, engine = self.engine.limiters, self.engine
        if not all(limiter.room(self.now) for limiter in limiters._path(job)):
            return False
        limiters.withdraw(job, self.now)
        engine._transitions.apply_offers(self.now)
        engine.scheduler.remove(job)
        limiters._may_pass = _always  # type: ignore[method-assign]
        try:
            return engine.lease(job, now=self.now) is not None
        finally:
            del limiters._may_pass

    def first_failed(self) -> Job | None:
        failed = self.engine.store.failed
        return min(failed.values(), key=lambda job: job.id) if len(failed) > self.config.bounds.failed_max else None

    def running(self) -> Job | None:
        stopping = [job for job in self.jobs.values() if job.state is RUNNING and job.stopping is not None]
        return self.random.choice(stopping) if stopping and self.random.random() < 0.5 else self.pick("running")

    def do_ack(self) -> str:
        job = self.running()
        if job is None:
            return "nothing"
        attempt = job.attempt - (self.random.random() < 0.1)
        result = b"r" * self.random.randrange(300)
        return self.verdict(job, attempt, "ack", (result,), lambda: self.engine_acks(job, attempt, result))

    def engine_acks(self, job: Job, attempt: int, result: bytes) -> int:
        if job.attempt == attempt and job.stopping is StopReason.TIMED_OUT:
            return 3
        if job.attempt == attempt and not self.engine.store.has_room_for_result(job, len(result)):
            return 4
        self.engine.ack(job.id, attempt=attempt, success=Success(result), now=self.now)
        return 1

    def do_nack(self) -> str:
        job = self.running()
        if job is None:
            return "nothing"
        attempt = job.attempt - (self.random.random() < 0.1)
        code = self.random.choice([ErrorCode.HANDLER_ERROR, ErrorCode.WORKER_CRASHED, ErrorCode.REJECTED])
        delay_s = self.random.choice([0, 0.25, 1.5])
        failure = Failure(code, "boom", delay_s, final=self.random.random() < 0.1, traceback="trace")
        blame = code is ErrorCode.HANDLER_ERROR or code is ErrorCode.WORKER_CRASHED
        args = (code.value, "boom", "trace", int(blame), int(failure.final), round(delay_s * 1000))

        def by_engine() -> int:
            if job.attempt == attempt and job.stopping is StopReason.TIMED_OUT:
                return 3
            self.engine.nack(job.id, attempt=attempt, failure=failure, now=self.now)
            return 1

        said = self.verdict(job, attempt, "nack", args, by_engine)
        if job.state is QUEUED:
            self.returned.add(job.id)
        return f"{said} {code} final {failure.final}"

    def verdict(
        self, job: Job, attempt: int, name: str, args: tuple[str | bytes | int, ...], by_engine: Callable[[], int]
    ) -> str:
        """Report an outcome to both, and again to the store."""
        try:
            expected = by_engine()
        except StaleLease:
            expected = 0
        process = self.holders[job.id]
        other = self.processes[self.processes[0] == process]
        if self.again() and self.call(name, other, 1, job.id, attempt, *args)[1] != 0:
            self.fail(f"{name} of {job.id} {attempt} counts from {other}, and {process} runs it")
        reply = self.call(name, process, 1, job.id, attempt, *args)
        if reply[1] != expected:
            self.fail(f"{name} of {job.id} {attempt} has the code {reply[1]}, and the engine {expected}")
        if self.again() and expected < 3:
            second = self.call(name, process, 1, job.id, attempt, *args)
            if second[1] != (2 if expected else 0):
                self.fail(f"{name} of {job.id} {attempt} again has the code {second[1]} after {expected}")
        return f"{job.id} {attempt}: {expected}"

    def do_time_out(self) -> str:
        """An attempt exceeds its timeout, and says so."""
        job = self.running()
        if job is None or job.stopping is not None:
            return "nothing"
        self.engine._transitions.request_stop(job, StopReason.TIMED_OUT, self.now)
        reply = self.call("stop", self.holders[job.id], job.id, job.attempt, "timed_out")
        if reply[1:] != [1, b"timed_out", job.version]:
            self.fail(f"stop of {job.id}: {reply}")
        return job.id

    def settle_stopping(self) -> None:
        """All attempts that were asked to stop do so, before the engine would give them up."""
        for job in [each for each in self.jobs.values() if each.state is RUNNING and each.stopping is not None]:
            attempt = job.attempt
            if job.stopping is StopReason.TIMED_OUT:
                # The backoff is drawn by the caller: the same one for both.
                self.engine._rng.random = lambda: 0.0  # type: ignore[method-assign]
                self.engine.stopped(job.id, attempt=attempt, now=self.now)
                message = f"the attempt ran longer than its timeout of {job.spec.timeout_s} s"
                delay = round((job.run_at - self.now) * 1000) if job.state is DELAYED else 0
                reply = self.call(
                    "nack", self.holders[job.id], 1, job.id, attempt, "timed_out", message, "", 1, 0, delay
                )
            else:
                self.engine.stopped(job.id, attempt=attempt, now=self.now)
                reply = self.call("stopped", self.holders[job.id], 1, job.id, attempt, "cancelled")
            if reply[1] != 1:
                self.fail(f"the end of the stopped {job.id} has the code {reply[1]}")

    def do_cancel(self) -> str:
        return self.operate("cancel", lambda job: self.engine.cancel(job.id, now=self.now))

    def do_delete(self) -> str:
        return self.operate("delete", lambda job: self.engine.delete(job.id))

    def do_retry(self) -> str:
        return self.operate("retry", lambda job: self.engine.retry(job.id, now=self.now))

    def do_run_now(self) -> str:
        return self.operate("run_now", lambda job: self.engine.run_now(job.id, now=self.now))

    def operate(self, name: str, by_engine: Callable[[Job], object]) -> str:
        states = {"retry": (FAILED.value,), "cancel": ("running",)}.get(name, ())
        job = self.pick(*states) if self.random.random() < 0.6 else self.pick()
        if job is None:
            return "nothing"
        expected: tuple[int, ...] = (1,)
        try:
            by_engine(job)
        except WrongState:
            expected = (-10, -11)
        except (JobGone, JobNotFound):
            expected = (0,)
        except tuple(CODES_OF) as error:
            expected = CODES_OF[type(error)]
        args = (f"op{self.operations}", 1, job.id)
        reply = self.call(name, *args)
        if reply[1] not in expected:
            self.fail(f"{name} of {job.id} has the code {reply[1]}, and the engine {expected}")
        if self.again() and self.call(name, *args) != reply:
            self.fail(f"{name} of {job.id} again has another reply")
        return f"{job.id}: {reply[1]}"

    def do_report(self) -> str:
        job = self.running()
        if job is None:
            return "nothing"
        note = f"n{self.operations}"
        self.engine.report(job.id, attempt=job.attempt, progress=Progress(0.5, note))
        for _ in range(1 + self.again()):
            reply = self.call("report", self.holders[job.id], 1, job.id, job.attempt, note)
            if reply[1:] != [1, job.version]:
                self.fail(f"report of {job.id}: {reply}, version {job.version}")
        return job.id

    def do_time(self) -> str:
        self.settle_stopping()
        ms = STEP_MS * self.random.choice([1, 1, 2, 4, 8, 20])
        self.pass_time(ms)
        return f"{ms} ms"

    def pass_time(self, ms: int) -> None:
        self.settle_stopping()
        self.store.pass_time(ms)
        for process in self.processes:
            self.call("beat", process, TTL_MS)

    def do_late_lease(self) -> str:
        """A lease comes before the tick that is due: it meets jobs that nothing started in time."""
        ms = STEP_MS * self.random.choice([4, 24])
        self.pass_time(ms)
        return f"after {ms} ms of {self.do_lease()}"

    def do_pause(self) -> str:
        queue = self.random.choice(list(self.config.queues))
        for_s = self.random.choice([None, 0.5, 2.0])
        self.engine.pauses.begin(queue, for_s=for_s, now=self.now)
        self.call("pause", queue, "", -1 if for_s is None else round(for_s * 1000), "")
        return f"{queue} for {for_s}"

    def do_resume(self) -> str:
        queue = self.random.choice(list(self.config.queues))
        self.engine.pauses.end(queue)
        self.call("resume", queue, "")
        return queue

    def do_policy(self) -> str:
        queue = self.random.choice(list(self.config.queues))
        before = self.config.queues[queue]
        policy = msgspec.structs.replace(
            before,
            capacity=self.random.choice([5, 20, 100]),
            workers=self.random.choice([1, 3, 20]),
            discipline=self.random.choice(self.config.disciplines),
            aging_s=self.random.choice([None, 0.5]),
        )
        # Which of several returned jobs is first is settled by neither.
        self.turns.forget(queue)
        self.config.queues[queue] = policy
        self.engine.set_policy(queue, policy, now=self.now)
        self.set_queue(queue, policy)
        return f"{queue}: {policy.discipline} {policy.aging_s} {policy.capacity} {policy.workers}"

    def do_release(self) -> str:
        kind = self.random.choice(list(self.config.limits))
        was = self.engine.release(kind, now=self.now)
        reply = self.call("release", f"op{self.operations}", kind)
        if reply[1] != int(was):
            self.fail(f"release of {kind}: {reply}, and the engine {was}")
        return f"{kind}: {was}"

    def do_die(self) -> str:
        """A process is lost, with all that it runs; another one joins."""
        self.settle_stopping()
        lost = self.processes.pop(self.random.randrange(PROCESSES))
        self.store.pass_time(TTL_MS)
        for process in self.processes:
            self.call("beat", process, TTL_MS)
        self.engine.tick(self.now)
        for job in sorted(self.jobs.values(), key=lambda each: each.id):
            if job.state is RUNNING and self.holders[job.id] == lost:
                failure = Failure(ErrorCode.WORKER_CRASHED, "the process that ran it was lost")
                self.engine.nack(job.id, attempt=job.attempt, failure=failure, now=self.now)
                if job.state is QUEUED:
                    self.returned.add(job.id)
        self.tick()
        if self.call("beat", lost, TTL_MS)[1] != 0:
            self.fail("a lost process thinks that it is alive")
        self.join()
        return lost

    def do_reconcile(self) -> str:
        """Some attempts are unknown to the process, as after the lost reply of a lease."""
        self.settle_stopping()
        process = self.random.choice(self.processes)
        running = [job for job in self.jobs.values() if job.state is RUNNING and self.holders[job.id] == process]
        held = [job for job in running if self.random.random() < 0.5]
        pairs: list[str | int] = []
        for job in held:
            pairs += (job.id, job.attempt)
        for _ in range(1 + self.again()):
            reply = self.call("reconcile", process, TTL_MS, "server", len(held), *pairs)
        for job in running:
            if job not in held:
                self.engine_gives_back(job)
        if reply[1:3] != [1, 0] or reply[-1] != 0:
            self.fail(f"reconcile: {reply}")
        return f"{process}: {len(held)} of {len(running)}"

    def engine_gives_back(self, job: Job) -> None:
        """As `ShutDown.give_back` does."""
        transitions = self.engine._transitions
        job.attempts_before += 1
        job.stopping = job.progress = None
        transitions.change_state(job, QUEUED, self.now)
        transitions.events.append(Requeued(job))
        transitions.make_ready(job, self.now, front=True)
        self.returned.add(job.id)


def were_due_together(one: Job, other: Job) -> bool:
    """Whether two jobs that waited for their time became ready at the same instant."""
    waited = all(job.attempt > 0 or job.spec.delay_s > 0 for job in (one, other))
    return waited and one.run_at == other.run_at


def _always(*_: object) -> bool:
    return True
