"""The audit of the locked packages: red for a known vulnerability, never for a machine that can't look."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).parents[2]
KNOWN: dict[str, Any] = {"name": "safe", "version": "1", "vulns": []}
FAULTY: dict[str, Any] = {"name": "leaky", "version": "2", "vulns": [{"id": "X-1", "fix_versions": ["2.1", "3"]}]}
UNKNOWN: dict[str, Any] = {"name": "ours", "version": "3", "skip_reason": "not found"}


@pytest.fixture
def audit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script, with two lock files and a folder of its own."""
    spec = importlib.util.spec_from_file_location("audit", ROOT / "packaging" / "audit.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    lock = tmp_path / "some.lock"
    lock.write_text("safe==1 \\\n    --hash=sha256:00\nleaky==2 \\\n    --hash=sha256:11\n")
    monkeypatch.setattr(module, "LOCKS", (lock,))
    monkeypatch.setattr(module, "FOLDER", tmp_path / "audit")
    return module


def answering(audit: ModuleType, monkeypatch: pytest.MonkeyPatch, folder: Path, *found: dict[str, Any]) -> Path:
    """Put a program in the place of pip-audit that prints this; return the file of its arguments."""
    program, calls = folder / "pip_audit.py", folder / "calls"
    text = json.dumps({"dependencies": found}) if found else ""
    program.write_text(
        "import pathlib, sys\n"
        f"with open({str(calls)!r}, 'a') as file: file.write(pathlib.Path(sys.argv[2]).read_text() + '--\\n')\n"
        f"print({text!r})\n"
        "print('no route to host', file=sys.stderr)\n"
    )
    monkeypatch.setattr(audit, "_program", lambda: [sys.executable, str(program)])
    return calls


def test_a_vulnerable_package_fails_the_audit_with_its_fix(
    audit: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answering(audit, monkeypatch, tmp_path, KNOWN, FAULTY)
    assert audit.main([]) == 1
    assert capsys.readouterr().err == "leaky 2: X-1, fixed in: 2.1, 3\n"
    assert audit.main(["--daily"]) == 1  # not remembered as clean


def test_a_clean_audit_names_the_unknown_packages_and_is_kept_for_the_day(
    audit: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = answering(audit, monkeypatch, tmp_path, KNOWN, UNKNOWN)
    assert audit.main(["--daily"]) == 0
    told = "1 locked packages have no known vulnerability; not known to the advisories: ours\n"
    assert capsys.readouterr().out == told
    first, whole = calls.read_text().split("--\n")[:2]
    assert first == "safe==1 \\\n    --hash=sha256:00\n"
    assert whole == audit.LOCKS[0].read_text()

    calls.unlink()
    assert audit.main(["--daily"]) == 0
    assert not calls.exists()
    audit.LOCKS[0].write_text("safe==2\n")
    audit.main(["--daily"])
    assert calls.exists()


@pytest.mark.parametrize(
    ("found", "why"),
    [
        ([UNKNOWN], "the index of this machine has no advisories"),
        ([], "the advisories can't be reached (no route to host)"),
    ],
)
def test_a_machine_that_can_not_look_says_so_and_succeeds(
    audit: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    found: list[dict[str, Any]],
    why: str,
) -> None:
    answering(audit, monkeypatch, tmp_path, *found)
    assert audit.main(["--daily"]) == 0
    assert capsys.readouterr().out == f"no audit of the locked packages: {why}\n"
