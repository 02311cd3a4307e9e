"""What a store that servers share doesn't have: jobs that are accepted together, or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobqueue.errors import NotInStore

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobqueue.core.job_view import JobView
    from jobqueue.core.submit import Asked, SubmitResult


async def submit_together(many: Sequence[Asked]) -> list[SubmitResult[JobView]]:
    """As `Backend.submit_together`. Raises NotInStore, always."""
    raise NotInStore("jobs can't be accepted all at once where servers share a store: submit each on its own")
