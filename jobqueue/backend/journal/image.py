"""The image of the journal: the jobs, queues and ids that its records tell of.

    image = Image(spec_of, offset_s=wall_clock.offset_s())
    for body in (*snapshot, *log):
        image.apply(body)

Jobs are those of the engine already, on its clock, so that none is made twice: `Restoration` puts them into it. Read
`records` for the rules of reading twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from jobqueue.backend.journal.records import FIELDS, TOGETHER, BadRecord, decode, name_of
from jobqueue.core.attempts import HISTORY_MAX
from jobqueue.core.job import (
    DELAYED,
    LIVE,
    QUEUED,
    RUNNING,
    SUCCEEDED,
    WAITING,
    IdempotencyKey,
    Job,
    JobSpec,
    JobState,
    StopReason,
    Unique,
    Uniqueness,
)
from jobqueue.core.job_extras import Extras
from jobqueue.core.lineage import Lineage
from jobqueue.core.pause import Pause
from jobqueue.core.policy import QueuePolicy
from jobqueue.core.report import ErrorCode, FailedAttempt, JobError
from jobqueue.core.restore import Found
from jobqueue.core.schedule import KeptSchedule, SchedulePause
from jobqueue.core.stored_file import StoredFile, Upload
from jobqueue.core.uniqueness import SHARED_MAX

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobqueue.core.flow import FoundFlow
    from jobqueue.core.job import JobId
    from jobqueue.core.schedule import ScheduleId
    from jobqueue.core.uniqueness import Name, ValueName

SHARED_SPECS_MAX: Final = 4096
"""Specs of options of their own that are kept for further jobs with the same, and identities of callers."""

STARTS_MAX: Final = 100
"""Starts that are known of a series of crashes: more than there are within the minute in which they are counted."""

_STATES: Final = {state.value: state for state in JobState}
"""By name: a call of the enum takes five times as long."""

_FAULTS: Final = (LookupError, TypeError, ValueError, AttributeError)


class Image:
    """The state that records tell of.

    Args:
        spec_of: Returns the spec that a job of this one has in this process: its handler may have changed. It raises no
            error for a type that is unknown.
        offset_s: From the engine's clock to Unix seconds.

    Attributes:
        jobs: By id, in the order in which they became known.
        shared: The further keys of jobs, the oldest first, with the fingerprints of their submissions.
        pauses: By queue; None: it was resumed.
        policies: By queue: its settings, and those of the configuration when it got them.
        flows: As `Found` has them, with those of which no job is left.
        position: All ids that sort below it have been issued; empty: none has.
        has_owners: Whether an id with an owner was issued.
        starts: When processes began since the last clean stop, in Unix seconds: the latest `STARTS_MAX`.
        clean: Whether the last process stopped properly, so that no record is missing.
        schedules: What is kept of each schedule.
        snapshot_jobs: The number of jobs that a snapshot had to its end; None: no end of one was read.
    """

    def __init__(self, spec_of: Callable[[JobSpec], JobSpec], *, offset_s: float) -> None:
        self._spec_of = spec_of
        self._offset_s = offset_s
        self.jobs: dict[JobId, Job] = {}
        self.shared: dict[JobId, dict[Name, bytes]] = {}
        self.pauses: dict[str, Pause | None] = {}
        self.policies: dict[str, tuple[QueuePolicy, QueuePolicy]] = {}
        self.flows: dict[JobId, FoundFlow] = {}
        self.position = ""
        self.has_owners = False
        self.starts: list[float] = []
        self.clean = True
        self.schedules: dict[ScheduleId, KeptSchedule] = {}
        self.snapshot_jobs: int | None = None
        # That the last snapshot or clean stop doesn't have: the processes since, and that which has written it.
        self._open_processes = 0
        # The last job that got each unique value, after the position at which it did; whether or not it is live.
        self._last_with: dict[ValueName, tuple[str, JobId]] = {}
        self._specs: dict[int, JobSpec] = {}
        self._own_specs: dict[tuple[Any, ...], JobSpec] = {}
        self._plain: dict[tuple[str | None, str | None], Uniqueness] = {}
        self._newest_ms = 0
        # The latest instant: neighbours share it, as they did in the process that wrote them.
        self._ms, self._at = 0, -offset_s
        self._appliers = {kind: getattr(self, f"_{names[0]}") for kind, names in enumerate(FIELDS)}

    def apply(self, body: bytes) -> int:
        """Apply the records of a body; return their number. Raises BadRecord."""
        records: list[Any] = decode(body)  # compiled code would take them for lists, which one of them may not be
        appliers, number = self._appliers, 0
        try:
            for record in records:
                appliers[record[0]](record)
                number += 1
        except _FAULTS as error:
            name = name_of(records[number])
            raise BadRecord(f"record {number} ({name}): {type(error).__name__}: {error}") from error
        return number

    def values(self) -> dict[ValueName, JobId]:
        """Return the live job that has each unique value."""
        jobs = ((name, self.jobs.get(job_id)) for name, (_, job_id) in self._last_with.items())
        return {name: job.id for name, job in jobs if job is not None and job.state in LIVE}

    def found(self) -> Found:
        """Return all that a restoration takes; the jobs are not copied."""
        newest_at = self._newest_ms / 1000 - self._offset_s
        crashes = 0 if self.clean else max(1, self._open_processes)
        values, flows = self.values(), self.flows
        return Found(self.jobs, self.shared, values, self.pauses, self.policies, flows, newest_at, crashes)

    # -- kinds of records

    def _begin(self, record: list[Any]) -> None:
        self._specs.clear()
        self.clean = False
        self._know_issued(record[2])
        self.has_owners |= record[3]
        if record[4]:
            self.starts = [start / 1000 for start in record[4]]

    def _spec(self, record: list[Any]) -> None:
        self._specs[record[1]] = self._spec_of(self._stored_spec(record[2]))

    def _submit(self, record: list[Any]) -> None:
        job_id, spec, ms, count = record[1], record[2], record[4], len(record)
        if job_id <= self.position:
            if count > 5 and record[5] is not None and len(record[5]) > 2 and record[5][2] is not None:
                self._note_value((record[5][1], self._type_of(spec), record[5][2]), job_id, job_id)
            return
        self.position = job_id
        created_at = self._past(ms)
        run_at = record[6] if count > 6 else None
        self.jobs[job_id] = job = Job(
            id=job_id,
            spec=self._specs[spec] if type(spec) is int else self._own_spec(spec),
            args=record[3],
            upload=_upload(record[8]) if count > 8 else None,
            state=QUEUED if run_at is None else DELAYED,
            created_at=created_at,
            run_at=created_at if run_at is None else self._instant(run_at),
        )
        if count > 7:
            job.start_by_at = self._instant_or_none(record[7])
        if count > 9:
            lineage = self._lineage(record[9])
            job.extras = Extras(lineage=lineage)
            if lineage.parents:
                job.state = WAITING
        if count > 5 and record[5] is not None:
            uniqueness = job.uniqueness = self._identity(record[5])
            if uniqueness.unique is not None:
                self._note_value((uniqueness.owner, job.spec.type, uniqueness.unique.value), job_id, job_id)

    def _start(self, record: list[Any]) -> None:
        job = self.jobs.get(record[1])
        if job is None or record[2] < job.version:
            return
        job.version, job.attempt, job.started_at, job.state = record[2], record[3], self._past(record[4]), RUNNING
        if job.extras is not None:
            job.extras.stopping, job.extras.recovered = None, 0
        if len(record) > 5:
            job.attempts_before = record[5]

    def _back_off(self, record: list[Any]) -> None:
        job = self._changed(record)
        if job is not None:
            job.state, job.run_at = DELAYED, self._instant(record[3])
            self._remember(job, record, 4)

    def _success(self, record: list[Any]) -> None:
        job = self.jobs.get(record[1])
        if job is None or record[2] < job.version:
            return
        job.version, job.finished_at, job.state = record[2], self._past(record[3]), SUCCEEDED
        job.result, job.args = record[4], b""
        if len(record) > 5:
            job.file = _file(record[5])

    def _ran(self, record: list[Any]) -> None:
        job = self.jobs.get(record[1])
        if job is None or record[2] < job.version:
            return
        job.version, job.attempt, job.started_at, job.state = record[2], record[3], self._past(record[4]), SUCCEEDED
        job.finished_at, job.result, job.args = self._past(record[5]), record[6], b""
        if job.extras is not None:
            job.extras.stopping, job.extras.recovered = None, 0
        if len(record) > 7:
            job.file = _file(record[7])

    def _end(self, record: list[Any]) -> None:
        job = self._changed(record)
        if job is None:
            return
        job.state, job.finished_at = _STATES[record[3]], self._past(record[4])
        if len(record) > 5 and record[5] is not None:
            job.error = JobError(ErrorCode(record[5][0]), record[5][1])
        if not job.keeps_args:
            job.args = b""
        self._remember(job, record, 6)

    def _stop(self, record: list[Any]) -> None:
        job = self._changed(record)
        if job is not None:
            job.stopping = StopReason(record[3])

    def _requeue(self, record: list[Any]) -> None:
        job = self._changed(record)
        if job is not None:
            job.state, job.attempts_before, job.stopping = QUEUED, record[3], None
            self._remember(job, record, 4)

    def _retry(self, record: list[Any]) -> None:
        job = self._changed(record)
        if job is not None:
            job.state, job.attempts_before, job.run_at = QUEUED, record[3], self._instant(record[4])
            job.started_at = job.finished_at = job.stopping = job.error = None
        if len(record) > 5:
            owner, job_type, value = record[5]
            self._note_value((owner, job_type, value), record[6], record[1])

    def _run_now(self, record: list[Any]) -> None:
        job = self._changed(record)
        if job is not None:
            job.state, job.run_at = QUEUED, self._instant(record[3])

    def _debounce(self, record: list[Any]) -> None:
        job = self._changed(record)
        if job is not None:
            job.args = record[3]
            if len(record) > 4:
                spec = record[4]
                job.spec = self._specs[spec] if type(spec) is int else self._own_spec(spec)
                job.run_at, job.start_by_at = self._instant(record[5]), self._instant_or_none(record[6])

    def _share(self, record: list[Any]) -> None:
        _, job_id, caller, key, fingerprint = record
        if job_id in self.jobs:
            shared = self.shared.setdefault(job_id, {})
            shared.pop((caller, key), None)  # read again, it becomes the latest again
            shared[caller, key] = fingerprint
            if len(shared) > SHARED_MAX:
                del shared[next(iter(shared))]

    def _gone(self, record: list[Any]) -> None:
        for job_id in record[1]:
            self.jobs.pop(job_id, None)
            self.shared.pop(job_id, None)

    def _policy(self, record: list[Any]) -> None:
        _, queue, policy, configured = record
        self.policies[queue] = msgspec.convert(policy, QueuePolicy), msgspec.convert(configured, QueuePolicy)

    def _pause(self, record: list[Any]) -> None:
        if len(record) < 3:
            self.pauses[record[1]] = None
            return
        since, reason, until, by = record[2]
        since_at, until_at = self._instant(since), self._instant_or_none(until)
        self.pauses[record[1]] = Pause(since=since_at, reason=reason, until=until_at, by=by)

    def _clean(self, record: list[Any]) -> None:
        self.clean = True
        self.starts.clear()
        self._open_processes = 0

    def _process(self, record: list[Any]) -> None:
        self.clean = False
        self.starts.append(record[1] / 1000)
        del self.starts[:-STARTS_MAX]
        self._open_processes += 1

    def _schedule(self, record: list[Any]) -> None:
        if len(record) < 5:
            self.schedules.pop((record[1], record[2]), None)
            return
        schedule = self.schedules.setdefault((record[1], record[2]), KeptSchedule())
        schedule.caller, schedule.given = record[3], record[4]

    def _schedule_state(self, record: list[Any]) -> None:
        schedule = self.schedules.setdefault((record[1], record[2]), KeptSchedule())
        reached = record[3] if len(record) > 3 else None
        schedule.reached = None if reached is None else reached / 1000
        schedule.pause = None
        if len(record) > 4:
            since, _, _, by = record[4]
            schedule.pause = SchedulePause(since=since / 1000, by=by)

    def _whole(self, record: list[Any]) -> None:
        self._know_issued(record[1])
        self.snapshot_jobs = record[2]
        self._open_processes = 1

    def _job(self, record: list[Any]) -> None:
        job_id, version = record[1], record[2]
        known = self.jobs.get(job_id)
        if version <= known.version if known is not None else job_id <= self.position:
            return
        spec, created_ms, run_ms, count = record[4], record[6], record[7], len(record)
        created_at = self._past(created_ms)
        self.jobs[job_id] = job = Job(
            id=job_id,
            spec=self._specs[spec] if type(spec) is int else self._own_spec(spec),
            args=record[5],
            upload=None,
            state=_STATES[record[3]],
            created_at=created_at,
            run_at=created_at if run_ms == created_ms else self._instant(run_ms),
            attempt=record[8],
            version=version,
        )
        self._know_issued(job_id)
        if count > 9 and (start_by_ms := record[9]) is not None:
            job.start_by_at = self._instant(start_by_ms)
        if count > 10 and (started_ms := record[10]) is not None:
            job.started_at = self._past(started_ms)
        if count > 11 and (finished_ms := record[11]) is not None:
            job.finished_at = self._past(finished_ms)
        if count > 12:
            job.result = record[12]
        if count > 15 and (identity := record[15]) is not None:
            job.uniqueness = self._identity(identity)
        if count > 16:
            job.extras = self._extras(*(record + [None] * 5)[16:21])
        if count > 23:
            job.extras = job.extras or Extras()
            job.extras.lineage = self._lineage(record[23])
        if count > 13 and (record[13] is not None or (count > 14 and record[14] is not None)):
            job.file, job.upload = _file(record[13]), _upload(record[14]) if count > 14 else None
        if count > 21 and record[21] is not None and job.uniqueness is not None and job.uniqueness.unique is not None:
            self._note_value((job.owner, job.spec.type, job.uniqueness.unique.value), record[21], job_id)
        if count > 22 and record[22] is not None:
            self.shared[job_id] = {(caller, key): fingerprint for caller, key, fingerprint in record[22]}

    def _parents_ended(self, record: list[Any]) -> None:
        job = self._changed(record)
        if job is not None:
            job.state, job.run_at = _STATES[record[3]], self._instant(record[4])
            job.start_by_at = self._instant_or_none(record[5]) if len(record) > 5 else None

    def _flow(self, record: list[Any]) -> None:
        _, flow_id, created_at, caller, owner, evicted, versions = record
        known = self.flows.get(flow_id)
        if known is None or versions >= known[4]:
            counts = {_STATES[state]: count for state, count in (evicted or {}).items()}
            self.flows[flow_id] = self._past(created_at), caller, owner, counts, versions

    def _together(self, record: list[Any]) -> None:
        for each in record[1]:
            if each[0] == TOGETHER:
                raise ValueError("a `together` within another")
            self._appliers[each[0]](each)

    # -- parts of records

    def _changed(self, record: list[Any]) -> Job | None:
        """Return the job that a record changes, with its new version; None: it is gone, or further on."""
        job = self.jobs.get(record[1])
        if job is None or record[2] < job.version:
            return None
        job.version = record[2]
        return job

    def _know_issued(self, position: str) -> None:
        if position > self.position:
            self.position = position

    def _past(self, ms: int) -> float:
        """Return an instant that had passed when it was recorded."""
        if ms > self._newest_ms:
            self._newest_ms = ms
        if ms != self._ms:
            self._ms, self._at = ms, ms / 1000 - self._offset_s
        return self._at

    def _instant(self, ms: int) -> float:
        if ms != self._ms:
            self._ms, self._at = ms, ms / 1000 - self._offset_s
        return self._at

    def _instant_or_none(self, ms: int | None) -> float | None:
        return None if ms is None else self._instant(ms)

    def _own_spec(self, fields: list[Any]) -> JobSpec:
        """Return the spec of these fields, one for all jobs that have the same."""
        values = tuple(fields)
        spec = self._own_specs.get(values)
        if spec is None:
            if len(self._own_specs) >= SHARED_SPECS_MAX:
                self._own_specs.clear()
            spec = self._own_specs[values] = self._spec_of(self._stored_spec(fields))
        return spec

    def _stored_spec(self, fields: list[Any]) -> JobSpec:
        job_type, queue, priority, group, delay_s, run_at, start_by_s, timeout_s, own_timeout, own = fields[:10]
        attempts_max, ttl_s, traceparent, *more = fields[10:]
        return JobSpec(
            type=job_type,
            queue=queue,
            priority=priority,
            group=group,
            delay_s=delay_s,
            run_at=self._instant_or_none(run_at),
            start_by_s=start_by_s,
            timeout_s=timeout_s,
            own_timeout=own_timeout,
            own=own,
            attempts_max=attempts_max,
            ttl_s=ttl_s,
            traceparent=traceparent,
            callback=more[0] if more else None,
            scheduled=(more[1], more[2]) if len(more) > 1 else None,
        )

    def _lineage(self, fields: list[Any]) -> Lineage:
        parents, on_failure, flow, name = fields
        return Lineage(tuple(parents), on_failure, flow, name)

    def _identity(self, fields: list[Any]) -> Uniqueness:
        caller, owner = fields[0], fields[1]
        if owner is not None:
            self.has_owners = True
        if len(fields) > 2:
            value, mode, key, fingerprint = fields[2:]
            unique = None if value is None else Unique(value, mode)
            return Uniqueness(caller, unique, None if key is None else IdempotencyKey(key, fingerprint), owner=owner)
        uniqueness = self._plain.get((caller, owner))
        if uniqueness is None:
            if len(self._plain) >= SHARED_SPECS_MAX:
                self._plain.clear()
            uniqueness = self._plain[caller, owner] = Uniqueness(caller, plain=True, owner=owner)
        return uniqueness

    def _extras(self, before: Any, stopping: Any, error: Any, history: Any, recovered: Any) -> Extras | None:
        if not (before or stopping or error or history or recovered):
            return None
        return Extras(
            attempts_before=before or 0,
            stopping=None if stopping is None else StopReason(stopping),
            error=None if error is None else JobError(ErrorCode(error[0]), error[1]),
            history=None if history is None else tuple(self._failed(failed) for failed in history),
            recovered=recovered or 0,
        )

    def _failed(self, fields: list[Any]) -> FailedAttempt:
        attempt, started_at, ended_at, code, message, traceback = fields
        started, ended = self._instant(started_at), self._instant(ended_at)
        return FailedAttempt(attempt, started, ended, ErrorCode(code), message, traceback)

    def _remember(self, job: Job, record: list[Any], place: int) -> None:
        """Add the failed attempt of a record to its job's history, unless the record has none."""
        if len(record) > place and record[place] is not None:
            history = job.history or ()
            if not history or history[-1].attempt < record[place][0]:
                job.history = (*history, self._failed(record[place]))[-HISTORY_MAX:]

    def _note_value(self, name: ValueName, position: str, job_id: JobId) -> None:
        """Note that a job got a unique value, whatever became of both since, unless another one got it later."""
        last = self._last_with.get(name)
        if last is None or position >= last[0]:
            self._last_with[name] = position, job_id

    def _type_of(self, spec: Any) -> str:
        return self._specs[spec].type if type(spec) is int else spec[0]


def _file(fields: list[Any] | None) -> StoredFile | None:
    return None if fields is None else StoredFile(*fields)


def _upload(fields: list[Any] | None) -> Upload | None:
    if fields is None:
        return None
    folder, files = fields
    return Upload(folder, {name: tuple(StoredFile(*file) for file in each) for name, each in files.items()})
