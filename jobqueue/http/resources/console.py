"""The web console as resources: its page, and the files that the page consists of.

Rules:

1. It is there only where the settings enable it, and then only on a loopback address or a Unix socket, or where there
   are keys: elsewhere it would hand every visitor the controls of the server. A host application's addresses aren't
   known, so there each connection's own address decides.
2. Page and files need no key: they are the same for all, and published. What they show they ask the API for.
3. All URLs of the page are relative, so it works below any mount.
4. Every answer below the console's path has the headers of `GUARD`, errors too.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Final

from aiohttp import hdrs, web

from jobqueue.config.auth import is_loopback
from jobqueue.errors import shown
from jobqueue.http.errors import PathNotFound
from jobqueue.http.in_flight import SMALL_BYTES
from jobqueue.http.resources.console_files import console_files
from jobqueue.http.response.html import qualities_in
from jobqueue.http.response.long_response import whole_answer
from jobqueue.http.response.reply import COMMON, SERVER, names_tag
from jobqueue.http.response.responses import known_tags

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobqueue.config import ConsoleSettings
    from jobqueue.http.resources.console_files import ConsoleFiles, File
    from jobqueue.service import Service

CONSOLE: Final = "/console"
"""Its path in the table of routes; the settings may give it another one."""

GUARD: Final = {
    # `media-src` is for previews of results. No part of it is 'unsafe-…', and no script makes HTML of a text.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "media-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}

_FOR_EVER: Final = {"Server": SERVER, "Cache-Control": "public, max-age=31536000, immutable"}

OFF = "the console is off (console.enabled)"
EXPOSED = (
    "the console is off here: other machines can reach this address, and there are no keys, so it would hand the "
    "server's controls to every visitor. Configure keys (auth.keys), or listen on 127.0.0.1"
)


class Console:
    """The handlers of the page and its files.

    Args:
        is_guarded: Whether there are keys.

    Attributes:
        is_local: Whether the server listens on loopback addresses and Unix sockets only; None: not known, as in a host
            application.
    """

    def __init__(self, service: Service, is_guarded: Callable[[], bool]) -> None:
        self.is_local: bool | None = None
        self._service = service
        self._is_guarded = is_guarded
        self._reading = asyncio.Lock()
        self._files: ConsoleFiles | None = None

    @property
    def settings(self) -> ConsoleSettings:
        return self._service.settings.console

    @property
    def is_over_store(self) -> bool:
        """Whether the jobs are in a store, which other servers may share."""
        return self._service.settings.backend == "valkey"

    def why_off(self, request: web.BaseRequest | None = None) -> str:
        """Return why it isn't there; empty: it is. Args: request: Tells the address, where the server's is unknown."""
        if not self.settings.enabled:
            return OFF
        if self._is_guarded() or self.is_local or (request is not None and self.is_local is None and _is_near(request)):
            return ""
        return EXPOSED

    def check_on(self, request: web.BaseRequest) -> None:
        """Raise PathNotFound if it isn't there."""
        if why := self.why_off(request):
            raise PathNotFound(why)

    async def redirect(self, request: web.Request) -> web.StreamResponse:
        """GET /console: to the page, which relative URLs need the slash of."""
        self.check_on(request)
        place = f"{self.settings.path.rpartition('/')[2]}/"
        return web.Response(status=308, headers={**COMMON, hdrs.LOCATION: place})

    async def page(self, request: web.Request) -> web.StreamResponse:
        """GET /console/"""
        self.check_on(request)
        files = await self._read()
        return _answer(request, files.page, COMMON)

    async def file(self, request: web.Request) -> web.StreamResponse:
        """GET /console/{version}/{file} and /console/{version}/{folder}/{file}"""
        self.check_on(request)
        files = await self._read()
        asked = request.match_info
        if asked["version"] != files.version:
            raise PathNotFound("the console has another version now: load its page again")
        name = "/".join(asked[part] for part in ("folder", "file") if part in asked)
        file = files.by_name.get(name)
        if file is None:
            raise PathNotFound(f"the console has no file {shown(name)!r}")
        return _answer(request, file, _FOR_EVER)

    async def _read(self) -> ConsoleFiles:
        """Return the files; many requests for them wait for one thread."""
        depth = self.settings.path.count("/")
        async with self._reading:
            if self._files is None:
                self._files = await self._service.spool.in_thread(partial(console_files, depth))
            return self._files


def _answer(request: web.Request, file: File, headers: dict[str, str]) -> web.StreamResponse:
    told = {**headers, hdrs.ETAG: f"W/{file.opaque_tag}", hdrs.VARY: hdrs.ACCEPT_ENCODING}
    if names_tag(known_tags(request), file.opaque_tag):
        return web.Response(status=304, headers=told)
    told[hdrs.CONTENT_TYPE] = file.media_type
    accepted = qualities_in(request.headers.get(hdrs.ACCEPT_ENCODING, ""))
    if file.zipped is not None and accepted.get("gzip", accepted.get("*", 0.0)) > 0:
        told[hdrs.CONTENT_ENCODING] = "gzip"
        return web.Response(body=file.zipped, headers=told)
    if len(file.body) > SMALL_BYTES:  # for a client without gzip, and no browser is one
        return whole_answer(request, file.body.removesuffix(b"\n"), told)
    return web.Response(body=file.body, headers=told)


def _is_near(request: web.BaseRequest) -> bool:
    """Whether a request came over a loopback address of this machine, or a Unix socket."""
    at = None if request.transport is None else request.transport.get_extra_info("sockname")
    if not isinstance(at, tuple | list):
        return isinstance(at, str | bytes)
    try:
        return is_loopback(str(at[0]))
    except ValueError:
        return False
