"""Grants: what the requests with one key, or of one session with it, may do."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from jobqueue.handlers import plain_uniqueness
from jobqueue.http.errors import Unauthorized
from jobqueue.keys import IMPLIED, caller_of_key
from jobqueue.log import event_logger

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jobqueue.core.job import Uniqueness
    from jobqueue.keys import Scope

_FAILED_EVERY_S = 10.0

log = event_logger(__name__)


class Grant:
    """What the requests with one key may do; or all requests, where no key is needed.

    Attributes:
        name: The key's; None: no key is needed.
        scopes: With all that they include.
        caller: The caller of quotas and idempotency keys; None: the connection's peer.
        owner: The owner of the jobs that it submits; None: they are no secret.
        sees: The owner of the jobs that it sees and changes; None: any owner.
        uniqueness: The identity of its plain submissions; None: that of the peer.
        is_session: It is that of a session with the key.
        revoked: The key was removed or changed, or the session has ended.
    """

    __slots__ = ("caller", "is_session", "name", "owner", "revoked", "scopes", "sees", "uniqueness")

    def __init__(self, name: str | None, scopes: Iterable[Scope], *, shared: bool) -> None:
        self.name = name
        self.scopes: frozenset[Scope] = frozenset().union(*(IMPLIED[scope] for scope in scopes))
        self.caller = None if name is None else caller_of_key(name)
        self.owner = None if shared else self.caller
        self.sees = None if "admin" in self.scopes else self.owner
        self.uniqueness: Uniqueness | None = None
        if self.caller is not None:
            self.uniqueness = plain_uniqueness(self.caller, self.owner)
        self.is_session = self.revoked = False

    def of_session(self, *, readonly: bool) -> Grant:
        """Return a grant of the same key for one session, with the scope `read` alone if it only reads."""
        grant = copy.copy(self)
        grant.is_session = True
        if readonly:
            grant.scopes = self.scopes & IMPLIED["read"]
        return grant

    def check_valid(self) -> None:
        """Raise Unauthorized if the key was removed or changed."""
        if self.revoked:
            raise invalid("the session has ended" if self.is_session else "the key was removed or changed")


def missing(detail: str) -> Unauthorized:
    """Return the refusal of a request without a key, and count it."""
    log.sampled("auth.failed", every_s=_FAILED_EVERY_S, reason=detail)
    return Unauthorized(detail, error=None)


def invalid(detail: str) -> Unauthorized:
    """Return the refusal of a request with a wrong key, or the cookie of no session, and count it."""
    log.sampled("auth.failed", every_s=_FAILED_EVERY_S, reason=detail)
    return Unauthorized(detail, error="invalid_token")
