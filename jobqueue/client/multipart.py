"""A submission with files, as multipart/form-data (RFC 7578), read from its files while it is sent."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from jobqueue.files.source import sources_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jobqueue.files.source import Files, FileSource

CHUNK_BYTES = 1 << 18


class Multipart:
    """A multipart/form-data body, which may be read more than once. Raises as `sources_of` when it is made."""

    def __init__(self, job: bytes, files: Files) -> None:
        self.boundary = secrets.token_hex(16)
        self._start = self._head('name="job"', "application/json") + job
        self._files = [(self._file_head(source), source) for source in sources_of(files)]
        self._end = f"\r\n--{self.boundary}--\r\n".encode()
        files_bytes = sum(len(head) + source.size_bytes for head, source in self._files)
        self.size_bytes = len(self._start) + files_bytes + len(self._end)

    def chunks(self) -> Iterator[bytes]:
        """Read the body, from its beginning. Raises OSError if a file can't be read, or is shorter than it was."""
        yield self._start
        for head, source in self._files:
            yield head
            yield from source.chunks(CHUNK_BYTES)
        yield self._end

    def _file_head(self, source: FileSource) -> bytes:
        names = f'name="{_quoted(source.part)}"; filename="{_quoted(source.filename)}"'
        return b"\r\n" + self._head(names, source.media_type)

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
    # As browsers escape it (HTML, "multipart/form-data encoding algorithm"): these three, and nothing else.
    return name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
