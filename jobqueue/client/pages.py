"""Pages of a list, one after the other: the next request, without the I/O.

Rules:

1. A page is asked for when the items of the one before are used up.
2. A page may be empty although more follow: a search ends when it has taken long enough. So there is a bound of empty
   pages in a row, and a cursor that doesn't advance is an error: no answer keeps an iteration from coming to its end.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Generic, TypeVar, cast

from jobqueue.client.protocol import ErrorAnswer

EMPTY_PAGES_MAX = 10_000
"""In a row. A server with a million records searches them all in fewer."""

F = TypeVar("F", bound=Mapping[str, Any])
T = TypeVar("T")


class Pages(Generic[F]):
    """The state of one iteration.

    Attributes:
        filters: The filters of the next page.
        over: No page follows.
    """

    def __init__(self, filters: F) -> None:
        self.filters = filters
        self.over = False
        self._empty = 0

    def take(self, items: tuple[T, ...], next_cursor: str | None) -> tuple[T, ...]:
        """Return the items of a page, and go on to the next. Raises ErrorAnswer if there would be no end."""
        self._empty = 0 if items else self._empty + 1
        if next_cursor is None:
            self.over = True
        elif next_cursor == self.filters.get("cursor"):
            raise ErrorAnswer(200, "the next page of the list is the same page again")
        elif self._empty > EMPTY_PAGES_MAX:
            raise ErrorAnswer(200, f"more than {EMPTY_PAGES_MAX} pages of the list in a row are empty")
        else:
            self.filters = cast("F", {**self.filters, "cursor": next_cursor})
        return items
