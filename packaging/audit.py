"""Compares the locked packages with the published advisories, by pip-audit: `make audit`, and daily in `make check`.

Rules:

1. A known vulnerability fails it. Where it can't look (no network, a mirror without advisories, no pip-audit), it says
   so, and succeeds: a check is not red because of what the machine lacks.
2. pip-audit has an environment of its own (`requirements-audit.lock`), made when it is first needed, because
   nothing else needs its thirty packages.
3. One package is asked about first, so that a machine without advisories loses a second, not a time-out a package.
4. `--daily`: the same lock files are looked up once a day, since a look-up is a request for each package.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
LOCKS = (ROOT / "requirements-dev.lock", ROOT / "requirements.lock", ROOT / "requirements-valkey.lock")
OF_AUDIT = ROOT / "requirements-audit.lock"
FOLDER = ROOT / "tmp" / "audit"
DAY_S = 86_400.0
INSTALL_S = 180.0
ANSWER_S = 5
AUDIT_S = 600.0


class CannotAudit(Exception):
    """Nothing can be looked up here; the text says why."""


def main(argv: list[str]) -> int:
    """Run the audit; return 1 if a locked package has a known vulnerability."""
    stamp = FOLDER / f"clean-{hashlib.sha256(b''.join(path.read_bytes() for path in LOCKS)).hexdigest()[:16]}"
    if "--daily" in argv and stamp.exists() and time.time() - stamp.stat().st_mtime < DAY_S:
        return 0
    try:
        found = audited(_program())
    except CannotAudit as why:
        print(f"no audit of the locked packages: {why}")
        return 0
    vulnerable = [package for package in found if package.get("vulns")]
    for package in vulnerable:
        for fault in package["vulns"]:
            fixed = ", ".join(fault.get("fix_versions", ())) or "none yet"
            print(f"{package['name']} {package['version']}: {fault['id']}, fixed in: {fixed}", file=sys.stderr)
    if vulnerable:
        return 1
    skipped = [package["name"] for package in found if "vulns" not in package]
    print(f"{len(found) - len(skipped)} locked packages have no known vulnerability", end="")
    print(f"; not known to the advisories: {', '.join(skipped)}" if skipped else "")
    stamp.parent.mkdir(parents=True, exist_ok=True)
    stamp.touch()
    return 0


def audited(program: list[str]) -> list[dict[str, Any]]:
    """Return pip-audit's findings, one for each package. Raises CannotAudit."""
    with tempfile.TemporaryDirectory() as folder:
        first = Path(folder) / "first.lock"
        first.write_text(re.split(r"\n(?=\S)", LOCKS[0].read_text())[0] + "\n")
        _findings(program, first)
    return _findings(program, LOCKS[0])


def _findings(program: list[str], lock: Path) -> list[dict[str, Any]]:
    options = ["--disable-pip", "--require-hashes", "--format", "json", "--progress-spinner", "off"]
    command = [*program, "--requirement", str(lock), *options, "--timeout", str(ANSWER_S)]
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=AUDIT_S)
    except (OSError, subprocess.TimeoutExpired) as failure:
        raise CannotAudit(f"pip-audit did not end in {AUDIT_S:.0f} s or start ({failure})") from None
    try:
        found: list[dict[str, Any]] = json.loads(ended.stdout)["dependencies"]
    except (ValueError, KeyError):
        raise CannotAudit(f"the advisories can't be reached ({_last_line(ended.stderr)})") from None
    if not any("vulns" in package for package in found):
        raise CannotAudit("the index of this machine has no advisories")
    return found


def _program() -> list[str]:
    """Return pip-audit's command, installed first if it is not there. Raises CannotAudit."""
    python = FOLDER / "venv" / "bin" / "python"
    installed = FOLDER / "installed"
    digest = hashlib.sha256(OF_AUDIT.read_bytes()).hexdigest()
    if not installed.exists() or installed.read_text() != digest:
        venv.create(FOLDER / "venv", with_pip=True, clear=True)
        pip = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps"]
        try:
            subprocess.run(
                [*pip, "--require-hashes", "-r", str(OF_AUDIT)],
                check=True,
                capture_output=True,
                text=True,
                timeout=INSTALL_S,
            )
        except subprocess.CalledProcessError as failure:
            raise CannotAudit(f"pip-audit can't be installed ({_last_line(failure.stderr)})") from None
        except subprocess.TimeoutExpired:
            raise CannotAudit(f"pip-audit was not installed in {INSTALL_S:.0f} s") from None
        installed.write_text(digest)
    return [str(python), "-m", "pip_audit"]


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1][:200] if lines else "no reason given"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
