"""Lineage: how a job depends on others, its parents, and which flow it is part of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, final

from mypy_extensions import mypyc_attr

from jobqueue.core.record import Record

if TYPE_CHECKING:
    from jobqueue.core.job_id import JobId

OnFailure = Literal["cancel", "run"]
"""What becomes of a job if a parent doesn't succeed: it is cancelled, or runs once all parents have ended."""


@final
@mypyc_attr(acyclic=True)
class Lineage(Record):
    """The parents of a job, what their failure means for it, and its flow.

    Attributes:
        parents: Ids of the jobs that it waits for.
        flow: Id of its flow; None: it is in none.
        name: Its name in the flow, by which children find its result; None: it has none.
    """

    parents: tuple[JobId, ...]
    on_failure: OnFailure
    flow: JobId | None
    name: str | None

    def __init__(self, parents: tuple[JobId, ...], on_failure: OnFailure, flow: JobId | None, name: str | None) -> None:
        self.parents = parents
        self.on_failure = on_failure
        self.flow = flow
        self.name = name


@final
@mypyc_attr(acyclic=True)
class Link(Record):
    """The lineage that a submission asks for.

    Attributes:
        parents: Ids of jobs that exist.
        beside: Of the jobs that are accepted with it, the indexes of those that are its parents; lower than its own.
        name: As of `Lineage`.
    """

    parents: tuple[str, ...]
    beside: tuple[int, ...]
    on_failure: OnFailure
    name: str | None

    def __init__(
        self,
        parents: tuple[str, ...] = (),
        beside: tuple[int, ...] = (),
        on_failure: OnFailure = "cancel",
        name: str | None = None,
    ) -> None:
        self.parents = parents
        self.beside = beside
        self.on_failure = on_failure
        self.name = name
