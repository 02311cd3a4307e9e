"""A server listens while it recovers its jobs, and says so."""

from __future__ import annotations

import json
import socket
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.processes import ServerProcess

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SUBMISSION = b'{"type": "echo"}'


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """The recovery is over once this file exists."""
    return tmp_path / "gate"


@pytest.fixture
def server(tmp_path: Path, gate: Path) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path, str(gate), module="tests.e2e.recovering") as process:
        yield process


class Asked:
    """One connection that is kept, and the answers to its requests."""

    def __init__(self, url: str) -> None:
        host, port = url.removeprefix("http://").split(":")
        self._wire = socket.create_connection((host, int(port)), timeout=30)
        self._file = self._wire.makefile("rb")

    def ask(self, method: str, path: str, body: bytes = b"") -> tuple[int, dict[str, str], Any]:
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n"
        if body:
            head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        self._wire.sendall(head.encode() + b"\r\n" + body)
        status = int(self._file.readline().split()[1])
        headers = {}
        while (line := self._file.readline().strip()) != b"":
            name, _, value = line.partition(b": ")
            headers[name.decode().lower()] = value.decode()
        length = 0 if method == "HEAD" else int(headers.get("content-length", "0"))
        content = self._file.read(length)
        return status, headers, json.loads(content) if "json" in headers.get("content-type", "") and content else None

    def close(self) -> None:
        self._file.close()
        self._wire.close()


def test_requests_for_jobs_are_rejected_until_the_jobs_are_back(server: ServerProcess, gate: Path) -> None:
    client = Asked(server.url)
    unknown = f"/v1/jobs/{'a' * 22}"
    for method, path, body in (
        ("POST", "/v1/jobs", SUBMISSION),
        ("GET", unknown, b""),
        ("HEAD", unknown, b""),
        ("GET", "/v1/jobs", b""),
        ("GET", "/readyz", b""),
        ("POST", "/v1/queues/default:pause", b""),
    ):
        status, headers, problem = client.ask(method, path, body)
        assert (status, headers["retry-after"]) == (503, "1"), (method, path)
        if method != "HEAD":
            assert problem["type"] == "/problems/recovering"
            assert problem["detail"] == "the server recovers its jobs from the journal; 40% is done"
    for path in ("/livez", "/v1/queues", "/v1/server", "/metrics"):
        assert client.ask("GET", path)[0] == 200, path
    gate.touch()
    until = time.monotonic() + 30
    while client.ask("GET", "/readyz")[0] == 503:
        assert time.monotonic() < until
        time.sleep(0.01)
    status, _, job = client.ask("POST", "/v1/jobs", SUBMISSION)
    assert status == 202
    assert client.ask("HEAD", f"/v1/jobs/{job['id']}")[0] in (200, 202)
    assert client.ask("HEAD", unknown)[0] == 404
    assert client.ask("GET", "/readyz")[2] == {"status": "ready", "fast_path": True}
    client.close()
    assert server.stop() == 0


def test_a_stop_during_the_recovery_ends_the_server_in_order(server: ServerProcess) -> None:
    assert server.url
    assert server.stop() == 0
    events = [each["event"] for each in server.events]
    assert events[-1] == "server.stopped"
    assert not {"drain.lost", "drain.kept"} & set(events), "what is not recovered is neither"


def test_a_recovery_that_fails_ends_the_server(server: ServerProcess, gate: Path) -> None:
    client = Asked(server.url)
    gate.write_text("damaged")
    assert server.wait_for("server.failed")["reason"] == "/srv/journal/00000001.log: damaged at byte 4096"
    assert server.exit_code() == 1
    client.close()
