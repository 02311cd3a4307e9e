"""The file of a snapshot: frames (`frame.py`) with the bodies of records, one after another.

Rules:

1. It is written under a temporary name, synced, and renamed: a file with its own name is whole, or damaged.
2. Its frames are numbered from 1. The last one has an empty body, so that a file that was cut between two is noticed.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

from jobqueue.backend.journal.frame import HEAD_BYTES, decode_head, encode_frame, is_whole
from jobqueue.backend.journal.reading import Frame, naming
from jobqueue.backend.journal.segment import new_salt
from jobqueue.errors import JournalDamaged

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jobqueue.backend.journal.folder import JournalFolder

SYNC_BYTES: Final = 8 * 1024 * 1024
"""Bytes between two syncs: one of a great file would hold up those of the log beside it."""

_BLOCK_BYTES: Final = 1024 * 1024


class SnapshotFile:
    """A snapshot in the making; a `snapshot_walk.Sink`. The file is made with the first body.

    Args:
        number: That of the segment with which the log goes on.

    Attributes:
        size_bytes: What is written so far.
    """

    def __init__(self, folder: JournalFolder, number: int) -> None:
        self.size_bytes = self._synced_bytes = 0
        self._folder = folder
        self._disk = folder.disk
        self._path = folder.snapshot_path(number)
        self._temporary = folder.temporary(self._path)
        self._salt = new_salt()
        self._lsn = 0
        self._fd = -1

    def write(self, body: bytes) -> None:
        """Write a body, and wait for the disk now and then. Raises OSError; then `abandon` it."""
        if not self._lsn:
            self._fd = self._disk.create(self._temporary)
        self._lsn += 1
        frame = encode_frame(body, lsn=self._lsn, synced=self._lsn, salt=self._salt)
        self._disk.write(self._fd, frame, self.size_bytes)
        self.size_bytes += len(frame)
        if self.size_bytes >= self._synced_bytes + SYNC_BYTES:
            self._disk.sync_data(self._fd)
            self._synced_bytes = self.size_bytes

    def finish(self) -> None:
        """Wait until the file is on the disk, and give it its name. Raises OSError; then `abandon` it."""
        self.write(b"")
        self._disk.sync_file(self._fd)
        self._close()
        self._disk.rename(self._temporary, self._path)
        self._folder.sync()

    def abandon(self) -> None:
        """Remove what is there of it, as far as the disk lets it."""
        with suppress(OSError):
            self._close()
        with suppress(OSError):
            self._disk.unlink(self._temporary)

    def _close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            self._disk.close(fd)


def read_snapshot(folder: JournalFolder, number: int) -> Iterator[Frame]:
    """Yield the frames of a snapshot. Raises JournalDamaged where it is not as it was written, JournalError."""
    path, disk = folder.snapshot_path(number), folder.disk
    with naming(path):
        fd = disk.open(path)
        size_bytes = disk.size_of(path)
    try:
        offset, lsn, salt, is_closed = 0, 1, -1, False
        block, start = b"", 0
        while offset < size_bytes:
            if offset + HEAD_BYTES > start + len(block):
                with naming(path):
                    block, start = disk.read(fd, _BLOCK_BYTES, offset), offset
            head = None if is_closed else decode_head(block, offset - start)
            if head is None or head.lsn != lsn or salt not in (-1, head.salt):
                raise JournalDamaged(str(path), offset, f"frame {lsn} of the snapshot can't be read")
            end = offset + HEAD_BYTES + head.length
            if end > start + len(block):
                with naming(path):
                    block, start = disk.read(fd, max(_BLOCK_BYTES, HEAD_BYTES + head.length), offset), offset
            body = block[offset + HEAD_BYTES - start : end - start]
            if not is_whole(head, body):
                raise JournalDamaged(str(path), offset, f"frame {lsn} of the snapshot can't be read")
            if not body:
                is_closed = True
            else:
                yield Frame(number, offset, lsn, body)
            offset, lsn, salt = end, lsn + 1, head.salt
        if not is_closed:
            raise JournalDamaged(str(path), offset, "the end of the snapshot is missing")
    finally:
        disk.close(fd)
