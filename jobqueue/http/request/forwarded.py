"""Forwarded addresses: what a listed proxy says of the client behind it (RFC 7239, X-Forwarded-For).

Each proxy appends the address that it was connected from, so the list is read from its right end, where only listed
proxies have written. Rules:

1. Nothing is read unless the connection's peer is listed (`server.proxies`).
2. The caller is the rightmost address that is no listed proxy. What stands to the left of it, the client may have sent.
3. Where the list ends before that, or goes on with what is no address (`unknown`, `_obfuscated`, a malformed element),
   the caller is the nearest listed proxy: the peer, if it has said nothing else.
4. A request with both headers is believed if both lead to the same caller. A proxy that writes one of them passes the
   other on as the client sent it, and which one it writes can't be told from a request.
5. At most `HOPS_MAX` elements are read. No header is a reason to reject a request.
6. Scheme and host (`proto`, `host`, X-Forwarded-Proto, X-Forwarded-Host) are not read: answers have no absolute URLs.
"""

from __future__ import annotations

import functools
import ipaddress
import re
from typing import TYPE_CHECKING

from multidict import istr

from jobqueue.http.request.caller import caller_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from multidict import CIMultiDictProxy

FORWARDED, X_FORWARDED_FOR = istr("Forwarded"), istr("X-Forwarded-For")

HOPS_MAX = 32
PAIRS_MAX = 8
"""Of one element: RFC 7239 has four."""

CACHED_LENGTH_MAX = 256

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PAIR = re.compile(rf'[ \t]*({_TOKEN})=(?:({_TOKEN})|"((?:[^"\\]|\\.)*)")[ \t]*(?:;|$)')
_NODE = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+))(?::[0-9]{1,5})?|([0-9A-Fa-f:.]+)")


class Proxies:
    """The listed proxies.

    Args:
        listed: Addresses, networks, and `unix` for the Unix socket.

    Raises:
        ValueError: One of them is none of these.
    """

    def __init__(self, listed: Iterable[str]) -> None:
        listed = tuple(listed)
        self._has_unix = "unix" in listed
        self._networks = tuple(ipaddress.ip_network(each) for each in listed if each != "unix")
        # Most requests of a connection have the same headers.
        self._cached_caller_in = functools.lru_cache(maxsize=1024)(self._caller_in)

    def has(self, address: str | None, *, is_unix: bool) -> bool:
        """Whether a connection's peer is listed."""
        if is_unix or address is None:
            return is_unix and self._has_unix
        try:
            return self._has(_normal(ipaddress.ip_address(address.partition("%")[0])))
        except ValueError:
            return False

    def client_in(self, headers: CIMultiDictProxy[str]) -> str | None:
        """Return the address of the client that the headers of a listed peer tell; None: the peer itself."""
        forwarded, listed = headers.getall(FORWARDED, None), headers.getall(X_FORWARDED_FOR, None)
        if forwarded is None and listed is None:
            return None
        texts = (
            None if forwarded is None else ",".join(forwarded),
            None if listed is None else ",".join(listed),
        )
        short = len(texts[0] or "") + len(texts[1] or "") <= CACHED_LENGTH_MAX
        return self._cached_caller_in(*texts) if short else self._caller_in(*texts)

    def _caller_in(self, forwarded: str | None, listed: str | None) -> str | None:
        if forwarded is None:
            return self._rightmost(_addresses(listed or ""))
        told = self._rightmost(_forwarded_addresses(forwarded))
        if listed is not None:
            other = self._rightmost(_addresses(listed))
            if told is None or other is None or caller_of(told) != caller_of(other):
                return None
        return told

    def _rightmost(self, addresses: Iterator[IPAddress | None]) -> str | None:
        nearest: IPAddress | None = None
        for address in addresses:
            if address is None:
                break
            nearest = address
            if not self._has(address):
                break
        return None if nearest is None else str(nearest)

    def _has(self, address: IPAddress) -> bool:
        return any(address in network for network in self._networks)


def _addresses(text: str) -> Iterator[IPAddress | None]:
    """Yield the addresses of X-Forwarded-For from the right; None for what is none."""
    for element in text.rsplit(",", HOPS_MAX)[: -HOPS_MAX - 1 : -1]:
        yield _address(element.strip(" \t"))


def _forwarded_addresses(text: str) -> Iterator[IPAddress | None]:
    """Yield the addresses of Forwarded from the right; None for what is none."""
    element = ""
    for part in text.rsplit(",", HOPS_MAX)[: -HOPS_MAX - 1 : -1]:
        element = f"{part},{element}" if element else part
        if element.count('"') % 2 == 0:  # else the comma stands in quotes
            yield _for_in(element)
            element = ""
    if element:
        yield None


def _for_in(element: str) -> IPAddress | None:
    """Return the address in the one `for=` of an element; None: it has none, or is malformed."""
    given: list[str] = []
    at = 0
    for _ in range(PAIRS_MAX):
        pair = _PAIR.match(element, at)
        if pair is None:
            return None
        name, token, quoted = pair.groups()
        if name.lower() == "for":
            given.append(token if quoted is None else re.sub(r"\\(.)", r"\1", quoted))
        at = pair.end()
        if at == len(element):
            return _address(given[0]) if len(given) == 1 else None
    return None


def _address(node: str) -> IPAddress | None:
    """Return the address of a node: IPv6 in brackets or bare, with a port or without."""
    found = _NODE.fullmatch(node)
    if found is None:
        return None
    try:
        return _normal(ipaddress.ip_address(found[1] or found[2] or found[3]))
    except ValueError:
        return None


def _normal(address: IPAddress) -> IPAddress:
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
