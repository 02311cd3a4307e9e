"""Malformed requests: converts parser errors to the detail of a problem.

aiohttp's message has three lines: a reason, the bytes as Python writes them, and a pointer below. A detail is one line.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from aiohttp import http_exceptions

from jobqueue.http.response.problems import header_text

if TYPE_CHECKING:
    from aiohttp.http_exceptions import HttpProcessingError

DETAIL_LENGTH_MAX = 300

_PREFACE = "Pause on PRI"
_PARTS = re.compile(r"""(?P<reason>[^\n]*?):?\n\n\s*b(?P<quoted>'.*'|".*")\n\s*\^""", re.DOTALL)


def detail_of(error: HttpProcessingError) -> str:
    """Return the parser's error in one line."""
    message = error.message.removeprefix("Bad status line:").strip()
    if message.startswith(_PREFACE):
        return "an HTTP/2 preface was received, and this server speaks HTTP/1.1"
    if isinstance(error, http_exceptions.InvalidURLError) and "\n" not in message:
        return f"the request's target {header_text(message)} is neither a path that begins with a slash nor a URL"
    parts = _PARTS.fullmatch(message)
    if parts is not None:
        message = f"{parts['reason']}: {parts['quoted']}"
    return " ".join(message.split())[:DETAIL_LENGTH_MAX]
