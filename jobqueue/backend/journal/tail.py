"""Tail: the end of the log in memory: which segment the next frame goes to, and where. It touches no disk."""

from __future__ import annotations

from typing import NamedTuple

from jobqueue.backend.journal.frame import encode_frame, frame_bytes
from jobqueue.backend.journal.segment import SEGMENT_HEAD_BYTES, Segment, SegmentHead


class PlacedFrame(NamedTuple):
    """A frame with its place.

    Attributes:
        segment: To write it to.
        offset: Where in it.
        head: Of the segment, if this is its first frame; written before it.
        body: Of the frame.
        lsn: Of the frame.
        synced: The mark that it carries.
    """

    segment: Segment
    offset: int
    head: bytes
    body: bytes
    lsn: int
    synced: int

    def encode(self) -> bytes:
        """Return the bytes to write."""
        frame = encode_frame(self.body, lsn=self.lsn, synced=self.synced, salt=self.segment.salt)
        return self.head + frame if self.head else frame


class Tail:
    """The end of the log.

    Attributes:
        current: The segment that is written; None: the next frame is the first of the next one.
        spare: The next segment, unused; None: it is not made yet.
        retired: Segments that are full, and not known to be on the disk.
        lsn: Of the next frame.
        synced: Every frame below this lsn is on the disk.
    """

    def __init__(self, lsn: int = 1, current: Segment | None = None, spare: Segment | None = None) -> None:
        self.current = current
        self.spare = spare
        self.retired: list[Segment] = []
        self.lsn = lsn
        self.synced = lsn

    def place(self, body: bytes, *, begins: bool = False, anew: bool = False) -> PlacedFrame | None:
        """Return the next frame with its place; None if that is in a spare that is missing, or too small.

        Args:
            begins: The frame is to be the first of a segment.
            anew: That segment begins anew.
        """
        needed = frame_bytes(body)
        head, segment = b"", self.current
        if begins or segment is None or needed > segment.room_bytes:
            segment = self.spare
            if segment is None or needed > segment.room_bytes:
                return None
            head = SegmentHead(segment.number, self.lsn, segment.salt, anew).encode()
        frame = PlacedFrame(segment, segment.offset, head, body, self.lsn, self.synced)
        if head:
            if self.current is not None:
                self.retired.append(self.current)
            self.current, self.spare = segment, None
        segment.offset += len(head) + needed
        self.lsn += 1
        return frame

    def abandon(self) -> list[Segment]:
        """Give up all segments but the spare; return them. The next frame begins a segment anew."""
        given_up = [*self.retired, *([] if self.current is None else [self.current])]
        self.retired = []
        self.current = None
        self.synced = self.lsn
        return given_up

    def take_retired(self) -> list[Segment]:
        """Return the full segments; their sync is the caller's."""
        retired, self.retired = self.retired, []
        return retired


def segment_bytes_for(frame: int) -> int:
    """Return the size of a segment that has room for one frame of this length."""
    return SEGMENT_HEAD_BYTES + frame
