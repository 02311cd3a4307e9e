"""Keys from their making to their use: the command line, a server, the Python clients and the fleet."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from jobqueue import errors
from jobqueue.client import SyncClient
from tests.e2e.processes import ROOT, ServerProcess

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FLEET = (sys.executable, "-m", "clients", "--clients", "20", "--duration-s", "2", "--spawn-rate", "1000")


def new_key(file: Path, name: str, scopes: str) -> str:
    command = (sys.executable, "-m", "jobqueue", "key", "new", name, "--scope", scopes, "--keys-file", str(file))
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60).stdout.strip()


@pytest.fixture
def keys(tmp_path: Path) -> dict[str, str]:
    file = tmp_path / "keys.yaml"
    scopes = {"ci": "submit,read", "other": "submit,read", "writer": "submit", "ops": "operate"}
    return {name: new_key(file, name, these) for name, these in scopes.items()}


@pytest.fixture
def url(tmp_path: Path, keys: dict[str, str]) -> Iterator[str]:
    with ServerProcess(tmp_path, None, f"auth.keys_file={tmp_path / 'keys.yaml'}") as server:
        yield server.url
        assert server.stop() == 0


def run_fleet(url: str, **variables: str) -> tuple[int, str]:
    environment = {**os.environ, "JOBQUEUE_URL": url, **variables}
    ended = subprocess.run(FLEET, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)
    return ended.returncode, " ".join(ended.stdout.split())


def test_a_client_with_a_new_key_submits_and_reads(
    url: str, keys: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOBQUEUE_URL", url)
    monkeypatch.setenv("JOBQUEUE_KEY", keys["ci"])
    client = SyncClient()
    job = client.submit("echo", {"value": 7}, wait_s=10)
    assert job.result == {"value": 7}
    with pytest.raises(errors.JobNotFound):
        SyncClient(key=keys["other"]).get(job.id)
    with pytest.raises(errors.Forbidden) as denied:
        client.cancel(job.id)
    assert denied.value.scope == "operate"
    with pytest.raises(errors.Forbidden) as denied:
        SyncClient(key=keys["writer"]).status(job.id)
    assert denied.value.scope == "read"
    for key in ("", keys["ci"][:-1] + ("a" if keys["ci"][-1] != "a" else "b")):
        with pytest.raises(errors.Unauthorized):
            SyncClient(key=key).status(job.id)


def test_a_fleet_with_a_key_sees_the_end_of_every_job(url: str, keys: dict[str, str]) -> None:
    code, told = run_fleet(url, JOBQUEUE_KEY=keys["ci"])
    assert code == 0, told
    assert "Every accepted job was seen to end." in told


def test_a_fleet_without_access_prints_one_line(url: str, keys: dict[str, str]) -> None:
    wrong = keys["ci"][:12] + "a" * 52
    assert run_fleet(url, JOBQUEUE_KEY=wrong)[1].startswith(f"{url} denies access to this API key: HTTP 401: ")
    assert run_fleet(url, JOBQUEUE_KEY="")[1].startswith(f"{url} denies access to requests without an API key ")
    code, told = run_fleet(url, JOBQUEUE_KEY=keys["writer"])  # it learns so from a HEAD, without a body
    assert 'HTTP 403: Bearer realm="jobqueue", error="insufficient_scope", scope="read". ' in told
    code, told = run_fleet(url, JOBQUEUE_KEY=keys["ops"])
    assert code == 1
    assert told.startswith(f"{url} denies access to this API key: HTTP 403: the key lacks the scope submit")
