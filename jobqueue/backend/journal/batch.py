"""Batches: the records that one frame will hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from asyncio import Future


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

    def __init__(self) -> None:
        self.records: list[bytes] = []
        self.size_bytes = 0
        self.last = 0
        self.begin: Begin | None = None
