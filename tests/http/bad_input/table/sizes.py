"""Sizes at a limit, and one over it: of bodies, files, heads, parts, and lists in the target."""

from __future__ import annotations

from tests.http.bad_input.row import (
    ECHO,
    FORM,
    JOB_PART,
    JSON,
    LAST_CHUNK,
    Row,
    chunk,
    chunked,
    file_part,
    form,
    get,
    head,
    posted,
    sent,
)

BODY, HEAD, HEADS, HEADERS, FILES, FILE_BYTES, PART_HEAD = 2048, 1024, 4096, 64, 2, 2048, 8192
LIMITS = {
    "body_bytes": BODY,
    "header_bytes": HEAD,
    "files": FILES,
    "files_bytes": FILE_BYTES,
    "long_poll_max_s": 0.2,
}

FORM_BYTES = BODY + FILE_BYTES + 64 * 1024


def body(size: int) -> bytes:
    return ECHO.ljust(size)


def taken(name: str, stream: bytes) -> Row:
    return Row(name, stream, 202, jobs=1)


def large(name: str, stream: bytes, says: str) -> Row:
    return Row(name, stream, 413, "too-large", says, closes=None)


def unsent(name: str, stream: bytes) -> Row:
    """Return the row of a head with too large a body, which never comes."""
    return Row(name, stream, 413, "too-large", "allowed", closes=True)


def long_head(name: str, stream: bytes) -> Row:
    return Row(name, stream, 431, "head-too-large", closes=True)


def behind(name: str, stream: bytes, status: int) -> Row:
    """Return the row of a head without an end behind another request."""
    problem = "malformed-json" if status == 400 else ""
    return Row(f"a head without an end behind {name}", stream + ENDLESS, status, problem, more=(431,), closes=True)


def many(count: int, size: int = 1) -> list[str]:
    return [f"X-{number}: {'x' * size}" for number in range(count)]


def part_of(name: str, size: int) -> tuple[str, bytes]:
    """Return a part with headers of this size together."""
    heading = f'Content-Disposition: form-data; name="{name}"; filename="f"\r\nX: '
    return heading + "x" * (size - len(heading)), b"x"


ENDLESS = get("/livez", *many(8, 1000))[:-2]

ROWS = [
    # -- JSON
    taken("a body at the limit", posted(body(BODY))),
    large("a body one over the limit", posted(body(BODY + 1)), "2049 bytes, and 2048 are allowed"),
    large("a batch one over the limit", sent("POST", "/v1/jobs:batch", body(BODY + 1), JSON), "2048 are allowed"),
    large("a filter one over the limit", sent("POST", "/v1/jobs:cancel", body(BODY + 1), JSON), "2048 are allowed"),
    large("a change one over the limit", sent("PATCH", "/v1/queues/default", body(BODY + 1), JSON), "2048 are allowed"),
    taken("chunks at the limit", chunked(chunk(body(BODY)) + LAST_CHUNK)),
    taken("many chunks at the limit", chunked(chunk(ECHO) + chunk(b" " * 7) * 290 + chunk(b" " * 3) + LAST_CHUNK)),
    large("chunks one over the limit", chunked(chunk(body(BODY)) + chunk(b" ") + LAST_CHUNK), "2048 bytes"),
    Row(
        "chunks over the limit without an end",
        chunked(chunk(body(BODY)) + chunk(b" " * 3000)),
        413,
        "too-large",
        closes=True,
    ),
    unsent("a length of 2^63 - 1", head("POST /v1/jobs HTTP/1.1", JSON, f"Content-Length: {2**63 - 1}")),
    unsent(
        "a form's length one over the limit",
        head("POST /v1/jobs HTTP/1.1", FORM, f"Content-Length: {FORM_BYTES + 1}"),
    ),
    # -- files
    taken(
        "files at the limit", form(JOB_PART, *(file_part(f"f{n}", b"x" * (FILE_BYTES // FILES)) for n in range(FILES)))
    ),
    large("files one over the limit", form(JOB_PART, file_part("f", b"x" * (FILE_BYTES + 1))), "2048 bytes"),
    large(
        "two files one over the limit", form(JOB_PART, file_part("f", b"x" * FILE_BYTES), file_part("g")), "2048 bytes"
    ),
    large("one file too many", form(JOB_PART, *(file_part(f"f{n}") for n in range(FILES + 1))), "at most 2 files"),
    taken("a job's part at the limit", form((JOB_PART[0], JOB_PART[1].ljust(BODY)))),
    large("a job's part one over the limit", form((JOB_PART[0], JOB_PART[1].ljust(BODY + 1))), "2048 bytes"),
    Row(
        "a part's headers over the limit",
        form(JOB_PART, part_of("f", PART_HEAD)),
        400,
        "malformed-request",
        "the headers of a part",
        closes=None,
    ),
    taken("a part's headers below the limit", form(JOB_PART, part_of("f", PART_HEAD - 10))),
    # -- heads
    Row("a target at the limit", get("/livez?" + "x" * (HEAD - 7)), 200),
    long_head("a target one over the limit", get("/" + "x" * HEAD)),
    long_head("a target without an end", b"GET /" + b"x" * (2 * HEAD)),
    Row("a header below the limit", get("/livez", "X: " + "x" * (HEAD - 10)), 200),
    long_head("a header's value one over the limit", get("/livez", "X: " + "x" * (HEAD + 1))),
    long_head("a header's name one over the limit", get("/livez", "x" * (HEAD + 1) + ": x")),
    long_head("a header without an end", get("/livez")[:-2] + b"X: " + b"x" * (2 * HEAD)),
    Row("as many headers as are allowed", get("/livez", *many(HEADERS - 1)), 200),
    long_head("one header too many", get("/livez", *many(HEADERS))),
    long_head("a thousand headers", get("/livez", *many(1000))),
    long_head("a head without an end", ENDLESS),
    # Behind another request, which is answered first: at once, or after a wait.
    behind("a read", get("/v1/jobs/{DONE}"), 200),
    behind("a list", get("/v1/jobs"), 200),
    behind("a submission", posted(b"{".ljust(1000)), 400),
    behind("a wait", get("/v1/jobs/{HELD}", "Prefer: wait=60"), 202),
    # -- lists and numbers in the target
    Row("100 ids", get("/v1/jobs?ids=" + ",".join("x" * 3 + f"{n:02d}" for n in range(100))), 200),
    Row("101 ids", get("/v1/jobs?ids=" + ",".join(str(n) for n in range(101))), 400, "malformed-request", "1 to 100"),
    Row("a page of 100", get("/v1/jobs?limit=100"), 200),
    Row("a page of 101", get("/v1/jobs?limit=101"), 400, "malformed-request", "1 to 100"),
    # -- names
    taken("an Idempotency-Key at the limit", posted(ECHO, JSON, "Idempotency-Key: {TIME}" + "k" * 250)),
    Row(
        "an Idempotency-Key one over the limit",
        posted(ECHO, JSON, "Idempotency-Key: " + "k" * 256),
        400,
        "malformed-request",
        "255 characters",
        closes=None,
    ),
    taken("a group at the limit", posted(b'{"type":"echo","group":"' + b"g" * 200 + b'"}')),
    taken(
        "a group of 200 characters of four bytes",
        posted(b'{"type":"echo","group":"' + "\U0001f600".encode() * 200 + b'"}'),
    ),
]
