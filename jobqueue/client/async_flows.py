"""The calls on flows, awaited."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, TypeVar

from jobqueue.client import flows
from jobqueue.client.pages import Pages
from jobqueue.client.submit import RETRY_FOR_S

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from jobqueue.client.events import JobEvent, Listener
    from jobqueue.client.models import FlowDocument, FlowJob, FlowPage, FlowSummary
    from jobqueue.client.protocol import Steps
    from jobqueue.graph import Graph

T = TypeVar("T")


class AsyncFlows(ABC):
    """These calls of `Client`, which carries their requests."""

    async def submit_flow(
        self, graph: Graph | Mapping[str, Any], *, idempotency_key: str | None = None, retry_for_s: float = 0.0
    ) -> FlowDocument:
        """Submit a graph of jobs, made by `jobqueue.chain`, `group` or `flow`: all of them, or none.

        Args:
            graph: The graph, or the document of one: `{"jobs": [{"name": …, "type": …, "after": [names]}, …]}`.
            idempotency_key: As of `submit`, for the whole graph.
            retry_for_s: As of `submit`.

        Raises:
            InvalidSubmission, UnknownType: A job or the graph has a fault; `errors` names each, with its place, such
                as `/jobs/2/after/0`.
            Refused, KeyReused, FateUnknown, Unreachable: As `submit`.
        """
        return await self._run(flows.submit(graph, idempotency_key, retry_for_s))

    async def flow(
        self, id: str, *, include_jobs: bool = False, limit: int | None = None, cursor: str | None = None
    ) -> FlowDocument:
        """Return a flow: its state, counts and graph; with `include_jobs` the document of each job, too.

        Args:
            limit: Jobs at most, up to 1,000, which is the default.
            cursor: The `next_cursor` of a document before: it has the jobs after those.

        Raises:
            JobNotFound, JobGone: There is none, or none any more.
        """
        return await self._run(flows.get(id, flows.job_query_of(include_jobs, limit, cursor)))

    async def flows(self, state: str | None = None, *, limit: int | None = None, cursor: str | None = None) -> FlowPage:
        """Return a page of the flows, newest first.

        Args:
            state: Only those in it: `running`, `succeeded`, `failed` or `cancelled`.
            limit: Flows at most, up to 100. Defaults to 50.
            cursor: The `next_cursor` of the page before.
        """
        return await self._run(flows.page(flows.query_of(state, limit, cursor)))

    async def iter_flows(
        self, state: str | None = None, *, limit: int | None = None
    ) -> AsyncGenerator[FlowSummary, None]:
        """Yield all flows in a state, page by page; `limit` is the number on a page."""
        pages = Pages(flows.query_of(state, limit, None))
        while not pages.over:
            page = await self._run(flows.page(pages.filters))
            for flow in pages.take(page.flows, page.next_cursor):
                yield flow

    async def iter_flow_jobs(
        self, id: str, *, include_jobs: bool = False, limit: int | None = None
    ) -> AsyncGenerator[FlowJob, None]:
        """Yield all jobs of a flow, page by page, parents before their children; `limit` is the number on a page.

        Raises:
            JobNotFound, JobGone: As `flow`.
        """
        pages = Pages(flows.job_query_of(include_jobs, limit, None))
        while not pages.over:
            page = await self._run(flows.get(id, pages.filters))
            for job in pages.take(page.jobs, page.next_cursor):
                yield job

    async def flow_events(self, id: str, *, retry_for_s: float = 30.0) -> AsyncGenerator[JobEvent, None]:
        """Yield the events of a flow's jobs, until all have ended; the first and the last event are `flow`s.

        A `flow` has the flow's document as its data, at the end without jobs. A broken stream is opened again, and
        begins with the flow as it is.

        Args:
            retry_for_s: How long to try to open a stream.

        Raises:
            JobNotFound, JobGone: As `flow`.
            Refused, NoAnswer: No stream could be opened for `retry_for_s`.
        """
        async with aclosing(self._heard(flows.listener_of(id, retry_for_s))) as events:
            async for event in events:
                yield event

    async def wait_flow(
        self, id: str, timeout_s: float | None = None, *, retry_for_s: float = RETRY_FOR_S
    ) -> FlowDocument:
        """Wait until all jobs of a flow have ended, by long polls.

        Args:
            retry_for_s: How long to go on while no answer comes, or only a proxy's.

        Raises:
            TimeoutError: It still runs after `timeout_s`.
            JobNotFound, JobGone, NoAnswer: As `wait`.
        """
        return await self._run(flows.wait(id, timeout_s, retry_for_s))

    async def cancel_flow(self, id: str) -> FlowDocument:
        """Cancel all live jobs of a flow. Raises WrongState: It has ended."""
        return await self._run(flows.cancel(id))

    async def retry_flow(self, id: str) -> FlowDocument:
        """Run a flow again from what has not succeeded.

        Raises:
            WrongState: It runs, or has succeeded.
            Refused: There are not slots for all of it now.
        """
        return await self._run(flows.retry(id))

    @abstractmethod
    async def _run(self, steps: Steps[T]) -> T: ...

    @abstractmethod
    def _heard(self, listener: Listener) -> AsyncGenerator[JobEvent, None]: ...
