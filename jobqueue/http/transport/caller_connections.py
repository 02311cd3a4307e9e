"""The open connections of each caller, where they are limited.

Rules:

1. A connection counts for its peer from its start; where requests need keys, for the key of its first request, and
   until then for its address, which may have `limits.keyless_connections_max` such connections.
2. One over the limit is answered with 429, and closed.
3. Those of a listed proxy count for no caller: each has requests of many. Nor do those of a Unix socket without a key,
   and those with a client's certificate.
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
    from jobqueue.http.request.peer import Peer

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
        self._keyless: dict[str, int] = {}

    def __len__(self) -> int:
        """Number of callers with a connection that counts."""
        return len(self._counts)

    @property
    def by_peer(self) -> bool:
        """Whether a connection counts from its start."""
        return self._limits().connections and not self._needs_key()

    def begin(self, peer: Peer) -> tuple[str | None, str | None]:
        """Count a connection from its start; return the caller and the address that it counts for, at most one of them.

        Raises:
            CallerLimitExceeded: It is one too many.
        """
        if peer.proxies is not None:
            return None, None
        if self.by_peer:
            self.enter(peer.caller)
            return peer.caller, None
        maximum = self._keyless_max(peer)
        if maximum is None:
            return None, None
        count = self._keyless.get(peer.caller, 0)
        if count >= maximum:
            detail = (
                f"this address has {count} open connections without a key, and the limit is {maximum} "
                "(limits.keyless_connections_max): send requests with a key over those, or close them"
            )
            raise CallerLimitExceeded(detail, retry_after_s=RETRY_AFTER_S, headers={}, closes=True)
        self._keyless[peer.caller] = count + 1
        return None, peer.caller

    def leave_keyless(self, address: str) -> None:
        """Count a connection for its address no more: its key is known, or it is closed."""
        _decrease(self._keyless, address)

    def handshakes_max(self, peer: Peer) -> int | None:
        """Return how many TLS handshakes with a peer may be under way; None: any number."""
        if peer.proxies is not None:
            return None
        if self.by_peer:
            return self._limits().of(peer.caller).connections_max
        maximum = self._keyless_max(peer)
        return None if maximum is None else maximum - self._keyless.get(peer.caller, 0)

    def _keyless_max(self, peer: Peer) -> int | None:
        """Return how many connections without a key this peer may have; None: any number."""
        is_named = peer.is_unix or peer.certificate is not None
        return None if is_named or not self._needs_key() else self._limits().keyless_connections_max

    def enter(self, caller: str) -> None:
        """Count a connection. Raises CallerLimitExceeded."""
        limits, count = self._limits().of(caller), self._counts.get(caller, 0)
        maximum = limits.connections_max
        if maximum is not None and count >= maximum:
            fields = {**policies_of(limits), "RateLimit": f'"connections";r=0;t={int(RETRY_AFTER_S)}'}
            detail = f"this caller has {count} open connections, and the limit is {maximum}"
            raise CallerLimitExceeded(detail, retry_after_s=RETRY_AFTER_S, headers=fields, closes=True)
        self._counts[caller] = count + 1

    def of(self, caller: str) -> int:
        """Return the number of a caller's connections that count."""
        return self._counts.get(caller, 0)

    def callers(self) -> list[str]:
        """Return the callers with a connection that counts."""
        return [caller for caller in self._counts if caller != MANY]

    def leave(self, caller: str) -> None:
        """Count a connection no more."""
        _decrease(self._counts, caller)

    def show_key(self, request: web.BaseRequest) -> None:
        """A request has a valid key: its connection counts for its address no more."""
        connection: Any = request.protocol
        if getattr(connection, "keyless_at", None) is not None:
            connection.leave_keyless()

    def admit(self, request: web.BaseRequest, caller: str) -> None:
        """Count a connection by its first request with a key. Raises CallerLimitExceeded."""
        connection: Any = request.protocol
        if connection is not None and getattr(connection, "counted_for", "") is None:
            if connection.peer.proxies is not None:
                connection.counted_for = MANY
                return
            self.enter(caller)
            connection.counted_for = caller


def _decrease(counts: dict[str, int], name: str) -> None:
    left = counts[name] - 1
    if left:
        counts[name] = left
    else:
        del counts[name]


CALLER_CONNECTIONS = web.AppKey("caller_connections", CallerConnections)
"""The key of an application's connections by caller, for the server that accepts them."""
