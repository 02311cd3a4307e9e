"""The lock of a folder: one process at a time changes a file in it.

The lock is advisory, and any user that may read the folder can hold it, so the wait for it is bounded.
"""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_POLL_S = 0.02


@contextmanager
def locked(folder: str | Path, *, wait_s: float) -> Iterator[None]:
    """Hold the lock of a folder. Raises OSError; as BlockingIOError if another process still holds it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        until = time.monotonic() + wait_s
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= until:
                    raise
                time.sleep(_POLL_S)
        yield
    finally:
        os.close(descriptor)
