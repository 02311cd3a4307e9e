"""Rows of the table: a stream of bytes, and the one right answer to it."""

from __future__ import annotations

import dataclasses
import zlib

JSON = "Content-Type: application/json"
FORM = "Content-Type: multipart/form-data; boundary=xyz"
ECHO = b'{"type":"echo"}'


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """A stream, and its answer.

    Attributes:
        stream: The bytes; the placeholders {DONE}, {FAILED}, {GONE}, {HELD} and {LATER} stand for the ids of jobs,
            {TIME} for five characters that differ each time.
        status: The status; None: the server closes the connection without an answer.
        problem: The name of the problem; empty: the answer is none.
        says: A part of the problem's document.
        closes: The server closes the connection after the answers; else it answers the next request. None: it closes
            the connection if it answers before the whole body has arrived.
        jobs: Number of jobs that the stream submits.
        more: The statuses of further answers, after the first.
        then: Bytes that are sent once the first answer has come.
        eof: The client shuts its sending side down after the stream.
    """

    name: str
    stream: bytes
    status: int | None
    problem: str = ""
    says: str = ""
    closes: bool | None = False
    jobs: int = 0
    more: tuple[int, ...] = ()
    then: bytes = b""
    eof: bool = False


def latin(text: str) -> bytes:
    """Encode a head: characters up to U+00FF are bytes of the same number."""
    return text.encode("latin-1")


def head(line: str, *headers: str) -> bytes:
    """Return a head with a Host."""
    return latin("\r\n".join([line, "Host: h", *headers, "", ""]))


def get(target: str, *headers: str, method: str = "GET") -> bytes:
    return head(f"{method} {target} HTTP/1.1", *headers)


def sent(method: str, target: str, body: bytes, *headers: str) -> bytes:
    """Return a request with a body and its length."""
    return head(f"{method} {target} HTTP/1.1", *headers, f"Content-Length: {len(body)}") + body


def posted(body: bytes, *headers: str) -> bytes:
    """Return a submission; without headers its body is JSON."""
    return sent("POST", "/v1/jobs", body, *(headers or (JSON,)))


def with_args(args: str | bytes) -> bytes:
    """Return a submission with these arguments."""
    text = args if isinstance(args, bytes) else args.encode()
    return posted(b'{"type":"echo","args":{"value":' + text + b"}}")


def chunked(body: bytes, *headers: str) -> bytes:
    """Return a submission that is chunked, with the chunks as given."""
    return head("POST /v1/jobs HTTP/1.1", JSON, *headers, "Transfer-Encoding: chunked") + body


def chunk(data: bytes, extension: bytes = b"") -> bytes:
    return b"%x%b\r\n%b\r\n" % (len(data), extension, data)


LAST_CHUNK = b"0\r\n\r\n"


def form(*parts: tuple[str, bytes], end: bytes = b"--xyz--\r\n") -> bytes:
    """Return a submission by a form; a part is given by its head and its content."""
    lines = [b"--xyz\r\n" + latin(heading) + b"\r\n\r\n" + content + b"\r\n" for heading, content in parts]
    return posted(b"".join(lines) + end, FORM)


JOB_PART = ('Content-Disposition: form-data; name="job"', b'{"type":"sizes"}')


def file_part(name: str, content: bytes = b"x") -> tuple[str, bytes]:
    return f'Content-Disposition: form-data; name="{name}"; filename="f"', content


def gzipped(data: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return packer.compress(data) + packer.flush()
