"""UploadedFile: a path in the spool, with the client's name of the file.

The path's own name is the spool's. The client's name is untrusted, so it is sanitised on receipt
(RFC 7578, section 4.2): the last component alone, without control characters, of bounded length.
"""

from __future__ import annotations

import os
import re
from pathlib import Path, PosixPath
from typing import Any

from jobqueue.files.media import DEFAULT_MEDIA_TYPE

FILENAME_BYTES_MAX = 255
"""In UTF-8: the limit of the usual file systems."""

EXTENSION_BYTES_MAX = 32
"""An extension up to this length survives the cut of a longer name."""

# C0 and C1 controls, DEL, the separators of lines and paragraphs, marks and overrides of the writing direction, and
# lone surrogates.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


class UploadedFile(PosixPath):
    """A file that came with a job: a path that may be read until the job ends.

    Attributes:
        filename: The client's name for it, without folders, at most 255 bytes; "" if none was sent. It is safe to
            append to a folder unless it is empty, but two files may have the same.
        media_type: As the client says; `application/octet-stream` if it says none.
        size_bytes: Size of the content.
    """

    # Class attributes, because paths derived from this one (`.parent`) are of this class and have none of their own.
    filename: str = ""
    media_type: str = DEFAULT_MEDIA_TYPE
    size_bytes: int = 0

    @classmethod
    def of(cls, path: str, *, filename: str, media_type: str, size_bytes: int) -> UploadedFile:
        file = cls(path)
        file.filename, file.media_type, file.size_bytes = filename, media_type, size_bytes
        return file

    def with_segments(self, *segments: str | os.PathLike[str]) -> Path:  # type: ignore[override, unused-ignore]  # not Self
        """Derived paths are plain ones (from Python 3.12 on)."""
        return Path(*segments)

    def __reduce__(self) -> tuple[Any, ...]:
        return _remade, (str(self), self.filename, self.media_type, self.size_bytes)


def _remade(path: str, filename: str, media_type: str, size_bytes: int) -> UploadedFile:
    return UploadedFile.of(path, filename=filename, media_type=media_type, size_bytes=size_bytes)


class UploadedFiles(dict[str, Any]):
    """Part name to the file that came under it; to a list of them, in order, where several did."""

    def getall(self, name: str) -> list[UploadedFile]:
        """Return the files of a part name as a list, however many there are."""
        found = self.get(name, [])
        return found if isinstance(found, list) else [found]


def safe_filename(name: str) -> str:
    """Return a client's filename without its folders and control characters, cut to 255 bytes of UTF-8.

    An extension of usual length survives the cut. "" if nothing is left that could name a file.
    """
    last = re.split(r"[/\\]", name)[-1]
    last = _UNSAFE.sub("\N{REPLACEMENT CHARACTER}", last)
    if last in (".", ".."):
        return ""
    stem, extension = os.path.splitext(last)
    if len(extension.encode()) > EXTENSION_BYTES_MAX:
        stem, extension = last, ""
    room_bytes = FILENAME_BYTES_MAX - len(extension.encode())
    return stem.encode()[:room_bytes].decode(errors="ignore") + extension
