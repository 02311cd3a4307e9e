"""The events of all servers, from the store's stream: read only while there is a listener.

Rules:

1. The store writes its stream while a server asks for it, and for `LISTEN_MS` after. It is polled every `POLL_S`,
   which also keeps the stream written.
2. The id of an event is that of its entry in the stream, so it means the same on every server. An id that is older than
   the entries held, or of an earlier time of listening, can't be gone on from: events after it may be missing. Nor can
   one that is newer than all entries: it is of another store, or of what this one has lost, and nothing would be after
   it.
3. A poll that fails is repeated. What was lost meanwhile, if anything, the next reply tells (rule 2).
4. An event that can't be read is missing: it is passed over, and its place is a gap.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any, Final

from jobqueue.backend.store import JobNews, SharedEvent, order_of
from jobqueue.backend.valkey.records import STATES, error_of
from jobqueue.core.events import Paused, Quarantined, Released, Resumed
from jobqueue.core.job import JobId
from jobqueue.core.pause import Pause

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jobqueue.backend.valkey.calls import Calls
    from jobqueue.backend.valkey.clock import StoreClock
    from jobqueue.backend.valkey.records import Records

    News = JobNews | Quarantined | Released | Paused | Resumed

POLL_S: Final = 0.15
LISTEN_MS: Final = 10_000
"""How long the stream is written after a poll: a server that comes back soon has missed nothing."""

AT_ONCE: Final = 200
"""Events that a call returns at most."""

OF_JOBS: Final = {
    "submitted": "submitted",
    "queued": "queued",
    "retried": "queued",
    "started": "started",
    "progress": "progress",
    "changed": "changed",
    "stopping": "stopping",
    "retrying": "retrying",
    "succeeded": "succeeded",
    "failed": "failed",
    "cancelled": "cancelled",
    "expired": "expired",
}
"""Names of events in streams, by those of the store. Others are not shown."""

_ID: Final = re.compile(r"[0-9]{1,15}-[0-9]{1,20}")
_NUMBERS: Final = 2**64
"""Those that an entry's id may have after its instant."""


class EventStream:
    """The events of all servers.

    Args:
        calls: Those of the store.
    """

    def __init__(self, calls: Calls, clock: StoreClock, records: Records) -> None:
        self._calls = calls
        self._clock = clock
        self._records = records
        self._hear: Callable[[Sequence[SharedEvent]], None] | None = None
        self._on_gap: Callable[[str], None] = lambda _: None
        self._last = ""
        self._asked: asyncio.Future[list[Any]] | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def begin(self, hear: Callable[[Sequence[SharedEvent]], None], on_gap: Callable[[str], None]) -> str:
        """Hear the events from now on, as `EventSource.begin`."""
        self.end()
        reply = await self._calls.call("events", (LISTEN_MS, "", 1))
        _, self._last, _ = self._read("", reply)
        self._hear, self._on_gap = hear, on_gap
        self._wait()
        return self._last

    def end(self) -> None:
        """Hear no more."""
        self._hear = None
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._asked = None

    async def after(self, event_id: str, most: int) -> Sequence[SharedEvent] | None:
        """Return the first events after an id, as `EventSource.after`."""
        if _ID.fullmatch(event_id) is None or order_of(event_id)[1] >= _NUMBERS:
            return None
        found: list[SharedEvent] = []
        while True:
            reply = await self._calls.call("events", (LISTEN_MS, event_id, min(most - len(found), AT_ONCE)))
            gap, last, events = self._read(event_id, reply)
            if gap is not None:
                return None
            found += events
            if last == event_id or len(found) >= most:
                return found
            event_id = last

    def _wait(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(POLL_S, self._poll)

    def _poll(self) -> None:
        """Ask for the next events."""
        self._asked = self._calls.call("events", (LISTEN_MS, self._last, AT_ONCE))
        self._asked.add_done_callback(self._on_reply)

    def _on_reply(self, asked: asyncio.Future[list[Any]]) -> None:
        if asked.cancelled() or asked is not self._asked or self._hear is None:
            return
        if asked.exception() is not None:  # which the connection tells
            self._wait()
            return
        before = self._last
        gap, self._last, events = self._read(before, asked.result())
        # The next one first: a listener may end all this.
        if self._last == before:
            self._wait()
        else:
            self._poll()
        if gap is not None:
            self._on_gap(gap)
        if events and self._hear is not None:
            self._hear(events)

    def _read(self, after: str, reply: Sequence[Any]) -> tuple[str | None, str, list[SharedEvent]]:
        """Return the gap after an id, the id of the last event read, and the events read.

        The gap: the id after which the events read come, if others before them are missing; None: none is.
        """
        now, first, newest, *entries = reply
        self._clock.hear(now)
        oldest = first.decode()
        latest = max(newest.decode(), oldest, key=order_of)
        if not after:
            return None, latest, []
        start, gap = after, None
        if not order_of(oldest) <= order_of(after) <= order_of(latest):
            start = gap = oldest if order_of(after) < order_of(oldest) else latest
        last = start
        events = []
        for entry_id, flat in zip(entries[::2], entries[1::2], strict=True):
            last = entry_id.decode()
            try:
                event = self._event(last, flat)
            except Exception as error:
                context = {"message": "an event of the store can't be read", "exception": error}
                asyncio.get_running_loop().call_exception_handler(context)
                gap = start
                continue
            if event is not None:
                events.append(event)
        return gap, last, events

    def _event(self, event_id: str, flat: Sequence[bytes]) -> SharedEvent | None:
        """Return an event of the stream; None: it is not shown."""
        pairs = {name.decode(): value for name, value in zip(flat[::2], flat[1::2], strict=True)}
        kind, at_ms = pairs["e"].decode(), int(event_id.partition("-")[0])
        news = self._news_of_job(OF_JOBS[kind], pairs) if kind in OF_JOBS else self._other_news(kind, pairs, at_ms)
        return None if news is None else SharedEvent(event_id, at_ms / 1000.0, news)

    def _news_of_job(self, name: str, pairs: dict[str, bytes]) -> JobNews:
        return JobNews(
            name=name,
            id=JobId(pairs["i"].decode()),
            spec=self._records.spec(pairs["S"]),
            state=STATES[pairs["s"]],
            attempt=int(pairs["a"]),
            version=int(pairs["v"]),
            progress=self._records.progress(pairs.get("P", b"")),
            error=error_of(pairs.get("E", b"")),
            owner=pairs.get("o", b"").decode() or None,
        )

    def _other_news(self, kind: str, pairs: dict[str, bytes], at_ms: int) -> News | None:
        """Return news of a type or a queue."""
        at, by = self._clock.at, pairs.get("by", b"").decode() or None
        match kind:
            case "paused":
                until = int(pairs.get("until") or -1)
                pause = Pause(
                    since=at(int(pairs.get("since") or at_ms)),
                    reason=pairs.get("reason", b"").decode() or None,
                    until=None if until < 0 else at(until),
                    by=by,
                )
                return Paused(pairs["q"].decode(), pause)
            case "resumed":
                return Resumed(pairs["q"].decode(), by)
            case "quarantined":
                return Quarantined(pairs["t"].decode(), at(int(pairs["until"])), pairs["reason"].decode())
            case "released":
                return Released(pairs["t"].decode())
            case _:
                return None
