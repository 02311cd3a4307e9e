"""The comparison of responses with the rows of the routes finds what no row declares."""

from __future__ import annotations

from typing import Any

import pytest

from jobqueue.http.resources.bulk import BulkDocument
from jobqueue.http.resources.queues import QueuesDocument
from jobqueue.http.response.job_document import WaitingDocument
from tests.http.declared import Answers, differences

JSON = {"Content-Type": "application/json"}


def faults(method: str, path: str, status: int, headers: dict[str, str], body: bytes | None) -> list[str]:
    answers = Answers()
    answers._compare(method, path, status, headers, body)
    return answers.undeclared


def test_a_declared_response_is_accepted() -> None:
    assert faults("POST", "/v1/jobs:retry", 200, JSON, b'{"count": 1}') == []
    assert (
        faults("GET", "/nowhere", 404, {"Content-Type": "application/problem+json"}, b'{"type": "/x/not-found"}') == []
    )


@pytest.mark.parametrize(
    ("method", "path", "status", "headers", "body", "fault"),
    [
        ("POST", "/v1/jobs:retry", 201, JSON, b'{"count": 1}', "is not declared"),
        ("POST", "/v1/jobs:retry", 200, {**JSON, "X-More": "1"}, b'{"count": 1}', "x-more"),
        ("POST", "/v1/jobs:retry", 200, {"Content-Type": "text/plain"}, b'{"count": 1}', "not application/json"),
        ("POST", "/v1/jobs:retry", 200, JSON, b'{"counted": 1}', "['counted'] not declared"),
        ("GET", "/nowhere", 200, {}, None, "is not declared"),
        ("HEAD", "/v1/events", 200, {}, None, "is not declared"),
        (
            "POST",
            "/v1/jobs:retry",
            409,
            {"Content-Type": "application/problem+json"},
            b'{"type": "/problems/wrong-state"}',
            "is not declared",
        ),
    ],
)
def test_an_undeclared_response_is_recorded(
    method: str, path: str, status: int, headers: dict[str, str], body: bytes | None, fault: str
) -> None:
    (found,) = faults(method, path, status, headers, body)
    assert fault in found


@pytest.mark.parametrize(
    ("kind", "value", "at"),
    [
        (BulkDocument, {"count": "1"}, "/count"),
        (BulkDocument, {"count": 1, "skipped": None}, "/skipped"),
        (BulkDocument, [], ""),
        (WaitingDocument, {"reason": "boredom", "retry_at": None}, "/reason"),
        (WaitingDocument, {"reason": "limit"}, ""),
        (QueuesDocument, {"queues": [{}], "limiters": [], "loop_lag_s": 0.1}, "/queues/0"),
    ],
)
def test_a_difference_is_found_at_its_place(kind: Any, value: Any, at: str) -> None:
    (difference,) = differences(kind, value, "")
    assert difference.startswith(f"{at}: ")
