"""Sends messages to receivers over HTTP, and connects to no address that isn't allowed.

Rules:

1. The address is judged where its socket is made (`socket_factory`), so what is judged is what is connected to: a name
   whose second lookup differs gains nothing, nor does a text that only the system's resolver takes for an address.
2. A message has a connection of its own. Redirects are not followed, cookies not kept, proxies of the environment not
   used.
3. Of the answer only the head is read, at most some 16 KiB; the connection is closed without reading a body.
4. Names are looked up in daemon threads, `LOOKUPS_MAX` at once: one that hangs keeps a thread, never a message beyond
   its timeout, nor the exit.
"""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from jobqueue.webhooks.message import AddressRefused, Answer, Undelivered
from jobqueue.webhooks.retry_after import pause_s
from jobqueue.webhooks.url import host_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aiohappyeyeballs import AddrInfoType

    from jobqueue.webhooks.addresses import Allowed
    from jobqueue.webhooks.message import Message

    Found = Sequence[tuple[int, int, int, str, tuple[Any, ...]]]
    """What `socket.getaddrinfo` returns."""

LOOKUPS_MAX: Final = 8
HEAD_BYTES_MAX: Final = 8190
"""Of the status line, and of each header."""


class _Refused(OSError):
    """An address was refused: an OSError, so that the host's next address is tried."""


class HttpSender:
    """Sends messages over HTTP. To be made within the running loop.

    Args:
        getaddrinfo: Looks a name up, in a thread.
    """

    def __init__(self, getaddrinfo: Callable[..., Found] = socket.getaddrinfo) -> None:
        self._names = _Names(getaddrinfo)

    async def send(self, message: Message) -> Answer:
        """Send a message; return the answer, whatever its status is.

        Raises:
            AddressRefused: The host has no address that is allowed.
            Undelivered: No answer came in time.
        """
        gate = _Gate(host_of(message.url), message.allowed)
        try:
            async with (
                asyncio.timeout(message.timeout_s),
                self._session(gate) as session,
                session.post(
                    message.url, data=message.body, headers=message.headers, allow_redirects=False
                ) as response,
            ):
                return _answer(response)
        except TimeoutError:
            raise Undelivered(f"{gate.host} has not answered within {message.timeout_s:g} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            if gate.refusals and not gate.opened:
                raise AddressRefused("; ".join(dict.fromkeys(gate.refusals))) from None
            raise Undelivered(f"{gate.host} can't be reached: {_told(error)}") from None

    def _session(self, gate: _Gate) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            resolver=self._names, use_dns_cache=False, force_close=True, socket_factory=gate.open
        )
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None),
            auto_decompress=False,
            trust_env=False,
            max_line_size=HEAD_BYTES_MAX,
            max_field_size=HEAD_BYTES_MAX,
        )


class _Gate:
    """Makes the sockets of one message, if their addresses are allowed.

    Attributes:
        opened: Whether any address was allowed.
        refusals: Why others were refused.
    """

    def __init__(self, host: str, allowed: Allowed) -> None:
        self.host = host
        self.opened = False
        self.refusals: list[str] = []
        self._allowed = allowed

    def open(self, info: AddrInfoType) -> socket.socket:
        """Make the socket that is going to be connected to this address. Raises OSError."""
        family, kind, proto, _, address = info
        refusal = self._allowed.refusal(self.host, str(address[0]))
        if refusal is not None:
            self.refusals.append(refusal)
            raise _Refused(refusal)
        self.opened = True
        return socket.socket(family, kind, proto)


class _Names(AbstractResolver):
    """Looks names up, each in a daemon thread."""

    def __init__(self, getaddrinfo: Callable[..., Found]) -> None:
        self._getaddrinfo = getaddrinfo
        self._slots = asyncio.Semaphore(LOOKUPS_MAX)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        await self._slots.acquire()
        loop, found = asyncio.get_running_loop(), Future[Any]()
        found.set_running_or_notify_cancel()  # only the thread ends it, so its slot is kept until then

        def free(_: object) -> None:
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(self._slots.release)

        found.add_done_callback(free)
        args = (found, host, port, family)
        threading.Thread(target=self._look_up, args=args, name="jobqueue-lookup", daemon=True).start()
        infos = await asyncio.wrap_future(found)
        return [
            ResolveResult(hostname=host, host=str(info[4][0]), port=port, family=info[0], proto=info[2], flags=0)
            for info in infos
        ]

    def _look_up(self, found: Future[Any], host: str, port: int, family: int) -> None:
        try:
            found.set_result(self._getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM))
        except Exception:
            found.set_exception(OSError(None, "its name can't be looked up"))

    async def close(self) -> None:
        """Nothing: threads end by themselves."""


def _answer(response: aiohttp.ClientResponse) -> Answer:
    headers = response.headers
    asked = headers.get("Retry-After")
    return Answer(response.status, None if asked is None else pause_s(asked, headers.get("Date", "")))


def _told(error: BaseException) -> str:
    """Return the reason of a failure, without the URL that aiohttp's own texts may have."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return "its certificate is not valid for it"
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(cause, OSError) and cause.errno is not None:
        return os.strerror(cause.errno)
    return cause.strerror if isinstance(cause, OSError) and cause.strerror else type(error).__name__
