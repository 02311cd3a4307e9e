"""Where a fleet's connections lead to: an address, which is looked up once, or a Unix socket."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from jobqueue.client import TlsFiles, address_of

if TYPE_CHECKING:
    import ssl


class Place(NamedTuple):
    """The end of connections.

    Attributes:
        socket: The path of a Unix socket, instead of host and port.
        tls: Connections have TLS, with this context; None: they have none.
        name: The server's name in its certificate.
    """

    host: str
    port: int
    socket: str | None = None
    tls: ssl.SSLContext | None = None
    name: str | None = None


def place_of(url: str, files: TlsFiles | None = None) -> Place:
    """Look the server's address up, once for thousands of clients.

    Raises:
        OSError: It has none.
        ValueError: One of the files can't be used.
    """
    address = address_of(url)
    if address.socket is not None:
        if not os.path.exists(address.socket):
            raise OSError(f"there is no socket at {address.socket}")
        return Place("localhost", 0, address.socket)
    parts = urlsplit(address.url)
    tls = (files or TlsFiles()).context_for(address.url)
    try:
        found = socket.getaddrinfo(parts.hostname, parts.port or (443 if tls else 80), type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise OSError(f"the host {parts.hostname!r} can't be resolved ({error.strerror})") from error
    host, port = found[0][4][:2]
    return Place(str(host), int(port), None, tls, parts.hostname if tls else None)
