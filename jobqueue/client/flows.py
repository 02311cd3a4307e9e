"""Calls on flows: submitting a graph, reading and listing them, waiting for an end, events, cancelling, retrying."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, TypedDict, cast
from urllib.parse import quote, urlencode

import msgspec

from jobqueue import errors
from jobqueue.client.events import JobEvent, Listener
from jobqueue.client.keyed import keyed
from jobqueue.client.models import FlowDocument, FlowPage
from jobqueue.client.prefer import SLACK_S
from jobqueue.client.protocol import PAUSE_S, NoAnswer, Patience, Request, Steps, decoded
from jobqueue.client.retry_after import PAUSE_S_MIN
from jobqueue.client.waiting import WAIT_S_MAX
from jobqueue.encoder import encode
from jobqueue.graph import Graph

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

RUNNING = "running"

FLOW_EVENT = "flow"
"""The name of the event with a flow as it is."""


def submit(graph: Graph | Mapping[str, Any], idempotency_key: str | None, retry_for_s: float) -> Steps[FlowDocument]:
    body = graph.encoded() if isinstance(graph, Graph) else encode(graph)
    asked = keyed("/v1/flows", body, FlowDocument, idempotency_key=idempotency_key, retry_for_s=retry_for_s)
    flow, deduplicated = yield from asked
    return msgspec.structs.replace(flow, deduplicated=deduplicated)


class FlowsQuery(TypedDict, total=False):
    """The parameters of a page of flows."""

    state: str
    limit: int
    cursor: str


class FlowQuery(TypedDict, total=False):
    """The parameters of a flow's document."""

    include: str
    limit: int
    cursor: str


def query_of(state: str | None, limit: int | None, cursor: str | None) -> FlowsQuery:
    """Return the parameters of a page of flows that are given."""
    given = {"state": state, "limit": limit, "cursor": cursor}
    return cast("FlowsQuery", {name: value for name, value in given.items() if value is not None})


def job_query_of(include_jobs: bool, limit: int | None, cursor: str | None) -> FlowQuery:
    """Return the parameters of a flow's document that are given."""
    given = {"include": "jobs" if include_jobs else None, "limit": limit, "cursor": cursor}
    return cast("FlowQuery", {name: value for name, value in given.items() if value is not None})


def get(id: str, query: FlowQuery) -> Steps[FlowDocument]:
    return decoded((yield Request(method="GET", target=_with(path_of(id), query))), FlowDocument)


def page(query: FlowsQuery) -> Steps[FlowPage]:
    return decoded((yield Request(method="GET", target=_with("/v1/flows", query))), FlowPage)


def listener_of(id: str, retry_for_s: float) -> Listener:
    """Return a listener to the events of a flow."""
    return Listener(f"{path_of(id)}/events", is_last=_ends_flow, last_event_id="", retry_for_s=retry_for_s)


def _ends_flow(event: JobEvent) -> bool:
    return event.name == FLOW_EVENT and event.data.get("state") != RUNNING


def _with(path: str, query: FlowQuery | FlowsQuery) -> str:
    return f"{path}?{urlencode(query)}" if query else path


def wait(id: str, timeout_s: float | None, retry_for_s: float) -> Steps[FlowDocument]:
    give_up_at = time.monotonic() + (math.inf if timeout_s is None else timeout_s)
    patience: Patience | None = None
    after_s = 0.0
    while True:
        left_s = give_up_at - time.monotonic() - after_s
        wait_s = int(max(0.0, min(WAIT_S_MAX, left_s + SLACK_S)))
        headers = {"Prefer": f"wait={wait_s}"} if wait_s else {}
        request = Request(method="GET", target=path_of(id), headers=headers, after_s=after_s, quiet_s=wait_s)
        try:
            answer = yield request
            flow = decoded(answer, FlowDocument)
        except (errors.Refused, NoAnswer) as failure:
            patience = patience or Patience(retry_for_s)
            pause_s = patience.pause_s(failure)
            if pause_s is None:
                raise
            after_s = pause_s
        else:
            if flow.state != RUNNING:
                return flow
            patience, after_s = None, PAUSE_S_MIN if "preference-applied" in answer.headers else PAUSE_S
        if time.monotonic() >= give_up_at:
            raise TimeoutError(f"flow {id} still runs after {timeout_s:g} s")


def cancel(id: str) -> Steps[FlowDocument]:
    return decoded((yield Request(method="POST", target=f"{path_of(id)}:cancel")), FlowDocument)


def retry(id: str) -> Steps[FlowDocument]:
    return decoded((yield Request(method="POST", target=f"{path_of(id)}:retry")), FlowDocument)


def path_of(id: str) -> str:
    return f"/v1/flows/{quote(id, safe='')}"
