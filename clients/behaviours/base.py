"""One simulated client: submits its jobs, follows each until all are terminal, starts over.

A rejected job is sent again after Retry-After, an accepted one is followed until it has ended. Observations go into the
counters. Subclasses follow a job: `polling`, `long_polling`, `streaming`, `batching`.

Latencies: a submission counts from its sending, since it follows the request before it. A poll has a due time, so
`status` counts from there, and includes the wait behind this client's other requests and behind a late timer; only
below the timers' resolution it counts from the sending, as `status-sent` always does. `late` is the timers' own
lateness: where it is as long as `status`, the fleet was the limit.

A disobedient client ignores Retry-After.
"""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from clients.wire.alarm import Alarm
from clients.wire.connection import NoAnswer, Unreachable
from clients.wire.documents import document_of, problem_of
from jobqueue.client import pause_s_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from clients.counters import Counters
    from clients.options import Options
    from clients.wire.connection import Answer, Connection
    from clients.wire.requests import Requests

PAUSE_S = 1.0  # before the next try, where the server says nothing
SPREAD = 0.1  # random extra share of a pause that many clients may have in common
RECONNECT_S = 0.1  # after which a server that exits has closed its listener
GRAIN_S = 0.002  # resolution of the loop's timers
REFUSALS = (429, 503)
DENIALS = (401, 403)
TERMINAL = frozenset({"succeeded", "failed", "cancelled", "expired"})


class Slot:
    """One job of a round: not accepted while `target` is empty, then followed until it has ended.

    Attributes:
        due: When it is submitted, or looked at, the next time.
        in_flight: Its submission was sent and is not answered.
        target: The path of its status.
        state: The last one seen.
        last_event: The id of its last event received.
        alarm: Wakes the task that follows it, where it has one of its own.
    """

    __slots__ = ("alarm", "born_at", "due", "in_flight", "last_event", "sent_at", "state", "target")

    def __init__(self, due: float) -> None:
        self.born_at = due
        self.due = due
        self.in_flight = False
        self.sent_at = 0.0
        self.target = ""
        self.state = ""
        self.last_event = ""
        self.alarm = Alarm()


class SimulatedClient(ABC):
    """Submits jobs and follows each until it is terminal; a subclass decides how it follows.

    Args:
        connect: Makes a connection, which opens itself when it is needed.
        starts_at: On the clock of `time.monotonic`, as all instants here.
        on_denied: Called when the server denies access: every further request would be one more error.
    """

    def __init__(
        self,
        *,
        connect: Callable[[], Connection],
        requests: Requests,
        options: Options,
        starts_at: float,
        counters: Counters,
        rng: Random,
        on_denied: Callable[[], None],
    ) -> None:
        self._connect = connect
        self._requests = requests
        self._jobs = options.jobs
        self._poll_s = options.poll_s
        self._impatience_s = options.impatience_s if rng.random() < options.disobedient else None
        self._due = starts_at  # of the next round
        self._counters = counters
        self._counts = counters.counts
        self._rng = rng
        self._on_denied = on_denied
        self._slots: dict[Slot, None] = {}
        self._alarm = Alarm()
        self._creating = True
        self._last_look = 0.0

    async def run(self) -> None:
        """Work until `finish` was called and the last accepted job has ended."""
        if self._creating and await self._reached(self._due):
            self._counts.clients += 1
        while self._creating and await self._reached(self._due):
            self._due = time.monotonic()
            self._slots = {Slot(self._due): None for _ in range(self._jobs)}
            while self._slots:
                await self._step()
        self.close()

    def finish(self, last_look: float) -> None:
        """Create no more jobs: give up those that are still rejected, and follow the rest until they have ended.

        Args:
            last_look: Every job is read once more at this time, even where the server
                asked to wait for longer: the grace is about to end.
        """
        self._creating = False
        self._last_look = last_look
        for slot in list(self._slots):
            if slot.target:
                slot.due = min(slot.due, last_look)
                slot.alarm.cut()
            elif not slot.in_flight:
                self._give_up(slot)
        self._alarm.cut()

    def abandon(self) -> None:
        """Count the open jobs, once `run` is over or cancelled."""
        for slot in self._slots:
            if slot.target:
                self._counters.unseen[slot.state] += 1
            elif slot.in_flight:
                self._counts.unknown_fate += 1
            elif slot.sent_at:
                self._counts.given_up += 1
        self._slots = {}
        self.close()

    @abstractmethod
    def expire(self, now: float) -> None:
        """Abort exchanges without progress for too long. The fleet calls it about once a second."""

    @abstractmethod
    def close(self) -> None:
        """Close every connection."""

    @abstractmethod
    async def _step(self) -> None:
        """Do what is due next in this round, or wait for it."""

    @abstractmethod
    def _follow(self, slot: Slot, poll_after_s: float | None) -> None:
        """Begin to follow a job that was just accepted."""

    async def _reached(self, due: float) -> bool:
        """Sleep until `due`; False if `finish` came first."""
        if due <= time.monotonic():
            return True
        rung = await self._alarm.until(due)
        if rung:
            self._counters.time("late", time.monotonic() - due)
        return rung

    # -- submitting

    async def _submit(self, connection: Connection, slot: Slot) -> None:
        self._sending([slot])
        try:
            answer = await connection.exchange(self._requests.submission, safe=False)
        except NoAnswer as failure:
            await self._unanswered(connection, [slot], failure)
            return
        self._counts.answers += 1
        target = urlsplit(answer.header(b"location") or "").path
        state = answer.header(b"job-state") or "unknown"
        why = "" if answer.status == 202 else why_of(answer)
        self._judged(slot, answer.status, target, state, pause_of(answer), why)

    def _sending(self, slots: list[Slot]) -> None:
        now = time.monotonic()
        for slot in slots:
            if not slot.sent_at:
                self._counts.created += 1
            slot.in_flight = True  # and stays so if this is cancelled
            slot.sent_at = now

    async def _unanswered(self, connection: Connection, slots: list[Slot], failure: NoAnswer) -> None:
        if isinstance(failure, Unreachable):
            self._counts.unreachable += len(slots)
            for slot in slots:
                slot.in_flight = False
                self._put_off(slot, PAUSE_S)
            return
        if not await self._gone(connection):
            self._counters.error(f"submission: {failure}")
        self._counts.unknown_fate += len(slots)
        for slot in slots:
            self._drop(slot)

    def _judged(self, slot: Slot, status: int, target: str, state: str, pause_s: float | None, why: str = "") -> None:
        """Take the server's answer to one submission; `why` is the reason of a rejection."""
        slot.in_flight = False
        now = time.monotonic()
        self._counters.time(f"submit {status}", now - self._submitted_at(slot))
        if status == 202:
            self._counts.accepted += 1
            self._counters.time("until-accepted", now - slot.born_at)
            slot.state = state
            if target:
                slot.target = target
                self._follow(slot, pause_s)
            else:
                self._counters.error("submission: 202 without Location")
                self._lose(slot)
        elif status in REFUSALS:
            self._counts.refused += 1
            self._put_off(slot, pause_s or PAUSE_S)
        elif status >= 500:  # a proxy's, perhaps, that got no answer from the server
            self._counters.error(f"submission: {status}")
            self._counts.unknown_fate += 1
            self._drop(slot)
        else:
            self._check_access(status, why)
            self._counters.rejected_for(status, why)
            self._counts.invalid += 1
            self._drop(slot)

    def _submitted_at(self, slot: Slot) -> float:
        return slot.sent_at

    # -- statuses

    async def _told(self, connection: Connection, slot: Slot, answer: Answer) -> None:
        if answer.status == 202:
            slot.state = answer.header(b"job-state") or "unknown"
            self._next_look(slot, answer.retry_after_s)
        elif answer.status == 200:
            await self._ended(connection, slot, answer.header(b"job-state") or "unknown", answer.body)
        else:
            self._not_told(slot, answer.status, pause_of(answer), why_of(answer))

    def _not_told(self, slot: Slot, status: int, pause_s: float | None, why: str = "") -> None:
        self._check_access(status, why)
        if status in (404, 410):
            if status == 410:
                self._counts.gone += 1
            else:
                self._counters.error("status: 404")
            self._lose(slot)
            return
        self._counts.unreadable_up += 1
        if status not in REFUSALS:
            self._counters.error(f"status: {status}")
        self._next_look(slot, pause_s)

    def _check_access(self, status: int, why: str) -> None:
        if status in DENIALS:
            self._counters.denied(status, why)
            self._on_denied()

    async def _unread(self, connection: Connection, slots: list[Slot], failure: NoAnswer) -> None:
        if isinstance(failure, Unreachable) or await self._gone(connection):
            self._counts.unreadable_gone += 1
        else:
            self._counts.unreadable_up += 1
            self._counters.error(f"status: {failure}")
        for slot in slots:
            self._next_look(slot, None)

    async def _ended(self, connection: Connection, slot: Slot, state: str, body: bytes | str) -> None:
        if state not in TERMINAL:
            self._counters.error(f"status: 200 with Job-State {state}")
            self._lose(slot)
            return
        self._counts.ended += 1
        if state == "succeeded" and self._creating:
            self._counts.good += 1
        self._counters.ended_by_state[state] += 1
        self._counters.time("life", time.monotonic() - slot.sent_at)
        del self._slots[slot]
        if state != "succeeded":
            await self._ask_why(connection, slot, body)

    async def _ask_why(self, connection: Connection, slot: Slot, body: bytes | str) -> None:
        try:
            if not body:  # a HEAD's answer has no reason
                body = (await connection.exchange(self._requests.read("GET", slot.target), safe=True)).body
                self._counts.answers += 1
            document = document_of(body)
        except NoAnswer:
            document = None
        if document is None:
            self._counters.ended_by_error["unread"] += 1
            return
        self._counters.ended_by_error[document.why] += 1
        if document.why == "shutdown":
            # A job may have been started since it was last read.
            self._counters.shutdown["running" if document.started_at is not None else slot.state] += 1

    async def _gone(self, connection: Connection) -> bool:
        """Whether the server has exited, rather than broken one connection: connect once more."""
        await asyncio.sleep(RECONNECT_S)
        try:
            await connection.connect()
        except Unreachable:
            return True
        except NoAnswer:
            return False
        return False

    # -- when to come back

    def _next_look(self, slot: Slot, poll_after_s: float | None) -> None:
        now = time.monotonic()
        asked_s = 0.0 if poll_after_s is None or self._impatience_s is not None else poll_after_s
        slot.due = now + max(self._poll_s, asked_s)
        if not self._creating and now < self._last_look:
            slot.due = min(slot.due, self._last_look)

    def _put_off(self, slot: Slot, pause_s: float) -> None:
        if not self._creating:
            self._give_up(slot)
            return
        pause_s = pause_s if self._impatience_s is None else self._impatience_s
        slot.due = time.monotonic() + pause_s * (1 + SPREAD * self._rng.random())

    def _drop(self, slot: Slot) -> None:
        del self._slots[slot]
        self._due = time.monotonic() + PAUSE_S * (1 + SPREAD * self._rng.random())

    def _give_up(self, slot: Slot) -> None:
        if slot.sent_at:
            self._counts.given_up += 1
        del self._slots[slot]

    def _lose(self, slot: Slot) -> None:
        self._counters.unseen[slot.state] += 1
        self._drop(slot)


def pause_of(answer: Answer) -> float | None:
    """Return the pause that an answer asks for: a problem document is more precise than the header."""
    if answer.status in REFUSALS:
        problem = problem_of(answer.body)
        if problem is not None and (pause_s := pause_s_of(problem.retry_after_s)) is not None:
            return pause_s
    return answer.retry_after_s


def why_of(answer: Answer) -> str:
    """Return the reason that a rejection's document gives; without one, that of its challenge; "" if it has none."""
    problem = problem_of(answer.body)
    return (answer.header(b"www-authenticate") or "") if problem is None else problem.why
