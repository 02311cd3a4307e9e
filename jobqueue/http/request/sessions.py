"""Sessions: a web page signs in with a key once, and its browser sends a cookie in the key's place.

Sources: RFC 6265bis (cookies), Fetch Metadata (W3C), the OWASP cheat sheets on sessions and on CSRF.

Rules:

1. A token has 256 random bits, drawn by the server at each sign-in; only its SHA-256 is kept. No request chooses one.
2. A session may do what its key may do; with `console.readonly` it has the scope `read` alone. It has a grant of its
   own, so what it has begun ends with it.
3. It ends `IDLE_S` after its last request, `WHOLE_S` after the sign-in, when it signs out, and with its key. At most
   `PER_KEY_MAX` of a key and `SESSIONS_MAX` in all are kept: a newer one takes the place of the oldest.
4. The cookie is HttpOnly, SameSite=Strict, has the path of the mount and no domain, and is Secure where the page came
   over TLS. Ports of a host share their cookies, so its name has the port. Two of that name are none: one of them may
   have been set by another server of the host.
5. A request by cookie changes something only if the page that sends it has the server's own origin, by `Sec-Fetch-Site`
   or, where the browser sends none, by `Origin`; origins in `server.origins` don't count. So no page can forge one
   (CSRF), and one of another port of the host can't, either.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import secrets
from typing import TYPE_CHECKING

from aiohttp import hdrs

from jobqueue.http.errors import CrossOrigin
from jobqueue.http.request.grant import invalid, missing
from jobqueue.http.request.origins import is_own_page

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from aiohttp import web

    from jobqueue.http.request.grant import Grant

IDLE_S = 2 * 3600.0
WHOLE_S = 7 * 24 * 3600.0
PER_KEY_MAX = 16
SESSIONS_MAX = 1024

SAFE = frozenset({hdrs.METH_GET, hdrs.METH_HEAD, hdrs.METH_OPTIONS})
"""Methods of requests that change nothing."""

COOKIE = "jobqueue_session"
_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")
_PORT = re.compile(r":([0-9]{1,5})$")

ENDED = "the session has ended: sign in again"
SEVERAL = "the request has several cookies of a session: delete this site's cookies in the browser, and sign in again"
NOT_OWN = (
    "the session's cookie changes something only from a page of this server itself, and the request's Sec-Fetch-Site "
    "and Origin don't say that it came from one: other programs send Authorization: Bearer jq_…"
)


class Session:
    """A signed-in page.

    Attributes:
        key: The grant of its key.
        grant: Its own.
        digest: The SHA-256 of its token.
    """

    __slots__ = ("began_at", "digest", "grant", "key", "used_at")

    def __init__(self, key: Grant, grant: Grant, digest: bytes, now: float) -> None:
        self.key = key
        self.grant = grant
        self.digest = digest
        self.began_at = self.used_at = now

    @property
    def ends_at(self) -> float:
        """When it ends if no request comes."""
        return min(self.used_at + IDLE_S, self.began_at + WHOLE_S)


class Sessions:
    """The sessions of one API, on the loop's clock.

    Args:
        readonly: Whether sessions only read.

    Attributes:
        on_end: Called when grants of sessions were revoked.
    """

    def __init__(self, *, readonly: bool = False) -> None:
        self.on_end: Callable[[], None] = lambda: None
        self._readonly = readonly
        # By the digest of the token, the oldest first.
        self._open: dict[bytes, Session] = {}
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._open)

    def open(self, key: Grant) -> str:
        """Begin a session of a key; return its token, which is not kept."""
        loop, token = _loop(), secrets.token_urlsafe(32)
        of_key = [session for session in self._open.values() if session.key is key]
        self._end([*of_key[: len(of_key) - PER_KEY_MAX + 1]] if len(of_key) >= PER_KEY_MAX else [])
        if len(self._open) >= SESSIONS_MAX:
            self._end([next(iter(self._open.values()))])
        session = Session(key, key.of_session(readonly=self._readonly), _digest(token), loop.time())
        self._open[session.digest] = session
        if self._timer is None:
            self._timer = loop.call_at(session.ends_at, self._end_expired)
        return token

    def find(self, request: web.BaseRequest) -> Session | None:
        """Return the session of a request's cookie, whether or not it may be used; None: there is none."""
        tokens = tokens_in(request)
        session = self._open.get(_digest(tokens[0])) if len(tokens) == 1 else None
        if session is not None and session.ends_at <= _loop().time():
            self._end([session])
            return None
        return session

    def grant_of(self, request: web.BaseRequest) -> Grant:
        """Return the grant of a request by its cookie.

        Raises:
            Unauthorized: It has no cookie of a session, or a listed page of another origin has sent it.
            CrossOrigin: It would change something, and it doesn't say that it is from a page of this server.
        """
        session = self.find(request)
        if session is None:
            raise invalid(SEVERAL if len(tokens_in(request)) > 1 else ENDED)
        if request.method not in SAFE:
            if not is_own_page(request):
                raise CrossOrigin(NOT_OWN)
        elif hdrs.ORIGIN in request.headers and not is_own_page(request):
            raise missing("a page of another origin needs a key, not the cookie of a session")
        session.used_at = _loop().time()
        return session.grant

    def close(self, session: Session) -> None:
        """End a session: its page signs out."""
        self._end([session])

    def end_revoked(self) -> None:
        """End the sessions of keys that were removed or changed."""
        self._end([session for session in self._open.values() if session.key.revoked])

    def set_readonly(self, readonly: bool) -> None:
        """Let sessions do only what `console.readonly` allows, from now on."""
        if readonly == self._readonly:
            return
        self._readonly = readonly
        for session in self._open.values():
            session.grant.revoked = True
            session.grant = session.key.of_session(readonly=readonly)
        self.on_end()

    def stop(self) -> None:
        """End all sessions, without a word: the server stops."""
        self._open.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _end(self, ended: Iterable[Session]) -> None:
        any_ended = False
        for session in ended:
            session.grant.revoked = any_ended = True
            self._open.pop(session.digest, None)
        if any_ended:
            self.on_end()

    def _end_expired(self) -> None:
        loop, self._timer = _loop(), None
        self._end([session for session in self._open.values() if session.ends_at <= loop.time()])
        if self._open:
            first = min(session.ends_at for session in self._open.values())
            self._timer = loop.call_at(first, self._end_expired)


def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.get_running_loop()


def cookie_name(request: web.BaseRequest) -> str:
    """Return the name of the cookie for the port that the page is at."""
    port = _PORT.search(request.headers.get(hdrs.HOST, ""))
    return COOKIE if port is None else f"{COOKIE}_{port[1]}"


def tokens_in(request: web.BaseRequest) -> list[str]:
    """Return the well-formed tokens in the cookies of a request: one, if nothing is wrong."""
    if hdrs.COOKIE not in request.headers:
        return []
    name, found = cookie_name(request), []
    for line in request.headers.getall(hdrs.COOKIE):
        for pair in line.split(";"):
            given, _, value = pair.strip(" \t").partition("=")
            if given == name and _TOKEN.fullmatch(value):
                found.append(value)
    return found


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
