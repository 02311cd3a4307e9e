"""Topics and patterns in paths, and what is published."""

from __future__ import annotations

from tests.http.bad_input.row import JSON, Row, get, sent

MALFORMED, INVALID = "malformed-request", "invalid-request"


def topic(name: str, text: str, says: str = "") -> Row:
    return Row(f"a topic {name}", sent("POST", f"/v1/topics/{text}", b'{"data":1}', JSON), 400, MALFORMED, says, None)


def pattern(name: str, text: str, says: str = "") -> Row:
    return Row(f"a pattern {name}", get(f"/v1/topics/{text}/events"), 400, MALFORMED, says)


def nowhere(name: str, stream: bytes) -> Row:
    return Row(name, stream, 404, "not-found", closes=None)


def body(name: str, content: bytes, status: int, problem: str, says: str = "") -> Row:
    closes = None if status == 413 else False
    return Row(f"data {name}", sent("POST", "/v1/topics/order.paid", content, JSON), status, problem, says, closes)


ROWS = [
    # -- topics
    topic("of two dots", "a..b", "token 2 is empty"),
    topic("of dots alone", "...", "token 1 is empty"),
    topic("that begins with a dot", ".a", "token 1 is empty"),
    topic("that ends with a dot", "a.", "token 2 is empty"),
    topic("that is a star", "*", "which only patterns have"),
    topic("that is an angle", "%3E", "which only patterns have"),
    topic("with a star in a token", "a*", "letters, digits"),
    topic("with a space", "a%20b", "letters, digits"),
    topic("with a line feed", "a%0A", "letters, digits"),
    topic("with a NUL", "a%00", "letters, digits"),
    topic("with an escape that is no UTF-8", "%ff", "letters, digits"),
    topic("in full-width letters", "%EF%BD%81", "letters, digits"),
    topic("of 201 characters", "a" * 201, "1 to 200 characters"),
    topic("of 17 tokens", ".".join("a" * 17), "at most 16 tokens"),
    topic("with an escaped slash", "a%2Fb", "letters, digits"),
    nowhere("no topic", sent("POST", "/v1/topics/", b'{"data":1}', JSON)),
    nowhere("a topic with a slash", sent("POST", "/v1/topics/a/b", b'{"data":1}', JSON)),
    nowhere("a topic with a colon", sent("POST", "/v1/topics/a:b", b'{"data":1}', JSON)),
    # -- patterns
    pattern("of two dots", "a..b", "token 2 is empty"),
    pattern("with an angle before its end", "%3E.a", "the last token"),
    pattern("with two angles", "%3E%3E", "alone"),
    pattern("with a star in a token", "a*", "alone"),
    pattern("of 201 characters", "a" * 201, "1 to 200 characters"),
    pattern("of 17 tokens", ".".join("*" * 17), "at most 16 tokens"),
    nowhere("no pattern", get("/v1/topics//events")),
    # -- what is published
    body("that is missing", b"{}", 422, INVALID, '"pointer":"/data"'),
    body("in a list", b'[{"data":1}]', 422, INVALID),
    body("beside another member", b'{"data":1,"key":"k"}', 422, INVALID, '"pointer":"/key"'),
    body("that is no JSON", b'{"data":x}', 400, "malformed-json"),
    body("that is no number of JSON", b'{"data":NaN}', 400, "malformed-json"),
    body("of an integer that is too long", b'{"data":123456789012345678901}', 400, "malformed-json"),
    body("that is nested too deep", b'{"data":' + b"[" * 32 + b"]" * 32 + b"}", 400, "malformed-json"),
    body("of 3 KiB", b'{"data":"' + b"x" * 3072 + b'"}', 413, "too-large"),
    Row(
        "data as text",
        sent("POST", "/v1/topics/order.paid", b"17", "Content-Type: text/plain"),
        415,
        "unsupported-media-type",
        closes=None,
    ),
    Row(
        "two keys of a publish",
        sent("POST", "/v1/topics/a", b'{"data":1}', JSON, "Idempotency-Key: a", "Idempotency-Key: b"),
        400,
        MALFORMED,
        "duplicate Idempotency-Key",
        closes=None,
    ),
]
