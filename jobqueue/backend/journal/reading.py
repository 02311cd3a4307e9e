"""Reading the log: its frames in order, and where it ends.

Rules:

1. Frames are read in the order of their lsn, from segment to segment, until one can't be read: the *end*.
2. At the end, all that follows is searched for a frame that calls the missing one synced (`frame.py`). There is one:
   the missing frame was on disk, and the journal is damaged. There is none: the tail was torn by a crash, before any
   promise was made for it. It is cut.
3. A segment that begins anew (`segment.py`) counts only as the first one. Otherwise its snapshot was never completed.
4. Files that are missing at the end of the log, or were cut there, leave no frame that tells. The numbers of the files
   and the size of the last segment and of the spare tell instead: a segment gets its name when it is whole and on the
   disk, and is cut behind its last frame only once the log goes on in the next one.
5. Reading changes nothing; `cut_log` does.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

from jobqueue.backend.journal.frame import HEAD_BYTES, FrameHead, body_at, decode_head, is_whole, magics
from jobqueue.backend.journal.segment import (
    SEGMENT_BYTES,
    SEGMENT_HEAD_BYTES,
    SegmentHead,
    decode_segment_head,
    make_segment,
)
from jobqueue.errors import JournalDamaged, JournalError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

    from jobqueue.backend.journal.disk import Disk
    from jobqueue.backend.journal.folder import JournalFolder

_BLOCK_BYTES: Final = 1024 * 1024
_ZEROS: Final = bytes(_BLOCK_BYTES + HEAD_BYTES)


class Frame(NamedTuple):
    """A frame of the log; `body` is a msgpack array of records."""

    segment: int
    offset: int
    lsn: int
    body: bytes


class LogEnd(NamedTuple):
    """The end of the log, and what is to be done with all that lies beyond it.

    Attributes:
        segment: Number of the last segment; 0: there is none.
        offset: Where the next frame goes.
        lsn: Of the next frame.
        salt: Of the last segment.
        torn_bytes: Bytes of the torn tail, which are cut.
        first: Number of the snapshot that the log goes on from; 0: from none.
        kept: Numbers of the segments up to the last one.
        spare: Number of the segment after it, if that is an unused one; 0: there is none.
        dropped: Numbers of the segments that hold only what is cut.
    """

    segment: int = 0
    offset: int = 0
    lsn: int = 1
    salt: int = 0
    torn_bytes: int = 0
    first: int = 0
    kept: tuple[int, ...] = ()
    spare: int = 0
    dropped: tuple[int, ...] = ()


def read_log(folder: JournalFolder, first: int = 0, *, segment_bytes: int = 0) -> Reading:
    """Return the frames of a log, to be iterated once.

    Args:
        first: Number of the latest snapshot; the log goes on with the segment of this number. 0: there is no snapshot.
        segment_bytes: Size that each segment was made with, at least. Defaults to 0, any size.
    """
    return Reading(folder, first, segment_bytes)


class Reading:
    """The frames of a log. After them `end` is where they end, also if iterating raised JournalDamaged.

    Raises:
        JournalDamaged: A frame that was on disk can't be read any more.
        JournalError: A file can't be read at all.
    """

    def __init__(self, folder: JournalFolder, first: int, segment_bytes: int) -> None:
        self.end = LogEnd(first=first)
        self._folder = folder
        self._first = first
        self._segment_bytes = segment_bytes

    def __iter__(self) -> Iterator[Frame]:
        files: dict[int, _SegmentFile] = {}
        try:
            for number in self._folder.segments():
                if number >= self._first:
                    files[number] = _SegmentFile(self._folder.disk, self._folder.segment_path(number), number)
            yield from self._frames(list(files.values()))
        finally:
            for file in files.values():
                file.close()

    def _frames(self, files: list[_SegmentFile]) -> Iterator[Frame]:
        chain = [file for at, file in enumerate(files) if not at or not _any_anew(files[1 : at + 1])]
        abandoned = tuple(file.number for file in files[len(chain) :])
        lsn, offset, at = self._check_begin(chain, abandoned), 0, -1
        while at + 1 < len(chain):
            head = chain[at + 1].head
            if head is None or head.first_lsn != lsn:
                break
            at += 1
            offset = SEGMENT_HEAD_BYTES
            lsn, offset = yield from chain[at].frames(offset, lsn)
        self._finish(chain, at, offset, lsn, abandoned)

    def _check_begin(self, chain: list[_SegmentFile], abandoned: tuple[int, ...]) -> int:
        """Return the lsn that the log begins with. Raises JournalDamaged."""
        head = chain[0].head if chain else None
        if head is not None and (head.first_lsn == 1 if not self._first else head.number == self._first):
            return head.first_lsn
        if self._first:
            reason = "the segment that the snapshot of this number goes on with is missing or has no head"
        elif head is not None:
            reason = (
                f"it goes on with frame {head.first_lsn}, and neither a segment nor a snapshot tells what came before"
            )
        else:
            return 1
        number = self._first or chain[0].number
        dropped = (*(file.number for file in chain), *abandoned)
        self.end = LogEnd(first=self._first, dropped=dropped)
        raise JournalDamaged(str(self._folder.segment_path(number)), 0, reason)

    def _finish(self, chain: list[_SegmentFile], at: int, offset: int, lsn: int, abandoned: tuple[int, ...]) -> None:
        """Tell the end, a torn one included, from damage. Raises JournalDamaged."""
        searched = [(file, offset if file is chain[at] and at >= 0 else 0) for file in chain[max(at, 0) :]]
        tails = [file.tail_bytes(start) for file, start in searched]
        later = [file.number for file in chain[at + 1 :]]
        last = chain[at].head if at >= 0 else None
        is_spare = bool(later) and not any(tails[-len(later) :][:1]) and self._fits(chain[at + 1], last)
        spare = later[0] if is_spare else 0
        self.end = LogEnd(
            segment=0 if last is None else last.number,
            offset=offset,
            lsn=lsn,
            salt=0 if last is None else last.salt,
            torn_bytes=sum(tails),
            first=self._first,
            kept=tuple(file.number for file in chain[: at + 1]),
            spare=spare,
            dropped=(*later[1 if is_spare else 0 :], *abandoned),
        )
        self._check_numbers(chain, at)
        for file, start in searched:
            witness = file.witness(start, lsn)
            if witness is not None:
                raise self._damage(chain, at, offset, lsn, witness)
        self._check_sizes(chain, at)

    def _fits(self, file: _SegmentFile, before: SegmentHead | None) -> bool:
        """Whether a file is as it was made, and the next one after a segment, or the first one."""
        is_next = file.number == (0 if before is None else before.number) + 1
        return is_next and file.size_bytes >= max(self._segment_bytes, SEGMENT_HEAD_BYTES + 1)

    def _check_numbers(self, chain: list[_SegmentFile], at: int) -> None:
        """Raise JournalDamaged if a segment was removed that the log went on with."""
        path, numbers = self._folder.segment_path, [file.number for file in chain[max(at, 0) :]]
        for number, following in pairwise(numbers if at >= 0 else [0, *numbers]):
            if following != number + 1:
                reason = f"the segment is missing: there is one after it ({path(following).name})"
                raise JournalDamaged(str(path(number + 1)), 0, reason)

    def _check_sizes(self, chain: list[_SegmentFile], at: int) -> None:
        """Raise JournalDamaged if a file at the end of the log was cut, emptied or removed by another program.

        The writer cuts a file behind its last frame, once the next one is on the disk: then that one is damaged.
        """
        path = self._folder.segment_path
        for file in chain[max(at, 0) :]:
            if file.size_bytes < self._segment_bytes:
                if file.number == self.end.segment and file.size_bytes == self.end.offset:
                    before = path(file.number).name
                    reason = f"the segment is missing or has no head: it was on disk when {before} was cut"
                    raise JournalDamaged(str(path(file.number + 1)), 0, reason)
                reason = f"the file ends there, and was made with {self._segment_bytes:,} bytes or more"
                raise JournalDamaged(str(path(file.number)), file.size_bytes, reason)
        if at < 0 and len(chain) > 1:
            reason = f"the segment has no head, and had one before the next one was made ({path(2).name})"
            raise JournalDamaged(str(path(1)), 0, reason)

    def _damage(self, chain: list[_SegmentFile], at: int, offset: int, lsn: int, witness: Frame) -> JournalDamaged:
        number = chain[max(at, 0)].number
        reason = f"frame {lsn} can't be read"
        if witness.segment != number and chain[at + 1].head is None:
            number, offset = chain[at + 1].number, 0
            reason = "the head of the segment can't be read"
        file = self._folder.segment_path(witness.segment).name
        reason += f", and was on disk when frame {witness.lsn} was written ({file}, byte {witness.offset})"
        return JournalDamaged(str(self._folder.segment_path(number)), offset, reason)


def _any_anew(files: list[_SegmentFile]) -> bool:
    return any(file.head is not None and file.head.anew for file in files)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Raise JournalError, which names the file, for an OSError."""
    try:
        yield
    except OSError as error:
        raise JournalError(f"{path}: it can't be read: {error.strerror or error}") from error


class _SegmentFile:
    """A segment that is read, in blocks."""

    def __init__(self, disk: Disk, path: Path, number: int) -> None:
        self.number = number
        self._disk, self._path = disk, path
        with naming(path):
            self.size_bytes = disk.size_of(path)
            self._fd = disk.open(path)
            # Before anything is read: see `Disk.open`.
            self._written = disk.written(self._fd)
        self._end = self._written[-1][1] if self._written else 0
        self._block = b""
        self._block_start = 0
        self.head: SegmentHead | None = decode_segment_head(self._at(0, SEGMENT_HEAD_BYTES), number)

    def close(self) -> None:
        self._disk.close(self._fd)

    def frames(self, offset: int, lsn: int) -> Generator[Frame, None, tuple[int, int]]:
        """Yield the frames from this offset on, the first of which must have this lsn; return where the next one goes.

        That is its lsn and its offset.
        """
        if self.head is None:
            return lsn, offset
        number, salt = self.number, self.head.salt
        while True:
            start = offset - self._block_start
            body = body_at(self._block, start, lsn=lsn, salt=salt) if start >= 0 else None
            if body is None:  # perhaps it isn't all in this block
                found = self._whole_at(offset)
                if found is None or found[0].lsn != lsn or found[0].salt != salt:
                    return lsn, offset
                body = found[1]
            yield Frame(number, offset, lsn, body)
            lsn += 1
            offset += HEAD_BYTES + len(body)

    def tail_bytes(self, offset: int) -> int:
        """Return the number of bytes from this offset to the last one that isn't zero."""
        end = offset
        for start, block in self._blocks(offset):
            end = start + len(block.rstrip(b"\0"))
        return end - offset

    def witness(self, offset: int, lsn: int) -> Frame | None:
        """Return a frame from this offset on that calls the one of this lsn synced.

        Without a head of the segment, a frame of any salt counts.
        """
        for start, block in self._blocks(offset, overlap=HEAD_BYTES):
            for at in magics(block):
                head = decode_head(block, at)
                if head is None or head.synced <= lsn or (self.head is not None and head.salt != self.head.salt):
                    continue
                if (found := self._whole_at(start + at)) is not None:
                    return Frame(self.number, start + at, head.lsn, found[1])
        return None

    def _whole_at(self, offset: int) -> tuple[FrameHead, bytes] | None:
        head = decode_head(self._at(offset, HEAD_BYTES))
        if head is None or head.length > self.size_bytes - offset - HEAD_BYTES:
            return None
        body = self._at(offset + HEAD_BYTES, head.length)
        return (head, body) if is_whole(head, body) else None

    def _at(self, offset: int, length: int) -> bytes:
        """Return bytes of the file, by way of a block that is kept for the next ones."""
        start = offset - self._block_start
        if start < 0 or start + length > len(self._block):
            if offset >= self._end:
                return b""
            with naming(self._path):
                self._block = self._disk.read(self._fd, max(length, min(_BLOCK_BYTES, self._end - offset)), offset)
            self._block_start, start = offset, 0
        return self._block[start : start + length]

    def _blocks(self, offset: int, overlap: int = 0) -> Iterator[tuple[int, bytes]]:
        """Yield what was written of the file from an offset on, as `_blocks`."""
        with naming(self._path):
            yield from _blocks(self._disk, self._fd, self._written, offset, overlap)


def cut_log(folder: JournalFolder, end: LogEnd, *, segment_bytes: int = SEGMENT_BYTES) -> LogEnd:
    """Remove what lies beyond the end of a log and what its snapshot has replaced; return the end to go on from.

    All that is left is on disk then. After JournalDamaged this gives up what follows the damage. Raises OSError.
    """
    disk = folder.disk
    folder.remove_unfinished()
    for number in sorted(end.dropped, reverse=True):
        disk.unlink(folder.segment_path(number))
    for number in folder.segments():
        if number < end.first:
            disk.unlink(folder.segment_path(number))
    for number in folder.snapshots():
        if number < end.first:
            disk.unlink(folder.snapshot_path(number))
    for number in end.kept:
        fd = disk.open(folder.segment_path(number), writable=True)
        try:
            if number == end.segment:
                _clear(disk, fd, end.offset)
                if disk.size_of(folder.segment_path(number)) < segment_bytes:  # it was cut by another program
                    disk.allocate(fd, segment_bytes)
                    disk.sync_file(fd)
            disk.sync_data(fd)
        finally:
            disk.close(fd)
    folder.sync()
    if end.first and not end.segment:
        end = _begin(folder, end, segment_bytes)
    return end._replace(torn_bytes=0, dropped=())


def _clear(disk: Disk, fd: int, offset: int) -> None:
    """Overwrite what isn't zero from an offset on."""
    for start, block in _blocks(disk, fd, disk.written(fd), offset):
        disk.write(fd, bytes(len(block.rstrip(b"\0"))), start)


def _blocks(
    disk: Disk, fd: int, written: list[tuple[int, int]], offset: int, overlap: int = 0
) -> Iterator[tuple[int, bytes]]:
    """Yield what was written of a file from an offset on, in blocks, without those of zeros alone.

    Args:
        overlap: Bytes of the next block that each has at its end.
    """
    for range_start, end in written:
        for start in range(max(range_start, offset), end, _BLOCK_BYTES):
            block = disk.read(fd, min(_BLOCK_BYTES + overlap, end - start), start)
            if block != _ZEROS[: len(block)]:
                yield start, block


def _begin(folder: JournalFolder, end: LogEnd, segment_bytes: int) -> LogEnd:
    """Make the segment that a snapshot goes on with, in place of a lost one."""
    segment = make_segment(folder, end.first, segment_bytes)
    try:
        head = SegmentHead(end.first, end.lsn, segment.salt)
        folder.disk.write(segment.fd, head.encode(), 0)
        folder.disk.sync_data(segment.fd)
    finally:
        with suppress(OSError):
            folder.disk.close(segment.fd)
    return end._replace(segment=end.first, offset=SEGMENT_HEAD_BYTES, salt=segment.salt, kept=(end.first,))
