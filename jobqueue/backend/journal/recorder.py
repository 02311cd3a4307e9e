"""The recorder of the journal: turns the engine's events into records.

It reads the live record of a job at once, within the step of the loop that changed it. Where that has already moved on
beyond its event, it is written whole, as the `job` record that a snapshot has. Records are encoded later, so nothing in
one may be changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from jobqueue.backend.journal.gathered import SMALL_BYTES, Gathered
from jobqueue.backend.journal.records import (
    BACK_OFF,
    BEGIN,
    CLEAN,
    DEBOUNCE,
    END,
    FLOW,
    GONE,
    JOB,
    PARENTS_ENDED,
    PAUSE,
    POLICY,
    PROCESS,
    RAN,
    REQUEUE,
    RETRY,
    RUN_NOW,
    SCHEDULE,
    SCHEDULE_STATE,
    SHARE,
    SPEC,
    START,
    STOP,
    SUBMIT,
    SUCCESS,
    TOGETHER,
    WHOLE,
)
from jobqueue.core.events import (
    BackedOff,
    Debounced,
    Ended,
    Event,
    Evicted,
    FlowChanged,
    KeyShared,
    ParentsEnded,
    Paused,
    PolicyChanged,
    Requeued,
    Resumed,
    Retried,
    RunNow,
    Started,
    StopRequested,
    Submitted,
    Together,
)
from jobqueue.core.job import DELAYED, QUEUED, RUNNING, SUCCEEDED

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobqueue.backend.journal.records import Record
    from jobqueue.core.engine import Engine
    from jobqueue.core.flow import Flow
    from jobqueue.core.ids import IdIssuer
    from jobqueue.core.job import Job, JobSpec, Uniqueness
    from jobqueue.core.lineage import Lineage
    from jobqueue.core.pause import Pause
    from jobqueue.core.policy import QueuePolicy
    from jobqueue.core.report import FailedAttempt
    from jobqueue.core.schedule import KeptSchedule, ScheduleId
    from jobqueue.core.stored_file import StoredFile, Upload


class Log(Protocol):
    """What records are written to.

    Attributes:
        records: The latest of them, in order: always the same list. Those in it are not encoded yet. While it isn't
            empty, small ones may be added to it, too.
    """

    @property
    def records(self) -> list[Record]: ...

    def append(self, record: Record) -> None:
        """Add a record of any size."""

    def append_small(self, record: Record) -> None:
        """Add a small record: its arguments or its result have `SMALL_BYTES`, at most."""


class Recorder:
    """Writes records of one log or one snapshot.

    Args:
        log: Takes the records.
        engine, ids: They are read where an event doesn't tell enough.
        configured: Returns a queue's settings by the configuration.

    Attributes:
        offset_s: From the engine's clock to Unix seconds, at present.
        listeners: What writes the records of an event, by its class; events of other classes have none.
    """

    def __init__(
        self,
        log: Log,
        *,
        engine: Engine,
        ids: IdIssuer,
        configured: Callable[[str], QueuePolicy],
        offset_s: float,
    ) -> None:
        self._whole_log = log
        self._together = Gathered()
        self._to(log)
        # The latest `start` record that may become a `ran` record.
        self._started: list[object] = []
        self._index, self._ids = engine.uniqueness_index, ids
        self._configured = configured
        self.offset_s = offset_s
        # By its address: hashing a spec would take longer than all else. The second list keeps it at its address.
        self._numbers: dict[int, int] = {}
        self._numbered: list[JobSpec] = []
        self.listeners: dict[type[Event], Callable[[Any], None]] = {
            Submitted: self._on_submitted,
            Started: self._on_started,
            BackedOff: self._on_backed_off,
            Ended: self._on_ended,
            StopRequested: self._on_stop_requested,
            Requeued: self._on_requeued,
            Retried: self._on_retried,
            RunNow: self._on_run_now,
            Debounced: self._on_debounced,
            KeyShared: self._on_key_shared,
            Evicted: self._on_evicted,
            PolicyChanged: self._on_policy_changed,
            Paused: self._on_paused,
            Resumed: self._on_resumed,
            Together: self._on_together,
            ParentsEnded: self._on_parents_ended,
            FlowChanged: self._on_flow_changed,
        }

    def hear(self, event: Event) -> None:
        """Write the records of an event."""
        listener = self.listeners.get(type(event))
        if listener is not None:
            listener(event)

    def _to(self, log: Log) -> None:
        """Write to this log from now on."""
        self._log, self._records = log, log.records

    def _write(self, record: Record) -> None:
        self._log.append(record)

    def _write_small(self, record: Record) -> None:
        # Records of an iteration come after one another: only the first has to make a call.
        if self._records:
            self._records.append(record)
        else:
            self._log.append_small(record)

    # -- records without an event

    def begin(self, now: float, *, starts: list[float], snapshot: bool = False) -> None:
        """Begin a log or a snapshot; numbers of specs begin anew.

        Args:
            starts: When processes began since the last clean stop, in Unix seconds.
            snapshot: It has its position at its end, beyond all its jobs.
        """
        self._numbers.clear()
        self._numbered.clear()
        position = "" if snapshot else self._ids.position
        begun = [int(start * 1000) for start in starts]
        self._write([BEGIN, self._ms(now), position, self._ids.has_owners, begun])

    def process(self, now: float) -> None:
        """Write that a process begins."""
        self._write([PROCESS, self._ms(now)])

    def clean(self, now: float) -> None:
        """Write that the process stops, and that nothing follows."""
        self._write([CLEAN, self._ms(now)])

    def whole(self, jobs: int) -> None:
        """Write the end of a snapshot of this number of jobs."""
        self._write([WHOLE, self._ids.position, jobs])

    def job(self, job: Job) -> None:
        """Write a whole job."""
        uniqueness, extras = job.uniqueness, job.extras
        spec: object = self._numbers.get(id(job.spec))
        if spec is None:
            spec = self._spec(job.spec)
        # Inlined, as it runs for each job of a snapshot.
        created_at = int((job.created_at + self.offset_s) * 1000.0 + 0.5)
        run_at = created_at if job.run_at == job.created_at else self._ms(job.run_at)
        start_by_at, started_at = self._ms_or_none(job.start_by_at), self._ms_or_none(job.started_at)
        finished_at = self._ms_or_none(job.finished_at)
        record: list[object] = [JOB, job.id, job.version, job.state._value_, spec, job.args, created_at, run_at]
        record += (job.attempt, start_by_at, started_at, finished_at, job.result, _file(job.file))
        record += (_upload(job.upload), _identity(uniqueness))
        if extras is None and (uniqueness is None or uniqueness.plain):
            self._append_short(record)
            return
        lineage = None
        if extras is None:
            record += (None,) * 5
        else:
            error = None if extras.error is None else [extras.error.code, extras.error.message]
            history = None if extras.history is None else [self._failed(failed) for failed in extras.history]
            record += (extras.attempts_before or None, extras.stopping, error, history, extras.recovered or None)
            lineage = extras.lineage
        if uniqueness is not None and not uniqueness.plain:
            has_value = self._index.holder(job.spec.type, uniqueness) == job.id
            record += (self._ids.position if has_value else None, self._index.shared_keys(job.id) or None)
        elif lineage is not None:
            record += (None, None)
        if lineage is not None:
            record.append(_lineage(lineage))
        self._append_short(record)

    def flow(self, flow: Flow) -> None:
        """Write a flow; its jobs name it themselves."""
        evicted = {state._value_: count for state, count in flow.evicted.items()}
        created_at = self._ms(flow.created_at)
        self._write([FLOW, flow.id, created_at, flow.caller, flow.owner, evicted or None, flow.versions])

    def queue(self, queue: str, policy: QueuePolicy, pause: Pause | None) -> None:
        """Write the settings of a queue, if they aren't those of the configuration, and its pause, if it has one."""
        if policy != self._configured(queue):
            self._on_policy_changed(PolicyChanged(queue, policy))
        if pause is not None:
            self._on_paused(Paused(queue, pause))

    def schedule(self, id: ScheduleId, schedule: KeptSchedule | None) -> None:
        """Write the definition of a schedule that was put; None: nothing is kept of it any more."""
        caller, given = (None, None) if schedule is None else (schedule.caller, schedule.given)
        self._append_short([SCHEDULE, id[0], id[1], caller, given])

    def schedule_state(self, id: ScheduleId, schedule: KeptSchedule) -> None:
        """Write what is kept of the state of a schedule."""
        reached = None if schedule.reached is None else int(schedule.reached * 1000.0 + 0.5)
        pause = schedule.pause
        shown = None if pause is None else [int(pause.since * 1000.0 + 0.5), None, None, pause.by]
        self._append_short([SCHEDULE_STATE, id[0], id[1], reached, shown])

    # -- records of events

    def _on_submitted(self, event: Submitted) -> None:
        job = event.job
        if job.version:
            self.job(job)
            return
        spec: object = self._numbers.get(id(job.spec))
        if spec is None:
            spec = self._spec(job.spec)
        # Inlined, as it runs for each job.
        created_at = int((job.created_at + self.offset_s) * 1000.0 + 0.5)
        uniqueness = job.uniqueness
        record: list[object] = [SUBMIT, job.id, spec, job.args, created_at]
        if uniqueness is not None:
            plain = [uniqueness.caller, uniqueness.owner]
            record.append(plain if uniqueness.plain else _identity(uniqueness))
        extras = job.extras
        lineage = None if extras is None else extras.lineage
        if lineage is not None or job.state is DELAYED or job.start_by_at is not None or job.upload is not None:
            if uniqueness is None:
                record.append(None)
            record.append(self._ms(job.run_at) if job.state is DELAYED else None)
            record += (self._ms_or_none(job.start_by_at), _upload(job.upload))
            if lineage is not None:
                record.append(_lineage(lineage))
            self._write(record)
        elif len(job.args) <= SMALL_BYTES:
            self._write_small(record)
        else:
            self._write(record)

    def _on_started(self, event: Started) -> None:
        job = event.job
        if job.state is not RUNNING or job.started_at is None:
            self.job(job)
            return
        at = int((job.started_at + self.offset_s) * 1000.0 + 0.5)
        if job.extras is None or not job.extras.attempts_before:
            self._started = record = [START, job.id, job.version, job.attempt, at]
            self._write_small(record)
        else:
            self._write([START, job.id, job.version, job.attempt, at, job.extras.attempts_before])

    def _on_ended(self, event: Ended) -> None:
        job = event.job
        if job.finished_at is None:
            self.job(job)
            return
        at = int((job.finished_at + self.offset_s) * 1000.0 + 0.5)
        if job.state is SUCCEEDED:
            records, record, result = self._records, self._started, job.result
            is_small = result is None or len(result) <= SMALL_BYTES
            # The start is the last record, and not encoded yet: both are one record.
            if is_small and records and records[-1] is record and record[1] == job.id:
                _, _, _, attempt, started_at = record
                records[-1] = record = [RAN, job.id, job.version, attempt, started_at, at, result]
            else:
                record = [SUCCESS, job.id, job.version, at, result]
                if is_small:
                    self._write_small(record)
                else:
                    self._write(record)
            extras = job.extras
            if extras is not None and extras.file is not None:
                record.append(_file(extras.file))
            return
        error = job.error
        shown = None if error is None else [error.code, error.message]
        self._append_short([END, job.id, job.version, job.state, at, shown, self._latest_failed(job)])

    def _on_backed_off(self, event: BackedOff) -> None:
        job = event.job
        if job.state is not DELAYED:
            self.job(job)
            return
        self._append_short([BACK_OFF, job.id, job.version, self._ms(job.run_at), self._latest_failed(job)])

    def _on_stop_requested(self, event: StopRequested) -> None:
        job = event.job
        if job.state is not RUNNING:
            self.job(job)
            return
        self._write([STOP, job.id, job.version, job.stopping])

    def _on_requeued(self, event: Requeued) -> None:
        job = event.job
        if job.state is not QUEUED:
            self.job(job)
            return
        self._append_short([REQUEUE, job.id, job.version, job.attempts_before, self._latest_failed(job)])

    def _on_retried(self, event: Retried) -> None:
        job = event.job
        if job.state is not QUEUED:
            self.job(job)
            return
        record: list[object] = [RETRY, job.id, job.version, job.attempts_before, self._ms(job.run_at)]
        uniqueness = job.uniqueness
        if uniqueness is not None and uniqueness.unique is not None:
            record += ([uniqueness.owner, job.spec.type, uniqueness.unique.value], self._ids.position)
        self._write(record)

    def _on_run_now(self, event: RunNow) -> None:
        job = event.job
        if job.state is not QUEUED:
            self.job(job)
            return
        self._write([RUN_NOW, job.id, job.version, self._ms(job.run_at)])

    def _on_debounced(self, event: Debounced) -> None:
        job = event.job
        if job.state is not DELAYED:
            self._write([DEBOUNCE, job.id, job.version, job.args])
            return
        record = [DEBOUNCE, job.id, job.version, job.args, self._spec(job.spec), self._ms(job.run_at)]
        self._write([*record, self._ms_or_none(job.start_by_at)])

    def _on_key_shared(self, event: KeyShared) -> None:
        self._write([SHARE, event.job.id, event.caller, event.key.key, event.key.fingerprint])

    def _on_evicted(self, event: Evicted) -> None:
        self._write([GONE, [job.id for job in event.jobs]])

    def _on_policy_changed(self, event: PolicyChanged) -> None:
        configured = self._configured(event.queue)
        self._write([POLICY, event.queue, event.policy, configured])

    def _on_paused(self, event: Paused) -> None:
        pause = event.pause
        shown = [self._ms(pause.since), pause.reason, self._ms_or_none(pause.until), pause.by]
        self._write([PAUSE, event.queue, shown])

    def _on_resumed(self, event: Resumed) -> None:
        self._write([PAUSE, event.queue])

    def _on_parents_ended(self, event: ParentsEnded) -> None:
        job = event.job
        if job.state not in (DELAYED, QUEUED) or job.attempt > 0:
            self.job(job)
            return
        record = [PARENTS_ENDED, job.id, job.version, job.state._value_, self._ms(job.run_at)]
        self._append_short([*record, self._ms_or_none(job.start_by_at)])

    def _on_flow_changed(self, event: FlowChanged) -> None:
        self.flow(event.flow)

    def _on_together(self, event: Together) -> None:
        """Gather the records that follow; at the end, write them as one."""
        if event.begins:
            self._to(self._together)
            return
        self._to(self._whole_log)
        if self._together:
            self._write([TOGETHER, self._together.records.copy()])
            self._together.clear()

    # -- parts of records

    def _ms(self, at: float) -> int:
        return int((at + self.offset_s) * 1000.0 + 0.5)

    def _ms_or_none(self, at: float | None) -> int | None:
        return None if at is None else int((at + self.offset_s) * 1000.0 + 0.5)

    def _append_short(self, record: list[object]) -> None:
        """Write a record without the fields at its end that are null."""
        while record[-1] is None:
            record.pop()
        self._write(record)

    def _spec(self, spec: JobSpec) -> object:
        """Return the number of a spec that jobs share, whose record may have to be written before; else its fields."""
        if spec.own:
            return self._fields(spec)
        number = self._numbers.get(id(spec))
        if number is None:
            number = len(self._numbered)
            self._write([SPEC, number, self._fields(spec)])
            self._numbered.append(spec)
            self._numbers[id(spec)] = number  # at last: a number that is used has its record
        return number

    def _fields(self, spec: JobSpec) -> list[object]:
        fields: list[object] = [spec.type, spec.queue, spec.priority, spec.group, spec.delay_s]
        fields += (self._ms_or_none(spec.run_at), spec.start_by_s, spec.timeout_s, spec.own_timeout, spec.own)
        fields += (spec.attempts_max, spec.ttl_s, spec.traceparent)
        if spec.scheduled is not None:
            fields += (spec.callback, *spec.scheduled)
        elif spec.callback is not None:
            fields.append(spec.callback)
        return fields

    def _latest_failed(self, job: Job) -> list[object] | None:
        """Return the entry of the latest attempt in the job's history; None: it has none, for lack of room."""
        history = job.history
        if not history or history[-1].attempt != job.attempt:
            return None
        return self._failed(history[-1])

    def _failed(self, failed: FailedAttempt) -> list[object]:
        times = self._ms(failed.started_at), self._ms(failed.ended_at)
        return [failed.attempt, *times, failed.code, failed.message, failed.traceback]


def _identity(uniqueness: Uniqueness | None) -> list[object] | None:
    if uniqueness is None:
        return None
    if uniqueness.plain:
        return [uniqueness.caller, uniqueness.owner]
    unique, key = uniqueness.unique, uniqueness.key
    value, mode = (None, None) if unique is None else (unique.value, unique.mode)
    name, fingerprint = (None, None) if key is None else (key.key, key.fingerprint)
    return [uniqueness.caller, uniqueness.owner, value, mode, name, fingerprint]


def _lineage(lineage: Lineage) -> list[object]:
    return [lineage.parents, lineage.on_failure, lineage.flow, lineage.name]


def _file(file: StoredFile | None) -> list[object] | None:
    return None if file is None else [file.path, file.media_type, file.size_bytes, file.filename]


def _upload(upload: Upload | None) -> list[object] | None:
    if upload is None:
        return None
    return [upload.folder, {name: [_file(file) for file in files] for name, files in upload.files.items()}]
