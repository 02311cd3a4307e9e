"""Calls on flows: submitting a graph, reading it, waiting for its end, cancelling and retrying it."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING
from urllib.parse import quote

import msgspec

from jobqueue import errors
from jobqueue.client.keyed import keyed
from jobqueue.client.models import FlowDocument
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


def submit(graph: Graph | Mapping[str, Any], idempotency_key: str | None, retry_for_s: float) -> Steps[FlowDocument]:
    body = graph.encoded() if isinstance(graph, Graph) else encode(graph)
    asked = keyed("/v1/flows", body, FlowDocument, idempotency_key=idempotency_key, retry_for_s=retry_for_s)
    flow, deduplicated = yield from asked
    return msgspec.structs.replace(flow, deduplicated=deduplicated)


def get(id: str, *, include_jobs: bool = False) -> Steps[FlowDocument]:
    query = "?include=jobs" if include_jobs else ""
    return decoded((yield Request(method="GET", target=path_of(id) + query)), FlowDocument)


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
