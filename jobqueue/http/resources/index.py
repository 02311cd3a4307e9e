"""The index: links to what an application of this API has, relative to its own place; a browser goes to the console."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

import orjson
from aiohttp import web

from jobqueue.http.response.html import prefers_html
from jobqueue.http.response.long_response import whole_answer
from jobqueue.http.response.reply import COMMON, JSON

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from jobqueue.http.resources.console import Console

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
        console: A link leads to it while it is there.
    """

    def __init__(self, paths: Callable[[], Iterable[str]], console: Console) -> None:
        self._paths = paths
        self._console = console

    async def links(self, request: web.Request) -> web.StreamResponse:
        """GET /: a link to each path without a name in it, so that a client can begin here."""
        console, is_on = self._console.settings.path, not self._console.why_off(request)
        if is_on and prefers_html(request.headers):
            return web.Response(status=302, headers={**COMMON, "Location": f"{console[1:]}/", "Vary": "Accept"})
        paths = [path for path in self._paths() if "{" not in path and not f"{path}/".startswith((f"{console}/", "//"))]
        links = {_name_of(path): path.removeprefix("/") for path in paths}
        if is_on:
            links["console"] = f"{console[1:]}/"
        body: IndexDocument = {"links": links}
        return whole_answer(request, orjson.dumps(body), {**JSON, "Vary": "Accept"})


def _name_of(path: str) -> str:
    return path.rpartition("/")[2].partition(".")[0]
