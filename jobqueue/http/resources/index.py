"""The index: links to what an application of this API has, relative to its own place."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

import orjson

from jobqueue.http.response.long_response import whole_answer
from jobqueue.http.response.reply import JSON

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from aiohttp import web

INDEX = "/"


class IndexDocument(TypedDict):
    """Links to what this API has.

    Attributes:
        links: The path of each, relative to this one, by its last name.
    """

    links: dict[str, str]


class Index:
    """The handler of `/`.

    Args:
        paths: Returns the paths that take a GET, in the order of the routes.
    """

    def __init__(self, paths: Callable[[], Iterable[str]]) -> None:
        self._paths = paths

    async def links(self, request: web.Request) -> web.StreamResponse:
        """GET /: a link to each path without a name in it, so that a client can begin here."""
        paths = [path for path in self._paths() if "{" not in path and path != INDEX]
        body: IndexDocument = {"links": {_name_of(path): path.removeprefix("/") for path in paths}}
        return whole_answer(request, orjson.dumps(body), JSON)


def _name_of(path: str) -> str:
    return path.rpartition("/")[2].partition(".")[0]
