"""FileSource: a file to submit, from a path, bytes or an open file.

Rules:

1. A `str` is a path, and so is any `os.PathLike`; `bytes` are content.
2. A tuple gives the name, and the media type if it has a third member; else both come from the path, or from the open
   file's name. A list is several files under one part name.
3. A source can be read more than once, because a request may have to be repeated: an open file is read from where it
   stood when it was given, and one that can't seek is rejected.
4. The size is fixed when the source is made: what is appended later is left out, what is missing later is an error.
"""

from __future__ import annotations

import errno
import inspect
import mimetypes
import os
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

from jobqueue.files.media import DEFAULT_MEDIA_TYPE, is_media_type

Content = str | os.PathLike[str] | bytes | bytearray | memoryview | IO[bytes]
FileLike = Content | tuple[str, Content] | tuple[str, Content, str]
Files = Mapping[str, FileLike | list[FileLike]]

KINDS = "a path, bytes, a file that is open for reading bytes, or a tuple (name, one of these[, media type])"
JOB_PART = "job"
"""The part that holds the submission itself."""

_SURROGATES = re.compile("[\ud800-\udfff]")


class FileSource:
    """One file to be sent or copied, under the name of its part.

    Attributes:
        filename: Without folders; in UTF-8's repertoire, where a file system's name may not be.
    """

    def __init__(self, part: str, given: FileLike) -> None:
        self.part = _speakable(part)
        name, content, media_type = _taken_apart(part, given)
        self._content = content
        self._start = 0
        self.size_bytes = self._measured(content)
        self.filename = _speakable(_name_of(content, part) if name is None else name)
        self.media_type = media_type or mimetypes.guess_type(self.filename)[0] or DEFAULT_MEDIA_TYPE

    def chunks(self, chunk_bytes: int) -> Iterator[bytes]:
        """Read the content, from its beginning, in pieces of at most `chunk_bytes`. For a thread: it may read a disk.

        Raises:
            OSError: The file can't be read, or is shorter than it was.
        """
        left = self.size_bytes
        with self._opened() as file:
            while left:
                chunk = file.read(min(left, chunk_bytes))
                if not chunk:
                    raise OSError(f"{self.filename} shrank while it was sent: its last {left} bytes are missing")
                left -= len(chunk)
                yield chunk

    def _measured(self, content: Content) -> int:
        if isinstance(content, bytes):
            return len(content)
        if isinstance(content, Path):
            found = content.stat()
            if stat.S_ISDIR(found.st_mode):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(content))
            if not stat.S_ISREG(found.st_mode):
                raise ValueError(
                    f"{self._told} is not a regular file, so its size is unknown; read it and pass its bytes"
                )
            return found.st_size
        return self._measured_open(cast("IO[bytes]", content))

    def _measured_open(self, file: IO[bytes]) -> int:
        if inspect.iscoroutinefunction(file.read):
            raise TypeError(f"{self._told} is an asynchronous file; read it and pass its bytes")
        if getattr(file, "closed", False):
            raise ValueError(f"{self._told} has been closed; pass it while it is open, or pass its path")
        if not getattr(file, "readable", lambda: True)():
            raise ValueError(f'{self._told} is open for writing only; open it for reading, as in open(path, "rb")')
        if isinstance(file.read(0), str):
            raise TypeError(f'{self._told} is open as text; open it for bytes, as in open(path, "rb")')
        if not file.seekable():
            raise ValueError(f"{self._told} can't be read twice, as a retry would; read it and pass its bytes")
        self._start = file.tell()
        size_bytes = max(0, file.seek(0, os.SEEK_END) - self._start)
        file.seek(self._start)
        return size_bytes

    @property
    def _told(self) -> str:
        return f"the file {self.part!r}"

    @contextmanager
    def _opened(self) -> Iterator[IO[bytes]]:
        if isinstance(self._content, bytes):
            yield cast("IO[bytes]", _Bytes(self._content))
        elif isinstance(self._content, Path):
            with self._content.open("rb") as opened:
                yield opened
        else:
            file = cast("IO[bytes]", self._content)
            file.seek(self._start)
            yield file  # it stays open: it is its owner's


class _Bytes:
    """Bytes, read in pieces without a copy of the whole."""

    def __init__(self, content: bytes) -> None:
        self._left = memoryview(content)

    def read(self, size: int) -> bytes:
        piece, self._left = self._left[:size], self._left[size:]
        return bytes(piece)


def sources_of(files: Files) -> list[FileSource]:
    """Return every file that is given, in order. It may touch the disk, for the sizes.

    Raises:
        TypeError, ValueError: One can't be a file, or a part name is invalid; the message says which.
        OSError: A path can't be read.
    """
    sources: list[FileSource] = []
    if not isinstance(files, Mapping):
        raise TypeError(f"files= takes names of parts with their files, as in {{'file': ...}}, not {files!r:.100}")
    for part, given in files.items():
        if not isinstance(part, str):
            raise TypeError(f"the name of a file's part is a string, not {part!r}")
        if not part or part == JOB_PART:
            raise ValueError(
                f"{part!r} can't be the name of a file's part: {'it is empty' if not part else 'it is the submission'}"
            )
        sources += [FileSource(part, each) for each in (given if isinstance(given, list) else [given])]
    return sources


def _taken_apart(part: str, given: Any) -> tuple[str | None, Content, str | None]:
    """Return the name and media type that were given, if any, and the content: bytes, a Path, or an open file."""
    name: str | None = None
    media_type: str | None = None
    content = given
    if isinstance(given, tuple):
        if len(given) not in (2, 3) or not all(isinstance(text, str) for text in (given[0], *given[2:])):
            raise TypeError(
                f"the file {part!r} takes (name, content) or (name, content, media type), not {given!r:.100}"
            )
        name, content, media_type = (*given, None)[:3]
        if media_type is not None and not is_media_type(media_type):
            raise ValueError(f"the file {part!r} takes a media type such as 'text/csv', not {media_type!r:.100}")
    if isinstance(content, str | os.PathLike):
        return name, Path(os.fsdecode(content)), media_type
    if isinstance(content, bytes | bytearray | memoryview):
        return name, bytes(content), media_type
    if not callable(getattr(content, "read", None)):
        raise TypeError(f"the file {part!r} takes {KINDS}, not {content!r:.100}")
    return name, content, media_type


def _name_of(content: Content, part: str) -> str:
    """Return the name of the path, or of the open file's; the part's where there is none."""
    path = content if isinstance(content, Path) else getattr(content, "name", None)
    if not isinstance(path, str | bytes | os.PathLike):  # an open file's may be its descriptor
        return part
    return os.path.basename(os.fsdecode(path)) or part


def _speakable(text: str) -> str:
    """Replace lone surrogates, the bytes of a file name that is no UTF-8, as browsers do."""
    return _SURROGATES.sub("\N{REPLACEMENT CHARACTER}", text)
