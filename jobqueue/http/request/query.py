"""Queries: the parameters after the `?` of a request."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from jobqueue.errors import shown
from jobqueue.http.errors import MalformedRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiohttp import web


def parameters(request: web.Request, known: Sequence[str], beginning: str | None = None) -> dict[str, str]:
    """Return the parameters of a request, each of which is known and given once. Raises MalformedRequest.

    Args:
        beginning: That of further names that are allowed.
    """
    given: dict[str, str] = {}
    for name, value in request.query.items():
        if name not in known and (beginning is None or not name.startswith(beginning)):
            raise MalformedRequest(f"unknown query parameter {shown(name)!r}; {near_or_all(name, known)}")
        if name in given:
            raise MalformedRequest(f"duplicate query parameter {shown(name)}")
        given[name] = value
    return given


def limit_of(text: str | None, default: int, maximum: int, things: str = "") -> int:
    """Return the value of a parameter `limit`. Raises MalformedRequest.

    Args:
        things: What it counts, for the error's text.
    """
    if text is None:
        return default
    if not text.isascii() or not text.isdecimal() or len(text) > len(str(maximum)) or not 1 <= int(text) <= maximum:
        of_things = f" of {things}" if things else ""
        raise MalformedRequest(f"limit is a number{of_things} from 1 to {maximum}, got {shown(text)!r}")
    return int(text)


def near_or_all(name: str, known: Sequence[str]) -> str:
    """Suggest the known name that was probably meant, or else all of them."""
    near = difflib.get_close_matches(name[:100], known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"


def not_one_of(text: str, known: Sequence[str]) -> str:
    """Say that a value is none of a few words, and which one was probably meant."""
    near = difflib.get_close_matches(text[:100], known, n=1)
    meant = f"; did you mean {near[0]!r}?" if near else ""
    return f"is one of {', '.join(known)}, got {shown(text)!r}{meant}"
