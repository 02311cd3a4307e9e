"""Files in the spool, as records name them."""

from __future__ import annotations

import msgspec


class StoredFile(msgspec.Struct, frozen=True, gc=False):
    """A file in the spool: an input that a client uploaded, or the result that a handler wrote.

    `filename` is the client's name for it, sanitised; it is no part of `path`.
    """

    path: str
    media_type: str
    size_bytes: int
    filename: str = ""


class Upload(msgspec.Struct, frozen=True, gc=False):
    """The files that came with a submission: their folder in the spool, and those of each part name, in order."""

    folder: str
    files: dict[str, tuple[StoredFile, ...]]
