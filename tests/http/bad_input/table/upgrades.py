"""Upgrades: the server speaks HTTP/1.1 alone, and answers as if none was asked for (RFC 9110, section 7.8)."""

from __future__ import annotations

from tests.http.bad_input.row import ECHO, JSON, Row, get, posted

H2C = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__")
WEBSOCKET = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version: 13",
)


def passed_over(name: str, *lines: str) -> Row:
    # The connection is closed where bytes might follow that are another protocol's, as in a head that comes in pieces.
    return Row(name, get("/v1/jobs/{DONE}", *lines), 200, closes=None)


ROWS = [
    passed_over("h2c", *H2C),
    passed_over("h2c without settings", "Connection: Upgrade", "Upgrade: h2c"),
    passed_over("an Upgrade without a Connection", "Upgrade: h2c"),
    passed_over("a Connection without an Upgrade", "Connection: Upgrade"),
    passed_over("an empty Upgrade", "Connection: Upgrade", "Upgrade:"),
    passed_over("an Upgrade of commas", "Connection: Upgrade", "Upgrade: ,,"),
    passed_over("an Upgrade with bytes above 0x7F", "Connection: Upgrade", "Upgrade: \xff"),
    passed_over("TLS", "Connection: Upgrade", "Upgrade: TLS/1.0"),
    passed_over("a list", "Connection: Upgrade", "Upgrade: HTTP/2.0, SHTTP/1.3, IRC/6.9"),
    Row("h2c of a submission", posted(ECHO, JSON, *H2C), 202, jobs=1, closes=None),
    Row("h2c of an invalid submission", posted(b"{", JSON, *H2C), 400, "malformed-json", closes=None),
    Row("h2c of nowhere", get("/nope", *H2C), 404, "not-found", closes=None),
    # aiohttp stops its parser at an upgrade that it knows, so that nothing more can be read.
    Row("a WebSocket", get("/v1/jobs/{DONE}", *WEBSOCKET), 200, closes=None),
    Row("a WebSocket of nowhere", get("/nope", *WEBSOCKET), 404, "not-found", closes=None),
    Row("a WebSocket without a key", get("/livez", "Connection: Upgrade", "Upgrade: websocket"), 200, closes=None),
    Row(
        "a WebSocket of an unknown version",
        get("/livez", *WEBSOCKET[:3], "Sec-WebSocket-Version: 99"),
        200,
        closes=None,
    ),
    # The bytes behind an upgrade that was not taken may be another protocol's: they are not read as requests.
    Row("a request right behind h2c", get("/livez", *H2C) + posted(ECHO), 200, closes=None),
    Row(
        "a preface behind h2c",
        get("/livez", *H2C) + b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        200,
        closes=None,
    ),
]
