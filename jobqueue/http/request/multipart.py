"""A streaming reader of multipart/form-data (RFC 7578), part by part.

It does not limit the size of parts; its caller does. Stricter than RFC 2046 where only mistakes and attacks differ
from it: no bytes before the first boundary, and headers neither folded nor repeated. Laxer
with filenames (RFC 7578, section 5.1): bytes that are no UTF-8 become U+FFFD, since a client sends the
name that its file system has. A part's own name is a key for handlers, so it must be UTF-8.

aiohttp's own reader decodes transfer encodings, nests, and warns where we must reject.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import unquote

import msgspec

from jobqueue.errors import shown
from jobqueue.http.errors import MalformedRequest

if TYPE_CHECKING:
    from jobqueue.http.request.receiving import Body

HEADERS_BYTES_MAX = 8 * 1024
"""Maximum size of one part's headers, together."""

_BOUNDARY = re.compile(r';\s*boundary=(?:"([^"]{1,70})"|([^\s";,]{1,70})(?![^\s;,]))', re.IGNORECASE)
_DISPOSITION = re.compile(r'form-data((?:\s*;\s*[\w*!#$&+.^`|~-]+=(?:"(?:[^"\\]|\\.)*"|[^\s";]+))*)\s*', re.IGNORECASE)
_PARAMETER = re.compile(r';\s*([\w*!#$&+.^`|~-]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s";]+))')
_QUOTED_PAIR = re.compile(r"\\(.)")
# Of a filename: other backslashes are folders of a Windows path.
_QUOTED_MARK = re.compile(r'\\(["\\])')
_EXTENDED = re.compile(r"(?i:(utf-8|iso-8859-1))'[^']*'([^']*)")
_SURROGATES = re.compile("[\ud800-\udfff]")
# The escapes of browsers, curl and our client for characters that would end the name.
_ESCAPED = {"%22": '"', "%0D": "\r", "%0A": "\n"}


class Part(msgspec.Struct, frozen=True):
    """The head of a part: its field name, its media type (None: it has none), and its filename ("": it has none).

    The filename is as sent: it may have folders, or control characters.
    """

    name: str
    media_type: str | None
    filename: str = ""


class FormReader:
    """Reads one multipart/form-data body, part by part.

    Args:
        content_type: The request's header.

    Raises:
        MalformedRequest: The header has no usable boundary. Every method raises it, too: the form is broken.
    """

    def __init__(self, body: Body, content_type: str) -> None:
        self._body = body
        self._delimiter = b"\r\n--" + _boundary_of(content_type)
        # The line break that precedes a delimiter is missing at the very beginning.
        self._buffer = b"\r\n"
        self._begun = False
        self._in_part = False
        self._ended = False

    @property
    def buffered_bytes(self) -> int:
        """Bytes of the body that were read but not returned."""
        return len(self._buffer)

    async def next_part(self) -> Part | None:
        """Skip the rest of this part and return the next one's head; None after the last."""
        if self._ended:
            return None
        if not self._begun:
            await self._begin()
        while await self.read():
            pass
        return await self._read_head()

    async def read(self) -> bytes:
        """Return the next bytes of this part; none at its end."""
        while self._in_part:
            at = self._buffer.find(self._delimiter)
            if at >= 0:
                data, self._buffer = self._buffer[:at], self._buffer[at + len(self._delimiter) :]
                self._in_part = False
                return data
            # The end of the buffer may be the beginning of a delimiter.
            sure = len(self._buffer) - len(self._delimiter) + 1
            if sure > 0:
                data, self._buffer = self._buffer[:sure], self._buffer[sure:]
                return data
            await self._fill()
        return b""

    async def _begin(self) -> None:
        self._begun = True
        while len(self._buffer) < len(self._delimiter):
            await self._fill()
        if not self._buffer.startswith(self._delimiter):
            shown = self._delimiter[2:].decode("latin-1")
            raise MalformedRequest(f"a multipart body begins with its boundary: {shown}")
        self._buffer = self._buffer[len(self._delimiter) :]

    async def _read_head(self) -> Part | None:
        """Read from behind a delimiter to the beginning of the content."""
        while len(self._buffer) < 2:
            await self._fill()
        if self._buffer.startswith(b"--"):
            self._ended = True
            return None
        # From the delimiter's own line break on, so that a part without headers has an empty block.
        while (at := self._buffer.find(b"\r\n\r\n", 0, HEADERS_BYTES_MAX)) < 0:
            if len(self._buffer) >= HEADERS_BYTES_MAX:
                raise MalformedRequest(f"the headers of a part have more than {HEADERS_BYTES_MAX} bytes")
            await self._fill()
        block, self._buffer = self._buffer[:at], self._buffer[at + 4 :]
        self._in_part = True
        return _part_of(block)

    async def _fill(self) -> None:
        data = await self._body.readany()
        if not data:
            raise MalformedRequest("the multipart body ends before its last boundary")
        self._buffer += data


def _boundary_of(content_type: str) -> bytes:
    match = _BOUNDARY.search(content_type)
    boundary = (match[1] or match[2]) if match is not None else ""
    if not boundary or not boundary.isascii():
        raise MalformedRequest("the Content-Type multipart/form-data needs a boundary of 1 to 70 ASCII characters")
    return boundary.encode("ascii")


def _part_of(block: bytes) -> Part:
    # Bytes that are no UTF-8 become lone surrogates here, and are handled later by field.
    first, *lines = block.decode("utf-8", "surrogateescape").split("\r\n")
    if first.strip(" \t"):
        raise MalformedRequest("a line break is missing after a boundary")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        name = name.lower()
        if not colon or not name or name != name.strip() or name in headers:
            raise MalformedRequest(f"a malformed or duplicate header of a part: {shown(line)!r}")
        headers[name] = value.strip(" \t")
    if headers.get("content-transfer-encoding", "binary").lower() not in ("binary", "8bit", "7bit"):
        raise MalformedRequest("send a part's content as it is, without a Content-Transfer-Encoding")
    if "content-encoding" in headers:
        raise MalformedRequest("send a part's content as it is, without a Content-Encoding")
    parameters = _parameters_of(headers.get("content-disposition", ""))
    return Part(_name_in(parameters), headers.get("content-type"), _filename_in(parameters))


def _parameters_of(disposition: str) -> dict[str, tuple[str, str]]:
    """Return each parameter's value as it stands in quotes, or bare; of those of one name the first counts."""
    match = _DISPOSITION.fullmatch(disposition)
    found: dict[str, tuple[str, str]] = {}
    for key, quoted, plain in _PARAMETER.findall(match[1]) if match is not None else ():
        found.setdefault(key.lower(), (quoted, plain))
    return found


def _name_in(parameters: dict[str, tuple[str, str]]) -> str:
    quoted, plain = parameters.get("name", ("", ""))
    name = _unescaped(_QUOTED_PAIR.sub(r"\1", quoted) if quoted else plain)
    if not name:
        raise MalformedRequest('each part needs a header of the form  Content-Disposition: form-data; name="…"')
    if _SURROGATES.search(name):
        raise MalformedRequest(f"a part's name is not UTF-8: {shown(_replaced(name))!r}")
    return name


def _filename_in(parameters: dict[str, tuple[str, str]]) -> str:
    """Return the filename; the form `filename*` (RFC 8187) counts where it can be read, as in RFC 6266."""
    extended = _EXTENDED.fullmatch(parameters.get("filename*", ("", ""))[1])
    if extended is not None:
        return unquote(extended[2], encoding=extended[1], errors="replace")
    quoted, plain = parameters.get("filename", ("", ""))
    return _replaced(_unescaped(_QUOTED_MARK.sub(r"\1", quoted) if quoted else plain))


def _unescaped(name: str) -> str:
    for escaped, character in _ESCAPED.items():
        name = name.replace(escaped, character)
    return name


def _replaced(text: str) -> str:
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
