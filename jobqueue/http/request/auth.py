"""Access: which key a request has, what it may do, and the owner of the jobs that it sees.

Sources: RFC 6750 (Bearer tokens), RFC 9110 section 11.

Rules:

1. If there are keys, every request needs one, but for the routes without a scope and for the preflights of web pages,
   which browsers send without one. A route without a row needs a key, too, so that no path is open by mistake.
2. A request without a key, with a malformed or unknown one, or with several headers gets a 401. Which of an unknown id
   and a wrong secret it was is not told, neither by the answer nor by its time: both hash the secret and compare it.
3. The scope is checked before anything else of a request, so a 403 depends on the route alone. It counts as any other
   request does, so that a 429 may come in its place.
4. A request sees the jobs of its key. A key with the scope `admin` sees all, and so does each key if `auth.shared` is
   true, and each request where no key is needed. The jobs of others are treated as absent.
5. A grant is one object for all requests with its key, so what is cached of one is valid as long as the keys.
   A changed key has another grant, and the old one is `revoked`: waits and streams that it has begun end, and a request
   with a body that comes later than that changes nothing.
6. No message has a secret. `auth.failed` counts the failures in the log.
7. A request without an Authorization may have the cookie of a session (`sessions`) in its place. The fast path takes no
   cookie: `find` knows of none.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Final

import msgspec
from aiohttp import hdrs, web

from jobqueue.handlers import plain_uniqueness
from jobqueue.http.request.grant import Grant, invalid, missing
from jobqueue.http.request.peer import peer_of
from jobqueue.http.request.sessions import Sessions, tokens_in
from jobqueue.keys import SCOPES, digest_of, parse
from jobqueue.log import event_logger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from multidict import CIMultiDictProxy

    from jobqueue.config import AuthSettings, KeySettings
    from jobqueue.core.job import Uniqueness
    from jobqueue.http.errors import Unauthorized

_DUMMY: Final = bytes(32)
"""Stands for the digest of an unknown id; no secret has this one."""

log = event_logger(__name__)


class _Known:
    """A key in effect."""

    __slots__ = ("digest", "grant", "settings")

    def __init__(self, name: str, settings: KeySettings, *, shared: bool) -> None:
        self.settings = settings
        self.digest = bytes.fromhex(settings.sha256)
        self.grant = Grant(name, settings.scopes, shared=shared)

    def is_same(self, settings: KeySettings) -> bool:
        """Whether these settings let it do the same; its limits may differ."""
        return msgspec.structs.replace(self.settings, limits=settings.limits) == settings


class Access:
    """The keys in effect.

    Attributes:
        required: Whether a request needs a key.
        anonymous: The grant of all requests while no key is needed.
        sessions: The signed-in pages.
    """

    def __init__(self, auth: AuthSettings, sessions: Sessions | None = None) -> None:
        self.sessions = Sessions() if sessions is None else sessions
        self._known: dict[str, _Known] = {}
        self._shared = auth.shared
        self.required = False
        self.anonymous = Grant(None, SCOPES, shared=True)
        self.replace(auth)

    def replace(self, auth: AuthSettings) -> None:
        """Put other keys into effect. Grants of keys that are gone, or may do less than before, are revoked."""
        before = {} if self._shared != auth.shared else self._known
        after: dict[str, _Known] = {}
        for name, settings in auth.keys.items():
            known = before.get(settings.id)
            if known is None or known.grant.name != name or not known.is_same(settings):
                known = _Known(name, settings, shared=auth.shared)
            after[settings.id] = known
        for known in self._known.values():
            if after.get(known.settings.id) is not known:
                known.grant.revoked = True
        if auth.required and not self.required:
            self.anonymous.revoked = True
        elif self.required and not auth.required:
            self.anonymous = Grant(None, SCOPES, shared=True)
        self._known, self._shared, self.required = after, auth.shared, auth.required
        self.sessions.end_revoked()
        if auth.required and not after:
            log.warning("auth.no_keys", hint="every request is refused: auth.keys_file has no key")

    def grant_of(self, request: web.BaseRequest) -> Grant:
        """Return the grant of a request, by its key or its session. Raises Unauthorized, CrossOrigin."""
        if not self.required:
            return self.anonymous
        given = request.headers.getall(hdrs.AUTHORIZATION, ())
        if not given and tokens_in(request):
            return self.sessions.grant_of(request)
        grant = self._find(given)
        if grant is None:
            raise _refusal_of(given)
        return grant

    def find(self, headers: CIMultiDictProxy[str]) -> Grant | None:
        """As `grant_of`, by its key alone; None instead of an exception, and nothing is counted."""
        return self._find(headers.getall(hdrs.AUTHORIZATION, ())) if self.required else self.anonymous

    def _find(self, given: Sequence[str]) -> Grant | None:
        if len(given) != 1:
            return None
        scheme, _, text = given[0].partition(" ")
        key = parse(text.lstrip(" ")) if scheme.lower() == "bearer" else None
        if key is None:
            return None
        known = self._known.get(key.id)
        expected = _DUMMY if known is None else known.digest
        matches = hmac.compare_digest(digest_of(key.secret), expected)
        return known.grant if matches and known is not None else None


GRANT: web.RequestKey[Grant] = web.RequestKey("grant", Grant)
"""The key under which a request holds its grant, from before its handler runs."""


def check_still_valid(request: web.BaseRequest) -> None:
    """Raise Unauthorized if the key of a request was removed or changed since it began."""
    grant = request.get(GRANT)
    if grant is not None:
        grant.check_valid()


def identity_of(request: web.BaseRequest) -> Uniqueness:
    """Return the identity of plain submissions of a request: of its key, or else of its peer."""
    return request[GRANT].uniqueness or plain_uniqueness(peer_of(request).caller)


def caller_of_request(request: web.BaseRequest) -> str:
    """Return the caller of a request: its key, or else its peer."""
    grant = request.get(GRANT)
    return peer_of(request).caller if grant is None or grant.caller is None else grant.caller


def _refusal_of(given: Sequence[str]) -> Unauthorized:
    if not given:
        return missing("this server needs a key: send the header Authorization: Bearer jq_…")
    if len(given) > 1:
        return invalid("there are several Authorization headers, and one is allowed")
    if given[0].partition(" ")[0].lower() != "bearer":
        return missing("the Authorization header must have the scheme Bearer, and a key: Bearer jq_…")
    return invalid("the key is malformed, unknown or was removed")
