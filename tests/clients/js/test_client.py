"""The JavaScript client, by node's own test runner: with a real server, and with scripted answers.

The tests are in the files `*.test.mjs`; each file is one test here, whose report has theirs.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.e2e.processes import ROOT, ServerProcess
from tests.e2e.test_keys import new_key

HERE = Path(__file__).parent
NODE = shutil.which("node")

pytestmark = pytest.mark.skipif(NODE is None, reason="there is no `node` (Debian: apt install nodejs)")


def run_tests(name: str, **variables: str) -> None:
    """Run one file of tests in node."""
    assert NODE is not None
    command = [NODE, "--test", "--test-reporter=spec", str(HERE / name)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NODE_")}
    ended = subprocess.run(
        command, cwd=ROOT, env={**environment, **variables}, capture_output=True, text=True, timeout=100
    )
    print(ended.stdout)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_the_client_uses_a_real_server(tmp_path: Path) -> None:
    file = tmp_path / "keys.yaml"
    key = new_key(file, "tests", "admin,submit,read,operate")
    reader = new_key(file, "reader", "read")
    limited = new_key(file, "limited", "submit,read")
    with file.open("a") as keys:  # to the last key
        keys.write("\n  limits: {rate: 1/s burst 1}\n")
    settings = (f"auth.keys_file={file}", "queues.small.capacity=1", "queues.small.workers=1", "server.hosts=127.0.0.1")
    with ServerProcess(tmp_path, str(HERE / "handlers.py"), *settings) as server:
        run_tests("server.test.mjs", JOBQUEUE_URL=server.url, JOBQUEUE_KEY=key, READER_KEY=reader, LIMITED_KEY=limited)
        assert server.stop() == 0


def test_the_client_follows_the_rules_of_repetition() -> None:
    run_tests("scripted.test.mjs", JOBQUEUE_URL="", JOBQUEUE_KEY="")


def test_graphs_are_made_of_parts() -> None:
    run_tests("graphs.test.mjs")
