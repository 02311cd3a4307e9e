"""Comparison of responses in tests with the rows of the routes."""

from __future__ import annotations

import functools
import operator
import re
import types
import typing
from functools import cache
from typing import TYPE_CHECKING, Any

import aiohttp
import msgspec
import orjson
from aiohttp import web

from jobqueue.http.in_flight import SMALL_BYTES
from jobqueue.http.resources.console import GUARD
from jobqueue.http.route import ANY_TYPE, PROBLEM_TYPE, Answer, Route
from jobqueue.http.routes import ANY_REQUEST, PREFLIGHT, ROUTES, answers_of
from tests.http.openapi.described import differences_from_description

if TYPE_CHECKING:
    from collections.abc import Iterable

OF_ALL_ANSWERS = {
    *("server", "date", "cache-control", "content-type", "content-length", "transfer-encoding", "connection", "vary"),
    *("ratelimit", "ratelimit-policy", "access-control-allow-origin", "access-control-expose-headers"),
    *(name.lower() for name in GUARD),
}
"""Headers of all answers, of all with a body, of all to a submission, to a listed origin, or below the console."""


@cache
def route_of(method: str, path: str) -> Route | None:
    """Return the row of a request; None for an unknown path or method."""
    return next((row for row in ROUTES if method in row.methods and re.fullmatch(_pattern(row), path)), None)


def _pattern(row: Route) -> str:
    return re.sub(r"\\\{\w+\\\}", "[^/:]+", re.escape(row.path).replace(r"\{caller\}", ".+"))


def problem_in(body: bytes) -> str:
    """Return the slug of a problem's type."""
    slug: str = orjson.loads(body)["type"].rpartition("/")[2]
    return slug


def declared(method: str, path: str, status: int, problem: str | None) -> list[Answer]:
    """Return the declared answers that a response may be.

    Args:
        problem: The slug, empty without one; None: not known, since a HEAD has no body.
    """
    if method == "OPTIONS" and status == PREFLIGHT.status:
        return [PREFLIGHT]
    row = route_of(method, path)
    known = ANY_REQUEST if row is None else answers_of(row)
    return [answer for answer in known if answer.status == status and problem in (None, slug_of(answer))]


def slug_of(answer: Answer) -> str:
    return "" if answer.problem is None else answer.problem.slug


class Answers:
    """Compares each response with the row of its request, and with its description: status, headers, document.

    Attributes:
        undeclared: The differences found.
    """

    def __init__(self) -> None:
        self.undeclared: list[str] = []

    @property
    def trace(self) -> aiohttp.TraceConfig:
        """The trace configuration for a client's session: it sees all responses to the session."""
        trace = aiohttp.TraceConfig()
        trace.on_request_end.append(self._on_request_end)
        return trace

    async def on_response_prepare(self, request: web.Request, response: web.StreamResponse) -> None:
        """A signal of an application: it sees all responses of aiohttp's own path, to raw connections too."""
        transport = request.transport
        if transport is None or transport.is_closing():
            return
        body = response.body if isinstance(response, web.Response) else None
        resource = request.match_info.route.resource  # None: no row has the path and the method
        self._compare(
            request.method,
            "" if resource is None else resource.canonical,
            response.status,
            response.headers,
            body if isinstance(body, bytes) else None,
        )

    async def _on_request_end(self, session: Any, context: Any, params: aiohttp.TraceRequestEndParams) -> None:
        response = params.response
        length = int(response.headers.get("Content-Length", -1))
        body = None
        if params.method != "HEAD" and 0 < length <= SMALL_BYTES and "json" in response.content_type:
            try:
                body = await response.read()
            except aiohttp.ClientError:  # the connection was closed
                return
        self._compare(params.method, params.url.raw_path, response.status, response.headers, body)

    def _compare(self, method: str, path: str, status: int, headers: Any, body: bytes | None) -> None:
        media_type = headers.get("Content-Type", "").partition(";")[0]
        problem = "" if media_type != PROBLEM_TYPE else None if not body else problem_in(body)
        possible = declared(method, path, status, problem)
        faults = [] if possible else ["is not declared"]
        for answer in possible:
            faults = [*self._faults(answer, headers, body, media_type)]
            if not faults:
                break
        row = route_of(method, path)
        if row is not None and not faults:
            faults = [*differences_from_description(method, row.path, status, headers, body)]
        self.undeclared += [f"{method} {path} -> {status} {problem or ''}: {fault}" for fault in faults]

    def _faults(self, answer: Answer, headers: Iterable[str], body: bytes | None, media_type: str) -> Iterable[str]:
        names = {name.lower() for name in headers}
        yield from sorted(names - OF_ALL_ANSWERS - {name.lower() for name in answer.headers})
        if answer.media_type not in ("", ANY_TYPE, media_type):
            yield f"is of {media_type}, not {answer.media_type}"
        if answer.document is not None and body and "json" in media_type:
            yield from differences(answer.document, orjson.loads(body), "")


def differences(kind: Any, value: Any, at: str) -> list[str]:
    """Return the differences between a value and its declared type: members, and types of members."""
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        found = [differences(one, value, at) for one in typing.get_args(kind)]
        return [] if [] in found else found[0]
    if typing.get_origin(kind) is list and isinstance(value, list):
        (item,) = typing.get_args(kind)
        return [fault for number, one in enumerate(value) for fault in differences(item, one, f"{at}/{number}")]
    members = members_of(kind)
    if members is not None and isinstance(value, dict):
        missing = {name for name, (_, required) in members.items() if required} - set(value)
        unknown = set(value) - set(members)
        faults = [f"{at}: {sorted(missing)} missing, {sorted(unknown)} not declared"] if missing or unknown else []
        for name in value.keys() - unknown:
            faults += differences(members[name][0], value[name], f"{at}/{name}")
        return faults
    if kind is msgspec.Raw:  # any value
        return []
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError as fault:
        return [f"{at}: {fault}"]
    return []


@cache
def members_of(kind: Any) -> dict[str, tuple[Any, bool]] | None:
    """Return the members of a document by name, each with its type, and whether it is always there; None: any other."""
    if not typing.is_typeddict(kind) and not (isinstance(kind, type) and issubclass(kind, msgspec.Struct)):
        return None
    hints = typing.get_type_hints(kind, include_extras=True)
    return {name: _member_of(hint) for name, hint in hints.items()}


def _member_of(hint: Any) -> tuple[Any, bool]:
    if typing.get_origin(hint) is typing.NotRequired:
        return typing.get_args(hint)[0], False
    kinds = typing.get_args(hint)
    if msgspec.UnsetType not in kinds:
        return hint, True
    return functools.reduce(operator.or_, (kind for kind in kinds if kind is not msgspec.UnsetType)), False


ANSWERS = Answers()
"""Compares all responses in the tests of this folder."""
