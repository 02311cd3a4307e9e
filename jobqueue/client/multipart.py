"""A submission with files, as multipart/form-data (RFC 7578), read from its files while it is sent."""

from __future__ import annotations

import mimetypes
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from jobqueue.client.documents import PathLike

CHUNK_BYTES = 1 << 18


class Multipart:
    """A multipart/form-data body (RFC 7578), read from its files while it is sent."""

    def __init__(self, job: bytes, files: Mapping[str, PathLike]) -> None:
        self.boundary = secrets.token_hex(16)
        self._start = self._head('name="job"', "application/json") + job
        self._files = [
            (self._file_head(name, Path(path)), Path(path), os.path.getsize(path)) for name, path in files.items()
        ]
        self._end = f"\r\n--{self.boundary}--\r\n".encode()
        self.size_bytes = len(self._start) + sum(len(head) + size for head, _, size in self._files) + len(self._end)

    def chunks(self) -> Iterator[bytes]:
        """Read the body, from its beginning.

        Raises:
            OSError: A file can't be read, or is shorter than it was.
        """
        yield self._start
        for head, path, size in self._files:
            yield head
            with path.open("rb") as file:
                while size:
                    chunk = file.read(min(size, CHUNK_BYTES))
                    if not chunk:
                        raise OSError(f"{path} shrank while it was sent: its last {size} bytes are missing")
                    size -= len(chunk)
                    yield chunk
        yield self._end

    def _file_head(self, name: str, path: Path) -> bytes:
        media_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        return b"\r\n" + self._head(f'name="{_quoted(name)}"; filename="{_quoted(path.name)}"', media_type)

    def _head(self, names: str, media_type: str) -> bytes:
        lines = (
            f"--{self.boundary}",
            f"Content-Disposition: form-data; {names}",
            f"Content-Type: {media_type}",
            "",
            "",
        )
        return "\r\n".join(lines).encode()


def _quoted(name: str) -> str:
    # As browsers escape it (HTML, "multipart/form-data encoding algorithm").
    return name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
