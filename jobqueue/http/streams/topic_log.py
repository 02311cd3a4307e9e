"""The topic log: what is published, for the event streams of listeners.

Rules:

1. Data is recorded while there are listeners, and for `RECORD_S` after the last one left, so that one that reconnects
   has missed nothing. It costs nothing while there are none.
2. The ring holds the latest `RING_MAX` events, and of these no more than have `RING_BYTES_MAX`.
3. Data of more than `DATA_BYTES_MAX` is told by its size alone, so that slow clients hold little of it.
4. Listeners have no buffers of their own: each reads on in the ring. The stream of one that falls behind the ring ends;
   it does not delay others.
5. A listener gets what matches its pattern, and belongs to the owner that it sees.
6. An event's id has the tag of the recording and its number. A stream can't be resumed after an id of another tag, or
   one that the ring has dropped.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from typing import TYPE_CHECKING, Final

import msgspec

from jobqueue.http.response.timestamps import json_timestamp
from jobqueue.http.streams.event_writer import frame
from jobqueue.http.streams.subscriber import HEARTBEAT, PIECE_BYTES
from jobqueue.http.streams.watched_jobs import RECORD_S, new_tag

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobqueue.core.topics import Pattern
    from jobqueue.publishing import Published, Publishing

RING_MAX: Final = 1024
RING_BYTES_MAX: Final = 4 * 1024 * 1024

DATA_BYTES_MAX: Final = 64 * 1024

NAME: Final = "published"

_EVENT_ID: Final = re.compile(r"([0-9a-f]{12})-([0-9]{1,15})")


class TopicListener:
    """One open stream.

    Args:
        sees: The owner of what it gets; None: any owner.

    Attributes:
        read_to: The number of the last event that it has passed.
    """

    def __init__(self, pattern: Pattern, sees: str | None = None) -> None:
        self.pattern = pattern
        self.sees = sees
        self.read_to = 0
        self._over = False
        self._news: asyncio.Future[bool] | None = None

    def takes(self, topic: str, owner: str | None) -> bool:
        """Return whether it gets what is published to a topic."""
        return (self.sees is None or self.sees == owner) and self.pattern.matches(topic)

    def end(self) -> None:
        """End the stream once what was published is written."""
        self._over = True
        self.wake()

    async def take(self, heartbeat_s: float) -> bytes | None:
        """Wait for news; return a comment if none came in time, nothing if some did; None: the stream is over."""
        if self._over:
            return None
        loop = asyncio.get_running_loop()
        self._news = news = loop.create_future()
        timer = loop.call_later(heartbeat_s, _time_out, news)
        try:
            return HEARTBEAT if await news else b""
        finally:
            timer.cancel()
            self._news = None

    def wake(self) -> None:
        """Let it read on."""
        if self._news is not None and not self._news.done():
            self._news.set_result(False)


class _Event(msgspec.Struct, frozen=True, gc=False):
    """An event of the ring; `framed` is as it is sent."""

    topic: str
    owner: str | None
    framed: bytes


class TopicLog:
    """The recording of what a queue publishes, and its listeners."""

    def __init__(self, topics: Publishing) -> None:
        self._topics = topics
        self._listeners: dict[TopicListener, None] = {}
        self._stop_listening: Callable[[], None] | None = None
        self._idle: asyncio.TimerHandle | None = None
        self._tag = ""
        self._ring: deque[_Event] = deque()
        self._size_bytes = 0
        self._last = 0

    @property
    def count(self) -> int:
        """Number of listeners."""
        return len(self._listeners)

    def counts(self, sees: str | None) -> dict[str, int]:
        """Return the number of listeners of each pattern. Args: sees: Those of this owner alone; None: all."""
        found: dict[str, int] = {}
        for listener in self._listeners:
            if sees is None or listener.sees == sees:
                found[listener.pattern.text] = found.get(listener.pattern.text, 0) + 1
        return found

    def join(self, listener: TopicListener) -> None:
        """Add a listener to all that is published later."""
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        if self._stop_listening is None:
            self._tag = new_tag()
            self._stop_listening = self._topics.listen(self._record)
        listener.read_to = self._last
        self._listeners[listener] = None

    def leave(self, listener: TopicListener) -> None:
        del self._listeners[listener]
        if not self._listeners and self._stop_listening is not None:
            self._idle = asyncio.get_running_loop().call_later(RECORD_S, self.stop)

    def stop(self) -> None:
        """Stop recording, and drop the recording."""
        if self._stop_listening is not None:
            self._stop_listening()
            self._stop_listening = None
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        self._ring.clear()
        self._size_bytes = 0

    def last_id(self, listener: TopicListener) -> str:
        """Return the id of the last event that a listener has passed: one that comes back with it missed nothing."""
        return f"{self._tag}-{listener.read_to}"

    def resume(self, listener: TopicListener, event_id: str) -> bool:
        """Let a listener read on after this id; return whether what comes after it is still held."""
        match = _EVENT_ID.fullmatch(event_id)
        if match is None or match[1] != self._tag or not self._first - 1 <= int(match[2]) <= self._last:
            return False
        listener.read_to = int(match[2])
        return True

    async def replay(self, listener: TopicListener) -> bytes | None:
        """Return the next events of a listener; empty: none; None: the ring has dropped them."""
        if listener.read_to < self._first - 1:
            return None
        frames, size_bytes = list[bytes](), 0
        while listener.read_to < self._last:
            event = self._ring[listener.read_to + 1 - self._first]
            if listener.takes(event.topic, event.owner):
                size_bytes += len(event.framed)
                if frames and size_bytes > PIECE_BYTES:
                    break
                frames.append(event.framed)
            listener.read_to += 1
        return b"".join(frames)

    @property
    def _first(self) -> int:
        """The number of the oldest event that is held; that of the next one, if there is none."""
        return self._last - len(self._ring) + 1

    def _record(self, published: Published) -> None:
        self._last += 1
        event = _Event(published.topic, published.owner, frame(f"{self._tag}-{self._last}", NAME, _data(published)))
        self._ring.append(event)
        self._size_bytes += len(event.framed)
        while len(self._ring) > RING_MAX or self._size_bytes > RING_BYTES_MAX:
            self._size_bytes -= len(self._ring.popleft().framed)
        for listener in self._listeners:
            if listener.takes(event.topic, event.owner):
                listener.wake()
            elif listener.read_to == self._last - 1:
                listener.read_to = self._last  # it has missed nothing, although the ring will drop this


def _data(published: Published) -> bytes:
    """Write the data of an event in one line."""
    data, omitted = published.data, b""
    if len(data) > DATA_BYTES_MAX:
        data, omitted = b"null", b',"omitted_bytes":%d' % len(data)
    # Between its tokens JSON may have line breaks, each of which would end the line of the event.
    data = data.replace(b"\n", b" ").replace(b"\r", b" ")
    at = json_timestamp(published.at)
    return b'{"topic":"%b","at":%b,"data":%b%b}' % (published.topic.encode(), at, data, omitted)


def _time_out(news: asyncio.Future[bool]) -> None:
    if not news.done():
        news.set_result(True)
