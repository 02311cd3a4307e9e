"""Heads that do not end: the connection is closed once its time is over, since no request can be answered."""

from __future__ import annotations

from tests.http.bad_input.row import Row, posted

LIMITS = {"idle_timeout_s": 0.5}

PARTS = {
    "no byte": b"",
    "a byte": b"P",
    "an empty line": b"\r\n",
    "half a line": b"POST /v1",
    "a line": b"POST /v1/jobs HTTP/1.1\r\n",
    "half a header": b"POST /v1/jobs HTTP/1.1\r\nHos",
    "all but the end": posted(b"")[:-4],
    "all but the last byte": posted(b"")[:-1],
}

ROWS = [
    *(Row(f"{name}, and a pause", stream, None) for name, stream in PARTS.items()),
    *(Row(f"{name}, and a half-close", stream, None, eof=True) for name, stream in PARTS.items()),
]
