"""The calls on flows, awaited."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, TypeVar

from jobqueue.client import flows
from jobqueue.client.submit import RETRY_FOR_S

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jobqueue.client.models import FlowDocument
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

    async def flow(self, id: str, *, include_jobs: bool = False) -> FlowDocument:
        """Return a flow: its state, counts and graph; with `include_jobs` the document of each job, too.

        Raises:
            JobNotFound, JobGone: There is none, or none any more.
        """
        return await self._run(flows.get(id, include_jobs=include_jobs))

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
