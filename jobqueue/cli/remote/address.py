"""The default address of the server: the one that a server started in the same folder would listen on."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from jobqueue.errors import ConfigError

if TYPE_CHECKING:
    from jobqueue.config import ServerSettings

DEFAULT_URL = "http://127.0.0.1:8080"
CONFIG_FILE = Path("config.yaml")
_SETTINGS = ("JOBQUEUE_SERVER__HOST", "JOBQUEUE_SERVER__PORT", "JOBQUEUE_SERVER__SOCKET", "JOBQUEUE_SERVER__TLS__CERT")
_ALL = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104  # compared, not listened on


def default_url() -> str:
    """Return the URL that the settings of this folder and environment give.

    Raises:
        ConfigError: They are faulty, or say no port.
    """
    has_file = CONFIG_FILE.is_file()
    if not has_file and not any(os.environ.get(name) for name in _SETTINGS):
        return DEFAULT_URL
    try:
        from jobqueue.config.load import load
    except ModuleNotFoundError:  # the client alone is installed: there is no server of this folder
        return DEFAULT_URL
    try:
        settings = load(CONFIG_FILE if has_file else None, environ=os.environ)
    except ConfigError as error:
        raise ConfigError("give --url, since the settings don't tell the server's address:", *error.faults) from None
    return url_of(settings.server)


def url_of(server: ServerSettings) -> str:
    """Return the URL of a server with these settings. Raises ConfigError if the system chooses its port."""
    if server.port is None and server.socket is not None:
        return f"unix:{server.socket}"
    if not server.port:
        raise ConfigError(f"give --url: server.port is {server.port}, so the address of the server is not known")
    host = _ALL.get(server.host, server.host)
    scheme = "https" if server.tls.cert is not None else "http"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{server.port}"
