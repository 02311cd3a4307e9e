"""The Prefer header (RFC 7240): the wait that a request prefers.

The server's own limit is applied elsewhere.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from multidict import CIMultiDictProxy

PREFER = "Prefer"
APPLIED = "Preference-Applied"

WAIT_S_MAX = 10**9
"""Larger values count as this one."""

# Commas within quotes do not separate; an unclosed quote extends to the end.
_ELEMENT = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*"?)+')
_DELTA_SECONDS = re.compile(r"[0-9]+")


def preferred_wait_s(headers: CIMultiDictProxy[str]) -> int | None:
    """Return the seconds of `Prefer: wait=N`; None if there is no such preference, or an invalid one.

    Of a repeated preference only the first counts, over all lines of the header
    (section 2). Parameters after a semicolon are ignored: `wait` has none.
    """
    lines = headers.getall(PREFER, ())
    for element in _ELEMENT.findall(",".join(lines)) if lines else ():
        name, equals, value = element.partition(";")[0].partition("=")
        if name.strip(" \t").lower() == "wait":
            digits = value.strip(" \t") if equals else ""
            if not _DELTA_SECONDS.fullmatch(digits):
                return None
            return int(digits) if len(digits) < 10 else WAIT_S_MAX
    return None
