"""The README, held to its word: its tours run as they are printed."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.processes import ROOT, ServerProcess

README = (ROOT / "README.md").read_text()

# What each request of the tour must be answered with, in order.
EXPECTED = [202, 202, 202, 202, 200, 304, 204, 410, 202]
EXPECTED += [200, 202, 200, 207, 200, 200, 202, 200, 200, 200, 200]  # waits, keys, batch, dead letters, steering
EXPECTED += [202, 200, 200, 200, 200, 422]


def tour() -> str:
    match = re.search(r"<!-- tour: begin -->\n```sh\n(.*?)```\n<!-- tour: end -->", README, re.DOTALL)
    assert match is not None, "the README has a tour"
    return match[1]


@pytest.mark.skipif(shutil.which("curl") is None, reason="the tour needs curl")
def test_the_curl_tour_runs_line_by_line_as_printed(tmp_path: Path) -> None:
    script = tour()
    assert script.count("curl ") == len(EXPECTED)
    with ServerProcess(tmp_path) as server:
        script = script.replace("http://127.0.0.1:8080", server.url)
        # A wrapper notes the status of each answer; the lines themselves stay as they are.
        wrapper = f'curl() {{ command curl -w "%{{stderr}}code=%{{http_code}}\\n" "$@" 2>>{tmp_path}/codes; }}\n'
        run = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", wrapper + script], cwd=ROOT, capture_output=True, text=True, timeout=60
        )
    codes = [int(code) for code in re.findall(r"code=(\d{3})", (tmp_path / "codes").read_text())]
    assert run.returncode == 0, run.stderr
    assert codes == EXPECTED


def test_the_python_tour_runs_as_printed(tmp_path: Path) -> None:
    match = re.search(r"```python\n(import asyncio\n.*?)```", README, re.DOTALL)
    assert match is not None
    (tmp_path / "thumbnails.py").write_text(match[1])
    run = subprocess.run(
        [sys.executable, str(tmp_path / "thumbnails.py")],
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.stdout == "{'path': 'a.png', 'width': 128}\n", run.stderr


def test_the_lifespan_of_the_how_to_runs_as_printed(tmp_path: Path) -> None:
    match = re.search(r"```python\n(import asyncio\n.*?)```", (ROOT / "docs/how-to/lifespan.md").read_text(), re.DOTALL)
    assert match is not None
    (tmp_path / "visits.py").write_text(match[1])
    run = subprocess.run(
        [sys.executable, str(tmp_path / "visits.py")],
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.stdout == "2\n", run.stderr


def test_the_sync_client_of_the_tour_runs_as_printed(tmp_path: Path) -> None:
    match = re.search(r"```python\n(from jobqueue.client import SyncClient\n.*?)```", README, re.DOTALL)
    assert match is not None
    with ServerProcess(tmp_path) as server:
        run = subprocess.run(
            [sys.executable, "-c", match[1].replace("http://127.0.0.1:8080", server.url)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert run.stdout == "{'hello': 'world'}\n{'hello': 'again'}\n", run.stderr


def test_every_file_that_the_documents_name_is_there() -> None:
    for document in (
        ROOT / "README.md",
        ROOT / "ARCHITECTURE.md",
        *sorted((ROOT / "docs").rglob("*.md")),
    ):
        for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name} names {target}"
        for target in re.findall(
            r"`((?:tests|examples|docs|bench|clients|jobqueue|core|http|runtime|backend)/[\w/.]+)", document.read_text()
        ):
            assert any((base / target).exists() for base in (ROOT, ROOT / "jobqueue")), f"{document.name}: {target}"
