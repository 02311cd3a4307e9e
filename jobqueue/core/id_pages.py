"""Id pages: the records of the job store in the order of their ids, so that a listing can resume at any id."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING

from jobqueue.core.ids import ID_PAGE_PREFIX_LENGTH

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jobqueue.core.job import Job, JobId

IdPages = dict[str, dict["JobId", "Job"]]


def newest_first(id_pages: IdPages, after: JobId | None) -> Iterator[Job]:
    """Iterate over the records by falling id, from the one below `after`. Valid only until the store changes."""
    prefix_max = after[:ID_PAGE_PREFIX_LENGTH] if after is not None else None
    for prefix, id_page in reversed(id_pages.items()):
        if prefix_max is not None and prefix > prefix_max:
            continue
        for job_id, job in reversed(id_page.items()):
            if after is None or job_id < after:
                yield job


def portion(id_pages: IdPages, after: str | None, *, oldest_first: bool, limit: int) -> list[Job]:
    """Return up to `limit` records by falling or rising id, beyond `after`; empty: there are none.

    A portion costs little more than its records, wherever it begins: the ids of one page are copied and bisected.
    """
    prefix_of_after = None if after is None else after[:ID_PAGE_PREFIX_LENGTH]
    for prefix in id_pages if oldest_first else reversed(id_pages):
        if prefix_of_after is not None and (prefix < prefix_of_after if oldest_first else prefix > prefix_of_after):
            continue
        ids = list(id_pages[prefix])
        if oldest_first:
            begin = 0 if after is None or prefix != prefix_of_after else bisect_right(ids, after)
            chosen = ids[begin : begin + limit]
        else:
            end = len(ids) if after is None or prefix != prefix_of_after else bisect_left(ids, after)
            chosen = ids[max(0, end - limit) : end]
            chosen.reverse()
        if chosen:
            id_page = id_pages[prefix]
            return [id_page[job_id] for job_id in chosen]
    return []
