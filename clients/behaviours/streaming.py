"""The streaming client: for each job its stream of server-sent events, until the terminal one.

A stream for each job, as a browser's EventSource would open it, and not one for all jobs of the
server: a client of three jobs has no use for all events. A broken stream is opened again
after the server's `retry`, with the id of the last event received.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from clients.behaviours.base import PAUSE_S, SPREAD, TERMINAL, pause_of, why_of
from clients.behaviours.long_polling import FollowingClient
from clients.wire.connection import NoAnswer
from clients.wire.documents import document_of
from clients.wire.event_stream import EventStream

if TYPE_CHECKING:
    from clients.behaviours.base import Slot
    from clients.wire.place import Place


class StreamingClient(FollowingClient):
    """Follows each job by a stream of its events."""

    def __init__(self, *, address: Place, **common: Any) -> None:
        super().__init__(**common)
        self._address = address
        self._streams: set[EventStream] = set()

    def expire(self, now: float) -> None:
        super().expire(now)
        for stream in self._streams:
            stream.expire(now)

    def close(self) -> None:
        super().close()
        for stream in self._streams:
            stream.close()

    async def _hear_of(self, slot: Slot) -> None:
        stream = EventStream(self._address)
        self._streams.add(stream)
        try:
            await self._listen(stream, slot)
        finally:
            self._streams.discard(stream)
            stream.close()

    async def _listen(self, stream: EventStream, slot: Slot) -> None:
        since = f"Last-Event-ID: {slot.last_event}\r\n" if slot.last_event else ""
        request = self._requests.read("GET", f"{slot.target}/events", f"Accept: text/event-stream\r\n{since}")
        sent_at = time.monotonic()
        with self._line() as connection:  # for requests beside the stream
            try:
                answer = await stream.open(request)
            except NoAnswer as failure:
                await self._unread(connection, [slot], failure)
                return
            self._counts.answers += 1
            self._counters.time(f"events {answer.status}", time.monotonic() - sent_at)
            if answer.status != 200:
                self._not_told(slot, answer.status, pause_of(answer), why_of(answer))
                return
            while event := await stream.next():
                slot.last_event = event.id or slot.last_event
                document = document_of(event.data)
                if document is None or document.state is None:
                    self._counters.error(f"event: {event.name} without a state")
                elif document.state in TERMINAL:
                    await self._ended(connection, slot, document.state, event.data)
                    return
                else:
                    slot.state = document.state
            self._counts.resumed += 1
            self._next_look(slot, (stream.retry_s or PAUSE_S) * (1 + SPREAD * self._rng.random()))
