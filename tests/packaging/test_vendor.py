"""The vendored libraries of the console and of its tests: the files of their manifest, with a licence beside each."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).parents[2]
VENDOR = ROOT / "jobqueue" / "http" / "console" / "vendor"
AXE = ROOT / "tests" / "console" / "axe"


@pytest.fixture
def vendor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script, with copies of its folders."""
    spec = importlib.util.spec_from_file_location("vendor", ROOT / "packaging" / "vendor.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.FOLDERS == (VENDOR, AXE)
    copies = tuple(Path(shutil.copytree(folder, tmp_path / folder.name)) for folder in module.FOLDERS)
    monkeypatch.setattr(module, "FOLDERS", copies)
    return module


def test_vendored_files_are_those_of_the_manifest(vendor: ModuleType) -> None:
    assert vendor.main(["--check"]) == 0


@pytest.mark.parametrize("name", ["vendor/uplot.js", "axe/axe.min.js", "axe/LICENSE.txt"])
def test_a_changed_file_is_found(
    vendor: ModuleType, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = tmp_path / name
    changed.write_bytes(changed.read_bytes() + b" ")
    assert vendor.main(["--check"]) == 1
    assert f"{changed.name} is not the file of the manifest" in capsys.readouterr().err


@pytest.mark.parametrize("change", ["missing", "extra"])
def test_a_missing_file_and_one_too_many_are_found(
    vendor: ModuleType, tmp_path: Path, change: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if change == "missing":
        (tmp_path / "vendor/uplot.css").unlink()
    else:
        (tmp_path / "axe/other.js").touch()
    assert vendor.main(["--check"]) == 1
    assert ("uplot.css" if change == "missing" else "other.js") in capsys.readouterr().err


def test_an_archive_of_another_digest_is_refused_and_nothing_is_written(
    vendor: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "npm").write_text("#!/bin/sh\necho other > package.tgz\n")
    (programs / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    before = contents(*vendor.FOLDERS)
    assert vendor.main([]) == 1
    assert "not that of the manifest" in capsys.readouterr().err
    assert before == contents(*vendor.FOLDERS)


def contents(*folders: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for folder in folders for path in folder.iterdir()}


def test_each_library_has_its_licence_beside_it() -> None:
    for package in json.loads((VENDOR / "manifest.json").read_text())["packages"]:
        licence = (VENDOR / f"{package['name']}-licence.txt").read_text()
        assert "Apache License" in licence if package["licence"] == "Apache-2.0" else "MIT" in licence


def test_the_modules_import_nothing_and_export_their_interface() -> None:
    texts = {name: (VENDOR / name).read_text() for name in ("htm-preact.js", "uplot.js")}
    assert not [name for name, text in texts.items() if "import " in text or "import(" in text]
    assert "useState" in texts["htm-preact.js"].rpartition("export{")[2]
    assert texts["uplot.js"].endswith("export default uPlot;\n")
