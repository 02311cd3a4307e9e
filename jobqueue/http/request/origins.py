"""Origins and hosts: checks Origin, Sec-Fetch-Site and Host, and answers CORS preflights.

A browser sends requests on behalf of every page that it shows, also to a server on its own machine that no other
machine reaches. The page needs no permission: a form, `fetch` with `no-cors` or an `<img>` reaches the server as curl
does. Two checks, before all others, reject requests from foreign pages. Sources: Fetch
Metadata (W3C), the Fetch standard (WHATWG, section "CORS protocol"), RFC 6454, RFC 9110 section 15.5.20 (421).

Rules:

1. A request with an `Origin` other than its own scheme and host is rejected (403), unless `server.origins` lists it.
   Its method doesn't matter: reads cost time, and event streams and waits count against their maximum. `null` is
   foreign, and so is another port of the same machine.
2. A request without `Origin` is rejected if `Sec-Fetch-Site` says `cross-site` or `same-site`. Excepted is a link that
   is followed (a top-level navigation by GET or HEAD): the page with the link can't see the answer.
3. `Sec-Fetch-Site: same-origin` outweighs `Origin`. Scripts can set neither, and behind a proxy that speaks TLS the
   scheme of the page's origin is not the one that this server sees.
4. `Host` must be a name of this server while it listens on loopback addresses only, or where `server.hosts` is set:
   else 421. Otherwise a page under a name that resolves to 127.0.0.1 (DNS rebinding) has the server's own origin.
   A request of HTTP/1.0 may lack it: no browser sends one. The rule holds over a Unix socket, too: no browser
   connects to one, but a proxy may, on behalf of every page.
5. A listed origin gets answers to its preflights, for every path, and the CORS headers on each answer.
6. A request with none of these headers (curl, a client library) comes from no page, and passes.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING

from aiohttp import HttpVersion11, hdrs, web
from multidict import istr

from jobqueue.http.errors import CrossOrigin, MisdirectedRequest
from jobqueue.http.response.problems import header_text as shown
from jobqueue.http.response.reply import SERVER

if TYPE_CHECKING:
    from collections.abc import Iterable

    from multidict import CIMultiDictProxy

EXPOSED = (
    "Location, Retry-After, Job-State, ETag, RateLimit, RateLimit-Policy, Preference-Applied, Job-Deduplicated, "
    "Job-Gone-Reason, Allow, Accept-Post, Accept-Patch, Accept, WWW-Authenticate"
)
"""Headers of answers that a listed page may read, beside the few that every page may."""

PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, HEAD, POST, PUT, PATCH, DELETE",
    "Access-Control-Allow-Headers": (
        "Authorization, Content-Type, Idempotency-Key, Prefer, If-None-Match, Last-Event-ID, traceparent"
    ),
    "Access-Control-Max-Age": "7200",  # Chrome's own bound
    "Server": SERVER,
}

_SITE, _MODE, _DEST = istr("Sec-Fetch-Site"), istr("Sec-Fetch-Mode"), istr("Sec-Fetch-Dest")
_HOST = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[^\s:\[\]@/]+?)\.?(?::(?P<port>[0-9]{0,5}))?")
_AUTHORITY_END = re.compile("[/?#]")
_PORTS = {"http": ":80", "https": ":443"}

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


class OriginPolicy:
    """Checks the origin and the host of requests, and answers listed origins by CORS.

    Args:
        origins: The foreign origins that are allowed.
        hosts: Further names of the server: without a port, any port of the name.

    Attributes:
        origins: The allowed ones, as browsers write them.
        is_local: Whether the server is known to listen on loopback addresses only.
    """

    def __init__(self, origins: Iterable[str] = (), hosts: Iterable[str] = ()) -> None:
        self.origins = frozenset(_canonical_origin(origin) for origin in origins)
        self._hosts = frozenset(filter(None, map(_split, hosts)))
        # Until the addresses are known (in a host application never), any IP address may be the server's.
        self._names = frozenset({"localhost"})
        self._ports: frozenset[int] = frozenset()
        self._has_any_address = True
        self._checks_hosts = bool(self._hosts)
        self.is_local = False

    def listens_on(self, addresses: Iterable[tuple[str, int]]) -> None:
        """Set the addresses on which the server listens, before it answers requests."""
        bound = [(ipaddress.ip_address(host.partition("%")[0]), port) for host, port in addresses]
        self._names = frozenset({"localhost", *(str(address) for address, _ in bound)})
        self._ports = frozenset(port for _, port in bound)
        self._has_any_address = any(address.is_unspecified for address, _ in bound)
        self.is_local = all(_is_loopback(address) for address, _ in bound)
        self._checks_hosts = self.is_local or bool(self._hosts)

    # -- the check

    def is_plain(self, headers: CIMultiDictProxy[str]) -> bool:
        """Whether a request needs no further check: no sign of a foreign page, and a host of this server."""
        return (
            hdrs.ORIGIN not in headers
            and headers.get(_SITE, "none") in ("none", "same-origin")
            and (not self._checks_hosts or self._is_own(headers.get(hdrs.HOST, "")))
        )

    def check(self, request: web.BaseRequest) -> None:
        """Reject a request from a foreign page (CrossOrigin), or under a foreign name (MisdirectedRequest)."""
        headers, target = request.headers, request.raw_path
        absolute = "://" in target and not target.startswith("/")
        if not absolute and self.is_plain(headers):
            return
        if self._checks_hosts:
            host = headers.get(hdrs.HOST)
            if host is None and request.version >= HttpVersion11:
                raise MisdirectedRequest(self._hosts_detail(""))
            given = [] if host is None else [host]
            if absolute:  # its authority stands in Host's place (RFC 9112, section 3.2.2)
                given.append(_AUTHORITY_END.split(target.partition("://")[2], 1)[0])
            for each in given:
                if not self._is_own(each):
                    raise MisdirectedRequest(self._hosts_detail(each))
        self._check_origin(request)

    def _check_origin(self, request: web.BaseRequest) -> None:
        headers = request.headers
        origins, sites = headers.getall(hdrs.ORIGIN, ()), headers.getall(_SITE, ())
        if sites == ["same-origin"]:
            return
        if origins:
            if len(origins) == 1 and (
                self.allows(origins[0]) or (origins[0] == _own_origin(request) and sites in ((), ["none"]))
            ):
                return
            raise CrossOrigin(
                f"the web page {shown(', '.join(origins))} has another origin than this server, so its requests are "
                "rejected: list it in server.origins if the page is meant to use this server"
            )
        if sites in ((), ["none"]) or _is_followed_link(request):
            return
        raise CrossOrigin(
            f"requests of web pages of other origins are rejected (Sec-Fetch-Site: {shown(', '.join(sites))}): list "
            "the page's origin in server.origins, and have the page send it (mode: 'cors', or attribute crossorigin)"
        )

    def _is_own(self, host: str) -> bool:
        """Whether a Host is a name of this server."""
        split = _split(host)
        if split is None:
            return False
        name, port = split
        if split in self._hosts or (name, None) in self._hosts:
            return True
        if port is not None and self._ports and port not in self._ports:
            return False
        return name in self._names or (self._has_any_address and _address(name) is not None)

    def _hosts_detail(self, host: str) -> str:
        names = sorted(f"[{name}]" if ":" in name else name for name in self._names)
        ports = sorted(self._ports)
        own = " and ".join(f"{name}:{ports[0]}" if len(ports) == 1 else name for name in names)
        return (
            f"the Host {shown(host)} is not a name of this server ({own}): if a proxy, a tunnel or another name "
            "leads to it, list that name in server.hosts"
        )

    def is_of_no_page(self, headers: CIMultiDictProxy[str]) -> bool:
        """As `is_plain`, of a submission: no browser has sent it."""
        return (
            hdrs.ORIGIN not in headers
            and _SITE not in headers
            and (not self._checks_hosts or self._is_own(headers.get(hdrs.HOST, "")))
        )

    # -- CORS

    def allows(self, origin: str | None) -> bool:
        """Whether an origin is listed."""
        return origin in self.origins

    def preflight(self, request: web.BaseRequest) -> web.Response | None:
        """Answer the preflight of a listed origin; None: the request is no such preflight."""
        headers = request.headers
        if (
            request.method == hdrs.METH_OPTIONS
            and hdrs.ACCESS_CONTROL_REQUEST_METHOD in headers
            and self.allows(headers.get(hdrs.ORIGIN))
        ):
            return web.Response(status=204, headers=PREFLIGHT)
        return None

    async def expose(self, request: web.Request, response: web.StreamResponse) -> None:
        """Add the CORS headers to a response for a listed page. For aiohttp's signal before sending."""
        headers = response.headers
        headers.add(hdrs.VARY, hdrs.ORIGIN)
        origin = request.headers.get(hdrs.ORIGIN)
        if origin is not None and self.allows(origin):
            headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = origin
            if request.method != hdrs.METH_OPTIONS:
                headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = EXPOSED


def is_page(request: web.BaseRequest) -> bool:
    """Whether a browser says that a page has sent a request, of whatever origin."""
    sites = request.headers.getall(_SITE, ())
    return hdrs.ORIGIN in request.headers or any(site != "none" for site in sites)


def is_own_page(request: web.BaseRequest) -> bool:
    """Whether a browser says that a page of this server's own origin has sent a request (rule 3).

    A browser that sends no `Sec-Fetch-Site` (older ones, and all over plain HTTP but for loopback) sends `Origin` with
    each change. False of a request with neither header: no page has sent it, or the browser doesn't say which.
    """
    headers = request.headers
    sites = headers.getall(_SITE, ())
    if sites:
        return sites == ["same-origin"]
    return headers.getall(hdrs.ORIGIN, ()) == [_own_origin(request)]


def _split(host: str) -> tuple[str, int | None] | None:
    """Return the name and the port of a Host, addresses in one spelling and without brackets; None: it is malformed."""
    found = _HOST.fullmatch(host.lower())
    if found is None:
        return None
    name, port = found["name"], found["port"]
    address = _address(name.strip("[]"))
    if name.startswith("[") and address is None:
        return None
    return name if address is None else str(address), int(port) if port else None


def _address(name: str) -> IPAddress | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


def _is_loopback(address: IPAddress) -> bool:
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def _canonical_origin(origin: str) -> str:
    """Return an origin as browsers write it: in lower case, and without its scheme's default port."""
    scheme, _, host = origin.lower().partition("://")
    return f"{scheme}://{host.removesuffix(_PORTS.get(scheme, '/'))}"


def _own_origin(request: web.BaseRequest) -> str:
    return _canonical_origin(f"{request.scheme}://{request.headers.get(hdrs.HOST, '')}")


def _is_followed_link(request: web.BaseRequest) -> bool:
    headers = request.headers
    return (
        request.method in (hdrs.METH_GET, hdrs.METH_HEAD)
        and headers.getall(_MODE, ()) == ["navigate"]
        and headers.getall(_DEST, ()) == ["document"]
    )
