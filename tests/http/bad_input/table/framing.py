"""Framing: where a body ends (RFC 9112, section 6). Two readings of one stream are a smuggled request, so there is one.

A stream that is refused here goes on with a whole submission; if the framing were read in the other way, it would be
accepted.
"""

from __future__ import annotations

from tests.http.bad_input.row import ECHO, JSON, LAST_CHUNK, Row, chunk, get, head, posted, sent

SMUGGLED = posted(b'{"type":"echo","group":"smuggled"}')
CHUNKS = chunk(ECHO) + LAST_CHUNK


def bad(name: str, stream: bytes, says: str = "") -> Row:
    """Return the row of a stream without a clear end, so that the connection is closed."""
    return Row(name, stream, 400, "malformed-request", says, closes=True)


def length(name: str, value: str) -> Row:
    return bad(f"a length {name}", head("POST /v1/jobs HTTP/1.1", JSON, f"Content-Length: {value}") + ECHO + SMUGGLED)


def both(name: str, *headers: str, body: bytes = CHUNKS) -> Row:
    return bad(name, head("POST /v1/jobs HTTP/1.1", JSON, *headers) + body + SMUGGLED)


def coding(name: str, value: str) -> Row:
    """Return the row of a transfer coding that does not end with chunked: the body has no end (section 6.3)."""
    return both(f"a transfer coding {name}", f"Transfer-Encoding: {value}")


def taken(name: str, stream: bytes) -> Row:
    return Row(name, stream, 202, jobs=1)


def unannounced(name: str, *headers: str, body: bytes = ECHO) -> Row:
    """Return the row of a body without a length: it is the beginning of another request, and malformed."""
    stream = head("POST /v1/jobs HTTP/1.1", JSON, *headers)
    return Row(name, stream, 400, "malformed-json", "not JSON", closes=True, more=(400,), then=body + SMUGGLED)


def version(name: str, line: str) -> Row:
    """Return the row of a transfer coding in an older version, where the body's end can't be trusted (section 6.1)."""
    stream = head(line, JSON, "Connection: keep-alive", "Transfer-Encoding: chunked") + CHUNKS + SMUGGLED
    return Row(f"chunks in {name}", stream, 400, "malformed-request", "Transfer-Encoding", closes=True)


ROWS = [
    # -- both, or neither (sections 6.1 and 6.3)
    both("a length and chunks", f"Content-Length: {len(ECHO)}", "Transfer-Encoding: chunked"),
    both("chunks and a length", "Transfer-Encoding: chunked", f"Content-Length: {len(ECHO)}"),
    both("a length of chunks and chunks", f"Content-Length: {len(CHUNKS)}", "Transfer-Encoding: chunked"),
    both("a length of 0 and chunks", "Content-Length: 0", "Transfer-Encoding: chunked"),
    both("a length and an unknown coding", f"Content-Length: {len(ECHO)}", "Transfer-Encoding: x", body=ECHO),
    both("a length and identity", f"Content-Length: {len(ECHO)}", "Transfer-Encoding: identity", body=ECHO),
    both("a length and an empty coding", f"Content-Length: {len(ECHO)}", "Transfer-Encoding:", body=ECHO),
    Row("neither", head("POST /v1/jobs HTTP/1.1", JSON), 400, "malformed-json", "not JSON"),
    unannounced("neither, and a body"),
    unannounced("a length of 0, and a body", "Content-Length: 0"),
    unannounced("a kin of the header, and chunks", "Transfer_Encoding: chunked", body=CHUNKS),
    # -- lengths: digits alone (RFC 9110, section 8.6)
    length("with a plus", "+15"),
    length("with a minus", "-15"),
    length("below 0", "-1"),
    length("in hexadecimal", "0xf"),
    length("in hexadecimal, without a prefix", "f"),
    length("with a point", "15.0"),
    length("with an exponent", "15e0"),
    length("with an underscore", "1_5"),
    length("with a space inside", "1 5"),
    length("with a comma inside", "1,5"),
    length("with a comma at the end", "15,"),
    length("with a semicolon", "15;x=y"),
    length("in quotes", '"15"'),
    length("of a word", "fifteen"),
    length("that is empty", ""),
    length("of a space", " "),
    length("in digits of another script", "\u0661\u0665".encode().decode("latin-1")),
    length("with a vertical tab", "\x0b15"),
    length("with a NUL", "15\0"),
    length("with a no-break space", "15\xa0"),
    length("of 2^64 + 15", str(2**64 + 15)),
    length("of 2^128", str(2**128)),
    length("of 400 digits", "9" * 400),
    length("twice in a line", "15, 15"),
    length("twice in a line, differing", "15, 16"),
    both("two lengths", "Content-Length: 15", "Content-Length: 15", body=ECHO),
    both("two differing lengths", "Content-Length: 15", "Content-Length: 16", body=ECHO),
    both("two differing lengths, the first 0", "Content-Length: 0", "Content-Length: 15", body=ECHO),
    both("two lengths, the second invalid", "Content-Length: 15", "Content-Length: x", body=ECHO),
    both("a space before the length's colon", "Content-Length : 15", body=ECHO),
    both("a tab before the length's colon", "Content-Length\t: 15", body=ECHO),
    both("a space before the length's name", " Content-Length: 15", body=ECHO),
    both("a length in a folded line", "Content-Length:\r\n 15", body=ECHO),
    both("a length without a colon", "Content-Length 15", body=ECHO),
    taken("a length with zeros in front", head("POST /v1/jobs HTTP/1.1", JSON, "Content-Length: 00015") + ECHO),
    taken("a length between spaces", head("POST /v1/jobs HTTP/1.1", JSON, "Content-Length:  \t15 \t ") + ECHO),
    taken("a length in capitals", head("POST /v1/jobs HTTP/1.1", JSON, "CONTENT-LENGTH: 15") + ECHO),
    # -- transfer codings (section 6.1)
    coding("identity", "identity"),
    coding("gzip", "gzip"),
    coding("chunked, and then gzip", "chunked, gzip"),
    coding("chunked, and then identity", "chunked, identity"),
    coding("chunked, twice", "chunked, chunked"),
    coding("with a prefix", "xchunked"),
    coding("with a suffix", "chunkedx"),
    coding("with a parameter", "chunked;q=1"),
    coding("in quotes", '"chunked"'),
    coding("of a comma", ","),
    coding("with a vertical tab", "\x0bchunked"),
    coding("with a NUL", "chunked\0"),
    coding("in UTF-8 capitals", "chun\u212aed".encode().decode("latin-1")),
    coding("with a space inside", "chu nked"),
    both("an empty coding and chunks", "Transfer-Encoding:"),
    both("an empty coding, and nothing more", "Transfer-Encoding:", body=b""),
    bad("an empty coding of a read", get("/v1/jobs/{DONE}", "Transfer-Encoding:") + SMUGGLED),
    both("chunked in two lines", "Transfer-Encoding: chunked", "Transfer-Encoding: chunked"),
    both("chunked and identity in two lines", "Transfer-Encoding: chunked", "Transfer-Encoding: identity"),
    both("chunked in a folded line", "Transfer-Encoding:\r\n chunked"),
    both("a space before the coding's colon", "Transfer-Encoding : chunked"),
    both("a space before the coding's name", " Transfer-Encoding: chunked"),
    both("a bare carriage return before the coding", "X: x\rTransfer-Encoding: chunked"),
    both("a bare line feed before the coding", "X: x\nTransfer-Encoding: chunked"),
    both("a NUL before the coding", "X: x\0Transfer-Encoding: chunked"),
    taken("chunked in capitals", head("POST /v1/jobs HTTP/1.1", JSON, "Transfer-Encoding: CHUNKED") + CHUNKS),
    taken("chunked behind spaces", head("POST /v1/jobs HTTP/1.1", JSON, "Transfer-Encoding:  \tchunked") + CHUNKS),
    # -- HTTP/1.0
    version("HTTP/1.0", "POST /v1/jobs HTTP/1.0"),
    version("a batch of HTTP/1.0", "POST /v1/jobs:batch HTTP/1.0"),
    version("a GET of HTTP/1.0", "GET /livez HTTP/1.0"),
    version("an unknown path of HTTP/1.0", "POST /nope HTTP/1.0"),
    version("a wrong method of HTTP/1.0", "PUT /v1/jobs HTTP/1.0"),
    Row(
        "a length in HTTP/1.0",
        posted(ECHO).replace(b"HTTP/1.1", b"HTTP/1.0"),
        202,
        jobs=1,
        closes=True,
    ),
    # -- bodies of requests that take none
    Row("a GET with a body", sent("GET", "/v1/jobs/{DONE}", SMUGGLED), 200),
    Row("a HEAD with a body", sent("HEAD", "/v1/jobs/{DONE}", SMUGGLED), 200),
    Row(
        "a GET with chunks",
        head("GET /v1/jobs/{DONE} HTTP/1.1", "Transfer-Encoding: chunked") + chunk(SMUGGLED) + LAST_CHUNK,
        200,
    ),
    Row("a DELETE with a body", sent("DELETE", "/v1/jobs/{HELD}", SMUGGLED), 409, "wrong-state", closes=None),
    Row("an action with a body", sent("POST", "/v1/jobs/{DONE}:cancel", SMUGGLED), 409, "wrong-state", closes=None),
    Row("an unknown path with a body", sent("POST", "/nope", SMUGGLED), 404, "not-found", closes=None),
    Row("a wrong method with a body", sent("PUT", "/v1/jobs", SMUGGLED), 405, "method-not-allowed", closes=None),
    # -- pipelines
    Row("a refusal, and a request behind it", posted(b"{") + get("/livez"), 400, "malformed-json", more=(200,)),
    Row(
        "an unframed request behind another",
        get("/livez"),
        200,
        closes=True,
        more=(400,),
        then=head("POST /v1/jobs HTTP/1.1", "Content-Length: -1"),
    ),
]
