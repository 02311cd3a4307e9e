"""The URL of a receiver: read once, by the parser of the client that sends to it, so that no two readings differ."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from jobqueue.webhooks.addresses import is_host_name, parsed

if TYPE_CHECKING:
    from collections.abc import Collection

    from yarl import URL

    from jobqueue.webhooks.addresses import Allowed

URL_LENGTH_MAX: Final = 2000
NO_CALLBACKS: Final = "this server has no callbacks (webhooks.callbacks)"
PORT_MAX: Final = 65_535
_PORT: Final = re.compile(r"[1-9][0-9]{0,4}")
_PRINTABLE: Final = re.compile(r"[!-~]+")


def host_of(url: str) -> str:
    """Return the host of a URL without faults, in lower case; of an IPv6 address without brackets."""
    return _parts(url).raw_host or ""


def places_of(url: str) -> tuple[str, ...]:
    """Return how `webhooks.callback_hosts` may list a URL without faults: with its port, or without if it has no other.

    Ports of https and http are 443 and 80 where the URL has none.
    """
    parts = _parts(url)
    host = parts.raw_host or ""
    with_port = f"[{host}]:{parts.port}" if ":" in host else f"{host}:{parts.port}"
    return (with_port, host) if parts.is_default_port() else (with_port,)


def host_of_place(place: str) -> str | None:
    """Return the host of an entry of `webhooks.callback_hosts`; None: it is no host, with or without a port."""
    if parsed(place) is not None or is_host_name(place):
        return place
    host, _, port = place.rpartition(":")
    if not _PORT.fullmatch(port) or int(port) > PORT_MAX:
        return None
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        return host if ":" in host and parsed(host) is not None else None
    return host if ":" not in host and (parsed(host) is not None or is_host_name(host)) else None


def fault_of_url(url: str, allowed: Allowed) -> str | None:
    """Return what is wrong with the URL of a receiver, and what would be right; None: nothing.

    The addresses of a name are judged when a delivery connects, not here: they may change at any time.
    """
    if len(url) > URL_LENGTH_MAX or not _PRINTABLE.fullmatch(url):
        return f"a URL has 1 to {URL_LENGTH_MAX} printable ASCII characters"
    try:
        parts = _parts(url)
    except ValueError:
        return "not a URL; write one such as https://example.com/hooks"
    host = parts.raw_host or ""
    if parts.scheme not in ("http", "https") or not host:
        return "a URL begins with https:// and a host, such as https://example.com/hooks"
    if parts.raw_user is not None or parts.raw_password is not None:
        return "a URL has no user and no password: the receiver knows the sender by the signature"
    if parts.raw_fragment:
        return "a URL has no fragment (#): it would not be sent"
    address = parsed(host)
    if address is None and not is_host_name(host):
        return f"{host[:60]!r} is neither the name of a host nor an address in its usual form"
    if address is not None and (refusal := allowed.refusal(host, host)) is not None:
        return refusal
    if parts.scheme == "http" and not allowed.lists(host):
        return f"http is not encrypted: use https, or list {host} in webhooks.allow"
    return None


def _parts(url: str) -> URL:
    """Return a URL as it is read. Raises ValueError: It is none."""
    from yarl import URL  # here: it comes with an extra, and the settings, which have URLs, need none

    return URL(url)


def fault_of_callback(url: str, allowed: Allowed, hosts: Collection[str]) -> str | None:
    """As `fault_of_url`, for the callback of a submission.

    Args:
        hosts: Those that callbacks may go to, each at the scheme's own port, or at the port that it is listed with.
    """
    fault = fault_of_url(url, allowed)
    if fault is None and not any(place in hosts for place in places_of(url)):
        return "no callbacks go to this host and port: webhooks.callback_hosts does not list it"
    return fault
