"""The fork server: the modules that it imports before it forks."""

from __future__ import annotations

import subprocess
import sys

import jobqueue
from jobqueue.runtime.pools.child import PRELOADED


def test_the_fork_server_preloads_the_modules_of_all_public_names() -> None:
    homes = {getattr(jobqueue, name).__module__ for name in jobqueue.__all__ if not name.startswith("_")}
    assert homes <= set(PRELOADED)


def test_a_process_that_registers_its_handlers_loads_no_service() -> None:
    script = (
        "import importlib, sys\n"
        f"for name in {PRELOADED}: importlib.import_module(name)\n"
        "import jobqueue\n"
        "queue = jobqueue.JobQueue()\n"
        "@queue.handler(run_in='process')\n"
        "def greet(ctx: jobqueue.JobContext, name: str) -> str: return name\n"
        "print(*{'jobqueue.service', 'jobqueue.wiring', 'jobqueue.runtime.spool', 'aiohttp'} & set(sys.modules))\n"
        "print(*(name for name in sys.modules if name.startswith('jobqueue.backend')))"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == []
