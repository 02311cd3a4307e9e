"""Together: accepts several submissions at once, or none of them; with parents, and as a flow.

Rules:

1. Every check of every submission comes before the first change, but for the counts of admission control.
2. A submission whose key is known, or whose unique value a live job has, gets that job; it takes no slot, and its link
   is ignored.
3. An error has the index of the submission at fault (`item`); without one it concerns all of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobqueue.api_limits import PARENTS_MAX
from jobqueue.core.events import Together
from jobqueue.core.flow import Flow, FlowResult, state_of
from jobqueue.core.lineage import Lineage
from jobqueue.core.record_size import EXTRAS_BYTES, held_bytes, key_bytes, link_bytes
from jobqueue.core.submit import SubmitResult
from jobqueue.errors import Duplicate, InvalidField, InvalidSubmission, JobQueueError, WrongState

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from jobqueue.core.admission import AdmissionControl
    from jobqueue.core.flows import Flows
    from jobqueue.core.ids import IdIssuer
    from jobqueue.core.job import Job, Uniqueness
    from jobqueue.core.lineage import Link
    from jobqueue.core.submit import Asked, Submitter
    from jobqueue.core.transitions import Transitions


class TogetherSubmitter:
    """Turns several submissions into jobs at once, or rejects all of them.

    Args:
        get: Returns the record with an id and of an owner, as `Engine.get`.
    """

    def __init__(
        self,
        transitions: Transitions,
        admission: AdmissionControl,
        submitter: Submitter,
        flows: Flows,
        ids: IdIssuer,
        get: Callable[[str, str | None], Job],
    ) -> None:
        self._transitions = transitions
        self._admission = admission
        self._submitter = submitter
        self._flows = flows
        self._ids = ids
        self._get = get

    def submit(
        self,
        many: Sequence[Asked],
        links: Sequence[Link | None] | None = None,
        *,
        flow: str | None = None,
        owner: str | None = None,
        now: float,
    ) -> list[SubmitResult[Job]]:
        """Accept all, in order, or reject all and keep nothing.

        Args:
            links: Of each submission; None: it has no parents.
            flow: Id of a flow that the jobs join.
            owner: The owner of the parents and of the flow, as if there were no others; None: any owner.

        Raises:
            Draining, QueueFull, StatusesFull, TypeQuarantined, RateLimited, KeyReused, Duplicate: As
                `Submitter.submit`.
            JobNotFound, JobGone: A parent, or the flow, as `Engine.get`.
            WrongState: The flow has ended.
            InvalidSubmission: One would replace or debounce a live job, has the key or unique value of an earlier one,
                too many parents, or the name of another job of the flow; or together they take more slots than their
                queue has, or more jobs than a flow may have.
        """
        joined = None if flow is None else self._flows.get(flow, owner)
        if joined is not None and not joined.live:
            state = state_of(joined)
            raise WrongState(f"the flow is {state} already, so no job can join it", state=state)
        known = self._known(many, now)
        found = self._found(links, known, owner)
        if joined is not None:
            self._flows.check_joining(joined, [None if link is None else link.name for link in links or ()])
        sizes = self._admit(many, links, known, now, in_flow=joined is not None)
        return self._begin(many, found, known, sizes, joined, now)

    def submit_flow(
        self, many: Sequence[Asked], links: Sequence[Link | None], *, owner: str | None = None, now: float
    ) -> FlowResult:
        """Accept all as a flow, or reject all. The key of a flow is that of its first job.

        Args, Raises: As `submit`; no other job of it may exist already.
        """
        known = self._known(many, now)
        first = known.get(0)
        if first is not None and first.lineage is not None and first.lineage.flow is not None:
            return FlowResult(self._flows.view(first.lineage.flow, owner), duplicate=True)
        if known or not many:
            raise _invalid(
                "", "a job of the flow exists already" if known else "it has no jobs", min(known, default=None)
            )
        found = self._found(links, known, owner)
        sizes = self._admit(many, links, known, now, in_flow=True)
        uniqueness = many[0][3]
        flow = Flow(
            self._ids.issue(None if uniqueness is None else uniqueness.owner),
            created_at=now,
            caller=None if uniqueness is None else uniqueness.caller,
            owner=None if uniqueness is None else uniqueness.owner,
        )
        self._flows.check_joining(flow, [None if link is None else link.name for link in links])
        self._begin(many, found, known, sizes, flow, now)
        return FlowResult(self._flows.view(flow.id), duplicate=False)

    # -- checks

    def _admit(
        self,
        many: Sequence[Asked],
        links: Sequence[Link | None] | None,
        known: Mapping[int, Job],
        now: float,
        *,
        in_flow: bool,
    ) -> list[int]:
        """Have the new jobs admitted; return the size of each, known ones included."""
        sizes: list[int] = []
        for n, (spec, args, upload, uniqueness) in enumerate(many):
            link = None if links is None else links[n]
            size_bytes = len(args) + held_bytes(spec, upload, uniqueness)
            if link is not None or in_flow:
                size_bytes += EXTRAS_BYTES + link_bytes(link)
            sizes.append(size_bytes)
        new = [(n, many[n][0], sizes[n], many[n][3]) for n in range(len(many)) if n not in known]
        self._admission.admit_together(new, now=now)
        return sizes

    def _found(
        self, links: Sequence[Link | None] | None, known: Mapping[int, Job], owner: str | None
    ) -> list[_Found | None]:
        """Return what each link leads to; raise what keeps one from it."""
        found: list[_Found | None] = []
        for n, link in enumerate(links or ()):
            if link is None or n in known:
                found.append(None)
                continue
            assert all(0 <= each < n for each in link.beside), "parents stand before their children"
            try:
                if len(link.parents) + len(link.beside) > PARENTS_MAX:
                    raise _invalid("/after", f"a job has at most {PARENTS_MAX:,} parents", n)
                parents = [self._get(each, owner) for each in link.parents]
            except JobQueueError as error:
                error.item = n
                raise
            found.append((link, parents))
        return found

    def _known(self, many: Sequence[Asked], now: float) -> dict[int, Job]:
        """Return the jobs that exist already, by the index of their submission. Changes nothing."""
        known: dict[int, Job] = {}
        seen: set[object] = set()
        for n, (spec, _, _, uniqueness) in enumerate(many):
            if uniqueness is None or uniqueness.plain:
                continue
            try:
                _refuse_repeated(spec.type, uniqueness, seen)
                job = self._submitter.same_key(uniqueness) or self._holder(spec.type, uniqueness, now)
            except JobQueueError as error:
                error.item = n
                raise
            if job is not None:
                known[n] = job
        return known

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
            raise _invalid("/unique/mode", detail)
        if uniqueness.key is not None:
            queue_state = self._transitions.queue_states[holder.spec.queue]
            self._admission.admit_growth(queue_state, holder, key_bytes(uniqueness.key.key), uniqueness, now=now)
        return holder

    # -- changes

    def _begin(
        self,
        many: Sequence[Asked],
        found: Sequence[_Found | None],
        known: Mapping[int, Job],
        sizes: Sequence[int],
        flow: Flow | None,
        now: float,
    ) -> list[SubmitResult[Job]]:
        """Create the jobs that are admitted, in order."""
        for each in found:
            self._flows.keep([] if each is None else each[1])
        self._make_room([(many[n][3], sizes[n]) for n in range(len(many)) if n not in known])
        events = self._transitions.events
        events.append(Together(begins=True))
        if flow is not None:
            self._flows.enter(flow)
        results: list[SubmitResult[Job]] = []
        for n, asked in enumerate(many):
            job = known.get(n)
            if job is not None:
                results.append(self._share(job, asked))
                continue
            lineage = _lineage(found[n] if found else None, results, flow)
            job = self._accept(asked, lineage, now)
            if flow is not None:
                flow.add(job, None if lineage is None else lineage.name)
            if lineage is not None and lineage.parents:
                self._flows.judge(job, now)
            results.append(SubmitResult(job, duplicate=False))
        events.append(Together(begins=False))
        return results

    def _make_room(self, new: Sequence[tuple[Uniqueness | None, int]]) -> None:
        by_caller: dict[str | None, tuple[int, int]] = {}
        for uniqueness, size_bytes in new:
            caller = None if uniqueness is None else uniqueness.caller
            jobs, more_bytes = by_caller.get(caller, (0, 0))
            by_caller[caller] = jobs + 1, more_bytes + size_bytes
        for caller, (jobs, more_bytes) in by_caller.items():
            self._transitions.make_room(caller, more_jobs=jobs, more_bytes=more_bytes)

    def _accept(self, asked: Asked, lineage: Lineage | None, now: float) -> Job:
        """Create a job, for which room has been made."""
        spec, args, upload, uniqueness = asked
        held = held_bytes(spec, upload, uniqueness, lineage)
        if lineage is None or not lineage.parents or spec.start_by_s is not None:
            start_by_at = self._submitter.start_by_at(spec, now)
        else:  # its patience begins with its release
            start_by_at = None
        return self._submitter.accept(spec, args, upload, uniqueness, held, start_by_at, now, False, lineage)

    def _share(self, known: Job, asked: Asked) -> SubmitResult[Job]:
        """Add the key of a submission to the job that exists already, if it leads to it by its unique value."""
        spec, _, _, uniqueness = asked
        assert uniqueness is not None
        type_state = self._transitions.queue_states[spec.queue].type_state(spec.type)
        if known.live and self._transitions.uniqueness_index.under_key(uniqueness) != known.id:
            self._submitter.share(uniqueness, known)
            type_state.same_value_total += 1
        else:
            type_state.same_key_total += 1
        return SubmitResult(known, duplicate=True)


_Found = tuple["Link", "list[Job]"]
"""A link, and the jobs that its ids lead to."""


def _lineage(found: _Found | None, results: Sequence[SubmitResult[Job]], flow: Flow | None) -> Lineage | None:
    """Return the lineage of a job. Args: results: Of the submissions before it."""
    flow_id = None if flow is None else flow.id
    if found is None:
        return None if flow_id is None else Lineage((), "cancel", flow_id, None)
    link, jobs = found
    # Each once, by the text that its own record has.
    parents = dict.fromkeys([*(job.id for job in jobs), *(results[n].job.id for n in link.beside)])
    return Lineage(tuple(parents), link.on_failure, flow_id, link.name)


def _refuse_repeated(job_type: str, uniqueness: Uniqueness, seen: set[object]) -> None:
    """Note a key and a unique value; raise InvalidSubmission if an earlier submission has one of them."""
    names: list[tuple[str, object]] = []
    if uniqueness.key is not None:
        names.append(("idempotency key", (uniqueness.caller, uniqueness.key.key)))
    if uniqueness.unique is not None:
        names.append(("unique value", (uniqueness.owner, job_type, uniqueness.unique.value)))
    for what, name in names:
        if name in seen:
            raise _invalid("/unique", f"an earlier job has the same {what}")
        seen.add(name)


def _invalid(pointer: str, detail: str, item: int | None = None) -> InvalidSubmission:
    error = InvalidSubmission(InvalidField(pointer=pointer, detail=detail))
    error.item = item
    return error
