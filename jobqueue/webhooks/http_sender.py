"""Sends messages to receivers over HTTP/1.1, and connects to no address that isn't allowed.

Rules:

1. A name is looked up once for a message; its addresses are judged, and the connection goes to one of these. So a name
   with a second lookup that differs gains nothing, nor does a text that only a system's resolver takes for an address.
2. A message has a connection of its own. Redirects are not followed; there are no cookies and no proxies.
3. Of the answer only the head is read, `HEAD_BYTES_MAX` at most, with `INTERIM_MAX` interim ones before it; then the
   connection is cut. The client of aiohttp reads interim answers without a bound: a receiver that sends nothing else
   kept the loop late by 0.1 to 0.25 s for as long as the message may take.
4. A name is looked up in a daemon thread of its own, which all messages that wait for it share: a lookup that hangs
   keeps no message beyond its timeout, no message to another name, nor the exit. The names are those of the settings,
   so there are `LOOKUPS_MAX` threads at most. An address needs none.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
import ssl
import threading
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import aiohappyeyeballs
from yarl import URL

from jobqueue.webhooks.addresses import parsed
from jobqueue.webhooks.message import AddressRefused, Answer, Undelivered
from jobqueue.webhooks.retry_after import pause_s

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jobqueue.webhooks.addresses import Allowed
    from jobqueue.webhooks.message import Message

    Found = Sequence[tuple[int, int, int, str, tuple[Any, ...]]]
    """What `socket.getaddrinfo` returns."""

LOOKUPS_MAX: Final = 200
"""As many as the settings may name: hosts of 100 endpoints, and 100 hosts of callbacks. Those of settings before a
reload may take the place of others until they end."""

HEAD_BYTES_MAX: Final = 16 * 1024
INTERIM_MAX: Final = 4
NEXT_ADDRESS_S: Final = 0.25
"""How long an address is tried alone before the next one is tried beside it (RFC 8305, section 5)."""

_STATUS: Final = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})(?: |$)")


class HttpSender:
    """Sends messages over HTTP. To be made within the running loop.

    Args:
        getaddrinfo: Looks a name up, in a thread.
    """

    def __init__(self, getaddrinfo: Callable[..., Found] = socket.getaddrinfo) -> None:
        self._names = _Names(getaddrinfo)
        self._tls = ssl.create_default_context()

    async def send(self, message: Message) -> Answer:
        """Send a message; return the answer, whatever its status is.

        Raises:
            AddressRefused: The host has no address that is allowed.
            Undelivered: No answer came in time.
        """
        url = URL(message.url)
        host = url.raw_host or ""
        try:
            async with asyncio.timeout(message.timeout_s):
                return await self._exchange(url, host, message)
        except TimeoutError:
            raise Undelivered(f"{host} has not answered within {message.timeout_s:g} s") from None
        except (OSError, RuntimeError) as error:  # uvloop raises both; a wrong certificate is a ValueError, too
            raise Undelivered(f"{host} can't be reached: {_told(error)}") from None
        except (EOFError, asyncio.LimitOverrunError, ValueError):
            raise Undelivered(f"{host} has not answered with HTTP/1.1, or with a head that is too long") from None

    async def _exchange(self, url: URL, host: str, message: Message) -> Answer:
        found = _allowed(await self._names.look_up(host), host, url.port or 0, message.allowed)
        connected = await aiohappyeyeballs.start_connection(found, happy_eyeballs_delay=NEXT_ADDRESS_S)
        tls = self._tls if url.scheme == "https" else None
        try:
            reader, writer = await asyncio.open_connection(
                sock=connected, ssl=tls, server_hostname=host if tls else None, limit=HEAD_BYTES_MAX
            )
        except BaseException:
            connected.close()
            raise
        try:
            writer.write(_request(url, message))
            return await _answer(reader)
        finally:
            writer.transport.abort()


class _Names:
    """Looks names up, each in a daemon thread of its own. To be made within the running loop."""

    def __init__(self, getaddrinfo: Callable[..., Found]) -> None:
        self._getaddrinfo = getaddrinfo
        self._loop = asyncio.get_running_loop()
        self._lookups: dict[str, asyncio.Future[Found]] = {}
        self._waiting: deque[str] = deque()
        self._threads = 0

    async def look_up(self, host: str) -> Found:
        """Return the addresses of a host. Raises OSError if it has none, RuntimeError if no thread can start."""
        if (address := parsed(host)) is not None:
            family = socket.AF_INET if address.version == 4 else socket.AF_INET6
            return [(family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, 0))]
        lookup = self._lookups.get(host)
        if lookup is None:
            lookup = self._lookups[host] = self._loop.create_future()
            self._waiting.append(host)
            self._start()
        await asyncio.wait((lookup,))  # which goes on for other messages if this one is given up
        return lookup.result()

    def _start(self) -> None:
        """Start lookups that wait, as many as may run."""
        while self._waiting and self._threads < LOOKUPS_MAX:
            host = self._waiting.popleft()
            try:
                threading.Thread(target=self._look_up, args=(host,), name="jobqueue-lookup", daemon=True).start()
            except Exception as error:
                self._settle(host, error)
            else:
                self._threads += 1

    def _look_up(self, host: str) -> None:
        found: Found | Exception
        try:
            found = self._getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except Exception:
            found = OSError(None, "its name can't be looked up")
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._ended, host, found)

    def _ended(self, host: str, found: Found | Exception) -> None:
        self._threads -= 1
        self._settle(host, found)
        self._start()

    def _settle(self, host: str, found: Found | Exception) -> None:
        lookup = self._lookups.pop(host)
        if isinstance(found, Exception):
            lookup.set_exception(found)
            lookup.exception()  # all messages that waited for it may have been given up
        else:
            lookup.set_result(found)


def _allowed(found: Found, host: str, port: int, allowed: Allowed) -> list[Any]:
    """Return the addresses that may be connected to, with the port. Raises AddressRefused if there is none."""
    refusals = [allowed.refusal(host, str(info[4][0])) for info in found]
    kept = [
        (*info[:4], (info[4][0], port, *info[4][2:]))
        for info, refusal in zip(found, refusals, strict=True)
        if refusal is None
    ]
    if not kept:
        raise AddressRefused("; ".join(dict.fromkeys(filter(None, refusals))) or f"{host} has no address")
    return kept


def _request(url: URL, message: Message) -> bytes:
    """Return the bytes of the request. A URL without faults, and our own headers, have no line breaks."""
    headers = {
        "Host": url.host_port_subcomponent,
        **message.headers,
        "Content-Length": len(message.body),
        "Connection": "close",
    }
    lines = [f"POST {url.raw_path_qs} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode("ascii") + message.body


async def _answer(reader: asyncio.StreamReader) -> Answer:
    """Read the head of the answer. Raises ValueError, EOFError, LimitOverrunError where it is none, or too long."""
    for _ in range(INTERIM_MAX + 1):
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")
        status = _STATUS.match(first)
        if status is None:
            raise ValueError("no answer of HTTP/1.1")
        if status[1] >= b"200":
            parts = (line.partition(b":") for line in lines)
            headers = {name.lower(): value.strip().decode("latin-1") for name, _, value in parts}
            asked = headers.get(b"retry-after")
            return Answer(int(status[1]), None if asked is None else pause_s(asked, headers.get(b"date", "")))
    raise ValueError("interim answers alone")


def _told(error: Exception) -> str:
    """Return the reason of a failure, in words that have nothing of the URL."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return "its certificate is not valid for it"
    if isinstance(error, ssl.SSLError):
        return "it speaks no TLS that this machine accepts"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror if error.errno is None else os.strerror(error.errno)
    return type(error).__name__
