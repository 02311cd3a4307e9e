"""The builds that a bench measures: where they are, and when they are not measured."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bench.load.driving import ROOT
from bench.measure import builds
from bench.measure.builds import Build, available
from bench.peers.contenders import Ours


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with a module, and a compiled copy of it."""
    for root in (tmp_path, tmp_path / "tmp" / "compiled"):
        (root / "jobqueue").mkdir(parents=True)
        (root / "jobqueue" / "job.py").write_text("one = 1")
    (tmp_path / "tmp" / "compiled" / "jobqueue" / "job.so").touch()
    monkeypatch.setattr(builds, "ROOT", tmp_path)
    return tmp_path


def test_a_compiled_copy_of_the_same_sources_is_measured(checkout: Path) -> None:
    assert available() == ([Build.PURE, Build.COMPILED], [])


def test_a_build_that_was_never_compiled_is_skipped_with_the_target_that_makes_it(checkout: Path) -> None:
    (checkout / "tmp" / "compiled" / "jobqueue" / "job.so").unlink()
    assert available() == ([Build.PURE], ["jobqueue, compiled: it is not there: `make compiled` makes it"])


@pytest.mark.parametrize("change", ["edited", "added"])
def test_a_copy_that_is_older_than_the_sources_is_skipped(checkout: Path, change: str) -> None:
    (checkout / "jobqueue" / ("job.py" if change == "edited" else "more.py")).write_text("two = 2")
    found, skipped = available()
    assert found == [Build.PURE]
    assert skipped == ["jobqueue, compiled: it is older than the sources: `make compiled` updates it"]


def test_a_build_that_is_asked_for_and_not_there_ends_the_bench(checkout: Path) -> None:
    shutil.rmtree(checkout / "tmp")
    assert available([Build.PURE]) == ([Build.PURE], [])
    with pytest.raises(SystemExit, match=r"^jobqueue, compiled: it is not there: `make compiled` makes it$"):
        available([Build.COMPILED])


def test_names_of_builds_are_split_at_commas() -> None:
    assert builds.builds("compiled, pure") == (Build.COMPILED, Build.PURE)
    with pytest.raises(ValueError, match="'fast'"):
        builds.builds("fast")


def test_a_server_of_another_build_than_its_contender_is_not_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    server = Ours()
    server._build = Build.COMPILED
    with pytest.raises(RuntimeError, match=r"^jobqueue says that its build is pure$"), server:
        pass
    with pytest.raises(ConnectionRefusedError):
        server.call("GET", "/livez")


@pytest.mark.parametrize("build", Build)
def test_a_process_imports_the_package_of_its_build(build: Build, checkout: Path) -> None:
    (build.root / "jobqueue" / "__init__.py").touch()
    code = "import jobqueue; print(jobqueue.__file__)"
    environment = {**os.environ, **build.environment}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT / "tests", env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    assert Path(done.stdout.strip()).parent == build.root / "jobqueue"
