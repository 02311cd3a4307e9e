"""The first process of a container (PID 1), which adopts every orphan. A leaf.

An orphan that ends stays a zombie until its parent waits for it, and a server can't wait for all its children: its
handlers wait for those that they have started. So, as the first process, the program goes on in a child, and the parent
only reaps, forwards signals, and exits as the child does, like `docker run --init`.
"""

from __future__ import annotations

import os
import signal
from typing import NoReturn

_PASSED_ON = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2}


def go_on_in_a_child() -> None:
    """If this is the first process, return in a child of it, with the handlers of signals as they are."""
    if os.getpid() != 1:
        return
    awaited = {*_PASSED_ON, signal.SIGCHLD}
    signal.pthread_sigmask(signal.SIG_BLOCK, awaited)
    child = os.fork()
    if child:
        _stand_by(child, awaited)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, awaited)


def _stand_by(child: int, awaited: set[signal.Signals]) -> NoReturn:
    while True:
        number = signal.sigwait(awaited)
        if number in _PASSED_ON:
            os.kill(child, number)  # it is there, dead or alive, until it is waited for
            continue
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            if ended[0] == child:
                code = os.waitstatus_to_exitcode(ended[1])
                os._exit(code if code >= 0 else 128 - code)
