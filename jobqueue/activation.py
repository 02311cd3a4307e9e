"""Socket activation: which of the inherited sockets takes the place of which setting.

Rules:

1. A socket named `metrics` is that of `metrics.listen`; every other one is the server's: one of TCP stands for
   `server.host` and `server.port`, one of Unix for `server.socket`.
2. If any is inherited, the server opens none itself: a place that is set and was not passed on is a fault, because it
   would be closed between two processes. The port of the metrics may be opened here: a scrape is repeated.
3. An inherited socket fits its settings, or the start fails: addresses, port, path and permissions are what they say,
   so checks that read the settings hold.
"""

from __future__ import annotations

import os
import socket
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

from jobqueue.errors import ConfigError
from jobqueue.paths import written_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jobqueue.config import Settings
    from jobqueue.process.inherited_sockets import InheritedSocket, InheritedSockets

METRICS = "metrics"
"""The name of the metrics' sockets: `FileDescriptorName=metrics`."""

ANY = ("0.0.0.0", "::")  # noqa: S104  # compared with, not bound
DUAL_STACK = ("::",)
"""Addresses that stand for 0.0.0.0, too: systemd listens there for both families (`ListenStream=8080`)."""


class Activation:
    """The inherited sockets by what they serve. All are closed with `close`, unless a server has taken them.

    Attributes:
        tcp: Those of `server.host` and `server.port`.
        unix: That of `server.socket`.
        metrics: Those of `metrics.listen`.

    Raises:
        ConfigError: They don't fit the settings; with each fault.
    """

    def __init__(self, inherited: InheritedSockets, settings: Settings) -> None:
        if inherited.fault is not None:
            raise ConfigError(inherited.fault)
        self.tcp: list[socket.socket] = []
        self.unix: socket.socket | None = None
        self.metrics: list[socket.socket] = []
        self._names: dict[socket.socket, str] = {}
        faults = [fault for each in inherited.all if (fault := self._sort_in(each)) is not None]
        if not faults:  # one of the wrong kind would be told as missing, too
            faults.extend(self._faults(settings))
        if faults:
            self.close()
            raise ConfigError(*dict.fromkeys(faults))

    def __bool__(self) -> bool:
        return bool(self._names)

    def close(self) -> None:
        """Close this process's descriptors; the sockets listen on, for the next process."""
        for each in self._names:
            each.close()

    def _sort_in(self, inherited: InheritedSocket) -> str | None:
        """Add a socket to its kind; return what is wrong with it."""
        told = f"the inherited descriptor {inherited.fd} ({inherited.name})"
        if not stat.S_ISSOCK(os.fstat(inherited.fd).st_mode):
            return f"{told} is no socket: the unit may have ListenStream= only"
        wire = socket.socket(fileno=inherited.fd)
        self._names[wire] = inherited.name
        wire.setblocking(False)
        if wire.type != socket.SOCK_STREAM:
            return f"{told} is no stream socket: use ListenStream= in the socket unit"
        if not wire.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            return f"{told} does not listen: set Accept=no in the socket unit"
        is_tcp = wire.family in (socket.AF_INET, socket.AF_INET6)
        if not is_tcp and wire.family != socket.AF_UNIX:
            return f"{told} is neither of TCP nor of Unix: use ListenStream= with a port or a path"
        if inherited.name == METRICS:
            if not is_tcp:
                return f"{told} is a Unix socket: the metrics are read over TCP"
            self.metrics.append(wire)
        elif is_tcp:
            self.tcp.append(wire)
        elif self.unix is None:
            self.unix = wire
        else:
            return f"{told} is a second Unix socket: the server has one, server.socket"
        return None

    def _faults(self, settings: Settings) -> Iterator[str]:
        if not self:
            return
        server, metrics = settings.server, settings.metrics
        yield from self._faults_of_tcp(server.host, server.port)
        yield from self._faults_of_unix(server.socket, int(server.socket_mode, 8))
        if self.metrics:
            address = metrics.address if metrics.enabled else None
            if address is None:
                yield (
                    f"{self._told(self.metrics[0])} is named {METRICS}, and metrics.listen is not set: set it to that "
                    "address, or give the socket unit another FileDescriptorName="
                )
            else:
                yield from self._misfits(self.metrics, *address, "metrics.listen", "metrics.listen")

    def _faults_of_tcp(self, host: str, port: int | None) -> Iterator[str]:
        if port is not None and not self.tcp:
            yield (
                f"server.port: is {port}, and only {self._all_told()} was inherited: add ListenStream={host}:{port} to "
                "the socket unit, or set server.port to null"
            )
        elif port is None and self.tcp:
            yield (
                f"server.port: is null, and {self._told(self.tcp[0])} was inherited: set server.host and server.port "
                "to its address, or remove it from the socket unit"
            )
        elif port is not None:
            yield from self._misfits(self.tcp, host, port, "server.host", "server.port")

    def _misfits(
        self, sockets: Sequence[socket.socket], host: str, port: int, of_host: str, of_port: str
    ) -> Iterator[str]:
        """Yield a fault for each TCP socket whose address is not the one that is set; port 0 is any."""
        fitting = _addresses_of(host)
        for each in sockets:
            address, its_port = each.getsockname()[:2]
            if port not in (0, its_port):
                yield (
                    f"{of_port}: {self._told(each)} was inherited, and the port is set to {port}: make them the same"
                )
            if address not in fitting:
                yield (
                    f"{of_host}: {self._told(each)} was inherited, and the host is set to {host}: set it to {address}, "
                    f"or ListenStream={_with_port(host, its_port)} in the socket unit"
                )

    def _faults_of_unix(self, path: str | None, mode: int) -> Iterator[str]:
        if self.unix is None:
            if path is not None:
                yield (
                    f"server.socket: is {path}, and only {self._all_told()} was inherited: add ListenStream={path} to "
                    "the socket unit, or set server.socket to null"
                )
            return
        told = self._told(self.unix)
        if path is None:
            yield (
                f"server.socket: is not set, and {told} was inherited: set it to that path, or remove it from the "
                "socket unit"
            )
            return
        its_path = self.unix.getsockname()
        with suppress(ValueError):  # such a path fits none
            path = os.path.abspath(written_path(path))
        if its_path != path:
            yield f"server.socket: {told} was inherited, and the path is set to {path}: make them the same"
            return
        with suppress(OSError):  # it may be in a folder that this user can't search
            its_mode = stat.S_IMODE(os.stat(its_path).st_mode)
            if its_mode != mode:
                yield (
                    f"server.socket_mode: is {mode:04o}, and {told} has {its_mode:04o}: make it the same as "
                    "SocketMode= in the socket unit, which is 0666 by default"
                )

    def _told(self, wire: socket.socket) -> str:
        where = wire.getsockname()
        at = where if isinstance(where, str) else _with_port(*where[:2]) if where else "a nameless socket"
        return f"{at if isinstance(at, str) else ascii(at)} ({self._names[wire]})"

    def _all_told(self) -> str:
        return ", ".join(map(self._told, self._names))


def _with_port(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _addresses_of(host: str) -> set[str]:
    """Return the addresses that a host may stand for. A name that can't be resolved stands for none."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return {host}
    addresses = {str(each[4][0]) for each in found}
    return addresses | set(DUAL_STACK) if addresses & set(ANY) else addresses
