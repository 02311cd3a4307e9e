"""The common part of both clients' transport: address, framing, saving to files, error messages."""

from __future__ import annotations

import base64
import os
import re
import socket
import ssl
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import msgspec

from jobqueue import __version__
from jobqueue.client.credentials import Secret, checked_key
from jobqueue.client.multipart import Multipart
from jobqueue.client.protocol import Answer, FateUnknown, NoAnswer, Request, Unreachable
from jobqueue.client.tls import is_refused_certificate

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

ANSWER_BYTES_MAX = 1 << 28
"""Of one answer in memory: 256 MiB, more than a hundred documents with results of the usual bound. A result that goes
to a file may be larger."""

LOOKS_LIKE = "expected a URL such as http://127.0.0.1:8080, https://jobs.example.com or unix:/run/jobqueue.sock"
UNIX = "unix:"
USER_AGENT = f"jobqueue-python/{__version__}"
STAND_IN_URL = "http://localhost"
"""The URL of a client with a `transport=` and without one of its own."""


class Address(msgspec.Struct, frozen=True):
    """The server's address, and the headers of every request.

    Attributes:
        url: Without user and password, and without a slash at its end.
        shown: With the user, and without the password.
        socket: The path of the Unix socket, over which the URL is requested; None: it is connected by TCP.
    """

    url: str
    shown: str
    headers: dict[str, str]
    socket: str | None = None

    @property
    def name(self) -> str:
        """The server, in messages."""
        return self.url if self.socket is None else self.shown

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.shown!r}, headers: {', '.join(self.headers) or 'none'})"


def address_of(
    url: str, headers: Mapping[str, str] | None = None, key: str = "", *, key_is_given: bool = True
) -> Address:
    """Take a server's URL apart; a user and a password in it become an `Authorization` header (RFC 7617).

    Args:
        headers: Sent beside it; an `Authorization` among them wins.
        key: The API key, sent as `Authorization: Bearer`; empty for none.
        key_is_given: False: the key is a default, and gives way to a user in the URL or an `Authorization`.

    Raises:
        ValueError: It is not a server URL, the key is malformed, or there are two credentials; the message shows
            neither the password nor the key.
    """
    if not isinstance(url, str):
        raise TypeError(f"a server URL is a string, not {url!r:.100}; {LOOKS_LIKE}")
    if url.startswith(UNIX):
        return _unix_address(url, headers, key, key_is_given)
    problem = ValueError(f"{_without_password(url)!r} is not a server URL; {LOOKS_LIKE}")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise problem from error
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment or port == 0:
        raise problem
    if not parts.path.isascii() or not parts.path.isprintable() or " " in url or not url.isprintable():
        raise problem
    common = dict(headers or {})
    beside = "a user in the URL" if parts.username is not None else ""
    if any(name.lower() == "authorization" for name in common):
        beside = "an Authorization header"
    elif beside:
        pair = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
        common["Authorization"] = Secret("Basic " + base64.b64encode(pair.encode()).decode())
    if key and beside and key_is_given:
        raise ValueError(f"a key and {beside} are two credentials: give one of them")
    if key and not beside:
        common["Authorization"] = Secret(f"Bearer {checked_key(key, 'the key')}")
    host = parts.netloc.rpartition("@")[2]
    bare = parts._replace(netloc=host).geturl().rstrip("/")
    return Address(bare, _without_password(url).rstrip("/"), common)


def _unix_address(url: str, headers: Mapping[str, str] | None, key: str, key_is_given: bool) -> Address:
    """Take a URL such as `unix:/run/jobqueue.sock` or `unix:///run/jobqueue.sock` apart."""
    path = re.sub(r"^//(?=/)", "", url.removeprefix(UNIX))
    if not path or path.startswith("//") or path.endswith("/") or not path.isprintable():
        raise ValueError(f"{url!r} is not the URL of a Unix socket: write its path after unix:, as in unix:/run/j.sock")
    common = address_of("http://localhost", headers, key, key_is_given=key_is_given).headers
    return Address("http://localhost", UNIX + path, common, os.path.expanduser(path))


def _without_password(url: str) -> str:
    return re.sub(r"(//[^/@:]*):[^/]*@", r"\1@", url)


def named(headers: Mapping[str, str] | None) -> dict[str, str]:
    """Return a client's headers with the name and version of this package, unless they have a User-Agent."""
    own = dict(headers or {})
    return own if any(name.lower() == "user-agent" for name in own) else {"User-Agent": USER_AGENT, **own}


def framed(request: Request) -> tuple[dict[str, str], bytes | Iterator[bytes] | None]:
    headers = dict(request.headers)
    if not isinstance(request.body, Multipart):
        return headers, request.body
    headers["Content-Length"] = str(request.body.size_bytes)
    return headers, request.body.chunks()


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a file that appears at `path` only once it is complete."""
    part = path.with_name(path.name + ".part")
    try:
        with part.open("wb") as file:
            yield file
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def stood_in(request: Request, answer: object) -> Answer:
    """Return the answer of a function that stands in for a server, as if it had come over the network.

    Raises:
        TypeError: It is no answer.
    """
    if not isinstance(answer, Answer):
        raise TypeError(f"transport must return an Answer, such as Answer.of({{...}}), not {answer!r:.100}")
    body = answer.body
    if request.save_to is not None and answer.status == 200:
        with whole_file(request.save_to) as file:
            file.write(body)
        body = b""
    return Answer(answer.status, {name.lower(): value for name, value in answer.headers.items()}, body)


class EndlessAnswer(Exception):
    """An answer has more than `ANSWER_BYTES_MAX`."""

    def __init__(self) -> None:
        super().__init__(f"its answer has more than {ANSWER_BYTES_MAX} bytes")


def _why(error: Exception) -> str:
    """Return the cause of an error, in the system's words instead of a library's."""
    cause = getattr(error, "os_error", error)  # of aiohttp's errors
    if isinstance(error, TimeoutError):
        return "timed out"
    if isinstance(cause, socket.gaierror):
        return f"its name can't be resolved ({cause.strerror})"
    if isinstance(cause, OSError) and cause.errno and not isinstance(cause, ssl.SSLError):
        return os.strerror(cause.errno)
    return str(getattr(error, "certificate_error", error)) or type(error).__name__


def no_answer(request: Request, url: str, error: Exception, *, unsent: bool) -> NoAnswer:
    why = _why(error)
    if is_refused_certificate(error):
        return Unreachable(f"{url} rejects the client's certificate, or wants one: {why}")
    if unsent:
        return Unreachable(f"{url} can't be reached: {why}")
    if request.method == "POST":
        return FateUnknown(f"{url} was sent a POST, but no answer came ({why}): it may have taken effect")
    return NoAnswer(f"{url} did not answer: {why}")
