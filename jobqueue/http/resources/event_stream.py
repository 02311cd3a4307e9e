"""The bytes of an event stream, whatever its events are: its headers, its beginning, its frames until its end.

Rules:

1. A stream opens with the reconnection time, drawn for each, so that reconnections are spread.
2. Frames are written in slices: a connection holds no more of them than its buffer and one slice, unsent.
3. A stream whose key is removed or changed ends with the event `revoked`.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Protocol, TypeVar

from aiohttp import web

from jobqueue.http.request.auth import GRANT
from jobqueue.http.response.reply import SERVER
from jobqueue.http.streams.event_writer import frame
from jobqueue.http.streams.subscriber import PIECE_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobqueue.service import Service

RETRY_MS = (1000, 4000)
"""Reconnection time in ms: drawn for each stream."""

LAST_EVENT_ID = "Last-Event-ID"

_HEADERS = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",
    "Server": SERVER,
}
_REVOKED = b'{"reason":"the key of this stream was removed or changed"}'


class Reader(Protocol):
    """What takes the events of one stream as they come."""

    async def take(self, heartbeat_s: float) -> bytes | None:
        """Wait for the next frames and return them; a comment if none came in time; None: the stream is over."""
        ...


R_contra = TypeVar("R_contra", bound=Reader, contravariant=True)


class Recording(Protocol[R_contra]):
    """The events that were recorded."""

    def last_id(self, reader: R_contra, /) -> str:
        """Return the id of the latest event."""
        ...

    async def replay(self, reader: R_contra, /) -> bytes | None:
        """Return the next frames that a reader has missed; empty: none; None: they are no longer held."""
        ...


def beginning() -> bytes:
    """Return the first bytes of a stream."""
    return b"retry: %d\n\n" % random.randint(*RETRY_MS)  # noqa: S311  # spreads clients


async def write_stream(
    request: web.Request, recording: Recording[R_contra], reader: R_contra, opening: bytes, service: Service
) -> web.StreamResponse:
    """Write a stream until the reader is over, its events are no longer held, or its key is revoked."""
    response = web.StreamResponse(headers=_HEADERS)
    await response.prepare(request)
    # A host application's connections don't count.
    count_unread: Callable[[int], None] | None = getattr(request.protocol, "count_unread", None)
    frames: bytes | None = opening
    grant = request[GRANT]
    while frames is not None and not grant.revoked:
        for begin in range(0, len(frames), PIECE_BYTES):
            piece = frames[begin : begin + PIECE_BYTES]
            if count_unread is not None:
                count_unread(len(piece))
            await response.write(piece)  # waits while more than 64 KiB are unread
        frames = await recording.replay(reader)
        if frames == b"":
            frames = await reader.take(service.settings.limits.heartbeat_s)
    if grant.revoked:
        await response.write(frame(recording.last_id(reader), "revoked", _REVOKED))
    await response.write_eof()
    return response
