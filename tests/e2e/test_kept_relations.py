"""What depends on other jobs, over a deploy and over a kill in the middle of it: flows, subscribers, schedules."""

from __future__ import annotations

import json
import signal
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.processes import ServerProcess
from tests.e2e.test_restarts import Client, until_started

if TYPE_CHECKING:
    from pathlib import Path

STOPS = pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGKILL], ids=["deploy", "kill"])


def server_in(folder: Path, *settings: str) -> ServerProcess:
    mode = (f"journal.dir={folder / 'journal'}", "server.drain_mode=keep", "server.drain_s=0.2")
    return ServerProcess(folder, "tests.e2e.relations:queue", *mode, *settings)


@STOPS
def test_a_flow_goes_on_from_the_jobs_that_have_ended(tmp_path: Path, stop: signal.Signals) -> None:
    gate = tmp_path / "gate"
    jobs: list[dict[str, Any]] = [
        {"name": "first", "type": "echo", "args": {"value": 7}},
        {"name": "held", "type": "hold", "args": {"gate": str(gate)}},
        {"name": "last", "type": "collect", "after": ["first", "held"]},
    ]
    with server_in(tmp_path) as server, closing(Client(server)) as client:
        status, flow = client.ask("POST", "/v1/flows", {"jobs": jobs})
        assert status == 202, flow
        ids = {job["name"]: job["id"] for job in flow["jobs"]}
        assert client.job(ids["first"], wait_s=20)["state"] == "succeeded"
        until_started(gate, 1)
        client.submit("echo")  # accepted, so it is kept, and so is all before it
        server.stop(stop)
    gate.touch()
    with server_in(tmp_path) as server, closing(Client(server)) as client:
        last = client.job(ids["last"], wait_s=20)
        assert last["state"] == "succeeded", last
        attempt, recovered = last["result"]["held"]
        assert (last["result"]["first"], attempt > 1, recovered) == (7, True, stop == signal.SIGKILL)
        assert client.ask("GET", f"/v1/flows/{flow['id']}")[1]["state"] == "succeeded"
        assert server.stop() == 0


@STOPS
def test_published_data_reaches_its_subscribers(tmp_path: Path, stop: signal.Signals) -> None:
    with server_in(tmp_path) as server, closing(Client(server)) as client:
        client.ask("POST", "/v1/queues/default:pause", {})
        status, published = client.ask("POST", "/v1/topics/order.paid", {"data": {"id": 17}})
        assert status == 202, published
        server.stop(stop)
    with server_in(tmp_path) as server, closing(Client(server)) as client:
        client.ask("POST", "/v1/queues/default:resume", {})
        [job] = published["jobs"]
        assert client.job(job["id"], wait_s=20)["result"] == ["order.paid", {"id": 17}]
        assert server.stop() == 0


@STOPS
def test_each_instant_of_a_schedule_has_one_job(tmp_path: Path, stop: signal.Signals) -> None:
    beats = tmp_path / "beats"
    schedule = {"type": "beat", "every_s": 1, "overlap": "queue", "catch_up": "all"}
    schedule["args"] = json.dumps({"file": str(beats)})
    config = tmp_path / "config.yaml"
    config.write_text(json.dumps({"schedules": {"beat": schedule}}))

    def jobs_by_instant(at_least: int) -> dict[int, set[str]]:
        found: dict[int, set[str]] = {}
        while len(found) < at_least:
            time.sleep(0.05)
            for line in beats.read_text().splitlines() if beats.exists() else []:
                instant, job_id = line.split()
                found.setdefault(int(instant), set()).add(job_id)
        return found

    instants = 0
    for _ in range(3):
        with server_in(tmp_path, f"--config={config}") as server:
            instants = len(jobs_by_instant(instants + 2))
            server.stop(stop)
    found = jobs_by_instant(instants)
    assert sorted(found) == list(range(min(found), max(found) + 1)), "none is missed"
    assert {len(jobs) for jobs in found.values()} == {1}, "none has two"
