"""A process that has imported everything, and forks a server whenever it is asked: `python -m tests.chaos.nursery LOG`.

A start then takes some hundredths of a second instead of a whole one, so a kill costs little. A request is a line on
stdin, the JSON of a `Birth`; the answers are a line with the server's pid, and one with how it ended. LOG has the
servers' log lines, one server after the other.
"""

from __future__ import annotations

import functools
import gc
import os
import sys
import time
import traceback
from pathlib import Path

import msgspec

from jobqueue.backend.journal import journal, watched_thread
from jobqueue.backend.journal.disk import Disk
from jobqueue.config.load import Override, trace
from jobqueue.runtime.wall_clock import WallClock
from jobqueue.server import serve
from tests.chaos.handlers import queue
from tests.chaos.served import STALL_S, Birth

SEGMENT_BYTES, WATCH_S = 64 * 1024, 0.05
"""So small that segments end, and snapshots begin, many times in a second under load."""


def main(log: str) -> None:
    gc.collect()
    gc.freeze()
    for line in sys.stdin:
        birth = msgspec.json.decode(line, type=Birth)
        child = os.fork()
        if child == 0:
            _serve(birth, log)
        print(child, flush=True)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _serve(birth: Birth, log: str) -> None:
    """Be the server, and end with it."""
    code = 1
    try:
        output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        _change(birth)
        overrides = [Override(f"--set={name}={value}", name, value) for name, value in birth.settings.items()]
        read = functools.partial(trace, None, environ={}, overrides=overrides)
        code = serve(queue.service, read(), load=read)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _change(birth: Birth) -> None:
    """Change the world of this process as the request says."""
    for name in birth.without:
        del queue.service.registry._handlers[name]
    if birth.ahead_s:
        true_time = time.time
        time.time = lambda: true_time() + birth.ahead_s
        WallClock.__init__.__kwdefaults__["wall"] = time.time  # type: ignore[index]  # it has defaults
    if birth.stalls_while is not None:
        watched_thread.STALL_S = STALL_S  # type: ignore[misc]  # Final to all others
        stall(Path(birth.stalls_while))
    if birth.small_files:
        journal.Journal.__init__.__kwdefaults__["segment_bytes"] = SEGMENT_BYTES  # type: ignore[index]  # it has defaults
        journal.WATCH_S = WATCH_S  # type: ignore[misc]  # Final to all others


def stall(while_there: Path) -> None:
    """Have each sync of data wait while there is a file of this path."""
    sync = Disk.sync_data

    def sync_data(self: Disk, fd: int) -> None:
        while while_there.exists():
            time.sleep(0.01)
        sync(self, fd)

    Disk.sync_data = sync_data  # type: ignore[method-assign]  # of this process alone


if __name__ == "__main__":
    main(sys.argv[1])
