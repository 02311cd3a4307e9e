"""A subscriber: one open stream, with a bounded buffer of the events that wait to be written.

Rules:

1. One with more than `BACKLOG_BYTES_MAX` unread is cut. It does not delay others.
2. One with a `rate_max` is handed a part of the events, where more are recorded.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from jobqueue.http.streams.event_sampling import NOTED_S, WINDOW_S

if TYPE_CHECKING:
    from collections.abc import Callable

BACKLOG_BYTES_MAX = 256 * 1024
"""Maximum bytes that wait for a subscriber, beside its connection's buffer; of one job's events a quarter."""

PIECE_BYTES = 64 * 1024
"""Bytes written at once: a connection's buffer holds less, unsent."""

HEARTBEAT = b":\n\n"

SKIPPED = b'event: skipped\ndata: {"reason":"more events a second than rate_max: some before this are left out"}\n\n'
"""Without an id: a stream is resumed after the last event that it had."""


class Subscriber:
    """One open stream, with the events that wait to be written.

    Args:
        job_id: The job of the stream; None: all jobs.
        cut: Cuts the connection; called when its client is too slow.
        sees: The owner of the jobs of its events; None: any owner, and it has the events of types, too.

    Attributes:
        replayed_to: The serial of the last event that was replayed; None: the replay is complete.
    """

    def __init__(self, job_id: str | None, cut: Callable[[], None], sees: str | None = None) -> None:
        self.job_id = job_id
        self.sees = sees
        self.replayed_to: int | None = None
        self._cut = cut
        self._backlog_bytes_max = BACKLOG_BYTES_MAX if job_id is None else BACKLOG_BYTES_MAX // 4
        self._frames: list[bytes] = []
        self._size_bytes = 0
        self._over = False
        self._news: asyncio.Future[None] | None = None

    @property
    def wants_all(self) -> bool:
        """Whether all events must be recorded for it."""
        return True

    @property
    def over(self) -> bool:
        """Whether it ends once the waiting events are written."""
        return self._over

    def offer(self, frame: bytes) -> None:
        """Add an event, unless the replay, which is not complete, will reach it in the ring."""
        if self._over or self.replayed_to is not None:
            return
        self._size_bytes += len(frame)
        if self._size_bytes > self._backlog_bytes_max:
            self._frames.clear()
            self.end()
            self._cut()
            return
        self._frames.append(frame)
        self._wake()

    def end(self) -> None:
        """End the stream once the waiting events are written."""
        self._over = True
        self._wake()

    async def take(self, heartbeat_s: float) -> bytes | None:
        """Wait for the next events and return them; a comment if none came in time; None: the stream is over."""
        if not self._frames and not self._over:
            loop = asyncio.get_running_loop()
            self._news = loop.create_future()
            timer = loop.call_later(heartbeat_s, self._wake)
            try:
                await self._news
            finally:
                timer.cancel()
                self._news = None
        if self._frames:
            return self._next_piece()
        return None if self._over else HEARTBEAT

    def _next_piece(self) -> bytes:
        count = size_bytes = 0
        while size_bytes < PIECE_BYTES and count < len(self._frames):
            size_bytes += len(self._frames[count])
            count += 1
        piece = b"".join(self._frames[:count])
        del self._frames[:count]
        self._size_bytes -= size_bytes
        return piece

    def _wake(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)


class SampledSubscriber(Subscriber):
    """A stream of all jobs with a maximum of events a second.

    One that sees the jobs of its own key alone wants all events recorded: a sample of them all might have none of its.
    """

    def __init__(self, rate_max: int, cut: Callable[[], None], sees: str | None = None) -> None:
        super().__init__(None, cut, sees)
        self.share = max(1, round(rate_max * WINDOW_S))
        self._left = 0
        self._window_end = self._noted_at = float("-inf")

    @property
    def wants_all(self) -> bool:
        return self.sees is not None

    def offer(self, frame: bytes) -> None:
        now = asyncio.get_running_loop().time()
        if now >= self._window_end:
            self._window_end, self._left = now + WINDOW_S, self.share
        self._left -= 1
        if self._left >= 0:
            super().offer(frame)
        elif now >= self._noted_at + NOTED_S:
            self._noted_at = now
            self.note_skipped()

    def note_skipped(self) -> None:
        """Tell the client that events were left out."""
        super().offer(SKIPPED)
