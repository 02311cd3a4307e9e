"""Chunked bodies: sizes, extensions, ends and trailers (RFC 9112, section 7.1)."""

from __future__ import annotations

from tests.http.bad_input.row import ECHO, LAST_CHUNK, Row, chunk, chunked, posted

SMUGGLED = posted(b'{"type":"echo","group":"smuggled"}')
REST = b"\r\n" + ECHO + b"\r\n" + LAST_CHUNK


def bad(name: str, body: bytes, says: str = "") -> Row:
    return Row(name, chunked(body) + SMUGGLED, 400, "malformed-request", says, closes=True)


def size(name: str, written: bytes) -> Row:
    return bad(f"a size {name}", written + REST)


def extension(name: str, written: bytes) -> Row:
    return bad(f"an extension {name}", chunk(ECHO, written) + LAST_CHUNK)


def trailer(name: str, written: bytes) -> Row:
    return bad(f"a trailer {name}", chunk(ECHO) + b"0\r\n" + written + b"\r\n\r\n")


def excess(name: str, body: bytes) -> Row:
    """Return the row of a body that is mostly framing."""
    return Row(name, chunked(body), 400, "malformed-request", "framing", closes=True)


def taken(name: str, body: bytes) -> Row:
    return Row(name, chunked(body), 202, jobs=1)


ROWS = [
    # -- sizes: hexadecimal digits alone
    size("that is missing", b""),
    size("with a plus", b"+f"),
    size("with a minus", b"-f"),
    size("with a prefix", b"0xf"),
    size("with a letter behind F", b"g"),
    size("with a point", b"f.0"),
    size("with an underscore", b"0_f"),
    size("behind a space", b" f"),
    size("behind a tab", b"\tf"),
    size("with a NUL", b"f\0"),
    size("with a vertical tab", b"f\x0b"),
    size("in digits of another script", "\u0661".encode()),
    size("in quotes", b'"f"'),
    size("of two numbers", b"f f"),
    size("of 2^64 + 15", b"1000000000000000f"),
    size("of 2^128", b"1" + b"0" * 32),
    # -- line ends
    bad("a line feed after the size", b"f\n" + ECHO + b"\r\n" + LAST_CHUNK),
    bad("a carriage return after the size", b"f\r" + ECHO + b"\r\n" + LAST_CHUNK),
    bad("two line ends after the size", b"f\r\n\r\n" + ECHO + b"\r\n" + LAST_CHUNK),
    bad("a line feed after the data", b"f\r\n" + ECHO + b"\n" + LAST_CHUNK),
    bad("no line end after the data", b"f\r\n" + ECHO + LAST_CHUNK),
    bad("more data than the size", b"e\r\n" + ECHO + b"\r\n" + LAST_CHUNK),
    bad("less data than the size", b"10\r\n" + ECHO + b"\r\n" + LAST_CHUNK),
    bad("line feeds at the end", chunk(ECHO) + b"0\n\n"),
    bad("an end without its empty line", chunk(ECHO) + b"0\r\n"),
    # -- extensions (section 7.1.1)
    extension("with a line feed", b";x\n;y"),
    extension("with a carriage return", b";x\ry"),
    extension("with a NUL", b";x=\0"),
    extension("without its closing quote", b';x="y'),
    extension("without a semicolon", b"=x"),
    extension("with a comma", b",x"),
    excess("an extension of 10 kB", chunk(ECHO, b";x=" + b"y" * 10_000) + LAST_CHUNK),
    taken("an extension", chunk(ECHO, b";x") + LAST_CHUNK),
    taken("an extension with a value", chunk(ECHO, b";x=y;z") + LAST_CHUNK),
    taken("an extension with a line end in quotes", chunk(ECHO, b';x="a;b=c"') + LAST_CHUNK),
    taken("an extension without a name", chunk(ECHO, b";=") + LAST_CHUNK),
    taken("an extension of the last chunk", chunk(ECHO) + b"0;x=y\r\n\r\n"),
    # -- trailers: read, and passed over (section 7.1.2)
    trailer("without a colon", b"nonsense"),
    trailer("with a space before the colon", b"X : y"),
    trailer("with a space before the name", b" X: y"),
    trailer("with an empty name", b": y"),
    trailer("with a NUL", b"X: \0"),
    # Framing comes too late in a trailer (RFC 9110, section 6.5.1): merged into the head, it would tell another end.
    trailer("Content-Length", b"Content-Length: 1000"),
    trailer("Transfer-Encoding", b"Transfer-Encoding: gzip"),
    trailer("with a line feed alone", b"X: y\nZ: x"),
    taken("a trailer", chunk(ECHO) + b"0\r\nX: y\r\n\r\n"),
    taken("a trailer Idempotency-Key", chunk(ECHO) + b'0\r\nIdempotency-Key: "\r\n\r\n'),
    Row(
        "a trailer over the limit",
        chunked(chunk(ECHO) + b"0\r\nX: " + b"x" * 2000 + b"\r\n\r\n"),
        431,
        "head-too-large",
        closes=True,
    ),
    # -- forms that are valid
    taken("a size in capitals", b"F\r\n" + ECHO + b"\r\n" + LAST_CHUNK),
    taken("a size with zeros in front", b"0000000000f\r\n" + ECHO + b"\r\n" + LAST_CHUNK),
    taken("an end of several zeros", chunk(ECHO) + b"0000\r\n\r\n"),
    taken("chunks of one byte", b"".join(chunk(ECHO[at : at + 1]) for at in range(len(ECHO))) + LAST_CHUNK),
    Row("no chunk at all", chunked(LAST_CHUNK), 400, "malformed-json", "not JSON"),
    Row("a head in a chunk", chunked(chunk(SMUGGLED) + LAST_CHUNK), 400, "malformed-json", "not JSON"),
    excess("chunks of one byte, by the thousand", b"".join(chunk(b" ") for _ in range(1500)) + LAST_CHUNK),
]
