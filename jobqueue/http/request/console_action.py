"""Changes that the console asks for: which requests they are, why, and what their handlers say of them.

A request is one of the console if it has the cookie of a session, or, where no key is needed, if a browser says that a
page of the server's own origin has sent it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import msgspec
from aiohttp import web

from jobqueue.core.pause import REASON_LENGTH_MAX
from jobqueue.errors import shown
from jobqueue.http.request.auth import GRANT
from jobqueue.http.request.origins import is_own_page
from jobqueue.http.request.sessions import SAFE

if TYPE_CHECKING:
    from jobqueue.http.request.grant import Grant

REASON = "Console-Action"
"""The header that the console sends with each change: the viewer's reason, percent-encoded as UTF-8; `1`: none."""


class Acted(msgspec.Struct, frozen=True):
    """What a handler says of the change that it made.

    Attributes:
        filter: The conditions of an action on many jobs, as JSON.
        count: Jobs that it took effect on.
        reason: The reason that the request's document gives.
        changes: Whether it changed anything at all: a dry run doesn't.
    """

    filter: str | None = None
    count: int | None = None
    reason: str | None = None
    changes: bool = True


ACTED: web.RequestKey[Acted] = web.RequestKey("acted", Acted)
"""The key under which a request holds what its handler says."""


def is_of_console(request: web.BaseRequest, grant: Grant) -> bool:
    """Whether a request would change something on behalf of the console."""
    return request.method not in SAFE and (grant.is_session or (grant.name is None and is_own_page(request)))


def grant_of_console(request: web.Request) -> Grant | None:
    """Return the grant of a change that the console asks for; None: it is another request."""
    grant = request.get(GRANT)
    return grant if grant is not None and is_of_console(request, grant) else None


def reason_in(request: web.BaseRequest) -> str | None:
    """Return the viewer's reason, without invisible characters, and cut; None: none is given."""
    given = request.headers.get(REASON, "1")
    return None if given == "1" else cleaned(unquote(given[: 12 * REASON_LENGTH_MAX], errors="replace"))


def cleaned(text: str) -> str | None:
    """Return a reason without invisible characters, and cut; None: nothing is left."""
    visible = "".join(character if character.isprintable() else " " for character in text)
    return shown(" ".join(visible.split()), REASON_LENGTH_MAX) or None


def told(fields: dict[str, Any], length_max: int) -> str:
    """Return the conditions of a filter as JSON, cut."""
    return shown(msgspec.json.encode(fields).decode(), length_max)
