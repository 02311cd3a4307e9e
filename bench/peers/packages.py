"""The packages of the peers: installed into tmp/bench, at the versions that bench/peers names."""

from __future__ import annotations

import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

from bench.load.driving import FOLDER, ROOT

if TYPE_CHECKING:
    from pathlib import Path

PEERS = ROOT / "bench" / "peers"
INSTALL_S = 600.0


class Uninstalled(Exception):
    """Packages could not be installed."""


def install_python() -> Path:
    """Return a Python that has the packages of peers/requirements.txt."""
    folder = FOLDER.resolve() / "python"
    python = folder / "bin" / "python"
    requirements = PEERS / "requirements.txt"
    stamp = folder / requirements.name
    if not _same(stamp, requirements):
        shutil.rmtree(folder, ignore_errors=True)
        _do(sys.executable, "-m", "venv", folder)
        _do(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", requirements)
        shutil.copy(requirements, stamp)
    return python


def install_node() -> Path:
    """Return a folder with peers/bullmq and its packages."""
    folder = FOLDER.resolve() / "node"
    package = PEERS / "bullmq" / "package.json"
    if not (folder / "node_modules").exists() or not _same(folder / package.name, package):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        shutil.copy(package, folder)
        # Their native parts are optional, and would need a compiler.
        npm = ["npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts", "--loglevel=error"]
        try:
            _do(*npm, cwd=folder)
        except Uninstalled:
            shutil.rmtree(folder)
            raise
    shutil.copy(PEERS / "bullmq" / "queue.js", folder)
    return folder


def _do(*command: str | Path, cwd: Path = ROOT) -> None:
    try:
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=INSTALL_S, check=False)
    except subprocess.TimeoutExpired:
        raise Uninstalled(f"`{command[0]}` took more than {INSTALL_S:.0f} s") from None
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:]
        raise Uninstalled(f"their packages could not be installed: {' '.join(last)[:300]}")


def _same(one: Path, other: Path) -> bool:
    return one.exists() and one.read_bytes() == other.read_bytes()
