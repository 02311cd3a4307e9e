"""The standard descriptors 0, 1 and 2, open from the start. A leaf.

A program may be started with some of them closed (`jobqueue serve <&-`). The next file that it opens would get that
number: log lines would go into the event loop's own descriptor, and the loop's library aborts when it closes it.
"""

from __future__ import annotations

import os
import sys


def open_standard_files() -> None:
    """Open each closed one of 0, 1 and 2 on /dev/null, and create its missing `sys` file object."""
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            # The lowest free number, which is `fd`: those below it are open.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    if sys.stdin is None:
        sys.stdin = open(0, closefd=False)  # noqa: SIM115  # open for the life of the process
    if sys.stdout is None:
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115  # as above
    if sys.stderr is None:
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115  # as above
