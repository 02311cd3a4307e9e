"""Together: accepts several submissions at once, or none of them.

Rules:

1. Every check of every submission comes before the first change, but for the counts of admission control.
2. A submission whose key is known, or whose unique value a live job has, gets that job; it takes no slot.
3. An error has the index of the submission at fault (`item`); without one it concerns all of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobqueue.core.events import Together
from jobqueue.core.record_size import held_bytes, key_bytes
from jobqueue.core.submit import SubmitResult
from jobqueue.errors import Duplicate, InvalidField, InvalidSubmission, JobQueueError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobqueue.core.admission import AdmissionControl
    from jobqueue.core.job import Job, Uniqueness
    from jobqueue.core.submit import Asked, Submitter
    from jobqueue.core.transitions import Transitions


class TogetherSubmitter:
    """Turns several submissions into jobs at once, or rejects all of them."""

    def __init__(self, transitions: Transitions, admission: AdmissionControl, submitter: Submitter) -> None:
        self._transitions = transitions
        self._admission = admission
        self._submitter = submitter

    def submit(self, many: Sequence[Asked], *, now: float) -> list[SubmitResult[Job]]:
        """Accept all, in order, or reject all and keep nothing.

        Raises:
            Draining, QueueFull, StatusesFull, TypeQuarantined, RateLimited, KeyReused, Duplicate: As
                `Submitter.submit`.
            InvalidSubmission: One would replace or debounce a live job, or has the key or unique value of an earlier
                one; or together they take more slots than their queue has.
        """
        known = self._known(many, now)
        sizes = [len(args) + held_bytes(spec, upload, uniqueness) for spec, args, upload, uniqueness in many]
        new = [n for n in range(len(many)) if n not in known]
        self._admission.admit_together([(n, many[n][0], sizes[n], many[n][3]) for n in new], now=now)
        by_caller: dict[str | None, list[int]] = {}
        for n in new:
            uniqueness = many[n][3]
            by_caller.setdefault(None if uniqueness is None else uniqueness.caller, []).append(n)
        for caller, theirs in by_caller.items():
            more_bytes = sum(sizes[n] for n in theirs)
            self._transitions.make_room(caller, more_jobs=len(theirs), more_bytes=more_bytes)
        events = self._transitions.events
        events.append(Together(begins=True))
        results = [self._accept(asked, known.get(n), now) for n, asked in enumerate(many)]
        events.append(Together(begins=False))
        return results

    def _known(self, many: Sequence[Asked], now: float) -> dict[int, Job]:
        """Return the jobs that exist already, by the index of their submission. Changes nothing."""
        known: dict[int, Job] = {}
        seen: set[object] = set()
        for n, (spec, _, _, uniqueness) in enumerate(many):
            if uniqueness is None or uniqueness.plain:
                continue
            try:
                self._refuse_repeated(spec.type, uniqueness, seen)
                job = self._submitter.same_key(uniqueness) or self._holder(spec.type, uniqueness, now)
            except JobQueueError as error:
                error.item = n
                raise
            if job is not None:
                known[n] = job
        return known

    def _refuse_repeated(self, job_type: str, uniqueness: Uniqueness, seen: set[object]) -> None:
        """Note a key and a unique value; raise InvalidSubmission if an earlier submission has one of them."""
        names: list[tuple[str, object]] = []
        if uniqueness.key is not None:
            names.append(("idempotency key", (uniqueness.caller, uniqueness.key.key)))
        if uniqueness.unique is not None:
            names.append(("unique value", (uniqueness.owner, job_type, uniqueness.unique.value)))
        for what, name in names:
            if name in seen:
                raise InvalidSubmission(InvalidField(pointer="/unique", detail=f"an earlier job has the same {what}"))
            seen.add(name)

    def _holder(self, job_type: str, uniqueness: Uniqueness, now: float) -> Job | None:
        """Return the live job that has a submission's unique value, if there may be one."""
        holder_id = self._transitions.uniqueness_index.holder(job_type, uniqueness)
        if holder_id is None:
            return None
        assert uniqueness.unique is not None
        holder, mode = self._transitions.held(holder_id), uniqueness.unique.mode
        if mode == "reject":
            raise Duplicate(holder.id)
        if mode != "return":
            detail = f"{mode!r} is not possible for one of several jobs, and job {holder.id} has this value"
            raise InvalidSubmission(InvalidField(pointer="/unique/mode", detail=detail))
        if uniqueness.key is not None:
            queue_state = self._transitions.queue_states[holder.spec.queue]
            self._admission.admit_growth(queue_state, holder, key_bytes(uniqueness.key.key), uniqueness, now=now)
        return holder

    def _accept(self, asked: Asked, known: Job | None, now: float) -> SubmitResult[Job]:
        """Create the job of a submission, for which room has been made, or add its key to the one that exists."""
        spec, args, upload, uniqueness = asked
        if known is None:
            held = held_bytes(spec, upload, uniqueness)
            start_by_at = self._submitter.start_by_at(spec, now)
            return SubmitResult(
                self._submitter.accept(spec, args, upload, uniqueness, held, start_by_at, now), duplicate=False
            )
        assert uniqueness is not None
        type_state = self._transitions.queue_states[spec.queue].type_state(spec.type)
        if known.live and self._transitions.uniqueness_index.under_key(uniqueness) != known.id:
            self._submitter.share(uniqueness, known)
            type_state.same_value_total += 1
        else:
            type_state.same_key_total += 1
        return SubmitResult(known, duplicate=True)
