"""The types of the JavaScript client: those of the API and of the client's code, and such that programs compile."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.e2e.processes import ROOT
from tests.packaging.programs import js_types

SOURCE = ROOT / "clients/js"
OPTIONS = ("--noEmit", "--strict", "--target", "es2022", "--module", "nodenext", "--lib", "es2022,dom,dom.iterable")


@pytest.mark.skipif(bool(js_types.missing()), reason="`make js-types` needs node and npm (Debian: apt install npm)")
def test_the_types_of_documents_are_those_of_the_api() -> None:
    head = js_types.HEAD.format(digest=js_types.structure_digest())
    made_of_it = (SOURCE / "openapi.d.ts").read_text().startswith(head)
    assert made_of_it, "the API has changed: run `make js-types`, and look at the difference"


def test_the_digest_of_the_structure_is_that_of_any_other_text(monkeypatch: pytest.MonkeyPatch) -> None:
    first = {"info": {"title": "a"}, "schemas": {"Job": {"properties": {"title": {"type": "string", "title": "b"}}}}}
    texts = {"info": {"title": "c"}, "schemas": {"Job": {"properties": {"title": {"type": "string", "title": "d"}}}}}
    other = {"info": {"title": "a"}, "schemas": {"Job": {"properties": {"summary": {"type": "string"}}}}}
    digests = []
    for document in (first, texts, other):
        monkeypatch.setattr(js_types, "described", lambda document=document: json.dumps(document).encode())
        digests.append(js_types.structure_digest())
    assert digests[0] == digests[1] != digests[2]


def test_the_package_has_the_version_of_the_server_and_exact_versions_of_its_tools() -> None:
    from jobqueue import __version__

    package = json.loads((SOURCE / "package.json").read_text())
    assert package["version"] == __version__
    assert "dependencies" not in package
    lock = json.loads((SOURCE / "package-lock.json").read_text())["packages"]
    for name, version in package["devDependencies"].items():
        assert lock[f"node_modules/{name}"]["version"] == version
    assert all(entry.get("integrity", "").startswith("sha512-") for name, entry in lock.items() if name)
    assert "://" not in (SOURCE / "package-lock.json").read_text()  # it names no registry


@pytest.fixture(scope="module")
def tools() -> Path:
    """Install the compiler, and return its folder."""
    try:
        js_types.install()
    except js_types.CannotMake as reason:
        pytest.skip(str(reason))
    folder: Path = js_types.FOLDER
    return folder


@pytest.mark.slow
def test_the_files_of_types_are_as_made_anew(tools: Path) -> None:
    for name, text in js_types.made().items():
        assert (SOURCE / name).read_text() == text, f"{name}: run `make js-types`"


@pytest.mark.slow
def test_a_program_with_the_types_compiles(tools: Path, tmp_path: Path) -> None:
    installed = tmp_path / "node_modules" / "ephemeral-jobqueue"
    installed.mkdir(parents=True)
    for name in ("package.json", "jobqueue.js", "jobqueue.d.ts", "openapi.d.ts"):
        shutil.copy(SOURCE / name, installed)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    shutil.copy(Path(__file__).parent / "types.ts", tmp_path)
    command = (str(tools / "node_modules/.bin/tsc"), *OPTIONS, "types.ts")
    compiled = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100)
    assert compiled.returncode == 0, compiled.stdout
