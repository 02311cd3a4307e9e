"""Descendants: finds and kills the processes that this one has started, directly or not.

Rules:

1. A process that adopts orphans (Linux: PR_SET_CHILD_SUBREAPER) becomes the parent of every descendant when its own
   parent has ended, whatever their sessions and process groups. So it is enough to kill its children, again and
   again: what those had started are its children next.
2. Where they can't be listed (another system, a /proc of another namespace), only the process group is killed: what
   has left it lives on, and the fork server waits for it when it ends.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
_TASKS = "/proc/self/task"

ROUNDS_MAX = 1000
"""After how many generations, or forks in a race, `end_children` gives up."""


def adopt_orphans() -> None:
    """Become the parent of every descendant once its own parent ends. Linux only; a fork doesn't inherit it."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def can_be_listed() -> bool:
    """Whether `children` can list them: there is a /proc, and its numbers are those of this namespace."""
    try:
        return os.readlink("/proc/self") == str(os.getpid())
    except OSError:
        return False


def has_children() -> bool:
    """Whether this process has any child, unreaped ones included. One system call."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def children() -> set[int]:
    """Return the pids of this process's children, the dead ones that were not waited for included.

    Empty where they can't be listed.
    """
    pids: set[int] = set()
    if not can_be_listed():
        return pids
    try:
        for task in os.listdir(_TASKS):
            with contextlib.suppress(FileNotFoundError), open(f"{_TASKS}/{task}/children") as file:
                pids.update(map(int, file.read().split()))
    except OSError:  # a sandbox without /proc
        return set()
    return pids


def kill_children(kept: Collection[int]) -> set[int]:
    """Kill all children but these; return which. They are still to be waited for."""
    strays = children().difference(kept)
    for pid in strays:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
    return strays


def end_children(kept: Collection[int]) -> None:
    """Kill all descendants but these children and theirs. Raises RuntimeError if they multiply faster."""
    for _ in range(ROUNDS_MAX):
        strays = kill_children(kept)
        if not strays:
            return
        for pid in strays:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)
    raise RuntimeError(f"descendants are left after {ROUNDS_MAX} rounds")
