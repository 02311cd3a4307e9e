"""Malformed requests: converts parser errors to problems.

aiohttp's message has three lines: a reason, the bytes as Python writes them, and a pointer below. A detail is one line.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from aiohttp import http_exceptions

from jobqueue.errors import JobQueueError
from jobqueue.http.errors import HeadTooLarge, MalformedRequest
from jobqueue.http.response.problems import header_text
from jobqueue.keys import masked

if TYPE_CHECKING:
    from aiohttp.http_exceptions import HttpProcessingError

HEADERS_MAX = 64
HEAD_LINES_MAX = 4
"""Maximum size of a whole head, in lines of the maximum length."""

DETAIL_LENGTH_MAX = 300

_PREFACE = "Pause on PRI"
_PARTS = re.compile(r"""(?P<reason>[^\n]*?):?\n\n\s*b(?P<quoted>'.*'|".*")\n\s*\^""", re.DOTALL)


def refusal_of(error: BaseException | None, message: str | None, header_bytes: int) -> BaseException:
    """Return the exception that becomes the problem of a request which the parser, or aiohttp's task, has given up.

    Args:
        header_bytes: The maximum length of a line.
    """
    if isinstance(error, http_exceptions.LineTooLong) or message == "Too many headers received":
        return HeadTooLarge(
            f"the request line or a header has more than {header_bytes} bytes, "
            f"or there are more than {HEADERS_MAX} headers or {HEAD_LINES_MAX * header_bytes} bytes of them"
        )
    if isinstance(error, JobQueueError):
        return error
    if isinstance(error, http_exceptions.HttpProcessingError):
        return MalformedRequest(detail_of(error))
    return error if error is not None else RuntimeError("the request handler timed out")


def detail_of(error: HttpProcessingError) -> str:
    """Return the parser's error in one line, without the secret of a key that it may quote."""
    message = error.message.removeprefix("Bad status line:").strip()
    if message.startswith(_PREFACE):
        return "an HTTP/2 preface was received, and this server speaks HTTP/1.1"
    if isinstance(error, http_exceptions.InvalidURLError) and "\n" not in message:
        return (
            f"the request's target {header_text(masked(message))} is neither a path that begins with a slash nor a URL"
        )
    parts = _PARTS.fullmatch(message)
    if parts is not None:
        message = f"{parts['reason']}: {parts['quoted']}"
    return masked(" ".join(message.split()))[:DETAIL_LENGTH_MAX]
