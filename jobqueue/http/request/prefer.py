"""The Prefer header (RFC 7240): how long a request would rather wait than be answered with "not yet".

It owns the header's grammar. It must not know what is waited for, nor how long a server allows it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiohttp import web

PREFER = "Prefer"
APPLIED = "Preference-Applied"

WAIT_S_MAX = 10**9
"""Whoever would wait longer is taken to say so much."""

# Commas within quotes do not separate; a quote that nothing closes runs to the end.
_ELEMENT = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*"?)+')
_DELTA_SECONDS = re.compile(r"[0-9]+")


def preferred_wait_s(request: web.BaseRequest) -> int | None:
    """Return the seconds of `Prefer: wait=N`; None if there is no such preference, or none that can be read.

    Of preferences that are there more than once, only the first counts, over all lines of the header
    (section 2). What follows a semicolon are parameters, of which `wait` has none: they are passed over.
    """
    lines = request.headers.getall(PREFER, ())
    for element in _ELEMENT.findall(",".join(lines)) if lines else ():
        name, equals, value = element.partition(";")[0].partition("=")
        if name.strip(" \t").lower() == "wait":
            digits = value.strip(" \t") if equals else ""
            if not _DELTA_SECONDS.fullmatch(digits):
                return None
            return int(digits) if len(digits) < 10 else WAIT_S_MAX
    return None
