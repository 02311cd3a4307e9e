"""The port of the fast path, as a connection sees it: with or without an access log around it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from aiohttp.streams import StreamReader

    from jobqueue.http.transport.deferred import Client
    from jobqueue.http.transport.parsed_head import ParsedHead


class PlainPath(Protocol):
    """Answers plain requests; `FastPath` says how."""

    def recall(self, data: bytes, client: Client, now: float) -> bytes | None:
        """Return the whole response to a request with a cached head, or LATER; None: nothing was done."""
        ...

    def answer(self, message: ParsedHead, payload: StreamReader, client: Client, now: float) -> bytes | None:
        """Return the whole response to a request, or LATER; None: nothing was done."""
        ...

    def learn(self, data: bytes, message: ParsedHead, head_bytes: int) -> None:
        """Cache the head of a request that was answered, if it may be cached."""
        ...
