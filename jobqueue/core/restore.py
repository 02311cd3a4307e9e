"""Restoration: puts the jobs of an earlier process into the engine, in portions, so that the loop goes on.

Rules:

1. Queued jobs are queued in the order of their ids; before all others those that were at the front of their queue.
   Delayed ones are due by the wall clock; overdue ones, and those with their start-by over, at the next ticks.
2. A running job's attempt was cut off. After a crash it counts: with attempts left its job is at the front of its
   queue, without it failed (`worker_crashed`). After a clean stop it does not count. A job that was to be
   cancelled is cancelled.
3. After a crash each live job is marked as `recovered`: the log may have lost the start of an attempt, or its end.
   Its next attempt skips all numbers that a lost start may have had, and its version the numbers that clients may have
   seen: progress is not in the log. Neither change is an event: the journal has both by its next snapshot. A process
   that crashes before that is counted, so the next one skips the numbers of both.
4. A terminal record is held for what is left of its TTL. If that is over, it is gone. Beyond a bound of the store the
   oldest ones are evicted early; live jobs are kept, however many there are, and leave no room for new ones.
5. If the wall clock is behind the newest instant that has passed by the log, it was set back: all instants move by the
   difference, so none that has passed lies in the future, but a `run_at` that a submission named stays. Where instants
   of one job are out of order, since the clock was set back in between, the later ones are those before them.
   A clock that was set forward can't be told from a pause of that length.
6. A live job of a queue or a type that this process doesn't have ends as failed, or the restoration refuses all
   (`UnknownJobs`) before it changes anything. A failed one can't be retried.
7. A queue's settings that were changed in use hold as long as the configuration has what it had then.
8. Jobs that wait for their parents are linked to them again; those of which a parent has ended meanwhile are told by
   the next ticks. A record that others need is held beyond its TTL. One that is gone counts in its flow.
9. Rates, quarantines, and the statistics of queues begin afresh; restored jobs don't count as submissions.
"""

from __future__ import annotations

from collections import Counter
from operator import attrgetter
from typing import TYPE_CHECKING, Final, final

import msgspec
from mypy_extensions import mypyc_attr

from jobqueue.core.attempts import failed_attempt, longer_history
from jobqueue.core.events import Ended, Evicted, FlowChanged, Requeued, Resumed
from jobqueue.core.job import (
    CANCELLED,
    DELAYED,
    FAILED,
    LIVE,
    QUEUED,
    RUNNING,
    WAITING,
    StopReason,
)
from jobqueue.core.job_extras import Extras
from jobqueue.core.record import MutableRecord
from jobqueue.core.record_size import held_bytes, key_bytes
from jobqueue.core.report import ErrorCode, Failure, JobError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from jobqueue.core.engine import Engine
    from jobqueue.core.events import Event
    from jobqueue.core.flow import Flow, FoundFlow
    from jobqueue.core.job import Job, JobId, JobState, Uniqueness
    from jobqueue.core.pause import Pause
    from jobqueue.core.policy import QueuePolicy
    from jobqueue.core.uniqueness import Name, ValueName

PORTION: Final = 500
"""Jobs of one portion: a millisecond or two."""

VERSION_STEP: Final = 2**26
"""What versions of live jobs grow by after a crash: more than the reports of one attempt in a month."""

CUT_OFF: Final = Failure(ErrorCode.WORKER_CRASHED, "the server ended without a stop while the attempt ran")


class UnknownJobs(Exception):
    """Live jobs are of queues or types that this process doesn't have.

    Attributes:
        queues, types: The number of their live jobs, by the name of the unknown queue, or type.
    """

    def __init__(self, queues: Mapping[str, int], types: Mapping[str, int]) -> None:
        told = [f"{count} of the queue {name!r}" for name, count in sorted(queues.items())]
        told += [f"{count} of the type {name!r}" for name, count in sorted(types.items())]
        super().__init__(f"live jobs of queues or types that are not configured: {', '.join(told)}")
        self.queues = queues
        self.types = types


@final
@mypyc_attr(acyclic=True)
class Found(MutableRecord):
    """What is known of an earlier process. Its jobs become the engine's, and are changed.

    Attributes:
        shared: Further keys of jobs, the oldest first, with the fingerprints of their submissions.
        values: The live job that has each unique value.
        policies: By queue: settings that it got in use, and those of the configuration at that time.
        flows: Of each flow: when it began, its caller, its owner, its jobs without a record by the state in which they
            ended, and the sum of their versions.
        newest_at: The newest instant that had passed when it was recorded, on the engine's clock.
        crashes: Processes that ended without a stop, and whose last changes may be missing: the latest, and those
            before it back to a proper stop, or a snapshot. 0: the last one stopped properly, so nothing is missing.
    """

    jobs: dict[JobId, Job]
    shared: Mapping[JobId, Mapping[Name, bytes]]
    values: Mapping[ValueName, JobId]
    pauses: Mapping[str, Pause | None]
    policies: Mapping[str, tuple[QueuePolicy, QueuePolicy]]
    flows: Mapping[JobId, FoundFlow]
    newest_at: float
    crashes: int

    def __init__(
        self,
        jobs: dict[JobId, Job],
        shared: Mapping[JobId, Mapping[Name, bytes]],
        values: Mapping[ValueName, JobId],
        pauses: Mapping[str, Pause | None],
        policies: Mapping[str, tuple[QueuePolicy, QueuePolicy]],
        flows: Mapping[JobId, FoundFlow],
        newest_at: float,
        crashes: int,
    ) -> None:
        self.jobs = jobs
        self.shared = shared
        self.values = values
        self.pauses = pauses
        self.policies = policies
        self.flows = flows
        self.newest_at = newest_at
        self.crashes = crashes


class Restoration:
    """The restoration of what was found into an engine that has no jobs yet.

    Args:
        knows_type: Whether this process has a handler of a type.
        fail_unknown: Whether live jobs of unknown queues and types fail; else `UnknownJobs` is raised.

    Attributes:
        counts: Restored jobs by the state that they have now.
        over: Jobs that are not restored, since their TTL is over.
        unknown_queues, unknown_types: Jobs that failed because their queue, or their type, is unknown, by its name.
        policies: Settings of queues that were changed in use, and hold on.
        done: The share of the work that is done, from 0 to 1.
    """

    def __init__(
        self, engine: Engine, found: Found, *, knows_type: Callable[[str], bool], fail_unknown: bool = False
    ) -> None:
        self._engine, self._transitions = engine, engine._transitions
        self._store, self._queue_states = engine.store, engine.queue_states
        self._found, self._knows_type, self._fail_unknown = found, knows_type, fail_unknown
        self._crashes = found.crashes
        self._now = 0.0
        self._shift_s = 0.0
        self._terminal: list[Job] = []
        self._front: list[Job] = []
        self._over: list[Job] = []
        # Jobs with a lineage, those of a flow that are not restored, and records beyond their TTL that some need.
        self._related: list[Job] = []
        self._gone: list[Job] = []
        self._needed: set[JobId] = set()
        self._events: list[Event] = []
        self._unknown_types: set[str] = set()
        self.unknown_queues: Counter[str] = Counter()
        self.unknown_types: Counter[str] = Counter()
        # Whether there are live jobs of unknown queues or types.
        self._unknown = False
        self.counts: Counter[str] = Counter()
        self.over = 0
        self.policies: dict[str, QueuePolicy] = {}
        self.done = 0.0
        self._steps = self._all_steps()

    def go_on(self, now: float) -> bool:
        """Do a portion; return whether there is more to do. Raises UnknownJobs, at the first portions alone."""
        self._now = now
        return next(self._steps, False)

    def take_events(self) -> list[Event]:
        """Return what the restoration itself has changed, or left out, for the journal alone."""
        events, self._events = self._events, []
        return events

    def _all_steps(self) -> Iterator[bool]:
        ids = sorted(self._found.jobs)
        yield from self._survey(ids)
        self._shift_s = max(0.0, self._found.newest_at - self._now)
        self._restore_queues()
        self._find_needed()
        for begin in range(0, len(ids), PORTION):
            for job_id in ids[begin : begin + PORTION]:
                self._restore(self._found.jobs[job_id])
            if self._over:
                self._events.append(Evicted(tuple(self._over)))
                self._over.clear()
            self.done = 0.8 * begin / len(ids)
            yield True
        while self._front:  # the last one first, so that the first one is before it
            for _ in range(min(PORTION, len(self._front))):
                job = self._front.pop()
                self._engine.scheduler.push(job, now=job.run_at, front=True)
            yield True
        self._count()
        self._terminal.sort(key=attrgetter("finished_at"))
        for begin in range(0, len(self._terminal), PORTION):
            for job in self._terminal[begin : begin + PORTION]:
                self._store.finish(job)
                self.counts[job.state] += 1
            self.done = 0.8 + 0.2 * begin / len(self._terminal)
            yield True
        for begin in range(0, len(self._related), PORTION):
            for job in self._related[begin : begin + PORTION]:
                self._relate(job)
            yield True
        yield from self._count_gone()
        yield from self._keep_bounds()
        self.done = 1.0

    def _count(self) -> None:
        """Count what was restored: the engine had no jobs before."""
        for queue_state in self._queue_states.values():
            self.counts.update(queue_state.counts)
            for type_state in queue_state.types.values():
                type_state.restored_total = type_state.begun_total
        self._transitions.accepted += len(self._store)

    def _survey(self, ids: list[JobId]) -> Iterator[bool]:
        """Look for unknown queues and types, before anything is changed."""
        queues, types = self.unknown_queues, self.unknown_types
        known: dict[str, bool] = {}
        for begin in range(0, len(ids), 8 * PORTION):
            for job_id in ids[begin : begin + 8 * PORTION]:
                job = self._found.jobs[job_id]
                job_type, queue = job.spec.type, job.spec.queue
                knows = known.get(job_type)
                if knows is None:
                    knows = known[job_type] = self._knows_type(job_type)
                if job.extras is not None and job.extras.lineage is not None:
                    self._related.append(job)
                if job.state in LIVE:
                    if queue not in self._queue_states:
                        queues[queue] += 1
                    if not knows:
                        types[job_type] += 1
            yield True
        self._unknown = bool(queues or types)
        if self._unknown and not self._fail_unknown:
            raise UnknownJobs(queues, types)
        self._unknown_types = {name for name, knows in known.items() if not knows}
        self._transitions.unknown_types |= self._unknown_types

    def _restore_queues(self) -> None:
        """Restore what was changed of queues in use, and their pauses."""
        now = self._now
        for name, queue_state in self._queue_states.items():
            policy, configured = self._found.policies.get(name, (queue_state.policy, None))
            if configured == queue_state.policy != policy:
                self.policies[name] = policy
                self._engine.set_policy(name, policy, now=now)
            pause = self._found.pauses.get(name)
            if pause is not None:
                until = None if pause.until is None else pause.until - self._shift_s
                if until is None or until > now:
                    pause = msgspec.structs.replace(pause, since=min(now, pause.since - self._shift_s), until=until)
                    self._engine.pauses.restore(name, pause)
                else:
                    self._events.append(Resumed(name))

    def _restore(self, job: Job) -> None:
        """Put a job into all structures but the order of the terminal ones, and of those at the front."""
        if self._shift_s:
            self._shift(job)
        if job.started_at is not None or job.finished_at is not None:
            _order_instants(job)
        if job.state in LIVE:
            self._bring_back(job)
        finished_at = job.finished_at
        if finished_at is not None and self._is_over(job) and job.id not in self._needed:
            self.over += 1
            self._over.append(job)
            return
        uniqueness = job.uniqueness
        if job.upload is not None or job.spec.own or job.extras is not None or uniqueness is not None:
            self._measure(job)
        self._store.add(job)
        if uniqueness is not None and not uniqueness.plain:
            self._restore_identity(job, uniqueness)
        if finished_at is None:
            self._begin(job)
        else:
            self._terminal.append(job)

    def _is_over(self, job: Job) -> bool:
        return job.finished_at is not None and job.finished_at + self._store.ttl_s(job) <= self._now

    def _find_needed(self) -> None:
        """Find the records that others need: those of children stand behind those of their parents."""
        for job in reversed(self._related):
            lineage = job.lineage
            if lineage is not None and (
                job.live or (job.keeps_args and (job.id in self._needed or not self._is_over(job)))
            ):
                self._needed.update(lineage.parents)

    def _relate(self, job: Job) -> None:
        """Link a restored job to its parents, and put it into its flow."""
        lineage = job.lineage
        if lineage is None:
            return
        if self._store.get(job.id) is not job:
            self._gone.append(job)
            return
        if lineage.flow is not None:
            found = self._found.flows.get(lineage.flow, (job.created_at, job.caller, job.owner, {}, 0))
            self._engine.flows.restore(job, lineage.flow, lineage.name, found)
        if job.state is WAITING:
            self._engine.flows.wait_again(job)
        elif lineage.parents and (job.live or job.keeps_args):
            self._transitions.flow_index.need(job)

    def _count_gone(self) -> Iterator[bool]:
        """Count the jobs that are not restored in their flows, which hold the others by now."""
        changed: dict[JobId, Flow] = {}
        for begin in range(0, len(self._gone), PORTION):
            for job in self._gone[begin : begin + PORTION]:
                lineage = job.lineage
                flow_id = None if lineage is None else lineage.flow
                flow = None if flow_id is None else self._engine.flows.restore_gone(job, flow_id)
                if flow is not None:
                    changed[flow.id] = flow
            yield True
        self._events += map(FlowChanged, changed.values())

    def _restore_identity(self, job: Job, uniqueness: Uniqueness) -> None:
        unique, has_value = uniqueness.unique, False
        if unique is not None and job.finished_at is None:
            has_value = self._found.values.get((uniqueness.owner, job.spec.type, unique.value)) == job.id
        shared = self._found.shared.get(job.id, {})
        self._engine.uniqueness_index.restore(job, shared, has_value=has_value)

    def _begin(self, job: Job) -> None:
        """Give a live job its slot, and its place by its state."""
        since = job.run_at if job.run_at < self._now else self._now
        self._queue_states[job.spec.queue].begin(job, since)
        if job.state is DELAYED or job.start_by_at is not None:
            self._transitions.set_deadline(job)
        if job.state is QUEUED:
            if job.started_at is not None and job.run_at <= job.started_at:  # its attempt was cut off
                self._front.append(job)
            else:
                self._engine.scheduler.push(job, now=since)

    def _bring_back(self, job: Job) -> None:
        """Decide on a job that was live."""
        if self._crashes:
            job.version += VERSION_STEP * self._crashes
            if job.extras is None:
                job.extras = Extras(recovered=self._crashes)
            else:
                job.extras.recovered += self._crashes
        if job.state is RUNNING and job.stopping is StopReason.CANCELLED:
            self._end(job, CANCELLED, None)
        elif self._unknown and (job.spec.queue not in self._queue_states or job.spec.type in self._unknown_types):
            self._end(job, FAILED, JobError(ErrorCode.REJECTED, self._unknown_detail(job)))
        elif job.state is RUNNING:
            self._give_back(job)

    def _give_back(self, job: Job) -> None:
        """Requeue a running job, or end it if its attempts are used up."""
        if not self._crashes:
            job.attempts_before += 1
        else:
            job.history = longer_history(job, failed_attempt(job, CUT_OFF, self._now))
            if job.attempt >= job.attempts_max:
                self._end(job, FAILED, JobError(CUT_OFF.code, CUT_OFF.message))
                return
        job.move(QUEUED)
        job.stopping = None
        self._events.append(Requeued(job))

    def _end(self, job: Job, state: JobState, error: JobError | None) -> None:
        # Not by `move`: a waiting job of an unknown type fails.
        job.state = state
        job.version += 1
        job.finished_at = self._now
        job.error = error
        if state is not FAILED:
            job.args = b""
        self._events.append(Ended(job))

    def _unknown_detail(self, job: Job) -> str:
        if job.spec.queue not in self._queue_states:
            return f"the queue {job.spec.queue!r} was not configured when the server started again"
        return f"no handler had the type {job.spec.type!r} when the server started again"

    def _shift(self, job: Job) -> None:
        """Move the instants of a job, since the clock was set back."""
        shift_s = self._shift_s
        if job.spec.run_at is None or job.run_at != job.spec.run_at:
            job.run_at -= shift_s
        job.created_at -= shift_s
        job.start_by_at = _earlier(job.start_by_at, shift_s)
        job.started_at = _earlier(job.started_at, shift_s)
        job.finished_at = _earlier(job.finished_at, shift_s)

    def _measure(self, job: Job) -> None:
        """Count the bytes of a record beside its arguments and its result."""
        size = held_bytes(job.spec, job.upload, job.uniqueness, job.lineage)
        if self._found.shared:
            for _, key in self._found.shared.get(job.id, ()):
                size += key_bytes(key)
        if job.extras is not None:
            job.extras.held_bytes = size + job.history_bytes
        elif size:
            job.extras = Extras(held_bytes=size)

    def _keep_bounds(self) -> Iterator[bool]:
        """Evict terminal records beyond the bounds, which may have become smaller."""
        store, evicted = self._store, 0
        while True:
            job = store.next_failed_out() or store.next_out(None, more_jobs=0, more_bytes=0)
            if job is None:
                return
            self._transitions.evict([job], early=True)
            evicted += 1
            if evicted % PORTION == 0:
                yield True


def _order_instants(job: Job) -> None:
    """Put the instants of a job in order, which the clock may not have been while it was set back."""
    least, started_at, finished_at = job.created_at, job.started_at, job.finished_at
    if started_at is not None:
        if started_at < least:
            job.started_at = least
        else:
            least = started_at
    if finished_at is not None and finished_at < least:
        job.finished_at = least


def _earlier(at: float | None, shift_s: float) -> float | None:
    return None if at is None else at - shift_s
