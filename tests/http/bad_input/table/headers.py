"""Header lines (RFC 9112, section 5), the Host, and headers with unreadable values."""

from __future__ import annotations

from tests.http.bad_input.row import ECHO, JSON, Row, get, latin, posted

END = "Connection: close"


def raw(*lines: str) -> bytes:
    return latin("\r\n".join(["GET /livez HTTP/1.1", *lines, "", ""]))


def bad(name: str, *lines: str, says: str = "") -> Row:
    return Row(name, raw(*lines), 400, "malformed-request", says, closes=True)


def host(name: str, value: str) -> Row:
    return Row(f"a Host: {name}", raw(f"Host: {value}"), 421, "misdirected-request")


def passed_over(name: str, *lines: str) -> Row:
    """Return the row of a header that means nothing here, or that may be ignored if it can't be read."""
    return Row(name, get("/v1/jobs/{DONE}", *lines), 200)


def key(name: str, *lines: str) -> Row:
    """Return the row of an Idempotency-Key that can't be read: a submission must not run twice for it."""
    return Row(f"a key {name}", posted(ECHO, JSON, *lines), 400, "malformed-request", "Idempotency-Key", closes=None)


ROWS = [
    # -- Host (section 3.2)
    bad("no Host", says="Missing 'Host' header in request."),
    bad("two Hosts", "Host: h", "Host: h"),
    bad("two differing Hosts", "Host: h", "Host: evil"),
    host("empty", ""),
    host("another", "evil"),
    host("a list", "h, h"),
    host("with a user", "h@evil"),
    host("with a path", "h/livez"),
    host("with a space", "h evil"),
    host("with a port in letters", "h:x"),
    host("an open bracket", "[::1"),
    host("bytes above 0x7F", "h\xff"),
    host("a URL", "http://h"),
    # -- lines
    bad("a line without a colon", "Host: h", "nonsense"),
    bad("an empty name", "Host: h", ": x"),
    bad("a colon alone", "Host: h", ":"),
    bad("a space in a name", "Host: h", "Bad Header: x"),
    bad("a space before the colon", "Host: h", "X : x"),
    bad("a space before the first name", " Host: h"),
    bad("a folded line", "Host: h", "X: x", " y"),
    bad("a line folded by a tab", "Host: h", "X: x", "\ty"),
    bad("a name in parentheses", "Host: h", "(X): x"),
    bad("a name in quotes", "Host: h", '"X": x'),
    bad("a name with a NUL", "Host: h", "X\0: x"),
    bad("a name with bytes above 0x7F", "Host: h", "\xff: x"),
    bad("a name with a slash", "Host: h", "X/Y: x"),
    bad("a value with a NUL", "Host: h", "X: \0"),
    bad("a value with a carriage return", "Host: h", "X: x\ry"),
    bad("a value with a line feed", "Host: h", "X: x\ny"),
    bad("a value with a control character", "Host: h", "X: \x01"),
    bad("a value with DEL", "Host: h", "X: \x7f"),
    passed_over("a value with bytes above 0x7F", "X: \xff"),
    passed_over("an empty value", "X:"),
    passed_over("an empty value of spaces", "X:  \t "),
    passed_over("a long list of commas", "X: " + "," * 900),
    # -- preferences, conditions and ranges
    *(
        passed_over(f"a preference {value}", f"Prefer: {value}")
        for value in ("wait", "wait=", "wait=-1", "wait=1.5", 'wait="1', "wait=x", "=", ";", "\xff", "respond-async")
    ),
    *(
        passed_over(f"a condition {value}", f"If-None-Match: {value}")
        for value in ("", '"', "W/", 'W/"', '"x', "nonsense", '"\xff"', ",,,", '""""', "w/*")
    ),
    passed_over("a range", "Range: bytes=0-1"),
    passed_over("a range without an end", "Range: bytes=" + "0-," * 200),
    passed_over("a date that is none", "If-Modified-Since: nonsense"),
    passed_over("a date as a condition", "If-Unmodified-Since: Thu, 01 Jan 1970 00:00:00 GMT"),
    passed_over("an Accept of nothing", "Accept: ;q=x"),
    passed_over("a cookie", "Cookie: =;=;" + "x" * 500),
    passed_over("another method", "X-HTTP-Method-Override: DELETE"),
    passed_over("another target", "X-Original-URL: /v1/jobs:cancel"),
    passed_over("another client", "X-Forwarded-For: 1.2.3.4", "Forwarded: for=nonsense"),
    passed_over("a Connection of another header", "Connection: Host, Content-Length"),
    passed_over("credentials", "Authorization: \xff"),
    passed_over("a TE", "TE: trailers, nonsense;q=x"),
    # -- Idempotency-Key
    key("that is empty", "Idempotency-Key:"),
    key("that is empty in quotes", 'Idempotency-Key: ""'),
    key("without its closing quote", 'Idempotency-Key: "k'),
    key("of a quote", 'Idempotency-Key: "'),
    key("with a quote inside", 'Idempotency-Key: "a"b"'),
    key("with an unknown escape", 'Idempotency-Key: "a\\b"'),
    key("in two lines", "Idempotency-Key: k", "Idempotency-Key: k"),
    key("with a tab", 'Idempotency-Key: "a\tb"'),
    key("with bytes above 0x7F", "Idempotency-Key: caf\xe9"),
    key("with parameters", 'Idempotency-Key: "k";x=1'),
    Row(
        "a key of a batch",
        posted(b'{"jobs":[]}', JSON, "Idempotency-Key: k").replace(b"/v1/jobs", b"/v1/jobs:batch"),
        400,
        "malformed-request",
        "Idempotency-Key",
        closes=None,
    ),
]
