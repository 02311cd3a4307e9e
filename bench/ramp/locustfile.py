"""The locust user: submits three jobs, follows each until all are terminal, starts over.

By default each is polled once a second by HEAD; VIA=wait uses `Prefer: wait`, VIA=batch
submits all three, and reads their statuses, in one request. 503 and 429 are answers, not failures: the user
obeys Retry-After. Requests are named by kind and status code (`submit 202`,
`status 200`). Settings come from the environment: URL, JOBQUEUE_KEY, RAMP,
USERS, SECONDS, HOLD (see `__main__.py`), VIA.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import gevent
from locust import LoadTestShape, task
from locust.contrib.fasthttp import FastHttpUser

from bench.ramp.shape import ramp_of
from jobqueue.client import KEY_VARIABLE, URL_VARIABLE, TlsFiles, address_of

if TYPE_CHECKING:
    import ssl

JOBS = 3
POLL_S = 1.0
REFUSALS = (429, 503)
LIVE = ("delayed", "queued", "running")
SPAWN_RATE = 100.0  # within a second of the shape, which says how many there are in all
WAIT_S = 20
VIA = os.environ.get("VIA") or "head"
JOB = {"type": "sleep", "args": {"min_s": 0.05, "max_s": 0.05}}
SUBMISSION = json.dumps(JOB)
JSON = {"Content-Type": "application/json"}


class JobUser(FastHttpUser):
    """One user, on connections of its own."""

    abstract = True
    host = os.environ.get("URL") or os.environ.get(URL_VARIABLE) or "http://127.0.0.1:8080"
    insecure = False

    @staticmethod
    def ssl_context_factory() -> ssl.SSLContext:
        """Return the context for URLs of TLS: its files are those of JOBQUEUE_CA_FILE and so on."""
        context = TlsFiles().context_for("https:")
        assert context is not None
        return context

    default_headers = dict(address_of(host, key=os.environ.get(KEY_VARIABLE, ""), key_is_given=False).headers)  # noqa: RUF012  # locust declares it for instances

    def submit(self) -> str | None:
        """Submit a job until it is accepted; return the URL of its status, or None if it is rejected permanently."""
        while True:
            with self.client.post(
                "/v1/jobs", name="submit", data=SUBMISSION, headers=JSON, catch_response=True
            ) as answer:
                _name(answer, "submit")
                if answer.status_code == 202:
                    location: str = answer.headers["Location"]
                    return location
                if answer.status_code not in REFUSALS:
                    return None
                answer.success()
            gevent.sleep(_retry_after_s(answer))


class PollingUser(JobUser):
    """A user that polls."""

    abstract = VIA != "head"

    @task
    def round(self) -> None:
        live = [self.submit() for _ in range(JOBS)]
        while live:
            gevent.sleep(POLL_S)
            live = [target for target in live if target and not self.is_over(target)]

    def is_over(self, target: str) -> bool:
        """Read a status by HEAD. An unreadable one counts as terminal, and as a failure."""
        with self.client.head(target, name="status", catch_response=True) as answer:
            return _tells_the_end(answer, "status")


class WaitingUser(JobUser):
    """A user that waits for each job in turn: only the `wait 200`s show its life."""

    abstract = VIA != "wait"

    @task
    def round(self) -> None:
        live = [self.submit() for _ in range(JOBS)]
        for target in filter(None, live):
            while not self.is_over(target):
                gevent.sleep(POLL_S)  # the server's own bound on a wait was shorter

    def is_over(self, target: str) -> bool:
        prefer = {"Prefer": f"wait={WAIT_S}"}
        with self.client.get(target, name="wait", headers=prefer, catch_response=True) as answer:
            return _tells_the_end(answer, "wait")


class BatchingUser(JobUser):
    """A user that submits and reads many jobs in one request."""

    abstract = VIA != "batch"

    @task
    def round(self) -> None:
        wanted, live = JOBS, list[str]()
        while wanted or live:
            accepted, pause_s = self.submit_many(wanted) if wanted else ([], POLL_S)
            wanted -= len(accepted)
            gevent.sleep(pause_s)
            live = self.live_of(live + accepted)

    def submit_many(self, wanted: int) -> tuple[list[str], float]:
        """Submit; return the ids of the accepted jobs, and the time until the others may come again."""
        body = json.dumps({"jobs": [JOB] * wanted})
        with self.client.post("/v1/jobs:batch", name="batch", data=body, headers=JSON, catch_response=True) as answer:
            _name(answer, "batch")
            if answer.status_code in REFUSALS:
                answer.success()
            verdicts = answer.json()["jobs"] if answer.status_code == 207 else []
        pauses_s = [verdict["problem"].get("retry_after_s", POLL_S) for verdict in verdicts if "problem" in verdict]
        return [each["id"] for each in verdicts if "id" in each], max(pauses_s, default=_retry_after_s(answer))

    def live_of(self, ids: list[str]) -> list[str]:
        """Return the live ones. An unreadable one counts as terminal, and as a failure."""
        if not ids:
            return []
        with self.client.get(f"/v1/jobs?ids={','.join(ids)}", name="status", catch_response=True) as answer:
            _name(answer, "status")
            if answer.status_code in REFUSALS:
                answer.success()
                return ids
            documents = answer.json()["jobs"] if answer.status_code == 200 else []
        return [each["id"] for each in documents if each.get("state") in LIVE]


class KnownRamp(LoadTestShape):
    """The shape of `shape.py`, second by second."""

    ramp = ramp_of(os.environ)

    def tick(self) -> tuple[int, float] | None:
        users = self.ramp.users_at(self.get_run_time())  # type: ignore[no-untyped-call]  # locust's
        return None if users is None else (users, SPAWN_RATE)


def _name(answer: Any, kind: str) -> None:
    # 0 stands for no answer at all.
    answer.request_meta["name"] = f"{kind} {answer.status_code}"


def _tells_the_end(answer: Any, kind: str) -> bool:
    """Name a read by its answer. A rejected one is no failure, and says nothing about the job."""
    _name(answer, kind)
    if answer.status_code in REFUSALS:
        answer.success()
    return answer.status_code != 202 and answer.status_code not in REFUSALS


def _retry_after_s(answer: Any) -> float:
    text = answer.headers.get("Retry-After", "") if answer.headers else ""
    return float(text) if text.isdecimal() and text != "0" else POLL_S
