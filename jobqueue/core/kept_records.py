"""Kept records: terminal records that stay in the job store after their TTL, as long as children need them.

Rules:

1. A record is kept from the moment at which it is terminal and a child needs it. Once no child does, it goes when its
   TTL is over.
2. A bound of the store evicts a kept record only where it finds no other of that caller, one that is needed last.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from jobqueue.core.deadlines import Deadlines

if TYPE_CHECKING:
    from jobqueue.core.job import Job, JobId

_Jobs = OrderedDict["JobId", "Job"]


class KeptRecords:
    """The kept records.

    Attributes:
        jobs: All of them, by id.
    """

    def __init__(self) -> None:
        self.jobs: dict[JobId, Job] = {}
        # By caller: those that children need, and those that go when their TTL is over.
        self._needed: dict[str | None, _Jobs] = {}
        self._free: dict[str | None, _Jobs] = {}
        self._due: Deadlines[JobId] = Deadlines()

    def keep(self, job: Job) -> None:
        """Keep a record that children need, whatever its TTL."""
        self.discard(job)
        self.jobs[job.id] = job
        self._needed.setdefault(job.caller, OrderedDict())[job.id] = job

    def let_go(self, job: Job, at: float) -> None:
        """Keep a record only until an instant."""
        self.discard(job)
        self.jobs[job.id] = job
        self._free.setdefault(job.caller, OrderedDict())[job.id] = job
        self._due.set(job.id, at)

    def discard(self, job: Job) -> None:
        """Forget a record, if it is here."""
        if self.jobs.pop(job.id, None) is None:
            return
        self._due.discard(job.id)
        for by_caller in (self._needed, self._free):
            jobs = by_caller.get(job.caller)
            if jobs is not None and jobs.pop(job.id, None) is not None and not jobs:
                del by_caller[job.caller]

    def next_at(self) -> float | None:
        """Return when the next record goes."""
        return self._due.next_at()

    def take_due(self, now: float, limit: int) -> dict[JobId, Job]:
        """Forget and return up to `limit` records whose time is over."""
        gone: dict[JobId, Job] = {}
        while len(gone) < limit and (job_id := self._due.pop_due(now)) is not None:
            gone[job_id] = self.jobs[job_id]
            self.discard(gone[job_id])
        return gone

    def first_of(self, caller: str | None) -> Job | None:
        """Return the record of a caller that a bound evicts first; None: it has none."""
        for by_caller in (self._free, self._needed):
            jobs = by_caller.get(caller)
            if jobs is not None:
                return next(iter(jobs.values()))
        return None

    def first(self) -> Job | None:
        """Return the record that a bound evicts first; None: there is none."""
        for by_caller in (self._free, self._needed):
            for jobs in by_caller.values():
                return next(iter(jobs.values()))
        return None
