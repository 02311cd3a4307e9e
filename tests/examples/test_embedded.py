"""The examples that embed the queue in FastAPI and Django, each served by uvicorn in a process of its own."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tests.e2e.processes import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

APPLICATIONS = ("examples.fastapi_app:app", "examples.django_app:application")


class Answered(NamedTuple):
    """An answer; header names as `email.message` finds them."""

    status: int
    headers: Any
    document: Any


class Application:
    """An application under uvicorn."""

    def __init__(self, name: str, process: subprocess.Popen[str], url: str) -> None:
        self._is_django = "django" in name
        self.process = process
        self.url = url

    def ask(self, path: str, body: dict[str, Any] | None = None) -> Answered:
        """Send a GET, or a POST in the form that the application takes."""
        data, headers = None, {}
        if body is not None:
            data = (urllib.parse.urlencode(body) if self._is_django else json.dumps(body)).encode()
            kind = "application/x-www-form-urlencoded" if self._is_django else "application/json"
            headers = {"Content-Type": kind}
        request = urllib.request.Request(f"{self.url}{path}", data, headers)
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return Answered(response.status, response.headers, json.load(response))
        except urllib.error.HTTPError as error:
            text = error.read().decode()
            is_json = "json" in error.headers.get("Content-Type", "")
            return Answered(error.code, error.headers, json.loads(text) if is_json else text)

    def post(self, **body: Any) -> Answered:
        return self.ask("/reports/" if self._is_django else "/reports", body)

    def get(self, id: str, query: str = "") -> Answered:
        return self.ask(f"/reports/{id}/{query}" if self._is_django else f"/reports/{id}{query}")


@contextmanager
def served(name: str) -> Iterator[Application]:
    command = [sys.executable, "-m", "uvicorn", "--lifespan", "on", "--port", "0", name]
    process = subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, "PYTHONUNBUFFERED": "1"}, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    try:
        logged = ""
        while (found := re.search(r"running on (http://127\.0\.0\.1:\d+)", logged)) is None:
            line = process.stderr.readline()
            assert line, logged
            logged += line
        yield Application(name, process, found[1])
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        process.stderr.close()


@pytest.fixture(params=APPLICATIONS)
def application(request: pytest.FixtureRequest) -> Iterator[Application]:
    with served(request.param) as application:
        yield application


def test_a_view_submits_a_job_and_another_tells_its_end(application: Application) -> None:
    accepted = application.post(city="Oslo", days=3)
    assert accepted.status == 202
    id = accepted.document["id"]
    assert accepted.headers["Location"].rstrip("/") == f"/reports/{id}"
    ended = application.get(id, "?wait_s=20")
    assert ended.status == 200
    assert {name: ended.document[name] for name in ("state", "progress", "result", "error")} == {
        "state": "succeeded",
        "progress": 1.0,
        "result": {"city": "Oslo", "days": 3},
        "error": None,
    }
    assert application.get("never").status == 404


def test_a_view_rejects_an_invalid_submission_by_field(application: Application) -> None:
    wrong = application.post(city="Oslo", days="many")
    assert wrong.status == 422
    assert "days" in json.dumps(wrong.document)


def test_a_wait_of_a_view_ends_while_the_job_is_live(application: Application) -> None:
    id = application.post(city="Oslo", days=300).document["id"]
    live = application.get(id, "?wait_s=1").document
    assert live["state"] == "running"
    assert 0 < live["progress"] < 1
    assert application.get(id, "?wait_s=nonsense").status in (200, 422)


def test_a_stop_finishes_the_accepted_jobs(application: Application) -> None:
    id = application.post(city="Oslo", days=20).document["id"]
    assert application.get(id).document["state"] in ("queued", "running")
    application.process.send_signal(signal.SIGTERM)
    assert application.process.stderr is not None
    logged = application.process.stderr.read()
    assert application.process.wait(30) in (0, -signal.SIGTERM)  # uvicorn raises the signal again, at its very end
    assert "Application shutdown complete" in logged
    assert "drain.lost" not in logged
