"""The locust user of an outage: submits a job under a key until it is accepted, follows it to its end, starts over.

It repeats a submission that had no answer, as the documents advise: with the same key, so that it is one job. Each
answer is a line of JSON in a file: when, what for, its status (0: none), and the id of an accepted job. The
environment: OUTAGE_LOG, the path of that file.
"""

from __future__ import annotations

import json
import os
import time
import uuid
from typing import Any

import gevent
from locust import task
from locust.contrib.fasthttp import FastHttpUser

from bench.outage.loads import LOG

PAUSE_S = 0.2
POLL_S = 0.25
ANSWER_S = 10.0
REFUSALS = (429, 503)
SUBMISSION = json.dumps({"type": "work"})

_log = open(os.environ[LOG], "a", buffering=1)  # noqa: SIM115 - it ends with the process


class OutageUser(FastHttpUser):
    """One user, on a connection of its own."""

    connection_timeout = network_timeout = ANSWER_S

    @task
    def round(self) -> None:
        target = self.submit()
        while not self.is_over(target):
            gevent.sleep(POLL_S)

    def submit(self) -> str:
        """Return the path of the status of an accepted job."""
        headers = {"Content-Type": "application/json", "Idempotency-Key": f'"{uuid.uuid4().hex}"'}
        while True:
            with self.client.post("/v1/jobs", data=SUBMISSION, headers=headers, catch_response=True) as answer:
                location = (answer.headers or {}).get("Location", "")
                _note(answer, "submit", location.rpartition("/")[2])
                if answer.status_code in (200, 202):
                    return str(location)
            gevent.sleep(_pause_s(answer))

    def is_over(self, target: str) -> bool:
        """Return whether a job is over; a status that can't be read now is read again."""
        with self.client.head(target, name="status", catch_response=True) as answer:
            _note(answer, "status", "")
            return answer.status_code in (200, 404, 410)


def _note(answer: Any, kind: str, job_id: str) -> None:
    """Write an answer down; none is a failure of locust's."""
    answer.success()
    reason = "" if answer.status_code else type(answer.error).__name__
    if answer.status_code in REFUSALS and answer.text:
        reason = _problem_of(answer.text)
    line = {"at": time.time(), "kind": kind, "status": answer.status_code, "id": job_id, "reason": reason}
    _log.write(f"{json.dumps(line)}\n")


def _problem_of(text: str) -> str:
    """Return the kind of a problem; of an answer that is none, such as a proxy's, an empty text."""
    try:
        return str(json.loads(text)["type"]).rpartition("/")[2]
    except (ValueError, LookupError, TypeError):
        return ""


def _pause_s(answer: Any) -> float:
    text = (answer.headers or {}).get("Retry-After", "")
    return float(text) if text.isdecimal() and answer.status_code in REFUSALS else PAUSE_S
