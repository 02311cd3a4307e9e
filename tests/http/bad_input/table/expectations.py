"""Expectations: a body that is not yet sent (RFC 9110, section 10.1.1)."""

from __future__ import annotations

from tests.http.bad_input.row import ECHO, JSON, Row, get, head, posted

CONTINUE = "Expect: 100-continue"


def unknown(name: str, expectation: str, line: str = "POST /v1/jobs HTTP/1.1") -> Row:
    """Return the row of an expectation that no server can meet; the body may come or not, so nothing can follow."""
    stream = head(line, JSON, f"Expect: {expectation}", "Content-Length: 15")
    return Row(f"an expectation {name}", stream, 417, "unknown-expectation", closes=True, then=ECHO)


def refused(name: str, status: int, problem: str, *headers: str, target: str = "/v1/jobs") -> Row:
    """Return the row of a body that would be refused, and is not asked for."""
    stream = head(f"POST {target} HTTP/1.1", CONTINUE, *headers)
    return Row(f"a body {name}", stream, status, problem, closes=True)


ROWS = [
    unknown("of a word", "nonsense"),
    unknown("of another status", "200-ok"),
    unknown("with a word behind", "100-continue x"),
    unknown("with a parameter", "100-continue;x=y"),
    unknown("twice in a line", "100-continue, 100-continue"),
    unknown("with another", "100-continue, x"),
    unknown("in quotes", '"100-continue"'),
    unknown("that is empty", ""),
    unknown("with bytes above 0x7F", "\xff"),
    unknown("with a byte above 0x7F at the end", "100-continu\xff"),
    unknown("in UTF-8", "100-contin\xc3\xbce"),
    unknown("of a GET", "x", "GET /livez HTTP/1.1"),
    unknown("of a job's GET", "x", "GET /v1/jobs/{DONE} HTTP/1.1"),
    unknown("of a DELETE", "x", "DELETE /v1/jobs/{HELD} HTTP/1.1"),
    unknown("of an action", "\xff", "POST /v1/jobs/{HELD}:cancel HTTP/1.1"),
    unknown("of an unknown path", "x", "POST /nope HTTP/1.1"),
    unknown("of a wrong method", "x", "PUT /v1/jobs HTTP/1.1"),
    unknown("of a queue's change", "x", "PATCH /v1/queues/default HTTP/1.1"),
    refused("over the limit", 413, "too-large", JSON, "Content-Length: 2049"),
    refused("of another media type", 415, "unsupported-media-type", "Content-Type: text/plain", "Content-Length: 15"),
    refused("without a media type", 415, "unsupported-media-type", "Content-Length: 15"),
    refused("that is compressed", 415, "unsupported-media-type", JSON, "Content-Encoding: gzip", "Content-Length: 15"),
    refused("with a malformed key", 400, "malformed-request", JSON, 'Idempotency-Key: "', "Content-Length: 15"),
    refused("with an unknown coding", 501, "unknown-transfer-coding", JSON, "Transfer-Encoding: gzip, chunked"),
    refused("of a batch over the limit", 413, "too-large", JSON, "Content-Length: 2049", target="/v1/jobs:batch"),
    Row(
        "an expectation that is met",
        head("POST /v1/jobs HTTP/1.1", JSON, CONTINUE, "Content-Length: 15"),
        100,
        more=(202,),
        then=ECHO,
        jobs=1,
    ),
    Row(
        "an expectation in capitals",
        head("POST /v1/jobs HTTP/1.1", JSON, "Expect: 100-CONTINUE", "Content-Length: 15"),
        100,
        more=(202,),
        then=ECHO,
        jobs=1,
    ),
    Row(
        "an invalid body after the expectation",
        head("POST /v1/jobs HTTP/1.1", JSON, CONTINUE, "Content-Length: 1"),
        100,
        more=(400,),
        then=b"{",
    ),
    Row(
        "a malformed chunk after the expectation",
        head("POST /v1/jobs HTTP/1.1", JSON, CONTINUE, "Transfer-Encoding: chunked"),
        100,
        more=(400,),
        then=b"x\r\n",
        closes=True,
    ),
    # HTTP/1.0 has no interim answers: the server passes the expectation over.
    Row(
        "an expectation in HTTP/1.0",
        posted(ECHO, JSON, CONTINUE).replace(b"HTTP/1.1", b"HTTP/1.0"),
        202,
        jobs=1,
        closes=True,
    ),
    Row(
        "an unknown expectation in HTTP/1.0",
        get("/livez", "Expect: x").replace(b"HTTP/1.1", b"HTTP/1.0"),
        200,
        closes=True,
    ),
]
