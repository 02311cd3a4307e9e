"""What a frozen one-file program does before all else. PyInstaller runs this file first; nothing imports it.

Such a program is two processes: a launcher, which unpacks it and passes signals on, and the program
itself. To whoever started it they are one, so:

1. The program dies with its launcher, even when that is killed (Linux).
2. The program leaves the launcher's process group. A terminal signals a whole group, and the launcher
   passes on what it gets: Ctrl+C would come twice, and the second one means "at once".

It knows nothing of jobqueue, and the fleet's program runs it as well.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys

# Set for the processes that the program starts: their parent is no launcher, though it is the same file.
_DONE = "_JOBQUEUE_FROZEN_PID"
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def leave_launcher() -> None:
    """Tie this process's life to its launcher's, and only that."""
    launcher = os.getppid()
    with contextlib.suppress(OSError):  # no /proc: not Linux
        if not os.path.samefile(f"/proc/{launcher}/exe", "/proc/self/exe"):
            return  # unpacked already, as a folder: there is no launcher
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != launcher:  # it was killed before the kernel was asked
            os._exit(1)
        os.setpgid(0, 0)


if getattr(sys, "frozen", False) and _DONE not in os.environ:
    os.environ[_DONE] = str(os.getpid())
    leave_launcher()
