"""The batching client: all its jobs in one submission, all their statuses in one request.

Each job is still accepted or rejected, and retried, by itself: a batch has those that are due.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from clients.behaviours.base import GRAIN_S, REFUSALS, TERMINAL, pause_of, why_of
from clients.behaviours.polling import PollingClient
from clients.wire.connection import NoAnswer
from clients.wire.documents import Document, Problem, document_of, listed_in, verdicts_in
from jobqueue.api_limits import BATCH_MAX, IDS_MAX
from jobqueue.client import pause_s_of

if TYPE_CHECKING:
    from clients.behaviours.base import Slot
    from clients.wire.connection import Answer

NOTHING = Document()
NO_PROBLEM = Problem()


class BatchingClient(PollingClient):
    """Submits and reads the jobs of a client in batches."""

    async def _step(self) -> None:
        first = min(self._slots, key=lambda slot: slot.due)
        # Jobs rejected together are due together, to within the time that reading their answers took.
        due_at = max(slot.due for slot in self._alike(first, first.due + GRAIN_S))
        if not await self._reached(due_at):
            return
        slots = self._alike(first, max(time.monotonic(), due_at))
        if first.target:
            await self._look_at(slots[:IDS_MAX])
        else:
            await self._submit_all(slots[:BATCH_MAX])

    def _alike(self, first: Slot, by: float) -> list[Slot]:
        """Return the slots that can go in one request with this one, of those due by then."""
        return [slot for slot in self._slots if slot.due <= by and bool(slot.target) == bool(first.target)]

    async def _submit_all(self, slots: list[Slot]) -> None:
        self._sending(slots)
        sent_at = time.monotonic()
        try:
            answer = await self._connection.exchange(self._requests.batch(len(slots)), safe=False)
        except NoAnswer as failure:
            await self._unanswered(self._connection, slots, failure)
            return
        self._counts.answers += 1
        self._counters.time(f"batch {answer.status}", time.monotonic() - sent_at)
        if answer.status != 207:
            for slot in slots:
                self._judged(slot, answer.status, "", "", pause_of(answer), why_of(answer))
            return
        verdicts = verdicts_in(answer.body)
        if verdicts is None or len(verdicts) != len(slots):
            self._counters.error("batch: not one result for each job")
            self._counts.unknown_fate += len(slots)
            for slot in slots:
                self._drop(slot)
            return
        for slot, verdict in zip(slots, verdicts, strict=True):
            target = self._requests.target(verdict.id) if verdict.id else ""
            problem = verdict.problem or NO_PROBLEM
            self._judged(slot, verdict.status, target, "queued", pause_s_of(problem.retry_after_s), problem.why)

    async def _look_at(self, slots: list[Slot]) -> None:
        request = self._requests.read_many(slot.target.rpartition("/")[2] for slot in slots)
        sent_at = time.monotonic()
        try:
            answer = await self._connection.exchange(request, safe=True)
        except NoAnswer as failure:
            await self._unread(self._connection, slots, failure)
            return
        self._read(answer.status, min(slot.due for slot in slots), sent_at)
        documents = listed_in(answer.body) if answer.status == 200 else None
        if documents is None or len(documents) != len(slots):
            self._not_listed(slots, answer)
            return
        for slot, raw in zip(slots, documents, strict=True):
            document = document_of(raw) or NOTHING
            if document.state is None:
                self._not_told(slot, document.status, None)
            elif document.state in TERMINAL:
                await self._ended(self._connection, slot, document.state, bytes(raw))
            else:
                slot.state = document.state
                self._next_look(slot, (document.poll_after_ms or 0) / 1000)

    def _not_listed(self, slots: list[Slot], answer: Answer) -> None:
        self._check_access(answer.status, why_of(answer))
        self._counts.unreadable_up += 1
        if answer.status not in REFUSALS:
            self._counters.error(f"status: {answer.status} without one document for each job")
        for slot in slots:
            self._next_look(slot, pause_of(answer))
