"""The peer: the other end of a connection, as the connection itself shows it.

Rules:

1. The caller is the name in the client's certificate (`cert:NAME`), the user of a process at the other end of a Unix
   socket (`uid:N`), or the remote address. No address contains `cert:` or `uid:`, so these names never collide.
2. It is determined once for each connection, at its begin: of a connection that was reset, the kernel tells no address.
   One that was reset before is aborted: its requests would count as those of another caller.
3. A peer that is listed in `server.proxies` tells the caller in the headers of each request (`forwarded`).
4. In a host application, whose connections aren't this server's, it is the remote address that the request tells; a
   submission without one, over a connection that was reset, is rejected.
"""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING, Any

import msgspec

from jobqueue.http.errors import MalformedRequest
from jobqueue.http.request.caller import caller_of
from jobqueue.http.request.forwarded import Proxies

if TYPE_CHECKING:
    import asyncio

    from aiohttp import web
    from multidict import CIMultiDictProxy


_INTERNET = (socket.AF_INET, socket.AF_INET6)
_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid: unix(7)


class Peer(msgspec.Struct, frozen=True, gc=False):
    """The other end of a connection.

    Attributes:
        caller: Its name, for quotas, idempotency keys and retry slots.
        address: Its address; None: a Unix socket has none.
        certificate: The name in its client certificate, which was verified; None: it has shown none.
        is_unix: It is connected to a Unix socket.
        proxies: It is one of these: the caller of a request is told by its headers. None: it is no listed proxy.
    """

    caller: str
    address: str | None = None
    certificate: str | None = None
    is_unix: bool = False
    proxies: Proxies | None = None

    def behind(self, headers: CIMultiDictProxy[str]) -> Peer:
        """Return the peer that a request with these headers comes from: this one, or one behind this proxy."""
        address = None if self.proxies is None else self.proxies.client_in(headers)
        return self if address is None else Peer(caller_of(address), address)


def peer_at(transport: asyncio.BaseTransport, proxies: Proxies | None = None) -> Peer | None:
    """Return the peer of a transport; None: the connection was reset, so its address can't be told any more.

    Args:
        proxies: The listed ones: a peer that is one of them has them.
    """
    peer = _shown_by(transport)
    if peer is not None and proxies is not None and proxies.has(peer.address, is_unix=peer.is_unix):
        return msgspec.structs.replace(peer, proxies=proxies)
    return peer


def _shown_by(transport: asyncio.BaseTransport) -> Peer | None:
    certificate = transport.get_extra_info("client_name")
    shown = transport.get_extra_info("peername")
    if isinstance(shown, (tuple, list)):
        shown = shown[0] if shown else None
    address = str(shown) if shown else None  # as aiohttp tells it of a request
    if certificate is not None:
        return Peer(f"cert:{certificate}", address, certificate)
    wire = transport.get_extra_info("socket")
    if wire is not None and wire.family == socket.AF_UNIX:
        return Peer(_user_of(wire), None, is_unix=True)
    if address is None and wire is not None and wire.family in _INTERNET:
        return None
    return Peer(caller_of(address), address)


def peer_of(request: web.BaseRequest) -> Peer:
    """Return the peer that has sent a request. Raises MalformedRequest if it is unknown after a reset."""
    peer: Any = getattr(request.protocol, "peer", None)
    if isinstance(peer, Peer):
        return peer if peer.proxies is None else peer.behind(request.headers)
    if request.remote is None and (request.transport is None or peer_at(request.transport) is None):
        raise MalformedRequest("the connection was reset before its request was read")
    return Peer(caller_of(request.remote), request.remote)


def _user_of(wire: socket.socket) -> str:
    option: int | None = getattr(socket, "SO_PEERCRED", None)
    if option is not None:
        try:
            _, user, _ = _CREDENTIALS.unpack(wire.getsockopt(socket.SOL_SOCKET, option, _CREDENTIALS.size))
        except OSError:
            pass  # closed already
        else:
            return f"uid:{user}"
    return caller_of(None)
