"""Handlers and initializers for processes, which import them from here."""

from __future__ import annotations

import os
import subprocess
from typing import Any, NoReturn

from jobqueue.context import JobContext

_times = 0


def connect() -> dict[str, int]:
    global _times
    _times += 1
    return {"pid": os.getpid(), "times": _times}


def start_a_program() -> subprocess.Popen[bytes]:
    return subprocess.Popen(["sleep", "3600"])


def connect_if_there() -> str:
    if not os.path.exists(os.environ["INITIALIZED"]):
        raise LookupError("no database")
    return "connected"


def look(ctx: JobContext) -> dict[str, Any]:
    state = ctx.state
    if isinstance(state, subprocess.Popen):
        state = "alive" if state.poll() is None else "dead"
    return {"pid": os.getpid(), "state": state}


def die() -> NoReturn:
    os._exit(1)
