"""Ready orders: which of the ready jobs is taken next.

An Order holds ids, not records, and decides nothing else: whether a job that
comes out may still run is the engine's to say. Each operation takes O(1), so a
full queue costs no more than an empty one.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from jobqueue.core.job import Job, JobId


class Order(Protocol):
    """The seam that a discipline fills."""

    def __len__(self) -> int: ...

    def push(self, job: Job, *, front: bool = False) -> None:
        """Add a ready job; `front` gives back one that was taken before and keeps its turn."""
        ...

    def pop(self) -> JobId:
        """Take the job whose turn it is. Raises IndexError if there is none."""
        ...

    def remove(self, job_id: JobId) -> None:
        """Take out a job that is ready no longer, if it is here."""
        ...


class Fifo:
    """First in, first out."""

    __slots__ = ("_jobs",)

    def __init__(self) -> None:
        self._jobs: OrderedDict[JobId, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._jobs)

    def push(self, job: Job, *, front: bool = False) -> None:
        self._jobs[job.id] = None
        if front:
            self._jobs.move_to_end(job.id, last=False)

    def pop(self) -> JobId:
        if not self._jobs:
            raise IndexError("no job is ready")
        return self._jobs.popitem(last=False)[0]

    def remove(self, job_id: JobId) -> None:
        self._jobs.pop(job_id, None)
