"""Submit: turns a submission into a new job, an existing one, or a rejection.

It resolves idempotency keys and unique values, and asks `AdmissionControl` before anything is kept. Every
check comes before the first change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Generic, TypeVar, final

from jobqueue.core.events import Debounced, KeyShared, Progressed, Retried, Submitted
from jobqueue.core.job import DELAYED, FAILED, QUEUED, RUNNING, WAITING, Job, JobId
from jobqueue.core.job_extras import Extras
from jobqueue.core.job_view import JobView
from jobqueue.core.policy import Discipline
from jobqueue.core.record import Record
from jobqueue.core.record_size import held_bytes, key_bytes
from jobqueue.errors import Duplicate, KeyReused, WrongState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobqueue.core.admission import AdmissionControl
    from jobqueue.core.ids import IdIssuer
    from jobqueue.core.job import JobSpec, JobState, Uniqueness
    from jobqueue.core.lineage import Lineage
    from jobqueue.core.stored_file import Upload
    from jobqueue.core.transitions import Transitions


Asked = tuple["JobSpec", bytes, "Upload | None", "Uniqueness | None"]
"""A submission: the arguments of `Submitter.submit`."""

ADAPTIVE: Final = Discipline.ADAPTIVE  # by a name, as the states in `job`


J = TypeVar("J", Job, JobView)


@final
class SubmitResult(Record, Generic[J]):
    """The job of a submission; `duplicate` if it existed already, by its key or unique value."""

    job: J
    duplicate: bool

    def __init__(self, job: J, duplicate: bool) -> None:
        self.job = job
        self.duplicate = duplicate


@final
class SubmitReceipt(Record):
    """The same without the job's record: its id, and whether it was live when it was submitted."""

    id: JobId
    live: bool
    duplicate: bool

    def __init__(self, id: JobId, live: bool, duplicate: bool) -> None:
        self.id = id
        self.live = live
        self.duplicate = duplicate


class Submitter:
    """Turns submissions into jobs, or finds the existing job."""

    def __init__(self, transitions: Transitions, admission: AdmissionControl, ids: IdIssuer) -> None:
        self._transitions = transitions
        self._admission = admission
        self._ids = ids

    def submit(
        self, spec: JobSpec, args: bytes, upload: Upload | None, uniqueness: Uniqueness | None = None, *, now: float
    ) -> SubmitResult[Job]:
        """Accept a job, or return the existing one that it equals, or reject it and keep nothing.

        Raises:
            Draining, QueueFull, StatusesFull, TypeQuarantined, RateLimited: As `AdmissionControl.admit`.
            KeyReused: The caller submitted something else under this key.
            Duplicate: A live job has the unique value, and the mode is `reject`.
        """
        if uniqueness is not None and not uniqueness.plain:
            if (job := self.same_key(uniqueness)) is not None:
                self._transitions.queue_states[spec.queue].type_state(spec.type).same_key_total += 1
                return SubmitResult(job, duplicate=True)
            unique = uniqueness.unique
            holder = None if unique is None else self._transitions.uniqueness_index.holder(spec.type, uniqueness)
            if holder is not None:
                return self._submit_beside(self._transitions.held(holder), spec, args, upload, uniqueness, now)
        held = held_bytes(spec, upload, uniqueness)
        self._admission.admit(self._transitions.queue_states[spec.queue], spec, len(args) + held, uniqueness, now=now)
        caller = None if uniqueness is None else uniqueness.caller
        self._transitions.make_room(caller, more_jobs=1, more_bytes=len(args) + held)
        job = self.accept(spec, args, upload, uniqueness, held, self.start_by_at(spec, now), now)
        return SubmitResult(job, duplicate=False)

    def submit_row(
        self, spec: JobSpec, row: Sequence[bytes], uniqueness: Uniqueness | None, *, now: float
    ) -> list[Job] | None:
        """Accept a row of jobs that differ by their arguments only, if each would be accepted by `submit`.

        As many calls of `submit` would leave the same. Checked, counted and given room together, a job costs
        half as much.

        Args:
            spec: Shared by other jobs as well (not `own`).
            row: The arguments of each.
            uniqueness: Plain.

        Returns:
            The jobs, in order; None if any might be rejected, or an earlier rejection concerns the caller: then
            nothing has changed, and each is to be submitted alone.
        """
        more_jobs, more_bytes = len(row), sum(map(len, row))
        queue_state = self._transitions.queue_states[spec.queue]
        if not self._admission.admit_row(queue_state, spec, more_jobs, more_bytes, uniqueness, now=now):
            return None
        caller = None if uniqueness is None else uniqueness.caller
        self._transitions.make_room(caller, more_jobs=more_jobs, more_bytes=more_bytes)
        self._transitions.store.holdings.add(caller, more_jobs, more_bytes)
        start_by_at = self.start_by_at(spec, now)
        return [self.accept(spec, args, None, uniqueness, 0, start_by_at, now, True) for args in row]

    def retry(self, job: Job, *, now: float) -> None:
        """Retry a failed job: a new series of attempts, under the same id.

        Raises:
            WrongState: The job has not failed, or another live job has its unique value.
            Draining, QueueFull, TypeQuarantined, RateLimited: As for a submission; the store holds the record already.
        """
        if job.state is not FAILED:
            raise WrongState(f"the job is {job.state}: only a failed one can be retried", state=job.state)
        self.check_retry(job)
        queue_state = self._transitions.queue_states[job.spec.queue]
        self._admission.admit(queue_state, job.spec, job.size_bytes, job.uniqueness, now=now, by_client=False)
        self.begin_again(job, QUEUED, now=now)

    def check_retry(self, job: Job) -> None:
        """Raise WrongState if something else than its own state or a limit keeps a job from being retried."""
        transitions = self._transitions
        if job.spec.queue not in transitions.queue_states or job.spec.type in transitions.unknown_types:
            detail = f"the job's queue {job.spec.queue!r} or type {job.spec.type!r} is not configured any more"
            raise WrongState(detail, state=job.state)
        uniqueness = job.uniqueness
        if uniqueness is not None and uniqueness.unique is not None:
            holder = self._transitions.uniqueness_index.holder(job.spec.type, uniqueness)
            if holder is not None:
                raise WrongState(f"job {holder} is live and has this job's unique value", state=job.state)

    def begin_again(self, job: Job, state: JobState, *, now: float) -> None:
        """Begin a new series of attempts of a terminal job, which admission control has accepted."""
        transitions = self._transitions
        transitions.store.revive(job)
        transitions.queue_states[job.spec.queue].type_state(job.spec.type).retried_total += 1
        job.attempts_before = job.attempt
        job.run_at = now
        job.started_at = job.finished_at = job.progress = job.stopping = job.error = None
        was = job.state
        job.move(state)
        transitions.begin(job, now)
        if transitions.flow_index.any:
            transitions.flow_index.revived(job, was)
        transitions.events.append(Retried(job))
        if state is QUEUED:
            transitions.make_ready(job, now)
        else:
            transitions.events.append(Progressed(job))

    def under_key(self, caller: str | None, key: str) -> Job | None:
        """Return the job that a caller submitted under a key, whatever it was."""
        job_id = self._transitions.uniqueness_index.named(caller, key)
        return None if job_id is None else self._transitions.held(job_id)

    def same_key(self, uniqueness: Uniqueness) -> Job | None:
        """Return the job that the caller submitted under this key. Raises KeyReused if that was something else."""
        job_id = self._transitions.uniqueness_index.under_key(uniqueness)
        if job_id is None:
            return None
        if not self._transitions.uniqueness_index.is_same(uniqueness):
            raise KeyReused("this Idempotency-Key was used for another submission: send a new key with a new one")
        return self._transitions.held(job_id)

    def _submit_beside(
        self, holder: Job, spec: JobSpec, args: bytes, upload: Upload | None, uniqueness: Uniqueness, now: float
    ) -> SubmitResult[Job]:
        """Apply the mode to a submission with the unique value of a live job."""
        assert uniqueness.unique is not None
        mode = uniqueness.unique.mode
        if mode == "return":
            if uniqueness.key is not None:
                more_bytes = key_bytes(uniqueness.key.key)
                self._admission.admit_growth(
                    self._transitions.queue_states[holder.spec.queue], holder, more_bytes, uniqueness, now=now
                )
            self.share(uniqueness, holder)
            self._transitions.queue_states[spec.queue].type_state(spec.type).same_value_total += 1
            return SubmitResult(holder, duplicate=True)
        if mode == "reject":
            raise Duplicate(holder.id)
        waits = holder.state is not RUNNING
        if mode == "debounce" and waits and holder.spec.queue == spec.queue:
            self._put_off(holder, spec, args, uniqueness, now)
            self.share(uniqueness, holder)
            self._transitions.queue_states[spec.queue].type_state(spec.type).same_value_total += 1
            return SubmitResult(holder, duplicate=True)
        queue_state = self._transitions.queue_states[spec.queue]
        held = held_bytes(spec, upload, uniqueness)
        self._admission.admit(
            queue_state, spec, len(args) + held, uniqueness, now=now, replaced=holder if waits else None
        )
        if mode == "replace" or waits:
            self._transitions.cancel(holder, now=now)
        caller = None if uniqueness is None else uniqueness.caller
        self._transitions.make_room(caller, more_jobs=1, more_bytes=len(args) + held)
        job = self.accept(spec, args, upload, uniqueness, held, self.start_by_at(spec, now), now)
        return SubmitResult(job, duplicate=False)

    def _put_off(self, job: Job, spec: JobSpec, args: bytes, uniqueness: Uniqueness, now: float) -> None:
        """Debounce: give a waiting job the newest arguments and, unless it is due already, a new delay."""
        waits = job.state is DELAYED and job.attempt == 0
        # The keys that lead to it, and its files, stay.
        more_held = held_bytes(spec, None, None) - held_bytes(job.spec, None, None) if waits else 0
        more_bytes = len(args) - len(job.args) + more_held
        more_with_key = more_bytes + (0 if uniqueness.key is None else key_bytes(uniqueness.key.key))
        queue_state = self._transitions.queue_states[job.spec.queue]
        self._admission.admit_growth(queue_state, job, more_with_key, uniqueness, now=now)
        self._transitions.make_room(job.caller, more_jobs=0, more_bytes=more_bytes)
        self._transitions.store.grow(job, more_bytes)
        job.args = args
        job.held_bytes += more_held
        self._transitions.note_change(job)
        if waits:
            job.spec = spec
            job.run_at = _run_at(spec, now)
            job.start_by_at = self.start_by_at(spec, now)
            self._transitions.set_deadline(job)
        self._transitions.events += (Progressed(job), Debounced(job))

    def share(self, uniqueness: Uniqueness, job: Job) -> None:
        """Add a key to a live job; the caller has ensured that there is room for it."""
        if uniqueness.key is None:
            return
        transitions, more_bytes = self._transitions, key_bytes(uniqueness.key.key)
        forgotten = transitions.uniqueness_index.share(uniqueness, job)
        if forgotten is not None:
            more_bytes -= key_bytes(forgotten)
        transitions.make_room(job.caller, more_jobs=0, more_bytes=more_bytes)
        transitions.store.grow(job, more_bytes)
        job.held_bytes += more_bytes
        transitions.events.append(KeyShared(job, uniqueness.caller, uniqueness.key))

    def accept(
        self,
        spec: JobSpec,
        args: bytes,
        upload: Upload | None,
        uniqueness: Uniqueness | None,
        held: int,
        start_by_at: float | None,
        now: float,
        counted: bool = False,
        lineage: Lineage | None = None,
    ) -> Job:
        """Create the job of an admitted submission; room has been made for it, and `counted` as for the store.

        One with parents waits: `Flows.judge` is yet to link it to them.
        """
        transitions = self._transitions
        delay_s = spec.delay_s
        waits = lineage is not None and len(lineage.parents) > 0
        job = Job(
            id=self._ids.issue(None if uniqueness is None else uniqueness.owner),
            spec=spec,
            args=args,
            upload=upload,
            state=WAITING if waits else DELAYED if delay_s > 0 else QUEUED,
            created_at=now,
            run_at=_run_at(spec, now) if delay_s and not waits else now,
            start_by_at=start_by_at,
            uniqueness=uniqueness,
            extras=Extras(held_bytes=held, lineage=lineage) if held else None,
        )
        transitions.store.add(job, counted)
        transitions.accepted += 1
        transitions.begin(job, now)
        transitions.events.append(Submitted(job))
        if job.state is QUEUED:
            transitions.make_ready(job, now)
        return job

    def start_by_at(self, spec: JobSpec, now: float) -> float | None:
        """Return the start-by of a job that is accepted now, or whose parents have ended; None: it has none."""
        if spec.start_by_s is not None:
            return now + spec.start_by_s
        policy = self._transitions.queue_states[spec.queue].policy
        # Newest first alone would keep the oldest for ever, although their clients have left.
        return now + spec.delay_s + policy.patience_s if policy.discipline == ADAPTIVE else None


def _run_at(spec: JobSpec, now: float) -> float:
    return now + spec.delay_s if spec.run_at is None else spec.run_at
