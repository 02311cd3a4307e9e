"""Stream places: bounds the event streams that look at everything, and shares them among callers.

Rule: a caller gets a further one while more are free than it has. So one alone gets half of them, and callers with few
streams always get one, as long as any is free (dynamic thresholds: Choudhury and Hahne, 1998).
"""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING

from jobqueue.http.errors import CallerLimitExceeded, TooManyLongPolls
from jobqueue.http.request.auth import caller_of_request
from jobqueue.http.request.rate_limit import policies_of
from jobqueue.http.streams.waiters import NO_PLACE_RETRY_AFTER_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from aiohttp import web

    from jobqueue.config.callers import LimitsOfCallers


class StreamPlaces:
    """The places of streams of one kind.

    Args:
        kind: Names the streams, in the plural.
        places_max: Number of places.
        callers: Returns those of callers now; a rejection tells them in its fields.
    """

    def __init__(self, kind: str, places_max: int, callers: Callable[[], LimitsOfCallers]) -> None:
        self._kind, self._places_max, self._callers = kind, places_max, callers
        self._taken: Counter[str] = Counter()

    @contextmanager
    def place(self, request: web.BaseRequest) -> Iterator[None]:
        """Take a place for the block.

        Raises:
            TooManyLongPolls: None is free.
            CallerLimitExceeded: The caller has its share.
        """
        caller = caller_of_request(request)
        free, own = self._places_max - self._taken.total(), self._taken[caller]
        if free <= 0:
            detail = f"too many open {self._kind}, at most {self._places_max}"
            raise TooManyLongPolls(detail, retry_after_s=NO_PLACE_RETRY_AFTER_S)
        if own >= free:
            detail = (
                f"this caller has {own} of {self._places_max} {self._kind}, and only {free} are free; "
                "close one, or poll"
            )
            fields = policies_of(self._callers().of(caller))
            raise CallerLimitExceeded(detail, retry_after_s=NO_PLACE_RETRY_AFTER_S, headers=fields)
        self._taken[caller] += 1
        try:
            yield
        finally:
            self._taken[caller] -= 1
            if not self._taken[caller]:
                del self._taken[caller]
