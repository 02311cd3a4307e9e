"""Addresses that a delivery may connect to: public ones, and those that `webhooks.allow` lists.

Rules:

1. A public unicast address is allowed; any other is refused unless it is listed. Server-side request forgery is what
   this prevents: a URL, or a name's DNS record, that leads a delivery to a neighbour of the server.
2. A listed address or network allows its addresses. A listed name allows loopback and private addresses of that name,
   as in a container network; never link-local ones or those of cloud metadata, which only a network lists.
3. An IPv6 address that carries an IPv4 one (mapped, translated, compatible, NAT64, 6to4, Teredo) leads to that one. It
   is refused unless its network is listed, and then the carried one is judged, too.
4. The text of an address is read strictly: what the system's resolver also takes for one (`127.1`, `0x7f000001`) isn't.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME: Final = re.compile(rf"(?=.{{1,253}}$){_LABEL}(?:\.{_LABEL})*")
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")

ENTRY_EXPECTED: Final = "the name of a host, an address or a network, such as crm.internal, 10.1.2.3 or 10.0.0.0/8"


def _networks(*texts: str) -> tuple[Network, ...]:
    return tuple(map(ipaddress.ip_network, texts))


_OF_METADATA: Final = _networks(
    *("169.254.169.254/32", "fd00:ec2::/32", "100.100.100.200/32", "168.63.129.16/32", "192.0.0.192/32")
)
"""The services of clouds that give credentials to their machines: AWS, Google, Azure, Alibaba, Oracle."""

_LOCAL: Final = {
    "a loopback address": _networks("127.0.0.0/8", "::1/128"),
    "a private address": _networks("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"),
}
"""What the name of a host may lead to, if it is listed (RFC 1918, 6598, 4193)."""

_REFUSED: Final = {
    "a link-local address": _networks("169.254.0.0/16", "fe80::/10"),
    "an IPv6 address that carries an IPv4 one": _networks(
        *("::/96", "::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32")
    ),
    "a reserved address": _networks("192.0.0.0/24", "192.88.99.0/24", "fec0::/10", "5f00::/16"),
}
"""What only a listed network allows, beside all that isn't global unicast. Python's own lists differ by its version."""


def parsed(text: str) -> Address | None:
    """Return the address that a text is, without the zone of an IPv6 one; None: it is none."""
    try:
        return ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None


def is_host_name(text: str) -> bool:
    """Whether a text is the name of a host, in lower case; one whose last label is a number is an address or nothing.

    So do browsers read hosts (WHATWG URL, section 3.5).
    """
    return _NAME.fullmatch(text) is not None and _NUMBER.fullmatch(text.rpartition(".")[2]) is None


def kind_of(address: Address) -> str | None:
    """Return what kind of address it is, in words; None: a public one."""
    for kind, networks in ({"an address of cloud metadata": _OF_METADATA} | _LOCAL | _REFUSED).items():
        if any(address in network for network in networks):
            return kind
    if address.is_multicast or address.is_unspecified:
        return "a multicast address" if address.is_multicast else "an unspecified address"
    return None if address.is_global else "a reserved address"


def carried(address: Address) -> ipaddress.IPv4Address | None:
    """Return the IPv4 address that an IPv6 one carries; None: it carries none."""
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if address.teredo is not None:
        return address.teredo[1]
    if address.sixtofour is not None or kind_of(address) == "an IPv6 address that carries an IPv4 one":
        return address.sixtofour or ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return None


class Allowed:
    """The addresses that deliveries may connect to.

    Args:
        entries: Names of hosts, addresses and networks, beside public addresses.

    Raises:
        ValueError: An entry is none of these; its text is the argument.
    """

    def __init__(self, entries: Iterable[str] = ()) -> None:
        self._names: set[str] = set()
        self._networks: list[Network] = []
        for entry in entries:
            if is_host_name(entry.lower()):
                self._names.add(entry.lower())
                continue
            try:
                self._networks.append(ipaddress.ip_network(entry))
            except ValueError:
                raise ValueError(entry) from None

    def lists(self, host: str) -> bool:
        """Whether a host is listed: by its name, or as an address by itself or its network."""
        address = parsed(host)
        return host in self._names if address is None else self._lists(address)

    def refusal(self, host: str, text: str) -> str | None:
        """Return why no delivery to this host may connect to this address, in words; None: it may.

        Args:
            host: As the URL has it, in lower case.
            text: The address that the host has, as a socket takes it.
        """
        address = parsed(text)
        if address is None:
            return f"{text[:60]!r} is no address"
        if self._lists(address):
            inner = carried(address)
            return None if inner is None else self.refusal(host, str(inner))
        kind = kind_of(address)
        if kind is None or (kind in _LOCAL and host in self._names):
            return None
        return f"{address} is {kind}, and webhooks.allow does not list it"

    def _lists(self, address: Address) -> bool:
        return any(address in network for network in self._networks)
