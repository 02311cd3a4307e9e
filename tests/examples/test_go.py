"""The Go example: its client is generated from the description of a running server, built, and used with it."""

from __future__ import annotations

import os
import shutil
import subprocess
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from jobqueue.client import SyncClient
from tests.e2e.processes import ROOT, ServerProcess
from tests.e2e.test_keys import new_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Run = Callable[..., subprocess.CompletedProcess[str]]

GENERATOR = ROOT / "tmp/go/bin/openapi-generator-cli"
QUIET = "apiDocs=false,modelDocs=false,apiTests=false,modelTests=false"
NEEDED = {"go": "golang-go", "java": "default-jre-headless"}
MISSING = [f"`{name}` (Debian: apt install {package})" for name, package in NEEDED.items() if not shutil.which(name)]
if not GENERATOR.exists():
    MISSING.append("the generator, which `make test-go` installs")

pytestmark = [
    pytest.mark.skipif(bool(MISSING), reason=f"there is no {' and no '.join(MISSING)}"),
    pytest.mark.timeout(400),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Serve the demo handlers with one key, which may submit once a second; return the URL and the key."""
    folder = tmp_path_factory.mktemp("server")
    file = folder / "keys.yaml"
    key = new_key(file, "go", "submit,read")
    with file.open("a") as keys:
        keys.write("\n  limits: {rate: 1/s burst 1}\n")
    with ServerProcess(folder, None, f"auth.keys_file={file}") as process:
        yield process.url, key


@pytest.fixture(scope="module")
def program(server: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Generate the client and build the program, as docs/how-to/go.md says."""
    folder = tmp_path_factory.mktemp("go")
    for name in ("main.go", "go.mod"):
        shutil.copy(ROOT / "examples/go" / name, folder)
    url, key = server
    described = urllib.request.Request(f"{url}/openapi.json", headers={"Authorization": f"Bearer {key}"})
    with urllib.request.urlopen(described) as answer:
        (folder / "openapi.json").write_bytes(answer.read())
    options = ("-g", "go", "-i", "openapi.json", "-o", "jobqueue", "-p", "packageName=jobqueue,withGoMod=false")
    done(folder, str(GENERATOR), "generate", *options, "--global-property", QUIET)
    done(folder, "go", "vet", ".")
    done(folder, "go", "build", "-o", "program", ".")
    return folder / "program"


def done(folder: Path, *command: str) -> None:
    """Run a command without a network: the modules are Go's own."""
    environment = {**os.environ, "GOPROXY": "off", "GOFLAGS": "-mod=mod"}
    ran = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.fixture
def run(server: tuple[str, str], program: Path) -> Run:
    """Run the program with the words of a command line, and further variables."""
    url, key = server

    def run(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "JOBQUEUE_URL": url, "JOBQUEUE_KEY": key, **variables}
        return subprocess.run([program, *words], env=environment, capture_output=True, text=True, timeout=100)

    return run


def test_the_program_prints_the_result_of_a_job(run: Run) -> None:
    assert run("echo", '{"hello": "world"}').stdout == '{"hello":"world"}\n'


def test_the_program_comes_back_after_a_rejection(run: Run, server: tuple[str, str]) -> None:
    url, key = server
    SyncClient(url, key=key).submit("echo", retry_for_s=20)  # of this second
    ran = run("sleep", '{"min_s": 0.5}')
    assert (ran.stdout, ran.returncode) == ('{"slept_s":0.5}\n', 0)


def test_the_program_names_the_failure_of_a_job(run: Run) -> None:
    ran = run("fail", '{"message": "no such town"}')
    assert (ran.stderr, ran.returncode) == ("the job has failed: handler_error: RuntimeError: no such town\n", 1)


def test_the_program_names_the_faults_of_a_submission(run: Run) -> None:
    ran = run("sleep", '{"min_s": "soon"}')
    assert ran.returncode == 1
    assert "422" in ran.stderr
    assert "/args/min_s: Expected `float`, got `str`" in ran.stderr
    assert "401" in run("echo", JOBQUEUE_KEY="jq_unknown").stderr
