"""Small logs for the tests of the journal."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import msgspec

from jobqueue.backend.journal.disk import Disk
from jobqueue.backend.journal.folder import JournalFolder
from jobqueue.backend.journal.frame import encode_frame
from jobqueue.backend.journal.reading import LogEnd, read_log
from jobqueue.backend.journal.segment import SEGMENT_HEAD_BYTES, SegmentHead, make_segment
from jobqueue.errors import JournalDamaged
from tests.backend.journal.faulty_disk import FaultyDisk

FOLDER = Path("/journal")


class Written(NamedTuple):
    """A frame of a small log."""

    segment: int
    offset: int
    length: int
    lsn: int
    synced: int


def body(lsn: int) -> bytes:
    return msgspec.msgpack.encode([f"frame{lsn:03}"] * (1 + lsn % 3))


def opened(disk: FaultyDisk) -> JournalFolder:
    disk.locked = False
    return JournalFolder.open(FOLDER, disk)


def write_segment(
    folder: JournalFolder,
    number: int,
    lsns: range,
    *,
    size_bytes: int = 4096,
    synced_every: int = 1,
    salt: int | None = None,
    anew: bool = False,
) -> list[Written]:
    """Write a segment; a sync comes after every so many frames."""
    segment = make_segment(folder, number, size_bytes)
    salt = segment.salt if salt is None else salt
    disk = folder.disk
    disk.write(segment.fd, SegmentHead(number, lsns[0], salt, anew).encode(), 0)
    offset = SEGMENT_HEAD_BYTES
    written = []
    for lsn in lsns:
        synced = lsn - (lsn - 1) % synced_every
        frame = encode_frame(body(lsn), lsn=lsn, synced=synced, salt=salt)
        disk.write(segment.fd, frame, offset)
        written.append(Written(number, offset, len(frame), lsn, synced))
        offset += len(frame)
    disk.sync_data(segment.fd)
    disk.close(segment.fd)
    return written


class Outcome(NamedTuple):
    """What reading a log gave."""

    lsns: list[int]
    end: LogEnd
    damage: JournalDamaged | None


def read(folder: JournalFolder, first: int = 0, *, segment_bytes: int = 0) -> Outcome:
    reading = read_log(folder, first, segment_bytes=segment_bytes)
    lsns = []
    damage = None
    try:
        for frame in reading:
            assert frame.body == body(frame.lsn)
            lsns.append(frame.lsn)
    except JournalDamaged as error:
        damage = error
    return Outcome(lsns, reading.end, damage)


def content(disk: FaultyDisk, number: int) -> bytearray:
    return disk.names_now[f"{number:08}.log"].data


__all__ = ["FOLDER", "Disk", "Outcome", "Written", "body", "content", "opened", "read", "write_segment"]
