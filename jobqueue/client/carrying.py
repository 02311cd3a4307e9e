"""What both clients do alike when they carry a request: check, frame, save whole, say what went wrong."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING
from urllib.parse import urlsplit

from jobqueue.client.answers import FateUnknown, NoAnswer, Request, Unreachable
from jobqueue.client.multipart import Multipart

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def checked_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError(f"{url!r} is no server's URL; one looks like http://127.0.0.1:8080")
    return url.rstrip("/")


def framed(request: Request) -> tuple[dict[str, str], bytes | Iterator[bytes] | None]:
    headers = dict(request.headers)
    if not isinstance(request.body, Multipart):
        return headers, request.body
    headers["Content-Length"] = str(request.body.size_bytes)
    return headers, request.body.chunks()


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a file that stands at `path` only once it is whole."""
    part = path.with_name(path.name + ".part")
    try:
        with part.open("wb") as file:
            yield file
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def no_answer(request: Request, url: str, error: Exception, *, unsent: bool) -> NoAnswer:
    why = str(error) or type(error).__name__
    if unsent:
        return Unreachable(f"{url} can't be reached: {why}")
    if request.method == "POST":
        return FateUnknown(f"{url} was sent a POST, but no answer came ({why}): it may have taken effect")
    return NoAnswer(f"{url} did not answer: {why}")
