"""The caller of a request: the remote address of its connection, of IPv6 the network of 64 bits."""

from __future__ import annotations

import functools
import ipaddress
from typing import TYPE_CHECKING

from jobqueue.handlers import plain_uniqueness

if TYPE_CHECKING:
    import asyncio

    from jobqueue.core.job import Uniqueness


def caller_of(remote: str | None) -> str:
    """Return the caller at a remote address; one name for all connections without one.

    Of an IPv6 address, its network of 64 bits: a client has all addresses of its network.
    """
    if not remote:
        return "local"
    return _network_of(remote) if ":" in remote else remote


def uniqueness_at(transport: asyncio.BaseTransport) -> Uniqueness:
    """Return the identity of plain submissions over a connection."""
    peer = transport.get_extra_info("peername")
    if isinstance(peer, (tuple, list)):
        peer = peer[0] if peer else None
    return plain_uniqueness(caller_of(str(peer) if peer else None))  # as aiohttp tells it of a request


@functools.lru_cache(maxsize=1024)
def _network_of(address: str) -> str:
    try:
        known = ipaddress.IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    if known.ipv4_mapped is not None:
        return str(known.ipv4_mapped)
    return str(ipaddress.IPv6Network((known, 64), strict=False))
