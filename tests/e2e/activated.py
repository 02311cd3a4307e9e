"""Socket activation as a supervisor does it: listening sockets that outlive the server processes."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from bench.deploys.supervisor import LAUNCH
from tests.e2e.processes import ServerProcess

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping
    from pathlib import Path


def activated(
    folder: Path, sockets: Mapping[str, socket.socket], *settings: str, target: str | None = None
) -> ServerProcess:
    """Start a server with open sockets, by name; the caller keeps them."""
    fds = [each.fileno() for each in sockets.values()]
    launch = [sys.executable, "-c", LAUNCH, ",".join(map(str, fds)), ":".join(sockets)]
    return ServerProcess(folder, target, *settings, under=launch, pass_fds=fds)
