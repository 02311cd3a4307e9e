"""The part of the Backend port for jobs that depend on each other, and that are accepted together or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

from jobqueue.core.flow import FlowSummary

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobqueue.core.flow import FlowResult, FlowState, FlowView
    from jobqueue.core.job_view import JobView
    from jobqueue.core.lineage import Link
    from jobqueue.core.submit import Asked, SubmitResult


class FlowPage(msgspec.Struct, frozen=True):
    """Flows, newest first, and where the next page begins (None: this is the last one).

    A page may hold fewer flows than asked for, even none, and still have a next one: the search ends after a bounded
    amount of work.
    """

    flows: list[FlowSummary]
    cursor: str | None


class FlowOperations(Protocol):
    """Operations on several jobs at once, and on flows.

    A store outside this process has none of them: each raises NotInStore. `owner` is that of parents and flows, for
    which any other one can't be told from an id that was never issued; None: any owner.
    """

    async def submit_together(
        self,
        many: Sequence[Asked],
        links: Sequence[Link | None] | None = None,
        *,
        flow: str | None = None,
        owner: str | None = None,
    ) -> list[SubmitResult[JobView]]:
        """Submit all, in order, or none: every check comes before the first job.

        A submission whose key or unique value leads to a job that exists gets this one, as by `submit`. With a journal
        all are kept, or none is, whenever the process ends.

        Args:
            links: The parents of each; None: it has none.
            flow: Id of a flow that they join.

        Raises:
            QueueFull, StatusesFull, TypeQuarantined, RateLimited, Draining, KeyReused, Duplicate, JournalFailed: As
                `submit`, and nothing was kept; `item` is the index of the submission at fault, if it is one's.
            JobNotFound, JobGone: A parent, with `item`; or the flow, without.
            WrongState: The flow has ended.
            InvalidSubmission: One would replace or debounce a live job, has the key or unique value of an earlier one,
                too many parents, or the name of another job of the flow; or together they take more slots than their
                queue has, or more jobs than a flow may have.
        """
        ...

    async def submit_flow(
        self, many: Sequence[Asked], links: Sequence[Link | None], *, owner: str | None = None
    ) -> FlowResult:
        """Submit all as a flow, or none. The key of the flow is that of the first one.

        Args, Raises: As `submit_together`.
        """
        ...

    async def flow(
        self, flow_id: str, owner: str | None = None, *, cursor: str | None = None, limit: int | None = None
    ) -> FlowView:
        """Return a flow.

        Args:
            cursor: Of its jobs the view has those from there on: a `FlowView.cursor`.
            limit: Up to so many of them; None: all.

        Raises:
            JobNotFound, JobGone: As `get` of a job's id.
            InvalidCursor: There is no such cursor.
        """
        ...

    async def flows(
        self, state: FlowState | None = None, *, owner: str | None = None, limit: int, cursor: str | None = None
    ) -> FlowPage:
        """Return the flows in a state, newest first, from `cursor` on: a page's. Raises InvalidCursor."""
        ...

    async def cancel_flow(self, flow_id: str, owner: str | None = None, *, limit: int | None = None) -> FlowView:
        """Cancel all live jobs of a flow, in portions between other tasks, of which none starts any more.

        Args:
            limit: Of the jobs in the view; None: all.

        Raises:
            JobNotFound, JobGone: As `flow`.
            WrongState: None is live.
        """
        ...

    async def retry_flow(self, flow_id: str, owner: str | None = None, *, limit: int | None = None) -> FlowView:
        """Retry the failed jobs of a flow, and those that were cancelled for that reason, or none.

        Args:
            limit: As of `cancel_flow`.

        Raises:
            JobNotFound, JobGone: As `flow`.
            WrongState: There are none, or one can't be retried.
            Refused: There are no slots for all of them now.
        """
        ...
