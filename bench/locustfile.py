"""What a locust user does: submit three jobs, poll each a second by HEAD until all are over, start over.

503 and 429 are answers, not failures: the user comes back when the server says so. Requests
are named by what they are and how they were answered (`submit 202`, `status 200`).
Settings come from the environment: URL, USERS, SECONDS (see `ramp.py`).
"""

from __future__ import annotations

import json
import os
from typing import Any

import gevent
from locust import LoadTestShape, task
from locust.contrib.fasthttp import FastHttpUser

from bench.shape import OWN_DURATION_S, USERS_MAX, Ramp

JOBS = 3
POLL_S = 1.0
REFUSALS = (429, 503)
SPAWN_RATE = 100.0  # within a second of the shape, which says how many there are in all
SUBMISSION = json.dumps({"type": "sleep", "args": {"min_s": 0.05, "max_s": 0.05}})


class JobUser(FastHttpUser):
    """One user, on connections of its own."""

    host = os.environ.get("URL") or "http://127.0.0.1:8080"

    @task
    def round(self) -> None:
        live = [self.submit() for _ in range(JOBS)]
        while live:
            gevent.sleep(POLL_S)
            live = [target for target in live if target and not self.is_over(target)]

    def submit(self) -> str | None:
        """Submit a job, until it is accepted; return where its status is, or None if it is turned away for good."""
        while True:
            headers = {"Content-Type": "application/json"}
            with self.client.post(
                "/v1/jobs", name="submit", data=SUBMISSION, headers=headers, catch_response=True
            ) as answer:
                _name(answer, "submit")
                if answer.status_code == 202:
                    location: str = answer.headers["Location"]
                    return location
                if answer.status_code not in REFUSALS:
                    return None
                answer.success()
            gevent.sleep(_retry_after_s(answer))

    def is_over(self, target: str) -> bool:
        """Read a status by HEAD. One that can't be read counts as over, and as a failure."""
        with self.client.head(target, name="status", catch_response=True) as answer:
            _name(answer, "status")
            if answer.status_code in REFUSALS:
                answer.success()
            return answer.status_code != 202 and answer.status_code not in REFUSALS


class KnownRamp(LoadTestShape):
    """The shape of `shape.py`, second by second."""

    ramp = Ramp(
        users_max=int(os.environ.get("USERS") or USERS_MAX),
        duration_s=float(os.environ.get("SECONDS") or OWN_DURATION_S),
    )

    def tick(self) -> tuple[int, float] | None:
        users = self.ramp.users_at(self.get_run_time())  # type: ignore[no-untyped-call]
        return None if users is None else (users, SPAWN_RATE)


def _name(answer: Any, kind: str) -> None:
    # 0 stands for no answer at all.
    answer.request_meta["name"] = f"{kind} {answer.status_code}"


def _retry_after_s(answer: Any) -> float:
    text = answer.headers.get("Retry-After", "") if answer.headers else ""
    return float(text) if text.isdecimal() and text != "0" else POLL_S
