"""Pages of a list, one after the other: the next request, without the I/O.

Rules:

1. A page is asked for when the jobs of the one before are used up.
2. A page may be empty although more follow: a search ends when it has taken long enough. So there is a bound of empty
   pages in a row, and a cursor that doesn't advance is an error: no answer keeps an iteration from coming to its end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from jobqueue.client.protocol import ErrorAnswer

if TYPE_CHECKING:
    from jobqueue.client.models import JobDocument, JobPage, ListFilter

EMPTY_PAGES_MAX = 10_000
"""In a row. A server with a million records searches them all in fewer."""


class Pages:
    """The state of one iteration.

    Attributes:
        filters: The filters of the next page.
        over: No page follows.
    """

    def __init__(self, filters: ListFilter) -> None:
        self.filters = filters
        self.over = False
        self._empty = 0

    def take(self, page: JobPage) -> tuple[JobDocument, ...]:
        """Return the jobs of a page, and go on to the next. Raises ErrorAnswer if there would be no end."""
        self._empty = 0 if page.jobs else self._empty + 1
        if page.next_cursor is None:
            self.over = True
        elif page.next_cursor == self.filters.get("cursor"):
            raise ErrorAnswer(200, "the next page of the list is the same page again")
        elif self._empty > EMPTY_PAGES_MAX:
            raise ErrorAnswer(200, f"more than {EMPTY_PAGES_MAX} pages of the list in a row have no job")
        else:
            self.filters = cast("ListFilter", {**self.filters, "cursor": page.next_cursor})
        return page.jobs
