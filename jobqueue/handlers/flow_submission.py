"""Submissions of flows: a graph of jobs by names, and the check of the graph.

Rules:

1. The names of a flow's jobs are unique, and `after` names other jobs of the same flow, or has ids of jobs that exist
   already. A name that looks like an id is a name.
2. Parents come first (`parents_first`): a graph that has no such order has a cycle, and is rejected.
3. A job of a flow has no unique value: an existing job can't become a part of a new graph.
4. The work grows with the number of jobs and of parents; no step of it is recursive.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import msgspec

from jobqueue.api_limits import FLOW_GRAPH_MAX
from jobqueue.core.ids import is_well_formed
from jobqueue.encoder import encode
from jobqueue.errors import FAULTS_MAX, InvalidField, InvalidSubmission, shown
from jobqueue.handlers.submission import Name, Submission, check_texts
from jobqueue.handlers.validation import field_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

SHOWN_OF_CYCLE_MAX = 8
"""Names of a cycle that are told."""


class NamedSubmission(Submission, forbid_unknown_fields=True, kw_only=True):
    """One job of a flow: a submission with a name. `after` has names of other jobs of the flow, or ids of jobs.

    Attributes:
        name: Names it in the flow, and for its children.
    """

    name: Name


class FlowSubmission(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A graph of jobs: accepted as a whole, or not at all.

    Each is decoded separately.

    Attributes:
        jobs: The jobs, in any order, without files.
    """

    jobs: Annotated[list[msgspec.Raw], msgspec.Meta(min_length=1, max_length=FLOW_GRAPH_MAX)]


class ValidFlow(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The same where each job is valid, decoded in one go."""

    jobs: Annotated[list[NamedSubmission], msgspec.Meta(min_length=1, max_length=FLOW_GRAPH_MAX)]


def flow_of(fields: Mapping[str, Any]) -> ValidFlow:
    """Make a flow of Python values, arguments too. Raises InvalidSubmission."""
    jobs = [{name: value for name, value in job.items() if name != "args"} for job in fields["jobs"]]
    try:
        flow = msgspec.convert({**fields, "jobs": jobs}, ValidFlow)
    except msgspec.ValidationError as fault:
        raise InvalidSubmission(field_of(fault)) from None
    for number, job in enumerate(flow.jobs):
        check_texts(job, f"/jobs/{number}")
        try:
            job.args = msgspec.Raw(encode(fields["jobs"][number].get("args") or {}))
        except ValueError as error:
            raise InvalidSubmission(InvalidField(pointer=f"/jobs/{number}/args", detail=str(error))) from None
    return flow


class Order(NamedTuple):
    """The order of a flow's jobs.

    Attributes:
        positions: The positions in the submission, parents before their children.
        parents: For each position those of its parents.
        outside: For each position the ids of its parents outside of the flow.
    """

    positions: list[int]
    parents: list[tuple[int, ...]]
    outside: list[tuple[str, ...]]


def parents_first(jobs: Sequence[NamedSubmission]) -> Order:
    """Order a flow's jobs so that each comes after its parents.

    Raises:
        InvalidSubmission: A name is there twice or unknown, a parent is named twice or is the job itself, or there is
            a cycle; the first `FAULTS_MAX` faults, with pointers from the flow's root.
    """
    positions: dict[str, int] = {}
    faults = [*islice(_name_faults(jobs, positions), FAULTS_MAX)]
    # With a name twice, or with many faults, not all names have a position: parents are not looked at then.
    parents: list[tuple[int, ...]] = []
    outside: list[tuple[str, ...]] = []
    for number, job in enumerate(jobs if len(positions) == len(jobs) else ()):
        named = job.after or ()
        found = [positions.get(name) for name in named]
        inside = tuple(parent for parent in found if parent is not None)
        parents.append(inside)
        outside.append(() if len(inside) == len(found) else tuple(name for name in named if name not in positions))
        if outside[-1] or number in inside or len(set(inside)) < len(inside):
            room = FAULTS_MAX - len(faults)
            faults += islice(_parent_faults(number, named, found), max(0, room))
    if faults:
        raise InvalidSubmission(*faults)
    order = _ordered(parents)
    if len(order) < len(jobs):
        raise InvalidSubmission(_cycle_fault(jobs, parents, frozenset(order)))
    return Order(order, parents, outside)


def _name_faults(jobs: Sequence[NamedSubmission], positions: dict[str, int]) -> Iterator[InvalidField]:
    """Fill in the position of each name, and yield the faults of names and unique values."""
    for number, job in enumerate(jobs):
        first = positions.setdefault(job.name, number)
        if first != number:
            detail = f"{job.name!r} is the name of job {first}, too: each job has a name of its own"
            yield InvalidField(pointer=f"/jobs/{number}/name", detail=detail)
        if job.unique is not None:
            detail = "a job of a flow takes no unique value: send the flow with an Idempotency-Key"
            yield InvalidField(pointer=f"/jobs/{number}/unique", detail=detail)


def _parent_faults(number: int, named: Sequence[str], found: Sequence[int | None]) -> Iterator[InvalidField]:
    """Yield the faults of the names that a job comes after; `found` has their positions."""
    seen: set[str] = set()
    for place, (name, parent) in enumerate(zip(named, found, strict=True)):
        if name in seen:
            detail = f"{shown(name)!r} is named twice"
        elif parent == number:
            detail = "a job can't come after itself"
        elif parent is None and not is_well_formed(name):
            detail = f"no job of this flow has the name {shown(name)!r}, and it is no id of a job"
        else:
            seen.add(name)
            continue
        yield InvalidField(pointer=f"/jobs/{number}/after/{place}", detail=detail)


def _ordered(parents: Sequence[tuple[int, ...]]) -> list[int]:
    """Return the positions, parents first (Kahn's algorithm); those on a cycle, and behind one, are missing."""
    children: list[list[int]] = [[] for _ in parents]
    missing = [len(each) for each in parents]
    for number, each in enumerate(parents):
        for parent in each:
            children[parent].append(number)
    order = [number for number, count in enumerate(missing) if not count]
    for number in order:  # grows meanwhile
        for child in children[number]:
            missing[child] -= 1
            if not missing[child]:
                order.append(child)
    return order


def _cycle_fault(
    jobs: Sequence[NamedSubmission], parents: Sequence[tuple[int, ...]], ordered: frozenset[int]
) -> InvalidField:
    """Return the fault of one cycle, at the edge that closes it."""
    # Each job that is left has a parent that is left: going up from any of them ends in a cycle.
    number = next(number for number in range(len(jobs)) if number not in ordered)
    path: dict[int, None] = {}
    while number not in path:
        path[number] = None
        number = next(parent for parent in parents[number] if parent not in ordered)
    upwards = [*path]
    cycle = upwards[upwards.index(number) :]
    names = [jobs[each].name for each in reversed(cycle)]
    told = names if len(names) <= SHOWN_OF_CYCLE_MAX else [*names[: SHOWN_OF_CYCLE_MAX - 1], "…"]
    first = cycle[0]
    after = jobs[first].after
    assert after is not None, "it has a parent"
    place = after.index(jobs[cycle[1]].name)
    detail = f"a cycle of {len(names)} jobs, {' → '.join((*told, names[0]))}: none of them could ever start"
    return InvalidField(pointer=f"/jobs/{first}/after/{place}", detail=detail)
