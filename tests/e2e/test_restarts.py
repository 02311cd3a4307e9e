"""Restarts of a server with a journal: what a drain keeps, and what a forced end makes of it."""

from __future__ import annotations

import http.client
import json
import signal
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from jobqueue.process.signals import SAME_STOP_S
from tests.e2e.processes import ServerProcess

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def serve(tmp_path: Path) -> Callable[..., ServerProcess]:
    def serve(*settings: str) -> ServerProcess:
        mode = (f"journal.dir={tmp_path / 'journal'}", "server.drain_mode=keep", "queues.default.workers=1")
        return ServerProcess(tmp_path, "tests.e2e.holding:queue", *mode, *settings)

    return serve


class Client:
    """Asks one server, over one connection."""

    def __init__(self, server: ServerProcess) -> None:
        self._connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=60)
        while self.ask("GET", "/readyz")[0] != 200:
            time.sleep(0.01)

    def ask(self, method: str, path: str, document: Any = None, **headers: str) -> tuple[int, Any]:
        if document is not None:
            headers["Content-Type"] = "application/json"
        body = None if document is None else json.dumps(document)
        self._connection.request(method, path, body, headers)
        answer = self._connection.getresponse()
        content = answer.read()
        return answer.status, json.loads(content) if content else None

    def submit(self, type: str, **options: Any) -> str:
        status, job = self.ask("POST", "/v1/jobs", {"type": type, **options})
        assert status == 202
        return str(job["id"])

    def job(self, job_id: str, wait_s: int = 0) -> Any:
        return self.ask("GET", f"/v1/jobs/{job_id}", **({"Prefer": f"wait={wait_s}"} if wait_s else {}))[1]

    def close(self) -> None:
        self._connection.close()


def until_started(gate: Path, starts: int) -> list[list[str]]:
    """Wait for a number of starts of `hold`; return its ids and attempts."""
    told = gate.with_suffix(".starts")
    while not told.exists() or len(told.read_text().splitlines()) < starts:
        time.sleep(0.01)
    return [line.split() for line in told.read_text().splitlines()]


def test_the_next_process_goes_on_with_the_kept_jobs(serve: Callable[..., ServerProcess], tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    with serve("server.drain_s=0.2") as server, closing(Client(server)) as client:
        ended = client.submit("echo", args={"value": 7})
        assert client.job(ended, wait_s=20)["state"] == "succeeded"
        runs = client.submit("hold", args={"gate": str(gate)})
        until_started(gate, 1)
        waits = [client.submit("echo", args={"value": n}) for n in range(2)]
        delayed = client.submit("echo", delay_s=3600)
        assert server.stop() == 0
        kept = server.wait_for("drain.kept")
    assert (kept["delayed"], kept["queued"], kept["running"]) == (1, 2, 1)
    assert not any(each["event"] == "drain.lost" for each in server.events)
    with serve() as server, closing(Client(server)) as client:
        assert client.job(ended)["result"] == 7
        assert until_started(gate, 2) == [[runs, "1"], [runs, "2"]], "it is the first of its queue"
        again = client.job(runs)
        assert (again["state"], again["attempt"], again["attempts_max"]) == ("running", 2, 3), "none is charged"
        assert client.job(delayed)["state"] == "delayed"
        gate.touch()
        assert client.job(runs, wait_s=20)["result"] == [2, False], "no crash, so it was not recovered"
        assert [client.job(job_id, wait_s=20)["result"] for job_id in waits] == [0, 1]
        assert server.stop() == 0


def test_running_jobs_have_the_time_of_the_drain_and_no_other_starts(
    serve: Callable[..., ServerProcess], tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    with serve("server.drain_s=30") as server, closing(Client(server)) as client:
        runs, waits = client.submit("hold", args={"gate": str(gate)}), client.submit("echo")
        until_started(gate, 1)
        server.process.send_signal(signal.SIGTERM)
        server.wait_for("server.draining")
        assert client.ask("POST", "/v1/jobs", {"type": "echo"})[0] == 503
        gate.touch()
        assert server.exit_code() == 0
        kept = server.wait_for("drain.kept")
    assert (kept["delayed"], kept["queued"], kept["running"]) == (0, 1, 0)
    with serve() as server, closing(Client(server)) as client:
        assert client.job(runs)["result"] == [1, False]
        assert client.job(waits, wait_s=20)["state"] == "succeeded"
        assert server.stop() == 0


def test_a_wait_ends_with_its_live_job_when_the_drain_ends(serve: Callable[..., ServerProcess], tmp_path: Path) -> None:
    gate, answers = tmp_path / "gate", list[tuple[int, Any]]()
    with serve("server.drain_s=0.2") as server, closing(Client(server)) as client, closing(Client(server)) as waiting:
        runs = client.submit("hold", args={"gate": str(gate)})
        until_started(gate, 1)
        wait = threading.Thread(
            target=lambda: answers.append(waiting.ask("GET", f"/v1/jobs/{runs}", None, Prefer="wait=50"))
        )
        wait.start()
        assert server.stop() == 0
        wait.join(30)
    [(status, job)] = answers
    assert (status, job["state"]) == (202, "queued")


def test_a_second_signal_is_a_crash_that_loses_nothing(serve: Callable[..., ServerProcess], tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    with serve("server.drain_s=30") as server, closing(Client(server)) as client:
        runs, waits = client.submit("hold", args={"gate": str(gate)}), client.submit("echo", args={"value": 5})
        until_started(gate, 1)
        server.process.send_signal(signal.SIGTERM)
        server.wait_for("server.draining")
        time.sleep(SAME_STOP_S)  # signals within this time are the same stop
        assert server.stop() == 1
        assert not any(each["event"] == "drain.lost" for each in server.events)
    gate.touch()
    with serve() as server, closing(Client(server)) as client:
        job = client.job(runs, wait_s=20)
        assert job["state"] == "succeeded"
        attempt, recovered = job["result"]
        assert attempt > 1
        assert recovered is True
        assert client.job(waits, wait_s=20)["result"] == 5
        assert server.stop() == 0


def test_a_start_after_crashes_in_a_row_pauses_all_queues_and_tells_why(serve: Callable[..., ServerProcess]) -> None:
    for _ in range(3):
        with serve() as server, closing(Client(server)):
            server.process.kill()
            server.process.wait()
    with serve() as server, closing(Client(server)) as client:
        assert server.wait_for("journal.starts_paused")["starts"] >= 3
        queue = client.ask("GET", "/v1/queues/default")[1]
        assert queue["paused"] is True
        assert "crash" in queue["pause"]["reason"]
        waits = client.submit("echo")
        assert client.job(waits)["state"] == "queued"
        paused: list[Any] = []
        while not paused:  # they are derived once a second
            findings = client.ask("GET", "/v1/findings")[1]["findings"]
            paused = [each for each in findings if each["kind"] == "queue_paused"]
        assert "crash" in paused[0]["cause"]
        assert client.ask("POST", "/v1/queues/default:resume", {})[0] == 200
        assert client.job(waits, wait_s=20)["state"] == "succeeded"
        assert server.stop() == 0
