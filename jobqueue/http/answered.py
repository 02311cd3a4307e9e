"""Counts of answers: of the stock path by method, route and code, and of problems on both paths.

Rules:

1. The fast path counts answers only, in the one addition per write that it makes anyway: a count by method and code
   would take a hundredth of all that a HEAD costs. Its problems are counted by their kind, as all are.
2. A route is the path of its row, with the names in braces, or `none`; a method that no row has is `other`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobqueue.http.response.problems import COUNTERS
from jobqueue.metrics import catalogue as of
from jobqueue.metrics.family import labelled

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp import web

    from jobqueue.metrics.queues import QueueFamilies

METHODS = frozenset({"GET", "HEAD", "POST", "PATCH", "PUT", "DELETE", "OPTIONS"})
NO_ROUTE = "none"


class Answered:
    """The answers of one application.

    Attributes:
        fast: Returns the number of those on the fast path.
    """

    def __init__(self) -> None:
        self.fast: Callable[[], int] = lambda: 0
        self._stock: dict[tuple[str, str, int], int] = {}

    def note(self, request: web.Request, response: web.StreamResponse) -> None:
        """Count an answer of the stock path."""
        resource = request.match_info.route.resource
        method = request.method if request.method in METHODS else "other"
        what = (method, NO_ROUTE if resource is None else resource.canonical, response.status)
        self._stock[what] = self._stock.get(what, 0) + 1

    def add(self, families: QueueFamilies) -> None:
        """Add the samples."""
        families[of.HTTP_REQUESTS].add(self.fast(), 'path="fast"')
        families[of.HTTP_REQUESTS].add(sum(self._stock.values()), 'path="stock"')
        for (method, route, code), count in self._stock.items():
            families[of.HTTP_STOCK].add(count, labelled(("method", method), ("route", route), ("code", str(code))))


def problems() -> dict[str, int]:
    """Return the problems of this process by their kind; several queues of one process share these counts."""
    counts: dict[str, int] = {}
    for row, counter in COUNTERS.items():
        counts[row.slug] = counts.get(row.slug, 0) + counter.total
    return counts


def add_problems(families: QueueFamilies) -> None:
    """Add the problems of this process."""
    for slug, count in problems().items():
        families[of.HTTP_PROBLEMS].add(count, labelled(("problem", slug)))
