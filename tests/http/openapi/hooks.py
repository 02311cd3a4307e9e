"""Hooks of schemathesis (`hooks` in schemathesis.toml): the excuses, and jobs for the operations on one."""

from __future__ import annotations

import itertools
import os
from typing import Any

import requests
import schemathesis
from schemathesis.generation.meta import TestPhase

from tests.http.openapi.excuses import excuse_of

JOBS = itertools.cycle(
    [
        {"type": "echo", "args": {"hello": "world"}},
        {"type": "echo", "delay_s": 3600},
        {"type": "fail"},
        {"type": "report"},
        {"type": "echo", "delay_s": 3600, "group": "a", "unique": "b"},
    ]
)
"""Jobs that end in each way, and some that can still be changed."""


KEY = "Idempotency-Key"

_COUNT = itertools.count()


@schemathesis.hook
def filter_failure(context: Any, failure: Exception, case: Any, response: Any) -> bool:
    """Keep a failure that has no excuse."""
    return excuse_of(failure, response) is None


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: dict[str, Any]) -> None:
    """Let three of four valid requests have a key of their own, or concern a job that is there."""
    if case.meta is None or not case.meta.generation.mode.is_positive or case.meta.phase.name == TestPhase.STATEFUL:
        return
    number = next(_COUNT)
    if number % 4 == 0:
        return
    if KEY in (case.headers or {}):
        case.headers[KEY] = f"k-{number}"
    if "id" in (case.path_parameters or {}) and (job_id := _submitted(case.operation.base_url)) is not None:
        case.path_parameters = {**case.path_parameters, "id": job_id}


def _submitted(url: str) -> str | None:
    """Submit a job and return its id; None: it was rejected."""
    headers = {"Authorization": f"Bearer {os.environ['JOBQUEUE_KEY']}"}
    answer = requests.post(f"{url.rstrip('/')}/v1/jobs", json=next(JOBS), headers=headers, timeout=10)
    job_id: str | None = answer.json().get("id")
    return job_id
