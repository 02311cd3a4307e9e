"""`?include=` of a job: the parts of its record that a document has on request only, so that a poll stays cheap."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import UNSET, UnsetType

from jobqueue.errors import shown
from jobqueue.http.errors import MalformedRequest
from jobqueue.http.request.query import near_or_all, parameters

if TYPE_CHECKING:
    from aiohttp import web

INCLUDABLE: Final = ("args", "spec", "files", "events")


class JobQuery(msgspec.Struct):
    """The parameters of the query.

    Attributes:
        include: What the document has beside the members of a plain one: any of `args`, `spec`, `files`, `events`.
    """

    include: str | UnsetType = UNSET


def included_in(request: web.Request) -> frozenset[str]:
    """Return the names that a request includes. Raises MalformedRequest."""
    if not request.query_string:
        return frozenset()
    text = parameters(request, JobQuery.__struct_fields__).get("include")
    if text is None:
        return frozenset()
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in INCLUDABLE:
            raise MalformedRequest(f"include takes no {shown(name)!r}; {near_or_all(name, INCLUDABLE)}")
    return frozenset(names)
