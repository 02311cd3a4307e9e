"""Sockets that this process was started with: socket activation, as systemd does it (sd_listen_fds(3)). A leaf.

The supervisor opens the listening sockets and keeps them, so that a connection that comes between two processes waits
in the backlog for the next one. Rules:

1. They are descriptors 3 and following; `LISTEN_FDS` has their number, `LISTEN_FDNAMES` their names, `LISTEN_PID` the
   process that they are meant for. Those of another process are left alone.
2. They are taken before anything else is opened or started, and no child inherits them, or the variables.
3. A fault is kept for the server's start, which tells it: this early there is no log.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import MutableMapping

FIRST = 3
COUNT_MAX = 64
"""More than any configuration of sockets needs; a larger number is taken as a fault of the variable."""

VARIABLES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")


class InheritedSocket(NamedTuple):
    """An open descriptor, and its name: `FileDescriptorName=` of its socket unit, by default the unit's own."""

    name: str
    fd: int


class InheritedSockets:
    """The sockets that this process was started with.

    Attributes:
        all: In the order of their descriptors; empty without socket activation.
        fault: What is wrong with the variables; None: nothing.
        ignored: Why sockets that some process is meant to have are not this one's; None: there are none.
    """

    def __init__(self) -> None:
        self.all: list[InheritedSocket] = []
        self.fault: str | None = None
        self.ignored: str | None = None

    def take(self, environ: MutableMapping[str, str], *, first: int = FIRST) -> None:
        """Take the sockets, and remove the variables from the environment. Args: first: The first descriptor."""
        pid, count, names = (environ.pop(name, None) for name in VARIABLES)
        if count is None:
            return
        if pid is None or pid != str(os.getpid()):
            self.ignored = (
                f"LISTEN_FDS={count} is for process {pid or '(LISTEN_PID is not set)'}, and this is {os.getpid()}: "
                "start the server without a shell or wrapper in between, or with `exec`"
            )
            return
        if not count.isascii() or not count.isdigit() or not 0 < int(count) <= COUNT_MAX:
            self.fault = f"LISTEN_FDS={count}: not a number of sockets from 1 to {COUNT_MAX}"
            return
        listed = names.split(":") if names else ["unknown"] * int(count)
        if len(listed) != int(count):
            self.fault = f"LISTEN_FDNAMES has {len(listed)} names, and LISTEN_FDS={count}"
            return
        for fd, name in enumerate(listed, start=first):
            try:
                os.set_inheritable(fd, False)
            except OSError:
                self.fault = f"LISTEN_FDS={count}, and descriptor {fd} ({name}) is not open"
                return
            self.all.append(InheritedSocket(name, fd))


inherited_sockets = InheritedSockets()
"""Those of this process."""
