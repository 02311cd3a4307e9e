"""The part of the Backend port for jobs that are accepted together, or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobqueue.core.job_view import JobView
    from jobqueue.core.submit import Asked, SubmitResult


class FlowOperations(Protocol):
    """Operations on several jobs at once. A store outside this process has none of them: each raises NotInStore."""

    async def submit_together(self, many: Sequence[Asked]) -> list[SubmitResult[JobView]]:
        """Submit all, in order, or none: every check comes before the first job.

        A submission whose key or unique value leads to a job that exists gets this one, as by `submit`. With a journal
        all are kept, or none is, whenever the process ends.

        Raises:
            QueueFull, StatusesFull, TypeQuarantined, RateLimited, Draining, KeyReused, Duplicate, JournalFailed: As
                `submit`, and nothing was kept; `item` is the index of the submission at fault, if it is one's.
            InvalidSubmission: One would replace or debounce a live job, or has the key or unique value of an earlier
                one; or together they take more slots than their queue has.
        """
        ...
