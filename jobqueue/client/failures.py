"""Calls on groups of failed jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from jobqueue.client.jobs import query_of
from jobqueue.client.protocol import Request, Steps, decoded

if TYPE_CHECKING:
    from jobqueue.client.models import FailureFilter

Document = dict[str, Any]

_FAILURES = "/v1/failures"


def failures(filters: FailureFilter) -> Steps[Document]:
    return decoded((yield Request(method="GET", target=f"{_FAILURES}?{urlencode(query_of(filters))}")), Document)


def failure(id: str) -> Steps[Document]:
    return decoded((yield Request(method="GET", target=f"{_FAILURES}/{quote(id, safe='')}")), Document)
