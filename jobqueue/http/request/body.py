"""Request bodies: supported media types, size limits, timeouts.

It checks the request's head before any of the body is read, and reads the body under its limits.
"""

from __future__ import annotations

import asyncio
from enum import Enum
from typing import TYPE_CHECKING

from aiohttp import HttpVersion11, hdrs

from jobqueue.errors import JobQueueError
from jobqueue.http.errors import (
    BodyTooLarge,
    BodyTooSlow,
    UnknownExpectation,
    UnknownTransferCoding,
    UnsupportedMediaType,
)
from jobqueue.http.in_flight import RATE_BYTES_S_MIN
from jobqueue.http.request.auth import check_still_valid
from jobqueue.http.request.receiving import Body
from jobqueue.http.request.turns import LARGE_BYTES, Turns
from jobqueue.http.response.problems import header_text
from jobqueue.http.response.responses import closing_problem

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import TracebackType

    from aiohttp import web

    from jobqueue.config import LimitsSettings
    from jobqueue.http.in_flight import InFlightBudget

MULTIPART_EXTRA_BYTES = 64 * 1024
"""Maximum size of a multipart body beside its parts' contents: boundaries and headers."""

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class BodyKind(Enum):
    JSON = "application/json"
    MULTIPART = "multipart/form-data"


_MEDIA_TYPES = frozenset(kind.value for kind in BodyKind)


def kind_of(content_type: str) -> BodyKind | None:
    """Return which body a Content-Type announces, whatever its parameters; None: another one, or none."""
    media_type = content_type.partition(";")[0].strip().lower()
    return BodyKind(media_type) if media_type in _MEDIA_TYPES else None


def check_head(
    request: web.BaseRequest, limits: LimitsSettings, *, takes: tuple[BodyKind, ...] = (BodyKind.JSON,)
) -> None:
    """Check the head. Raises UnsupportedMediaType, BodyTooLarge, UnknownTransferCoding."""
    kind = _body_kind(request, takes)
    coding = request.headers.get(hdrs.TRANSFER_ENCODING)
    if coding is not None and coding.lower() != "chunked":
        raise UnknownTransferCoding(f"the only transfer coding is chunked, not {header_text(coding)}")
    length = request.content_length
    bytes_max = limits.body_bytes
    if kind is BodyKind.MULTIPART:
        bytes_max += limits.files_bytes + MULTIPART_EXTRA_BYTES
    if length is not None and length > bytes_max:
        raise BodyTooLarge(f"the body has {length} bytes, and {bytes_max} are allowed")


def accepted(request: web.BaseRequest, takes: tuple[BodyKind, ...]) -> dict[str, str]:
    """Return the header that names the media types which a request may have."""
    # Only these two methods have a header of their own (RFC 5789, RFC 9110 section 12.5.1).
    name = f"Accept-{request.method.capitalize()}" if request.method in (hdrs.METH_POST, hdrs.METH_PATCH) else "Accept"
    return {name: ", ".join(kind.value for kind in takes)}


def _body_kind(request: web.BaseRequest, takes: tuple[BodyKind, ...]) -> BodyKind:
    headers = request.headers
    # The header itself, because aiohttp has a default for a missing or broken one.
    given = headers.get(hdrs.CONTENT_TYPE)
    if given == "application/json" and hdrs.CONTENT_ENCODING not in headers:
        return BodyKind.JSON
    allowed = accepted(request, takes)
    what = "application/json" if len(takes) == 1 else "application/json, or multipart/form-data for files"
    if hdrs.CONTENT_ENCODING in headers:
        raise UnsupportedMediaType("send the body as it is, without a Content-Encoding", headers=allowed)
    if given is None:
        raise UnsupportedMediaType(f"a Content-Type is needed: {what}", headers=allowed)
    kind = kind_of(given)
    if kind not in takes:
        raise UnsupportedMediaType(f"send {what}, not {header_text(given)}", headers=allowed)
    if kind is BodyKind.MULTIPART:
        return kind
    try:
        charset = request.charset
    except ValueError:  # aiohttp's reader of parameters meets one that can't be decoded
        detail = f"send application/json, in UTF-8; the parameters of {header_text(given)} are broken"
        raise UnsupportedMediaType(detail, headers=allowed) from None
    if charset is not None and charset.lower() not in ("utf-8", "utf8"):
        raise UnsupportedMediaType(f"JSON is UTF-8 here, not {header_text(charset)}", headers=allowed)
    return BodyKind.JSON


def refuse_expectation(request: web.BaseRequest) -> web.Response | None:
    """Reject an expectation other than 100-continue; None: it is none."""
    if request.version < HttpVersion11 or request.headers.get(hdrs.EXPECT, "").lower() == "100-continue":
        return None
    return closing_problem(UnknownExpectation("the only supported expectation is 100-continue"))


async def answer_expectation(
    request: web.Request, check: Callable[[web.Request], object] | None = None
) -> web.Response | None:
    """Send 100 Continue if the head passes `check`; else reject at once, so that the body is never sent."""
    if request.version < HttpVersion11:
        return None
    if (refusal := refuse_expectation(request)) is not None:
        return refusal
    try:
        if check is not None:
            check(request)
    except JobQueueError as error:
        return closing_problem(error)  # the client may send the body all the same
    await request.writer.write(CONTINUE)
    # As aiohttp's own handler does: the final response has not begun.
    request.writer.output_size = 0
    return None


class Bodies:
    """JSON bodies being received, under the limits of each, and a bound on all together.

    Args:
        limits: Returns the present limits; they may change while the server runs.
    """

    def __init__(self, limits: Callable[[], LimitsSettings], budget: InFlightBudget) -> None:
        self._limits = limits
        self._budget = budget
        self._turns = Turns()

    def of(self, request: web.BaseRequest) -> Body:
        """Return the body of a request, to be read within its `with` block."""
        return Body(request, self._budget)

    async def read(self, request: web.BaseRequest) -> bytes:
        """Read the body of a request, whole, and release it: it is decoded at once.

        Raises:
            BodyTooLarge, BodyTooSlow, Overloaded: It is over a limit.
            MalformedRequest: Its framing is broken.
            Unauthorized: Its key was removed meanwhile.
        """
        with self.of(request) as body:
            data = await self.read_in(body)
        check_still_valid(request)
        return data

    async def read_in(self, body: Body) -> bytes:
        """Read a body, whole; a large one is returned in its turn, to be decoded at once. Raises as `read`."""
        if body.whole:  # small ones arrive with the head
            data = body.read_nowait()
            self._check(len(data))
        else:
            async with BodyDeadline(self._limits().body_timeout_s):
                data = await self.gather(body.readany)
        if len(data) > LARGE_BYTES:
            await self._turns.next()
        return data

    async def gather(self, read: Callable[[], Awaitable[bytes]]) -> bytes:
        """Read until the end. Raises BodyTooLarge, and as `read`."""
        gathered = bytearray()
        while chunk := await read():
            gathered += chunk
            self._check(len(gathered))
        return bytes(gathered)

    def _check(self, size_bytes: int) -> None:
        limits = self._limits()
        if size_bytes > limits.body_bytes:
            raise BodyTooLarge(f"the JSON is larger than the allowed {limits.body_bytes} bytes")


class BodyDeadline:
    """Limits the time of a body's arrival, and turns its errors into rejections."""

    def __init__(self, body_timeout_s: float) -> None:
        self._body_timeout_s = body_timeout_s
        self._timeout = asyncio.timeout(body_timeout_s)
        self._began_at = asyncio.get_running_loop().time()

    def extend_for(self, size_bytes: int) -> None:
        """Allow the time of these bytes at the minimum rate, beside `body_timeout_s`."""
        self._timeout.reschedule(self._began_at + self._body_timeout_s + size_bytes / RATE_BYTES_S_MIN)

    async def __aenter__(self) -> BodyDeadline:
        await self._timeout.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._timeout.__aexit__(kind, error, trace)
        except TimeoutError as timeout:
            detail = f"the request body was not complete after {self._body_timeout_s:g} s"
            raise BodyTooSlow(detail) from timeout
