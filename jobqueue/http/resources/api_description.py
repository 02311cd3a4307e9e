"""The description of the API as a resource: made once it is asked for, in a thread, and kept until it changes."""

from __future__ import annotations

import asyncio
from functools import partial
from hashlib import blake2b
from typing import TYPE_CHECKING, Annotated, Any, TypedDict

import msgspec
from aiohttp import web

from jobqueue.http.errors import MalformedRequest, PathNotFound
from jobqueue.http.request.query import parameters
from jobqueue.http.response.long_response import whole_answer
from jobqueue.http.response.reply import COMMON, JSON, names_tag
from jobqueue.http.response.responses import known_tags

if TYPE_CHECKING:
    from typing import Protocol

    from jobqueue.config import Settings
    from jobqueue.handlers import Registry
    from jobqueue.service import Service

    class Describe(Protocol):
        def __call__(self, settings: Settings, registry: Registry | None = None, *, prefix: str = "") -> bytes: ...


DESCRIPTION = "/openapi.json"


class DescriptionQuery(msgspec.Struct):
    """The parameters of the query.

    Attributes:
        types: 1: a submission has a schema for each type that this server has a handler of, with its arguments.
    """

    types: Annotated[int, msgspec.Meta(ge=0, le=1)] = 0


class DescriptionDocument(TypedDict):
    """A description of this API.

    Attributes:
        openapi: The version of OpenAPI.
        info: Name, version, licence and conventions of the API.
        servers: The place of the API.
        tags: The groups of operations.
        paths: The operations, by path and method.
        components: What operations refer to.
    """

    openapi: str
    info: dict[str, Any]
    servers: list[dict[str, Any]]
    tags: list[dict[str, Any]]
    paths: dict[str, Any]
    components: dict[str, Any]


class _Made(msgspec.Struct, frozen=True):
    """A description: its bytes, and the tag of these."""

    of: tuple[object, ...]
    body: bytes
    opaque_tag: str


class ApiDescription:
    """The handler of `/openapi.json`.

    Args:
        describe: Makes the description.
    """

    def __init__(self, service: Service, describe: Describe) -> None:
        self._service = service
        self._describe = describe
        self._made: dict[bool, _Made] = {}
        self._making = asyncio.Lock()

    async def document(self, request: web.Request) -> web.StreamResponse:
        """GET /openapi.json"""
        if self._service.settings.server.openapi == "off":
            raise PathNotFound("this server gives no description of its API (server.openapi)")
        made = await self._current(request, _types(parameters(request, DescriptionQuery.__struct_fields__)))
        told = {"ETag": f"W/{made.opaque_tag}"}
        if names_tag(known_tags(request), made.opaque_tag):
            return web.Response(status=304, headers={**COMMON, **told})
        return whole_answer(request, made.body, {**JSON, **told})

    async def _current(self, request: web.Request, types: bool) -> _Made:
        """Return the description of now; many requests for a new one wait for one thread."""
        resource = request.match_info.route.resource
        assert resource is not None
        prefix = resource.canonical.removesuffix(DESCRIPTION)
        async with self._making:
            service = self._service
            of = (service.settings, len([*service.registry]), prefix)
            made = self._made.get(types)
            if made is None or made.of != of:
                make = partial(self._describe, service.settings, service.registry if types else None, prefix=prefix)
                body = await service.spool.in_thread(make)
                tag = blake2b(body, digest_size=12).hexdigest()
                made = self._made[types] = _Made(of, body, f'"{tag}"')
            return made


def _types(given: dict[str, str]) -> bool:
    text = given.get("types", "0")
    if text not in ("0", "1"):
        raise MalformedRequest(f"types is 0 or 1, got {text[:20]!r}")
    return text == "1"
