"""Flows in this process: the operations of the Backend port on several jobs at once, and on flows."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from jobqueue.backend.base import InvalidCursor
from jobqueue.backend.flow_operations import FlowPage
from jobqueue.core.flow import state_of, summary_of_flow
from jobqueue.core.flows import FLOW_JOBS_MAX
from jobqueue.core.ids import cursor_at, is_cursor
from jobqueue.core.job_view import view_of
from jobqueue.core.submit import SubmitResult

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jobqueue.backend.searches import Searches
    from jobqueue.core.engine import Engine
    from jobqueue.core.flow import FlowResult, FlowState, FlowSummary, FlowView
    from jobqueue.core.job_view import JobView
    from jobqueue.core.lineage import Link
    from jobqueue.core.submit import Asked
    from jobqueue.core.tuning import Tuning


class MemoryFlows:
    """These operations of `MemoryBackend`, which has the attributes."""

    _engine: Engine
    _now: Callable[[], float]
    _tuning: Tuning
    _searches: Searches

    def _publish(self) -> None:
        """Tell the listeners of a step's events: `MemoryBackend` does."""
        raise NotImplementedError

    async def submit_together(
        self,
        many: Sequence[Asked],
        links: Sequence[Link | None] | None = None,
        *,
        flow: str | None = None,
        owner: str | None = None,
    ) -> list[SubmitResult[JobView]]:
        results = self._engine.submit_together(many, links, flow=flow, owner=owner, now=self._now())
        self._publish()
        return [SubmitResult(view_of(result.job), result.duplicate) for result in results]

    async def submit_flow(
        self, many: Sequence[Asked], links: Sequence[Link | None], *, owner: str | None = None
    ) -> FlowResult:
        result = self._engine.submit_flow(many, links, owner=owner, now=self._now())
        self._publish()
        return result

    async def flow(
        self, flow_id: str, owner: str | None = None, *, cursor: str | None = None, limit: int | None = None
    ) -> FlowView:
        if cursor is not None and not is_cursor(cursor, True):
            raise InvalidCursor(cursor)
        return self._engine.flows.view(flow_id, owner, after=cursor, limit=limit)

    async def flows(
        self, state: FlowState | None = None, *, owner: str | None = None, limit: int, cursor: str | None = None
    ) -> FlowPage:
        if cursor is not None and not is_cursor(cursor, False):
            raise InvalidCursor(cursor)
        flows, tuning = self._engine.flows, self._tuning
        found: list[FlowSummary] = []
        read, units = 0, tuning.search_first
        gives_up_at = self._now() + tuning.search_s_max
        while True:
            portion = flows.newest(cursor, units)
            for flow in portion:
                cursor = flow.id
                if (owner is None or flow.owner == owner) and (state is None or state_of(flow) == state):
                    found.append(summary_of_flow(flow))
                    if len(found) == limit:
                        break
            read += len(portion)
            if len(found) == limit or len(portion) < units or read >= tuning.search_max or self._now() >= gives_up_at:
                more = cursor is not None and flows.newest(cursor, 1)
                return FlowPage(found, cursor_at(cursor) if cursor is not None and more else None)
            await self._searches.turns.next()
            units = tuning.search_slice

    async def cancel_flow(self, flow_id: str, owner: str | None = None, *, limit: int | None = None) -> FlowView:
        flows = self._engine.flows
        cancel = flows.begin_cancel(flow_id, owner)
        try:
            while cancel.go_on(self._now(), self._tuning.bulk_portion):
                self._publish()
                await self._searches.turns.next()
        except asyncio.CancelledError:  # no job of it starts any more, so none may be left
            while cancel.go_on(self._now(), FLOW_JOBS_MAX):
                pass
            self._publish()
            raise
        self._publish()
        return flows.view_of(cancel.flow, limit=limit)

    async def retry_flow(self, flow_id: str, owner: str | None = None, *, limit: int | None = None) -> FlowView:
        flows = self._engine.flows
        while flows.prepare_retry(flow_id, owner, now=self._now()):
            self._publish()  # before a job is live again whose end is still to be told
            await self._searches.turns.next()
        flow = flows.retry(flow_id, owner, now=self._now(), limit=limit)
        self._publish()
        return flow
