"""The open connections of each caller, where they are limited.

Rules:

1. A connection counts for its peer from its start; where requests need keys, for the key of its first request.
2. One over the limit is answered with 429, and closed.
3. Those of a listed proxy count for no caller: each has requests of many.
4. Connections that were open before a limit was set don't count.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiohttp import web

from jobqueue.http.errors import CallerLimitExceeded
from jobqueue.http.request.rate_limit import policies_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobqueue.config import LimitsOfCallers

RETRY_AFTER_S = 1.0

MANY = ""
"""Stands for the callers of a listed proxy's connection."""


class CallerConnections:
    """Counts connections, and rejects those over a limit.

    Args:
        limits: Returns the limits of now; they may change while the server runs.
        needs_key: Returns whether requests need keys.
    """

    def __init__(self, limits: Callable[[], LimitsOfCallers], needs_key: Callable[[], bool]) -> None:
        self._limits = limits
        self._needs_key = needs_key
        self._counts: dict[str, int] = {}

    def __len__(self) -> int:
        """Number of callers with a connection that counts."""
        return len(self._counts)

    @property
    def by_peer(self) -> bool:
        """Whether a connection counts from its start."""
        return self._limits().connections and not self._needs_key()

    def enter(self, caller: str) -> None:
        """Count a connection. Raises CallerLimitExceeded."""
        limits, count = self._limits().of(caller), self._counts.get(caller, 0)
        maximum = limits.connections_max
        if maximum is not None and count >= maximum:
            fields = {**policies_of(limits), "RateLimit": f'"connections";r=0;t={int(RETRY_AFTER_S)}'}
            detail = f"this caller has {count} open connections, and the limit is {maximum}"
            raise CallerLimitExceeded(detail, retry_after_s=RETRY_AFTER_S, headers=fields, closes=True)
        self._counts[caller] = count + 1

    def maximum_of(self, caller: str) -> int | None:
        """Return how many connections a caller may have; None: any number."""
        return self._limits().of(caller).connections_max

    def leave(self, caller: str) -> None:
        """Count a connection no more."""
        left = self._counts[caller] - 1
        if left:
            self._counts[caller] = left
        else:
            del self._counts[caller]

    def admit(self, request: web.BaseRequest, caller: str) -> None:
        """Count a connection by its first request with a key. Raises CallerLimitExceeded."""
        connection: Any = request.protocol
        if connection is not None and getattr(connection, "counted_for", "") is None:
            if connection.peer.proxies is not None:
                connection.counted_for = MANY
                return
            self.enter(caller)
            connection.counted_for = caller


CALLER_CONNECTIONS = web.AppKey("caller_connections", CallerConnections)
"""The key of an application's connections by caller, for the server that accepts them."""
