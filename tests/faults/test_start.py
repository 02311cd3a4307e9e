"""Faults at the start: settings and targets that can't be used. They end the process before it listens."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.faults.measuring import ROOT, seen

if TYPE_CHECKING:
    from pathlib import Path

FAULTY = {
    "an unknown setting": ("config.yaml", "server:\n  prot: 80\n", "did you mean"),
    "a value out of bounds": ("config.yaml", "server:\n  port: 70000\n", "server.port"),
    "no YAML": ("config.yaml", "server: [\n", "config.yaml:"),
    "a duplicate key": ("config.yaml", "server: {port: 1}\nserver: {port: 2}\n", "duplicate"),
    "a target with a syntax error": ("tasks.py", "def (:\n", "tasks.py"),
    "a target without a queue": ("tasks.py", "x = 1\n", "queue"),
}


@pytest.mark.parametrize("fault", FAULTY)
def test_a_faulty_start_ends_with_its_reason(tmp_path: Path, fault: str) -> None:
    name, text, reason = FAULTY[fault]
    (tmp_path / name).write_text(text)
    target = ["tasks.py"] if name == "tasks.py" else []
    command = [sys.executable, "-m", "jobqueue", "serve", *target, f"--set=spool.dir={tmp_path}"]
    began = time.monotonic()
    ran = subprocess.run(
        command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False, timeout=20
    )
    took_s = time.monotonic() - began
    assert ran.returncode in (1, 2), ran.stderr
    assert reason in ran.stderr, ran.stderr
    assert "Traceback" not in ran.stderr
    seen("bad_config", f"{fault}: exit {ran.returncode} after {took_s:.1f} s")
