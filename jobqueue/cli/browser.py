"""`jobqueue serve --open`: a browser window on the server, once it listens."""

from __future__ import annotations

import os
import socket
import sys
import threading
import webbrowser
from typing import TYPE_CHECKING

from jobqueue.cli.remote.address import url_of
from jobqueue.errors import ConfigError

if TYPE_CHECKING:
    from jobqueue.config import ServerSettings

PATIENCE_S = 15.0
PAUSE_S = 0.1


def open_when_ready(server: ServerSettings) -> None:
    """Open the server's address, from a thread, as soon as it listens. Raises ConfigError if it is not known."""
    url = url_of(server)
    if url.startswith("unix:"):
        raise ConfigError("--open: a browser can't open a Unix socket: set server.port")
    host, port = url.rpartition("/")[2].rsplit(":", 1)
    threading.Thread(target=_open, args=(url, host.strip("[]"), int(port)), daemon=True).start()


def has_browser() -> bool:
    """Whether a window can be opened: a browser of the terminal would write over the server's messages."""
    return sys.platform == "darwin" or any(os.environ.get(name) for name in ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY"))


def _open(url: str, host: str, port: int) -> None:
    pause = threading.Event()
    for _ in range(round(PATIENCE_S / PAUSE_S)):
        try:
            socket.create_connection((host, port), timeout=1).close()
        except OSError:
            pause.wait(PAUSE_S)
        else:
            break
    else:
        return
    if not has_browser() or not webbrowser.open(f"{url}/"):
        print(f"open {url}/ in a browser", file=sys.stderr)
