"""`python -m tests.faults.stepped_clock serve …`: a server under a wall clock that is set while it runs.

The file that FAULTS_CLOCK names holds the seconds by which `time.time()` is ahead, as a double.
"""

from __future__ import annotations

import mmap
import os
import struct
import sys
import time
from pathlib import Path

AHEAD = struct.Struct("d")


def step(clock: Path, seconds: float) -> None:
    """Set the wall clock of a running server to `seconds` ahead of the machine's."""
    with clock.open("r+b") as file:
        file.write(AHEAD.pack(seconds))


def main() -> int:
    with open(os.environ["FAULTS_CLOCK"], "r+b") as file:
        ahead = mmap.mmap(file.fileno(), AHEAD.size)
    true_time = time.time
    time.time = lambda: true_time() + AHEAD.unpack_from(ahead)[0]

    from jobqueue.__main__ import main as serve

    return serve()


if __name__ == "__main__":
    sys.exit(main())
