"""Wheels built with and without a compiler, installed into fresh environments. On demand: `make test-wheels`.

Packages come from pip's index. `PYTHONS` names the interpreters; by default those of 3.11 to 3.13 that are on the path.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from jobqueue.client import SyncClient
from tests.packaging.console_files import LOADED, files_of_console
from tests.packaging.programs import ROOT, compiled

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

SUPPORTED = ("python3.11", "python3.12", "python3.13")
PYTHONS = os.environ.get("PYTHONS", "").split() or [name for name in SUPPORTED if shutil.which(name)]


@pytest.fixture(autouse=True)
def _pip_knows_certificates(monkeypatch: pytest.MonkeyPatch) -> None:
    """Undo what tests/conftest.py does to the import of aiohttp."""
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)


def new_environment(python: str, folder: Path) -> Path:
    """Make a virtual environment, and return the folder of its programs."""
    subprocess.run([python, "-m", "venv", str(folder)], check=True)
    return folder / "bin"


def build_wheel(programs: Path, folder: Path, form: str) -> Path:
    """Build a wheel as pip does for users: in isolation. Without a compiler there is nothing on the path."""
    environment = {name: value for name, value in os.environ.items() if name not in ("CC", compiled.VARIABLE)}
    if form == "pure":
        environment["PATH"] = str(programs)
    pip = [str(programs / "python"), "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(folder), str(ROOT)]
    subprocess.run(pip, env=environment, check=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


def serve_a_job(programs: Path, folder: Path) -> dict[str, str]:
    """Serve, let a client submit a job and see it succeed; return the event of the start, which comes first."""
    command = [str(programs / "jobqueue"), "serve", "--port=0", f"--set=spool.dir={folder}", "--set=server.linger_s=0"]
    server = subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True)
    try:
        assert server.stderr is not None
        first = server.stderr.readline()
        assert '"server.listening"' in first, first + server.stderr.read()
        listening: dict[str, str] = json.loads(first)
        with SyncClient(f"http://127.0.0.1:{listening['port']}") as client:
            assert client.run("echo", {"hello": "world"}) == {"hello": "world"}
        assert files_of_console(f"http://127.0.0.1:{listening['port']}") >= LOADED
    finally:
        server.terminate()
        server.communicate(timeout=30)
    assert server.returncode == 0
    return listening


def test_there_is_an_interpreter_to_test() -> None:
    assert PYTHONS, "name some: make test-wheels PYTHONS='python3.12 python3.13'"


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("form", ["pure", "compiled"])
def test_a_wheel_serves_a_job_in_a_fresh_environment(python: str, form: str, tmp_path: Path) -> None:
    wheel = build_wheel(new_environment(python, tmp_path / "build"), tmp_path / "dist", form)
    assert wheel.name.endswith("-py3-none-any.whl") == (form == "pure")

    programs = new_environment(python, tmp_path / "use")
    subprocess.run([programs / "python", "-m", "pip", "install", "-q", f"{wheel}[server]"], check=True)

    assert serve_a_job(programs, tmp_path)["build"] == form


@pytest.mark.parametrize("python", PYTHONS)
def test_a_wheel_alone_installs_the_blocking_client_and_nothing_of_the_server(python: str, tmp_path: Path) -> None:
    wheel = build_wheel(new_environment(python, tmp_path / "build"), tmp_path / "dist", "pure")
    programs = new_environment(python, tmp_path / "use")
    subprocess.run([programs / "python", "-m", "pip", "install", "-q", str(wheel)], check=True)

    listed = subprocess.run(
        [programs / "python", "-m", "pip", "list", "--format=json"], check=True, capture_output=True
    )
    names = {package["name"].replace("_", "-") for package in json.loads(listed.stdout)} - {"pip", "setuptools"}

    assert names == {"ephemeral-jobqueue", "msgspec", "mypy-extensions"}
    subprocess.run([programs / "python", "-c", "from jobqueue.client import SyncClient"], check=True)
