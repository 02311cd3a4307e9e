"""The process of one simulation: reads a question from its standard input, and writes the answer to its output.

Rules:

1. It gives way: it has the lowest priority, and dies with the server, or first when memory is short.
2. Its memory and its CPU time are bounded by the kernel.
3. It imports the engine and nothing of the application's, nor of HTTP.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

FLAG = "--jobqueue-simulation"

NICENESS = 19
MEMORY_BYTES_MAX = 512 * 1024 * 1024
CPU_S_MAX = 30

NOT_MEASURED = 3
"""Exit code: the history has too little; the output says what."""

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def command(path: Sequence[str]) -> list[str]:
    """Return the command line of a simulation for this program, with the same import path."""
    if getattr(sys, "frozen", False):
        return [sys.executable, FLAG, str(os.getpid()), *path]
    code = f"import sys; sys.path[:] = {list(path)!r}; from jobqueue.runtime.simulator_child import main; "
    return [sys.executable, "-c", f"{code}sys.exit(main({os.getpid()}))"]


def divert(argv: Sequence[str]) -> None:
    """Become a simulation, and never return, if that is what this frozen program was started as."""
    if argv[1:2] == [FLAG]:
        server_pid, *sys.path[:] = argv[2:]
        sys.exit(main(int(server_pid)))


def main(server_pid: int) -> int:
    """Answer one question; return the exit code."""
    _give_way(server_pid)
    from jobqueue.what_if.forecast import Forecast  # imported now: at the lowest priority
    from jobqueue.what_if.measured import NotMeasured
    from jobqueue.what_if.question import Question

    question = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=Question)
    code = 0
    try:
        answer = msgspec.json.encode(Forecast(question, time.monotonic).answer())
    except NotMeasured as missing:
        answer, code = str(missing).encode(), NOT_MEASURED
    sys.stdout.buffer.write(answer)
    sys.stdout.buffer.flush()
    return code


def _give_way(server_pid: int) -> None:
    os.nice(NICENESS)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of the terminal: the server ends it
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        with contextlib.suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text("1000")
    if os.getppid() != server_pid:  # it died before the kernel was asked
        os._exit(1)
    for which, most in (
        (resource.RLIMIT_AS, MEMORY_BYTES_MAX),
        (resource.RLIMIT_CPU, CPU_S_MAX),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(which)
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(which, (most, most))
