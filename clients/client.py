"""One simulated client: creates its jobs, polls each of them until all are over, starts over.

It never forgets a job: a refused one is sent again when the server says so, an accepted
one is polled until it has ended. What it sees goes into the tally, nowhere else.

From when a latency counts: a submission follows whatever came before it, so it counts
from its sending. A poll has a due time, so `status` counts from there, and holds what
the poll waited behind this client's other requests and behind a late timer; only below
the timers' grain it counts from the sending, as `status-sent` always does. `late` is
the timers' own lateness: where it is as long as `status`, the fleet was the limit.
"""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from clients.connection import NoAnswer, Unreachable

if TYPE_CHECKING:
    from random import Random

    from clients.connection import Answer, Connection
    from clients.options import Options
    from clients.tally import Tally

PAUSE_S = 1.0  # before the next try, where the server says nothing
SPREAD = 0.1  # of a pause that many clients may share: up to so much longer
KNOCK_S = 0.1  # a server that is going away has closed its door after this long
GRAIN_S = 0.002  # of the loop's timers
REFUSALS = (429, 503)
TERMINAL = frozenset({"succeeded", "failed", "cancelled", "expired"})


class Slot:
    """One job of a round: not accepted while `poll` is None, then polled until it has ended."""

    __slots__ = ("born_at", "due", "in_flight", "poll", "sent_at", "state", "target")

    def __init__(self, due: float) -> None:
        self.born_at = due
        self.due = due
        self.in_flight = False
        self.sent_at = 0.0
        self.poll: bytes | None = None
        self.target = ""
        self.state = ""


class SimulatedClient:
    """See the module.

    Args:
        host: The value of `Host`.
        submission: The whole request that submits a job.
        starts_at: On the clock of `time.monotonic`, as all instants here.
    """

    def __init__(
        self,
        *,
        connection: Connection,
        host: str,
        submission: bytes,
        options: Options,
        starts_at: float,
        tally: Tally,
        rng: Random,
    ) -> None:
        self.connection = connection
        self._host = host
        self._submission = submission
        self._jobs = options.jobs
        self._poll_s = options.poll_s
        self._method = options.via.upper()
        self._due = starts_at  # of the next round
        self._tally = tally
        self._counts = tally.counts
        self._rng = rng
        self._slots: list[Slot] = []
        self._alarm: asyncio.Future[bool] | None = None
        self._creating = True
        self._last_look = 0.0

    async def run(self) -> None:
        """Work until `finish` was called and the last accepted job has ended."""
        if self._creating and await self._reached(self._due):
            self._counts.clients += 1
        while self._creating and await self._reached(self._due):
            self._due = time.monotonic()
            self._slots = [Slot(self._due) for _ in range(self._jobs)]
            while self._slots:
                slot = min(self._slots, key=lambda slot: slot.due)
                if await self._reached(slot.due):
                    await (self._submit(slot) if slot.poll is None else self._look(slot))
        self.connection.close()

    def finish(self, last_look: float) -> None:
        """Create no more: give up what is still refused, and poll the rest until it has ended.

        Args:
            last_look: Every job is polled once more at this time, even where the server
                asked to wait for longer: the fleet's patience is about to end.
        """
        self._creating = False
        self._last_look = last_look
        for slot in self._slots[:]:
            if slot.poll is not None:
                slot.due = min(slot.due, last_look)
            elif not slot.in_flight:
                self._give_up(slot)
        if self._alarm is not None and not self._alarm.done():
            self._alarm.set_result(False)

    def abandon(self) -> None:
        """Account for what is still open, once `run` is over or cancelled."""
        for slot in self._slots:
            if slot.poll is not None:
                self._tally.unseen[slot.state] += 1
            elif slot.in_flight:
                self._counts.unknown_fate += 1
            elif slot.sent_at:
                self._counts.given_up += 1
        self._slots = []
        self.connection.close()

    async def _reached(self, due: float) -> bool:
        """Sleep until `due`; False if `finish` came first."""
        delay = due - time.monotonic()
        if delay <= 0:
            return True
        loop = asyncio.get_running_loop()
        self._alarm = loop.create_future()
        timer = loop.call_later(delay, _ring, self._alarm)
        try:
            rung = await self._alarm
        finally:
            timer.cancel()
            self._alarm = None
        if rung:
            self._tally.time("late", time.monotonic() - due)
        return rung

    async def _submit(self, slot: Slot) -> None:
        if not slot.sent_at:
            self._counts.created += 1
        slot.in_flight = True  # and stays so if this is cancelled
        slot.sent_at = time.monotonic()
        try:
            answer = await self.connection.exchange(self._submission, safe=False)
        except Unreachable:
            slot.in_flight = False
            self._counts.unreachable += 1
            self._put_off(slot, PAUSE_S)
            return
        except NoAnswer as failure:
            if not await self._gone():
                self._tally.error(f"submission: {failure}")
            self._counts.unknown_fate += 1
            self._drop(slot)
            return
        slot.in_flight = False
        self._counts.answers += 1
        self._tally.time(f"submit {answer.status}", time.monotonic() - slot.sent_at)
        if answer.status == 202:
            self._accept(slot, answer)
        elif answer.status in REFUSALS:
            self._counts.refused += 1
            self._put_off(slot, answer.retry_after_s or PAUSE_S)
        else:
            self._tally.error(f"submission: {answer.status}")
            self._counts.invalid += 1
            self._drop(slot)

    def _accept(self, slot: Slot, answer: Answer) -> None:
        self._counts.accepted += 1
        self._tally.time("until-accepted", time.monotonic() - slot.born_at)
        slot.state = answer.header(b"job-state") or "unknown"
        slot.target = urlsplit(answer.header(b"location") or "").path
        if not slot.target:
            self._tally.error("submission: 202 without Location")
            self._lose(slot)
            return
        slot.poll = self._request(self._method, slot.target)
        self._next_look(slot, answer)

    async def _look(self, slot: Slot) -> None:
        assert slot.poll is not None
        sent_at = time.monotonic()
        try:
            answer = await self.connection.exchange(slot.poll, safe=True, bodiless=self._method == "HEAD")
        except NoAnswer as failure:
            await self._unread(slot, failure)
            return
        now = time.monotonic()
        self._counts.answers += 1
        self._tally.time(f"status {answer.status}", now - (slot.due if sent_at - slot.due > GRAIN_S else sent_at))
        self._tally.time("status-sent", now - sent_at)
        if answer.status == 202:
            slot.state = answer.header(b"job-state") or "unknown"
            self._next_look(slot, answer)
        elif answer.status == 200:
            await self._end(slot, answer, now)
        elif answer.status in REFUSALS:
            self._counts.unreadable_up += 1
            self._next_look(slot, answer)
        elif answer.status in (404, 410):
            if answer.status == 410:
                self._counts.gone += 1
            else:
                self._tally.error("status: 404")
            self._lose(slot)
        else:
            self._counts.unreadable_up += 1
            self._tally.error(f"status: {answer.status}")
            self._next_look(slot, answer)

    async def _unread(self, slot: Slot, failure: NoAnswer) -> None:
        if isinstance(failure, Unreachable) or await self._gone():
            self._counts.unreadable_gone += 1
        else:
            self._counts.unreadable_up += 1
            self._tally.error(f"status: {failure}")
        self._next_look(slot, None)

    async def _end(self, slot: Slot, answer: Answer, now: float) -> None:
        state = answer.header(b"job-state") or "unknown"
        if state not in TERMINAL:
            self._tally.error(f"status: 200 with Job-State {state}")
            self._lose(slot)
            return
        self._counts.ended += 1
        self._tally.ended_by_state[state] += 1
        self._tally.time("life", now - slot.sent_at)
        self._slots.remove(slot)
        if state != "succeeded":
            await self._ask_why(slot, answer)

    async def _ask_why(self, slot: Slot, answer: Answer) -> None:
        try:
            if self._method == "HEAD":  # which tells that it did not succeed, but not why
                answer = await self.connection.exchange(self._request("GET", slot.target), safe=True)
                self._counts.answers += 1
            document = json.loads(answer.body)
            code = document["error"]["code"] if document["error"] else "none"
            started = document["started_at"] is not None
        except (NoAnswer, ValueError, KeyError, TypeError):
            self._tally.ended_by_error["unread"] += 1
            return
        self._tally.ended_by_error[code] += 1
        if code == "shutdown":
            # A job may have been started since it was last polled.
            self._tally.shutdown["running" if started else slot.state] += 1

    async def _gone(self) -> bool:
        """Tell a server that has gone away from one that broke a connection: knock once more."""
        await asyncio.sleep(KNOCK_S)
        try:
            await self.connection.connect()
        except Unreachable:
            return True
        except NoAnswer:
            return False
        return False

    def _next_look(self, slot: Slot, answer: Answer | None) -> None:
        now = time.monotonic()
        slot.due = now + max(self._poll_s, (answer.retry_after_s if answer else None) or 0.0)
        if not self._creating and now < self._last_look:
            slot.due = min(slot.due, self._last_look)

    def _put_off(self, slot: Slot, pause_s: float) -> None:
        if not self._creating:
            self._give_up(slot)
            return
        slot.due = time.monotonic() + pause_s * (1 + SPREAD * self._rng.random())

    def _drop(self, slot: Slot) -> None:
        self._slots.remove(slot)
        self._due = time.monotonic() + PAUSE_S * (1 + SPREAD * self._rng.random())

    def _give_up(self, slot: Slot) -> None:
        if slot.sent_at:
            self._counts.given_up += 1
        self._slots.remove(slot)

    def _lose(self, slot: Slot) -> None:
        self._tally.unseen[slot.state] += 1
        self._drop(slot)

    def _request(self, method: str, target: str) -> bytes:
        return f"{method} {target} HTTP/1.1\r\nHost: {self._host}\r\nUser-Agent: jobqueue-clients\r\n\r\n".encode()


def _ring(alarm: asyncio.Future[bool]) -> None:
    if not alarm.done():
        alarm.set_result(True)
