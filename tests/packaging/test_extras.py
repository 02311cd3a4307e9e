"""The package without its extras: the blocking client works, and all else says which extra to install."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from packaging.requirements import Requirement

from jobqueue.client import SyncClient
from jobqueue.event_loop import loop_factory
from jobqueue.extras import DISTRIBUTION
from tests.e2e.processes import ServerProcess
from tests.packaging.blocked import VARIABLE
from tests.packaging.programs import ROOT, compiled

if TYPE_CHECKING:
    from collections.abc import Iterator

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
IMPORTED_AS = {"PyYAML": "yaml", "hdrhistogram": "hdrh"}
OPTIONAL = {
    IMPORTED_AS.get(name, name.partition("-")[0])
    for requirements in EXTRAS.values()
    for name in (Requirement(it).name for it in requirements)
} | {"yarl", "multidict"}
"""The modules that no installation without extras has."""

WITHOUT = f"from tests.packaging.blocked import block; block(*{sorted(OPTIONAL)})\n"
USE = """
import json, sys
from jobqueue.client import SyncClient
with SyncClient(sys.argv[1]) as client:
    job = client.submit("echo", {"hello": "world", "none": None, "when": 1.5})
    ended = client.wait(job.id, 20)
    print(json.dumps([ended.state, ended.unwrap(), sorted(name.partition(".")[0] for name in sys.modules)]))
"""


def python(script: str, *args: str, program: str | Path = sys.executable, cwd: Path = ROOT) -> str:
    """Run a script and return what it prints."""
    done = subprocess.run([program, "-c", script, *args], cwd=cwd, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def error_of(script: str) -> str:
    """Return the last line of a script that fails."""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1, done.stdout
    return done.stderr.splitlines()[-1]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path_factory.mktemp("spool")) as server:
        yield server


def test_the_blocking_client_runs_a_job_without_any_extra(server: ServerProcess) -> None:
    state, result, loaded = json.loads(python(WITHOUT + USE, server.url))

    assert (state, result) == ("succeeded", {"hello": "world", "none": None, "when": 1.5})
    assert OPTIONAL.isdisjoint(loaded)


def test_importing_the_client_imports_no_module_of_the_server_although_they_are_installed() -> None:
    script = "import jobqueue.client, sys; print(*sys.modules)"

    loaded = python(script).split()

    assert {name.partition(".")[0] for name in loaded}.isdisjoint((OPTIONAL | {"asyncio"}) - {"orjson"})
    assert not any(name.startswith(("jobqueue.http", "jobqueue.runtime", "jobqueue.backend")) for name in loaded)


@pytest.mark.parametrize(
    ("script", "needed_by", "module", "extra"),
    [
        ("from jobqueue.client import Client", "jobqueue.client.Client", "aiohttp", "async"),
        ("import jobqueue; jobqueue.client.Client", "jobqueue.client.Client", "aiohttp", "async"),
        ("from jobqueue import JobQueue", "jobqueue.JobQueue", "orjson", "server"),
        ("from jobqueue import JobContext", "jobqueue.JobContext", "orjson", "server"),
        ("import jobqueue; jobqueue.http", "jobqueue.http", "aiohttp", "server"),
        ("import jobqueue.http", "jobqueue.http", "aiohttp", "server"),
        ("from jobqueue.http import application", "jobqueue.http", "aiohttp", "server"),
        (
            "from jobqueue.metrics import QueueCollector",
            "jobqueue.metrics.QueueCollector",
            "prometheus_client",
            "prometheus",
        ),
    ],
)
def test_a_name_that_needs_an_extra_tells_which(script: str, needed_by: str, module: str, extra: str) -> None:
    assert error_of(WITHOUT + script) == (
        f"jobqueue.extras.MissingExtra: {needed_by} needs {module}, which is not installed: "
        f"pip install 'ephemeral-jobqueue[{extra}]'"
    )


@pytest.mark.parametrize(
    "script", ["import jobqueue.errors, jobqueue.config", "from jobqueue import JobFailed, JobState"]
)
def test_exceptions_and_settings_need_no_extra(script: str) -> None:
    python(WITHOUT + script)


def test_dir_lists_the_same_names_without_extras() -> None:
    script = "import jobqueue; print(*dir(jobqueue))"

    assert python(WITHOUT + script) == python(script)


def test_a_missing_module_of_the_users_own_is_not_taken_for_an_extra() -> None:
    script = "from jobqueue.extras import extra\nwith extra('server', 'x'): import no_such_module"

    assert error_of(script) == "ModuleNotFoundError: No module named 'no_such_module'"


def test_the_command_without_the_servers_packages_says_which_extra_it_needs() -> None:
    environment = {**os.environ, VARIABLE: " ".join(OPTIONAL)}
    command = [sys.executable, "-m", "tests.packaging.blocked", "serve", "--port=0"]

    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)

    assert done.returncode == 2
    assert done.stderr.endswith(f"which is not installed: pip install '{DISTRIBUTION}[server]'\n")
    assert done.stderr.count("\n") == 1


def test_a_command_that_talks_to_a_server_needs_no_extra(server: ServerProcess) -> None:
    environment = {**os.environ, VARIABLE: " ".join(OPTIONAL)}
    command = [
        sys.executable,
        "-m",
        "tests.packaging.blocked",
        "submit",
        "echo",
        "value=1",
        "--wait",
        "--url",
        server.url,
    ]

    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)

    assert done.returncode == 0, done.stderr
    assert '"succeeded"' in done.stdout


def test_the_server_without_uvloop_runs_on_asyncios_loop_and_says_so_once(tmp_path: Path) -> None:
    with ServerProcess(tmp_path, module="tests.packaging.blocked", environment={VARIABLE: "uvloop"}) as server:
        with SyncClient(server.url) as client:
            assert client.run("echo", {"a": 1}) == {"a": 1}
            assert client.run("digest", files={"file": b"x"}, wait_s=20)
        assert server.stop() == 0
        assert [event["level"] for event in server.events if event["event"] == "server.uvloop_missing"] == ["info"]
        assert {event["level"] for event in server.events} == {"info"}, server.events


def test_the_loop_is_uvloops_where_it_is_installed() -> None:
    factory = loop_factory()

    assert factory is not None
    assert factory.__module__ == "uvloop"


def test_no_extra_repeats_a_requirement_of_the_base() -> None:
    base = {Requirement(it).name for it in PROJECT["dependencies"]}

    assert base == {"msgspec", "mypy_extensions"}
    assert all(base.isdisjoint(Requirement(it).name for it in extra) for extra in EXTRAS.values())


def install_from_here(name: str, site: Path) -> None:
    """Copy an installed package's files into another environment, as pip would from its wheel."""
    package = metadata.distribution(name)
    for file in package.files or ():
        if ".." not in file.parts and "__pycache__" not in file.parts:
            target = site / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(str(file.locate()), target)


def test_the_wheel_with_its_base_requirements_alone_runs_a_job(server: ServerProcess, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-index", "--no-build-isolation"]
    environment = {**os.environ, compiled.VARIABLE: "pure"}
    subprocess.run([*command, "-w", str(tmp_path), str(ROOT)], env=environment, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "use")], check=True)
    (site,) = (tmp_path / "use/lib").glob("python*/site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    for requirement in PROJECT["dependencies"]:
        install_from_here(Requirement(requirement).name, site)

    state, result, loaded = json.loads(python(USE, server.url, program=tmp_path / "use/bin/python", cwd=tmp_path))

    assert (state, result["hello"]) == ("succeeded", "world")
    assert OPTIONAL.isdisjoint(loaded)
