"""Frames: what a commit writes into the log, one after another. Pure.

    magic 4 | length 4 | lsn 8 | synced 8 | salt 4 | crc 4 | body

The body is a msgpack array of records (`records.py`). Numbers are little-endian. Rules:

1. `lsn` is the number of the frame. It rises by one from frame to frame, over all segments.
2. `synced` is the lsn below which every frame was on disk when this one was written. It tells damage from a torn tail:
   a frame that can't be read, and that a later one calls synced, was there once.
3. `salt` is drawn for each segment, so that a frame of an older file in the same blocks of the disk isn't one of this.
4. `crc` (zlib's CRC-32) covers head and body.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final, NamedTuple
from zlib import crc32

if TYPE_CHECKING:
    from collections.abc import Iterator

MAGIC: Final = b"\xf7JQ\x01"
"""No text in UTF-8 has its first byte, so that a search rarely finds it within a record."""

_COVERED: Final = Struct("<4sIQQI")
_CRC: Final = Struct("<I")
_HEAD: Final = Struct("<4sIQQII")
HEAD_BYTES: Final = _COVERED.size + _CRC.size
BODY_BYTES_MAX: Final = 2**32 - 1


class FrameHead(NamedTuple):
    """The head of a frame, without its magic."""

    length: int
    lsn: int
    synced: int
    salt: int
    crc: int


class FoundFrame(NamedTuple):
    """A valid frame in some bytes, by its offset in them."""

    offset: int
    head: FrameHead


def frame_bytes(body: bytes) -> int:
    """Return the length of a frame with this body."""
    return HEAD_BYTES + len(body)


def encode_frame(body: bytes, *, lsn: int, synced: int, salt: int) -> bytes:
    """Return a whole frame."""
    covered = _COVERED.pack(MAGIC, len(body), lsn, synced, salt)
    return covered + _CRC.pack(crc32(body, crc32(covered))) + body


def decode_head(data: bytes, offset: int = 0) -> FrameHead | None:
    """Return the head of a frame; None if there can be none: other bytes, too few, or numbers that no frame has."""
    if len(data) - offset < HEAD_BYTES or not data.startswith(MAGIC, offset):
        return None
    _, length, lsn, synced, salt = _COVERED.unpack_from(data, offset)
    (crc,) = _CRC.unpack_from(data, offset + _COVERED.size)
    return FrameHead(length, lsn, synced, salt, crc) if 0 < synced <= lsn else None


def body_at(data: bytes, offset: int, *, lsn: int, salt: int) -> bytes | None:
    """Return the body of the frame with this lsn and salt; None if it isn't there, or not whole.

    `decode_head` and `is_whole` in one, for the reading of a log.
    """
    start = offset + HEAD_BYTES
    if start > len(data):
        return None
    magic, length, own_lsn, synced, own_salt, crc = _HEAD.unpack_from(data, offset)
    if magic != MAGIC or own_lsn != lsn or own_salt != salt or not 0 < synced <= lsn:
        return None
    body = data[start : start + length]
    whole = len(body) == length and crc32(body, crc32(data[offset : start - _CRC.size])) == crc
    return body if whole else None


def is_whole(head: FrameHead, body: bytes | memoryview) -> bool:
    """Whether head and body are those that were written."""
    covered = _COVERED.pack(MAGIC, head.length, head.lsn, head.synced, head.salt)
    return len(body) == head.length and crc32(body, crc32(covered)) == head.crc


def magics(data: bytes) -> Iterator[int]:
    """Yield the offsets in `data` at which a frame may begin."""
    at = data.find(MAGIC)
    while at >= 0:
        yield at
        at = data.find(MAGIC, at + 1)
