"""Batches: the records that one frame will hold.

A crash keeps all records of a frame or none. So it does with those of an iteration of the loop, unless they gather
beyond `FRAME_BYTES`: a frame ends at any record. What must never be parted is one record.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from asyncio import Future

FRAME_BYTES: Final = 8 * 1024 * 1024
"""Bytes of records after which the next one begins another frame."""


class Begin(NamedTuple):
    """A segment that is to begin.

    Attributes:
        number: Gets its number, once its first frame is on the disk.
        anew: It follows a failure.
    """

    number: Future[int]
    anew: bool


class Batch:
    """Records that are one frame.

    Attributes:
        records: Encoded, in order.
        size_bytes: Of all of them.
        last: How many records had been appended to the journal with the last one.
        begin: The segment that begins with it; None: it goes where there is room.
    """

    __slots__ = ("begin", "last", "records", "size_bytes")

    def __init__(self, records: list[bytes], size_bytes: int, last: int, begin: Begin | None = None) -> None:
        self.records = records
        self.size_bytes = size_bytes
        self.last = last
        self.begin = begin


def batches_of(records: list[bytes], size_bytes: int, last: int, begin: Begin | None) -> list[Batch]:
    """Return the batches of records that have gathered: one, unless they are more than a frame's. Args: of `Batch`."""
    if size_bytes < FRAME_BYTES:
        return [Batch(records, size_bytes, last, begin)]
    batches: list[Batch] = []
    before = last - len(records)
    start = size_bytes = 0
    for end, record in enumerate(records, 1):
        size_bytes += len(record)
        if size_bytes >= FRAME_BYTES or end == len(records):
            batches.append(Batch(records[start:end], size_bytes, before + end, None if batches else begin))
            start, size_bytes = end, 0
    return batches
