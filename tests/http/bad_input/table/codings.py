"""Compressed bodies: none is decompressed, so that no bomb can go off."""

from __future__ import annotations

from tests.http.bad_input.row import ECHO, FORM, JSON, LAST_CHUNK, Row, chunk, get, gzipped, head, posted, sent

BOMB = gzipped(b'{"type":"echo","args":{"value":"' + b"0" * 1_800_000 + b'"}}')
TWICE = gzipped(gzipped(bytes(100_000_000)))
assert len(BOMB) < 2000
assert len(TWICE) < 2000


def bad(
    name: str, body: bytes, *codings: str, target: str = "/v1/jobs", method: str = "POST", media: str = JSON
) -> Row:
    headers = (f"Content-Encoding: {coding}" for coding in codings)
    return Row(
        name,
        sent(method, target, body, media, *headers),
        415,
        "unsupported-media-type",
        "Content-Encoding",
        closes=None,
    )


def transfer(name: str, codings: str, body: bytes) -> Row:
    """Return the row of a body with a transfer coding beside chunked."""
    stream = head("POST /v1/jobs HTTP/1.1", JSON, f"Transfer-Encoding: {codings}") + chunk(body) + LAST_CHUNK
    return Row(name, stream, 501, "unknown-transfer-coding", "chunked", closes=None)


ROWS = [
    bad("gzip", gzipped(ECHO), "gzip"),
    bad("a bomb of gzip", BOMB, "gzip"),
    bad("a bomb of gzip in gzip", TWICE, "gzip, gzip"),
    bad("a bomb of gzip in gzip, in two lines", TWICE, "gzip", "gzip"),
    bad("a bomb of a batch", BOMB, "gzip", target="/v1/jobs:batch"),
    bad("a bomb of a filter", BOMB, "gzip", target="/v1/jobs:cancel"),
    bad("a bomb of a queue's change", BOMB, "gzip", target="/v1/queues/default", method="PATCH"),
    bad("a bomb of a form", BOMB, "gzip", media=FORM),
    bad("deflate", ECHO, "deflate"),
    bad("br", ECHO, "br"),
    bad("zstd", ECHO, "zstd"),
    bad("compress", ECHO, "compress"),
    bad("x-gzip in capitals", gzipped(ECHO), "X-GZIP"),
    bad("identity", ECHO, "identity"),
    bad("an empty coding", ECHO, ""),
    bad("an unknown coding", ECHO, "nonsense"),
    bad("bytes above 0x7F", ECHO, "\xff"),
    bad("commas", ECHO, ",,"),
    Row("gzip that nothing announces", posted(gzipped(ECHO)), 400, "malformed-json"),
    Row("a bomb that nothing announces", posted(BOMB), 400, "malformed-json"),
    Row("a coding of a request without a body", get("/v1/jobs/{DONE}", "Content-Encoding: gzip"), 200),
    transfer("gzip and chunked", "gzip, chunked", gzipped(ECHO)),
    transfer("a bomb of gzip and chunked", "gzip, chunked", BOMB),
    transfer("deflate and chunked", "deflate, chunked", ECHO),
    transfer("identity and chunked", "identity, chunked", ECHO),
    transfer("an unknown coding and chunked", "nonsense, chunked", ECHO),
]
