"""Schemathesis against a running server: requests made from its own description, and the answers compared with it.

All checks are on, also those of wrong requests; `excuses` has the failures that are no faults.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from jobqueue.keys import new_key
from tests.e2e.processes import ROOT, ServerProcess

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jobqueue.keys import Key

FOLDER = Path(__file__).parent
SHORT_S = 30


@pytest.fixture
def key() -> Key:
    return new_key()


@pytest.fixture
def server(tmp_path: Path, key: Key) -> Iterator[ServerProcess]:
    """A server with a key, with short waits, and with a queue that may fail as often as it likes."""
    settings = (
        *(f"auth.keys.t.id={key.id}", f"auth.keys.t.sha256={key.digest}", "auth.keys.t.scopes=admin"),
        *("limits.long_poll_max_s=50ms", "limits.heartbeat_s=100ms", "queues.default.retry_budget=0"),
        *("runtime.processes=1", "server.drain_s=0s", "log.format=json"),
    )
    with ServerProcess(tmp_path, str(FOLDER / "served.py"), *settings) as server:
        yield server


def schemathesis(
    server: ServerProcess, key: Key, folder: Path, seconds: int, *options: str
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(FOLDER / "schemathesis.toml"), "run"]
    source = [f"{server.url}/openapi.json?types=1", "--header", f"Authorization: Bearer {key.text}"]
    variables = {**os.environ, "JOBQUEUE_KEY": key.text, "PYTHONPATH": str(ROOT), "COLUMNS": "120"}
    return subprocess.run(
        [*command, *source, "--checks=all", "--continue-on-failure", "--no-color", f"--max-time={seconds}", *options],
        cwd=folder,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=3 * seconds + 20,
        check=False,
    )


def test_the_answers_to_requests_of_all_kinds_are_as_described(server: ServerProcess, key: Key, tmp_path: Path) -> None:
    # The phases that have the same cases in each run: the others fill the time with as many as there is room for.
    run = schemathesis(server, key, tmp_path, SHORT_S, "--seed=1", "--phases=examples,coverage")
    assert run.returncode == 0, run.stdout
    assert "http.internal_error" not in {event["event"] for event in server.events}


@pytest.mark.slow
@pytest.mark.timeout(0)
def test_a_long_run_finds_no_difference_from_the_description(server: ServerProcess, key: Key, tmp_path: Path) -> None:
    seconds, seed = int(os.environ.get("API_SECONDS", "600")), os.environ.get("API_SEED", "1")
    run = schemathesis(server, key, tmp_path, seconds, f"--seed={seed}", "--max-examples=100")
    print(run.stdout)
    assert run.returncode == 0
    assert "http.internal_error" not in {event["event"] for event in server.events}
