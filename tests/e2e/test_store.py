"""Two servers over one store (`backend: valkey`): jobs of either are those of both, and outlive each of the three."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from bench.store import MISSING, Store, executable
from tests.e2e.processes import ServerProcess
from tests.e2e.test_restarts import Client
from tests.stores import client_of

pytestmark = pytest.mark.skipif(executable() is None, reason=MISSING)

PATIENCE_S = 60.0
TTL_S = 3
KEYS = "{jobqueue}:"


def server_on(store: Store, folder: Path, *settings: str) -> ServerProcess:
    over = ("backend=valkey", f"valkey.url={store.url}", f"valkey.ttl_s={TTL_S}", "valkey.call_timeout_s=0.5")
    return ServerProcess(folder, "tests.e2e.holding:queue", *over, *settings)


class Two:
    """Two servers, and a client of each."""

    def __init__(self, store: Store, folder: Path, parts: ExitStack) -> None:
        self.store = store
        self.folder = folder
        self.servers = [parts.enter_context(server_on(store, folder, "server.drain_s=0.5")) for _ in range(2)]
        self.one, self.other = self.clients = [parts.enter_context(closing(Client(each))) for each in self.servers]

    def starts(self, gate: Path) -> list[list[str]]:
        file = gate.with_suffix(".starts")
        return [line.split() for line in file.read_text().splitlines()] if file.exists() else []

    def hold(self, client: Client, name: str, count: int = 1) -> tuple[Path, list[str]]:
        """Submit jobs that run until their gate is there; return it, and their ids, once all run."""
        gate = self.folder / name
        ids = [client.submit("hold", args={"gate": str(gate)}) for _ in range(count)]
        until(lambda: len(self.starts(gate)) == count)
        return gate, ids

    def were_heard_since_both_joined(self) -> bool:
        with closing(client_of(self.store)) as store:
            alive_until = store.zrange(f"{KEYS}procs", 0, -1, withscores=True)
            joined = [int(store.hget(f"{KEYS}p:{name.decode()}", "joined") or 0) for name, _ in alive_until]
        return min(until_ms for _, until_ms in alive_until) - TTL_S * 1000 > max(joined)


def until(met: Any) -> None:
    end = time.monotonic() + PATIENCE_S
    while not met():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Two]:
    """Servers that no test stops."""
    with Store() as store, ExitStack() as parts:
        yield Two(store, tmp_path_factory.mktemp("two"), parts)


@pytest.fixture
def parts() -> Iterator[ExitStack]:
    """What ends with a test."""
    with ExitStack() as parts:
        yield parts


@pytest.fixture
def own(tmp_path: Path, parts: ExitStack) -> Two:
    """Servers of one test, over a store that keeps its jobs on the disk."""
    folder = tmp_path / "store"
    folder.mkdir()
    store = parts.enter_context(Store("--appendonly", "yes", "--appendfsync", "always", folder=folder))
    return Two(store, tmp_path, parts)


def test_a_job_of_one_server_is_read_and_awaited_at_the_other(two: Two) -> None:
    gate, (job_id,) = two.hold(two.one, "read")
    assert two.other.job(job_id)["state"] == "running"
    assert two.other.ask("HEAD", f"/v1/jobs/{job_id}")[0] == 202
    assert two.other.job(job_id, wait_s=1)["state"] == "running"
    gate.touch()
    job = two.other.job(job_id, wait_s=20)
    assert (job["state"], job["result"]) == ("succeeded", [1, False])
    assert [client.ask("HEAD", f"/v1/jobs/{job_id}")[0] for client in two.clients] == [200, 200]
    assert two.one.job(job_id) == job


def test_a_submission_waits_for_its_job_on_either_server(two: Two) -> None:
    for client in two.clients:
        status, job = client.ask("POST", "/v1/jobs", {"type": "echo", "args": {"value": 4}}, Prefer="wait=20")
        assert (status, job["result"]) == (200, 4)


def test_a_key_is_one_job_at_both_servers(two: Two) -> None:
    document = {"type": "echo", "args": {"value": 1}}
    answers = [client.ask("POST", "/v1/jobs", document, **{"Idempotency-Key": "k"}) for client in two.clients]
    assert answers[0][1]["id"] == answers[1][1]["id"]
    document["args"] = {"value": 2}
    assert two.other.ask("POST", "/v1/jobs", document, **{"Idempotency-Key": "k"})[0] == 422


def test_ids_without_a_record_differ_at_both_servers(two: Two) -> None:
    job = two.one.ask("POST", "/v1/jobs", {"type": "echo"}, Prefer="wait=20")[1]
    assert two.one.ask("DELETE", f"/v1/jobs/{job['id']}")[0] == 204
    for client in two.clients:
        assert client.ask("GET", f"/v1/jobs/{job['id']}")[0] == 410
        assert client.ask("GET", f"/v1/jobs/{job['id'][:-3]}zzz")[0] == 404


def test_a_batch_and_a_list_of_ids_are_of_both_servers(two: Two) -> None:
    items = [{"type": "echo", "args": {"value": value}} for value in range(70)]
    status, batch = two.one.ask("POST", "/v1/jobs:batch", {"jobs": items})
    assert (status, [each["status"] for each in batch["jobs"]]) == (207, [202] * 70)
    ids = [each["id"] for each in batch["jobs"]]
    until(lambda: all(job["state"] == "succeeded" for job in listed(two.other, ids)))
    assert [job["result"] for job in listed(two.other, ids)] == [*range(70)]
    found = two.other.ask("GET", "/v1/jobs?type=echo&state=succeeded&limit=100")[1]["jobs"]
    assert set(ids) <= {job["id"] for job in found}


def listed(client: Client, ids: list[str]) -> list[Any]:
    jobs: list[Any] = client.ask("GET", f"/v1/jobs?ids={','.join(ids)}")[1]["jobs"]
    return jobs


def test_a_pause_and_changed_settings_of_one_server_hold_at_the_other(two: Two) -> None:
    assert two.one.ask("POST", "/v1/queues/default:pause", {"reason": "a test"})[0] == 200
    job_id = two.one.submit("echo")
    assert two.one.ask("PATCH", "/v1/queues/default", {"capacity": 777})[0] == 200
    until(lambda: two.other.ask("GET", "/v1/queues/default")[1]["capacity"] == 777)
    until(lambda: two.other.ask("GET", "/v1/queues/default")[1]["paused"])
    assert two.other.job(job_id, wait_s=1)["state"] == "queued"
    assert two.other.ask("POST", "/v1/queues/default:resume")[0] == 200
    assert two.one.job(job_id, wait_s=20)["state"] == "succeeded"


def test_files_are_refused_where_servers_share_the_jobs(two: Two) -> None:
    head = {"Content-Type": "multipart/form-data; boundary=b"}
    body = b'--b\r\nContent-Disposition: form-data; name="job"\r\n\r\n{"type":"echo"}\r\n--b--\r\n'
    connection = http.client.HTTPConnection(two.servers[0].url.removeprefix("http://"), timeout=20)
    with closing(connection):
        connection.request("POST", "/v1/jobs", body, head)
        assert connection.getresponse().status == 415


class Stream:
    """The events of a server, as they come."""

    def __init__(self, server: ServerProcess, path: str = "/v1/events", after: str | None = None) -> None:
        self._connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=20)
        self._connection.request("GET", path, headers={} if after is None else {"Last-Event-ID": after})
        self._answer = self._connection.getresponse()
        assert self._answer.status == 200

    def next(self) -> dict[str, str]:
        """Return the next event, or the id alone that a stream begins with."""
        lines: dict[str, str] = {}
        while line := self._answer.readline().decode().rstrip("\n") or not lines:
            name, _, value = str(line).partition(": ")
            if name in ("id", "event", "data"):
                lines[name] = value
        return lines

    def until(self, name: str) -> list[dict[str, str]]:
        found: list[dict[str, str]] = []
        while not found or found[-1].get("event") != name:
            found.append(self.next())
        return found

    def close(self) -> None:
        self._connection.close()


def test_a_stream_of_one_server_has_the_events_of_both_and_goes_on_at_the_other(two: Two) -> None:
    with closing(Stream(two.servers[1])) as stream:
        stream.next()
        job_id = two.one.submit("echo")
        events = stream.until("succeeded")
        assert [event["event"] for event in events] == ["submitted", "started", "succeeded"]
        assert {json.loads(event["data"])["id"] for event in events} == {job_id}
    again = two.one.submit("echo")
    assert two.one.job(again, wait_s=20)["state"] == "succeeded"
    with closing(Stream(two.servers[0], after=events[0]["id"])) as stream:
        missed = stream.until("succeeded") + stream.until("succeeded")
    assert [event["event"] for event in missed] == ["started", "succeeded", "submitted", "started", "succeeded"]
    assert [event["id"] for event in missed[:2]] == [event["id"] for event in events[1:]]
    assert json.loads(missed[-1]["data"])["id"] == again


def test_a_stream_of_one_job_ends_with_its_end_on_the_other_server(two: Two) -> None:
    gate, (job_id,) = two.hold(two.one, "streamed")
    with closing(Stream(two.servers[1], f"/v1/jobs/{job_id}/events")) as stream:
        assert stream.next()["event"] == "started"
        gate.touch()
        assert stream.next()["event"] == "succeeded"


def test_a_server_tells_of_its_store(two: Two) -> None:
    until(lambda: two.one.ask("GET", "/v1/server")[1]["store"]["servers"] == 2)
    store = two.one.ask("GET", "/v1/server")[1]["store"]
    assert (store["up"], store["reason"], store["address"]) == (True, None, two.store.url)


def test_a_server_that_stops_gives_its_running_jobs_to_the_other_uncharged(own: Two) -> None:
    gate, ids = own.hold(own.one, "given", 6)
    assert own.servers[0].stop() == 0
    events = {event["event"]: event for event in own.servers[0].events}
    assert events["server.drained"]["lost"] == 0
    returned = events["drain.returned"]["running"] if "drain.returned" in events else 0
    until(lambda: len(own.starts(gate)) == 6 + returned)
    gate.touch()
    jobs = [own.other.job(job_id, wait_s=20) for job_id in ids]
    assert [job["state"] for job in jobs] == ["succeeded"] * 6
    assert all(job["attempts_max"] == 1 + job["attempt"] for job in jobs)
    assert returned == sum(job["attempt"] == 2 for job in jobs)


def test_jobs_of_a_killed_server_run_again_on_the_other_and_the_attempt_counts(own: Two) -> None:
    gate, ids = own.hold(own.one, "killed", 6)
    own.servers[0].process.kill()
    own.servers[0].exit_code()
    gate.touch()
    jobs = [own.other.job(job_id, wait_s=30) for job_id in ids]
    assert [job["state"] for job in jobs] == ["succeeded"] * 6
    assert {job["attempts_max"] for job in jobs} == {2}


def test_a_killed_server_is_a_finding_of_the_other_until_another_one_has_joined(own: Two, parts: ExitStack) -> None:
    def of_lost() -> list[dict[str, Any]]:
        findings = own.other.ask("GET", "/v1/findings")[1]["findings"]
        return [each for each in findings if each["kind"] == "server_missing"]

    own.hold(own.one, "lost")
    assert of_lost() == []
    until(own.were_heard_since_both_joined)  # else the later one might have come in place of the other
    killed = f"{socket.gethostname()}:{own.servers[0].process.pid}"
    own.servers[0].process.kill()
    own.servers[0].exit_code()
    until(of_lost)
    (finding,) = of_lost()
    assert f"lost: {killed}; 1 server goes on" in finding["sentence"]
    store = own.other.ask("GET", "/v1/server")[1]["store"]
    assert [(each["name"], each["jobs"]) for each in store["missing"]] == [(killed, 1)]
    assert [each["own"] for each in store["members"]] == [True]
    parts.enter_context(server_on(own.store, own.folder))
    until(lambda: not of_lost())


def test_jobs_of_a_store_that_is_down_are_unavailable_and_kept(own: Two, parts: ExitStack) -> None:
    done = own.one.ask("POST", "/v1/jobs", {"type": "echo"}, Prefer="wait=20")[1]["id"]
    gate, (running,) = own.hold(own.one, "down")
    waiting = own.one.submit("echo", delay_s=3600)
    never = done[:-3] + "zzz"
    stream = parts.enter_context(closing(Stream(own.servers[1])))
    stream.next()
    own.store.kill()
    until(lambda: own.one.ask("GET", "/readyz")[0] == 503)
    for client in own.clients:
        until(lambda client=client: client.ask("GET", "/readyz")[0] == 503)
        assert client.ask("GET", "/livez")[0] == 200
        for method in ("GET", "HEAD"):
            assert {client.ask(method, f"/v1/jobs/{each}")[0] for each in (running, waiting)} == {503}
        status, problem = client.ask("GET", f"/v1/jobs/{waiting}", Prefer="wait=1")
        assert (status, problem["type"]) == (503, "/problems/store-unavailable")
        status, problem = client.ask("POST", "/v1/jobs", {"type": "echo"})
        assert (status, problem["type"]) == (503, "/problems/store-unavailable")
        assert 0 < problem["retry_after_s"] <= 5
        assert client.ask("GET", f"/v1/jobs/{never}")[0] == 404  # its tag tells
        assert client.ask("GET", "/v1/jobs?limit=5")[0] == 503
        assert client.ask("POST", f"/v1/jobs/{waiting}:cancel")[0] == 503
        assert client.ask("PATCH", "/v1/queues/default", {"capacity": 5})[0] == 503
        assert client.ask("GET", "/v1/server")[1]["store"]["up"] is False
    own.store.start()
    for client in own.clients:
        until(lambda client=client: client.ask("GET", "/readyz")[0] == 200)
    assert own.other.job(done)["state"] == "succeeded"
    assert own.other.job(waiting)["state"] == "delayed"
    gate.touch()
    assert own.other.job(running, wait_s=30)["state"] == "succeeded"
    assert own.one.ask("POST", f"/v1/jobs/{waiting}:run")[0] == 202
    assert own.other.job(waiting, wait_s=30)["state"] == "succeeded"
    after = own.one.submit("echo")
    while json.loads(stream.until("succeeded")[-1]["data"])["id"] != after:
        pass  # the stream has outlived the store, too
    own.hold(own.one, "stopped")
    own.store.kill()
    assert [server.stop() for server in own.servers] == [0, 0]  # in time, though the store can take nothing back


def test_a_reload_changes_a_queue_for_both_servers(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"

    def write(capacity: int) -> None:
        config.write_text(f"queues:\n  default: {{capacity: {capacity}}}\n")

    write(50)
    with Store() as store, ExitStack() as parts:
        servers = [parts.enter_context(server_on(store, tmp_path, f"--config={config}")) for _ in range(2)]
        one, other = [parts.enter_context(closing(Client(each))) for each in servers]
        assert other.ask("GET", "/v1/queues/default")[1]["capacity"] == 50
        write(60)
        servers[0].process.send_signal(signal.SIGHUP)
        until(lambda: one.ask("GET", "/v1/queues/default")[1]["capacity"] == 60)
        until(lambda: other.ask("GET", "/v1/queues/default")[1]["capacity"] == 60)
        assert one.ask("PATCH", "/v1/queues/default", {"capacity": 70})[0] == 200
        servers[1].process.send_signal(signal.SIGHUP)  # its file is new to it, and not to the store
        servers[1].wait_for("config.reloaded")
        assert other.ask("GET", "/v1/queues/default")[1]["capacity"] == 70
