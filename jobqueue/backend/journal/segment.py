"""Segments: the files of the log, each made with room for frames before it is needed.

A segment begins with a head, and frames follow it:

    magic 4 | flags 4 | number 8 | first lsn 8 | salt 4 | crc 4

Rules:

1. A segment is allocated, synced and renamed before it is written, so that a full disk is met while there still is
   room. Until then it is the *spare*, and holds zeros, its head included.
2. The head is written with the first frame. It says with which lsn the segment goes on.
3. A segment that begins *anew* does not go on from the one before: it follows a failure of the disk, and a whole
   snapshot. Without that snapshot it counts for nothing.
4. Once the next one is written and on the disk, a segment is cut behind its last frame.
"""

from __future__ import annotations

import secrets
from contextlib import suppress
from dataclasses import dataclass
from struct import Struct
from typing import TYPE_CHECKING, Final, NamedTuple
from zlib import crc32

if TYPE_CHECKING:
    from jobqueue.backend.journal.disk import Disk
    from jobqueue.backend.journal.folder import JournalFolder

SEGMENT_BYTES: Final = 64 * 1024 * 1024
"""Size that a segment is made with; for a greater record it is more. Were it raised, the last segment and the spare of
an earlier version would be taken for cut ones."""

_MAGIC: Final = b"\xf7JS\x01"
_COVERED: Final = Struct("<4sIQQI")
_CRC: Final = Struct("<I")
SEGMENT_HEAD_BYTES: Final = _COVERED.size + _CRC.size

_ANEW: Final = 1


class SegmentHead(NamedTuple):
    """The head of a segment."""

    number: int
    first_lsn: int
    salt: int
    anew: bool = False

    def encode(self) -> bytes:
        """Return the head as it is written."""
        covered = _COVERED.pack(_MAGIC, _ANEW if self.anew else 0, self.number, self.first_lsn, self.salt)
        return covered + _CRC.pack(crc32(covered))


def decode_segment_head(data: bytes, number: int) -> SegmentHead | None:
    """Return the head of the segment of this number; None if these bytes are none."""
    if len(data) < SEGMENT_HEAD_BYTES or not data.startswith(_MAGIC):
        return None
    _, flags, own, first_lsn, salt = _COVERED.unpack_from(data)
    (crc,) = _CRC.unpack_from(data, _COVERED.size)
    if crc != crc32(data[: _COVERED.size]) or own != number or flags > _ANEW:
        return None
    return SegmentHead(number, first_lsn, salt, flags == _ANEW)


@dataclass(slots=True, eq=False)
class Segment:
    """An open segment.

    Attributes:
        number: Of the file.
        fd: The descriptor, for writing.
        size_bytes: Of the file.
        salt: Of its frames.
        offset: Where the next frame goes; 0 in a spare.
    """

    number: int
    fd: int
    size_bytes: int
    salt: int
    offset: int = 0

    @property
    def room_bytes(self) -> int:
        """Bytes that frames may still take."""
        return self.size_bytes - max(self.offset, SEGMENT_HEAD_BYTES)


def make_segment(folder: JournalFolder, number: int, size_bytes: int) -> Segment:
    """Make a spare segment, and leave nothing if that fails. Raises OSError."""
    disk = folder.disk
    path = folder.segment_path(number)
    temporary = folder.temporary(path)
    fd = disk.create(temporary)
    try:
        disk.allocate(fd, size_bytes)
        disk.sync_file(fd)
        disk.rename(temporary, path)
        folder.sync()
    except BaseException:
        disk.close(fd)
        for left in (temporary, path):
            with suppress(OSError):
                disk.unlink(left)
        raise
    return Segment(number, fd, size_bytes, new_salt())


def grow_segment(disk: Disk, segment: Segment, size_bytes: int) -> None:
    """Make a spare greater. Raises OSError."""
    disk.allocate(segment.fd, size_bytes)
    disk.sync_file(segment.fd)
    segment.size_bytes = size_bytes


def new_salt() -> int:
    """Draw the salt of a segment."""
    return secrets.randbits(32)
