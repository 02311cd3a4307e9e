"""Jobs in two lists: requeued ones, which go first, and fresh ones, which may be taken from either end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobqueue.core.scheduling.linked_list import LinkedList

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jobqueue.core.job import Job


class RequeuedFirst:
    """The common part of the orders that take the newest job first, always or at times."""

    __slots__ = ("_fresh", "_requeued")

    def __init__(self) -> None:
        self._requeued = LinkedList()
        self._fresh = LinkedList()

    def __len__(self) -> int:
        return len(self._requeued) + len(self._fresh)

    def __iter__(self) -> Iterator[Job]:
        yield from self._requeued
        yield from self._fresh

    def push(self, job: Job, *, now: float, front: bool = False) -> None:
        (self._requeued if front else self._fresh).push(job, now=now, front=front)
