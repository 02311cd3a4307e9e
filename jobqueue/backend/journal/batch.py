"""Batches: what one frame will hold, and waits for its place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobqueue.backend.journal.records import body_of

if TYPE_CHECKING:
    from asyncio import Future

    from jobqueue.backend.journal.gathered import Gathered


class Begin:
    """A segment that is to begin.

    Attributes:
        number: Gets its number, once its first frame is on the disk.
        anew: It follows a failure.
    """

    __slots__ = ("anew", "number")

    def __init__(self, number: Future[int], anew: bool) -> None:
        self.number = number
        self.anew = anew


class Batch:
    """The body of a frame.

    Attributes:
        body: Encoded records.
        last: How many records had been appended to the journal with the last one.
        begin: The segment that begins with it; None: it goes where there is room.
    """

    __slots__ = ("begin", "body", "last")

    def __init__(self, body: bytes, last: int, begin: Begin | None = None) -> None:
        self.body = body
        self.last = last
        self.begin = begin


def batches_of(gathered: Gathered, before: int, begin: Begin | None) -> list[Batch]:
    """Take what has gathered, and return the batches of it.

    Args:
        before: How many records had been appended before.
        begin: The segment that begins with the first batch, which has no records if none have gathered.
    """
    bodies = gathered.take()
    if begin is not None and not bodies:
        bodies = [body_of(())]
    batches: list[Batch] = []
    for body in bodies:
        before += body.records
        batches.append(Batch(body.data, before, None if batches else begin))
    return batches
