"""The session of the console as a resource: sign in with a key, look, sign out."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

import orjson
from aiohttp import hdrs, web

from jobqueue import __version__
from jobqueue.http.errors import CrossOrigin, Unauthorized
from jobqueue.http.request.auth import GRANT
from jobqueue.http.request.console_action import ACTED, Acted
from jobqueue.http.request.origins import is_own_page, is_page
from jobqueue.http.request.sessions import NOT_OWN, cookie_name
from jobqueue.http.response.long_response import whole_answer
from jobqueue.http.response.reply import COMMON, JSON
from jobqueue.keys import SCOPES, Scope
from jobqueue.log import event_logger

if TYPE_CHECKING:
    from jobqueue.http.request.auth import Access
    from jobqueue.http.request.grant import Grant
    from jobqueue.http.resources.console import Console
    from jobqueue.http.resources.console_actions import ConsoleActions

SESSION = "/session"
"""Its path below the console's."""

log = event_logger(__name__)


class SessionDocument(TypedDict):
    """The viewer of the console: what the page may do for it.

    Attributes:
        name: The name of its key; null: it has signed in with none.
        scopes: What it may do. Empty where there are keys and it has signed in with none.
        readonly: Whether the console only reads (`console.readonly`).
        version: The version of the server; null: the viewer has not signed in.
        keys: Whether a key is needed.
        store: Whether the jobs are in a store, which servers may share (`backend: valkey`); false before a sign-in.
    """

    name: str | None
    scopes: list[Scope]
    readonly: bool
    version: str | None
    keys: bool
    store: bool


class ConsoleSession:
    """The handlers of `/console/session`."""

    def __init__(self, console: Console, access: Access, actions: ConsoleActions) -> None:
        self._console = console
        self._access = access
        self._actions = actions

    async def look(self, request: web.Request) -> web.StreamResponse:
        """GET /console/session"""
        self._console.check_on(request)
        grant = self._grant_of(request)
        body: SessionDocument = {
            "name": None if grant is None else grant.name,
            "scopes": [scope for scope in SCOPES if grant is not None and scope in grant.scopes],
            "readonly": self._console.settings.readonly,
            "version": None if grant is None else __version__,
            "keys": self._access.required,
            "store": grant is not None and self._console.is_over_store,
        }
        return whole_answer(request, orjson.dumps(body), JSON)

    async def begin(self, request: web.Request) -> web.StreamResponse:
        """POST /console/session: sign in with the key of the Authorization."""
        self._console.check_on(request)
        if not self._access.required:
            request[ACTED] = Acted(changes=False)
            return web.Response(status=204, headers=COMMON)
        if is_page(request) and not is_own_page(request):
            raise CrossOrigin("only a page of this server itself signs in")
        key = request[GRANT]
        if key.is_session:
            raise Unauthorized("a sign-in needs a key, not a cookie: Authorization: Bearer jq_…", error=None)
        sessions = self._access.sessions
        if (former := sessions.find(request)) is not None:
            sessions.close(former)
        token = sessions.open(key)
        if self._actions.takes_line():
            log.info("console.signed_in", caller=key.caller)
        return web.Response(status=204, headers={**COMMON, hdrs.SET_COOKIE: self._cookie(request, token)})

    async def end(self, request: web.Request) -> web.StreamResponse:
        """DELETE /console/session: sign out."""
        self._console.check_on(request)
        sessions = self._access.sessions
        if (session := sessions.find(request)) is not None:
            if not is_own_page(request):
                raise CrossOrigin(NOT_OWN)
            sessions.close(session)
            if self._actions.takes_line():
                log.info("console.signed_out", caller=session.key.caller)
        return web.Response(status=204, headers={**COMMON, hdrs.SET_COOKIE: self._cookie(request, "")})

    def _grant_of(self, request: web.Request) -> Grant | None:
        """Return the grant of the viewer; None: it has signed in with no key."""
        if not self._access.required or hdrs.AUTHORIZATION in request.headers:
            return self._access.find(request.headers)
        try:
            return self._access.sessions.grant_of(request)
        except Unauthorized:
            return None

    def _cookie(self, request: web.Request, token: str) -> str:
        """Return the Set-Cookie with a token; an empty one ends the cookie."""
        resource = request.match_info.route.resource
        assert resource is not None
        mount = resource.canonical.removesuffix(f"{self._console.settings.path}{SESSION}")
        parts = [f"{cookie_name(request)}={token}", f"Path={mount or '/'}", "HttpOnly", "SameSite=Strict"]
        # Of a page behind a proxy that speaks TLS, its origin alone tells; a false one harms its own sender only.
        if request.secure or request.headers.get(hdrs.ORIGIN, "").startswith("https://"):
            parts.append("Secure")
        if not token:
            parts.append("Max-Age=0")
        return "; ".join(parts)
