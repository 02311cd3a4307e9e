"""Server-sent events from bytes (HTML Living Standard, section 9.2.6). It opens nothing and knows no jobs.

Rules:

1. A line ends with CRLF, LF or CR, and a chunk may end anywhere, between a CR and its LF too.
2. An event ends with an empty line; bytes after the last one are no event.
3. The last `id` stays the id of the events after it; `retry` is kept, in seconds.
4. An event that never ends is a fault, not a leak.
"""

from __future__ import annotations

import msgspec

from jobqueue.client.retry_after import pause_s_of

EVENT_BYTES_MAX = 1 << 26


class ServerSentEvent(msgspec.Struct, frozen=True):
    """One event: its name (`message` where none is given), its data, and the last id given by then."""

    name: str
    data: str
    id: str


class EventParser:
    """Takes the bytes of one connection, in any pieces.

    Attributes:
        last_id: The `Last-Event-ID` for a reconnection; "" if no event had an id.
        retry_s: The server's reconnection time, in seconds.
    """

    def __init__(self, last_id: str = "") -> None:
        self.last_id = last_id
        self.retry_s: float | None = None
        self._rest: list[bytes] = []  # of a line: pieces, since to join them for each would take quadratic time
        self._after_cr = False
        self._began = False
        self._id = last_id
        self._name = ""
        self._data: list[str] = []
        self._size_bytes = 0

    def feed(self, chunk: bytes) -> list[ServerSentEvent]:
        """Return the events that these bytes complete. Raises ValueError for an event larger than `EVENT_BYTES_MAX`."""
        if not chunk:
            return []
        text = chunk.removeprefix(b"\n") if self._after_cr else chunk
        self._after_cr = chunk.endswith(b"\r")
        # Only these three end a line, where splitlines of a str would know others.
        *lines, rest = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        if lines:
            lines[0] = b"".join([*self._rest, lines[0]])
            self._rest = []
        self._rest.append(rest)
        self._size_bytes += len(chunk)
        events = []
        for line in lines:
            if event := self._take(line):
                events.append(event)
        if self._size_bytes > EVENT_BYTES_MAX:
            raise ValueError(f"an event of more than {EVENT_BYTES_MAX} bytes")
        return events

    def _take(self, raw: bytes) -> ServerSentEvent | None:
        if not self._began:
            raw, self._began = raw.removeprefix(b"\xef\xbb\xbf"), True
        if not raw:
            return self._dispatch()
        name, _, value = raw.decode("utf-8", "replace").partition(":")
        value = value.removeprefix(" ")
        match name:
            case "data":
                self._data.append(value)
            case "event":
                self._name = value
            case "id" if "\0" not in value:
                self._id = value
            case "retry" if value.isascii() and value.isdecimal():
                self.retry_s = pause_s_of(float(value) / 1000)
        return None

    def _dispatch(self) -> ServerSentEvent | None:
        self.last_id = self._id
        name, data = self._name, self._data
        self._name, self._data, self._size_bytes = "", [], 0
        return ServerSentEvent(name or "message", "\n".join(data), self.last_id) if data else None
