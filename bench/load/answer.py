"""An answer of the server as the bytes that came: its length, its headers and its body, cut out by searching."""

from __future__ import annotations


def content_length(data: bytes, end: int) -> int | None:
    """Return the Content-Length of the head that ends at `end`; None if the answer is chunked. Raises ValueError."""
    at = data.find(b"ontent-Length: ", 0, end)
    if at < 0:
        at = data.find(b"ontent-length: ", 0, end)
        if at < 0:
            if b"ransfer-encoding: chunked" in data[:end].replace(b"E", b"e"):
                return None
            raise ValueError(f"neither a Content-Length nor chunks: {data[:end]!r}")
    stop = data.find(b"\r", at, end + 1)
    return int(data[at + 15 : stop])


def body_of(data: bytes) -> bytes:
    """Return what comes after the head."""
    return data[data.find(b"\r\n\r\n") + 4 :]


def header(data: bytes, name: bytes) -> bytes | None:
    """Return a header's value; its name in any case."""
    end = data.find(b"\r\n\r\n")
    at = data[: end + 2].lower().find(b"\r\n" + name.lower() + b": ")
    if at < 0:
        return None
    return data[at + len(name) + 4 : data.find(b"\r\n", at + 2)]
