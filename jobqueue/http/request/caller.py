"""The caller at a remote address: that address, of IPv6 its network of 64 bits."""

from __future__ import annotations

import functools
import ipaddress


def caller_of(remote: str | None) -> str:
    """Return the caller at a remote address; one name for all connections without one.

    Of an IPv6 address, its network of 64 bits: a client has all addresses of its network.
    """
    if not remote:
        return "local"
    return _network_of(remote) if ":" in remote else remote


@functools.lru_cache(maxsize=1024)
def _network_of(address: str) -> str:
    try:
        known = ipaddress.IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    if known.ipv4_mapped is not None:
        return str(known.ipv4_mapped)
    return str(ipaddress.IPv6Network((known, 64), strict=False))
