"""Bodies that do not end: 408 once their time is over (RFC 9110, section 15.5.9), 400 if it can't come."""

from __future__ import annotations

from tests.http.bad_input.row import ECHO, FORM, JOB_PART, JSON, Row, chunk, chunked, form, head, posted, sent

LIMITS = {"body_timeout_s": 0.3}

FILE = b'--xyz\r\nContent-Disposition: form-data; name="f"\r\n\r\nx'


def stopped(name: str, stream: bytes) -> list[Row]:
    """Return the rows of a client that stops in the middle, and of one that shuts its sending side down there."""
    return [
        Row(f"{name}, and a pause", stream, 408, "body-too-slow", "0.3 s", closes=True),
        Row(f"{name}, and a half-close", stream, 400, "malformed-request", "", closes=True, eof=True),
    ]


ROWS = [
    *stopped("no byte of a body", head("POST /v1/jobs HTTP/1.1", JSON, "Content-Length: 15")),
    *stopped("all but a byte", posted(ECHO)[:-1]),
    *stopped("a whole document in a longer body", head("POST /v1/jobs HTTP/1.1", JSON, "Content-Length: 16") + ECHO),
    *stopped("all but a byte of a batch", sent("POST", "/v1/jobs:batch", b'{"jobs":[]}', JSON)[:-1]),
    *stopped("all but a byte of a filter", sent("POST", "/v1/jobs:cancel", b'{"type":"hold"}', JSON)[:-1]),
    *stopped("all but a byte of a queue's change", sent("PATCH", "/v1/queues/default", b'{"weight":2}', JSON)[:-1]),
    *stopped("a submission under a key", posted(ECHO, JSON, "Idempotency-Key: k")[:-1]),
    *stopped("a submission that waits", posted(ECHO, JSON, "Prefer: wait=60")[:-1]),
    *stopped("no chunk", chunked(b"")),
    *stopped("a size without its end", chunked(b"f")),
    *stopped("a chunk without its end", chunked(chunk(ECHO)[:-3])),
    *stopped("chunks without the last", chunked(chunk(ECHO))),
    *stopped("the last chunk without its end", chunked(chunk(ECHO) + b"0\r\n")),
    *stopped("a trailer without its end", chunked(chunk(ECHO) + b"0\r\nX: y\r\n")),
    *stopped("a chunk of 2^64 - 1 bytes", chunked(b"f" * 16 + b"\r\n" + ECHO + b"\r\n0\r\n\r\n")),
    *stopped("a form without a part", head("POST /v1/jobs HTTP/1.1", FORM, "Content-Length: 99")),
    *stopped("a form without its last boundary", form(JOB_PART, end=FILE + b"\r\n--xyz--")[:-2]),
    *stopped("a form without a byte", form(end=b"--xyz--")[:-1]),
]
