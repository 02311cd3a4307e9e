"""The calls on flows, blocking."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import closing
from typing import TYPE_CHECKING, Any, TypeVar

from jobqueue.client import flows
from jobqueue.client.pages import Pages
from jobqueue.client.submit import RETRY_FOR_S

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from jobqueue.client.events import JobEvent, Listener
    from jobqueue.client.models import FlowDocument, FlowJob, FlowPage, FlowSummary
    from jobqueue.client.protocol import Steps
    from jobqueue.graph import Graph

T = TypeVar("T")


class SyncFlows(ABC):
    """These calls of `SyncClient`, which carries their requests."""

    def submit_flow(
        self, graph: Graph | Mapping[str, Any], *, idempotency_key: str | None = None, retry_for_s: float = 0.0
    ) -> FlowDocument:
        """As `Client.submit_flow`."""
        return self._run(flows.submit(graph, idempotency_key, retry_for_s))

    def flow(
        self, id: str, *, include_jobs: bool = False, limit: int | None = None, cursor: str | None = None
    ) -> FlowDocument:
        """As `Client.flow`."""
        return self._run(flows.get(id, flows.job_query_of(include_jobs, limit, cursor)))

    def flows(self, state: str | None = None, *, limit: int | None = None, cursor: str | None = None) -> FlowPage:
        """As `Client.flows`."""
        return self._run(flows.page(flows.query_of(state, limit, cursor)))

    def iter_flows(self, state: str | None = None, *, limit: int | None = None) -> Generator[FlowSummary, None, None]:
        """As `Client.iter_flows`."""
        pages = Pages(flows.query_of(state, limit, None))
        while not pages.over:
            page = self._run(flows.page(pages.filters))
            yield from pages.take(page.flows, page.next_cursor)

    def iter_flow_jobs(
        self, id: str, *, include_jobs: bool = False, limit: int | None = None
    ) -> Generator[FlowJob, None, None]:
        """As `Client.iter_flow_jobs`."""
        pages = Pages(flows.job_query_of(include_jobs, limit, None))
        while not pages.over:
            page = self._run(flows.get(id, pages.filters))
            yield from pages.take(page.jobs, page.next_cursor)

    def flow_events(self, id: str, *, retry_for_s: float = 30.0) -> Generator[JobEvent, None, None]:
        """As `Client.flow_events`."""
        with closing(self._heard(flows.listener_of(id, retry_for_s))) as events:
            yield from events

    def wait_flow(self, id: str, timeout_s: float | None = None, *, retry_for_s: float = RETRY_FOR_S) -> FlowDocument:
        """As `Client.wait_flow`."""
        return self._run(flows.wait(id, timeout_s, retry_for_s))

    def cancel_flow(self, id: str) -> FlowDocument:
        """As `Client.cancel_flow`."""
        return self._run(flows.cancel(id))

    def retry_flow(self, id: str) -> FlowDocument:
        """As `Client.retry_flow`."""
        return self._run(flows.retry(id))

    @abstractmethod
    def _run(self, steps: Steps[T]) -> T: ...

    @abstractmethod
    def _heard(self, listener: Listener) -> Generator[JobEvent, None, None]: ...
