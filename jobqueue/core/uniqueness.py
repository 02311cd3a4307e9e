"""Uniqueness: what makes two submissions the same job.

Rules:

1. An idempotency key belongs to one caller and one job, for as long as that job's record is held. Keys of submissions
   that led to a job by its unique value belong to it, too: its latest `SHARED_MAX`.
2. A unique value belongs to one live job of its type, and of its owner, at a time.

`UniquenessIndex` finds the holder. `Submitter` decides on a hit.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jobqueue.core.job import Job, JobId, Uniqueness

Name = tuple[str | None, str]
"""A caller, and its key."""

ValueName = tuple[str | None, str, str]
"""An owner, a type, and a unique value."""

SHARED_MAX: Final = 100


class UniquenessIndex:
    """Index of the keys and values of all records that have any: those without are passed over by the caller."""

    def __init__(self) -> None:
        self._by_key: dict[Name, tuple[JobId, bytes]] = {}
        # Further keys of a job, the oldest first.
        self._shared: dict[JobId, deque[Name]] = {}
        self._by_value: dict[ValueName, JobId] = {}
        # The number of unique values. Bound directly: it is read for each rejection.
        self.values = self._by_value.__len__

    def named(self, caller: str | None, key: str) -> JobId | None:
        """Return the job that a caller submitted under a key."""
        found = self._by_key.get((caller, key))
        return None if found is None else found[0]

    def under_key(self, uniqueness: Uniqueness) -> JobId | None:
        """Return the job that this caller submitted under this key."""
        found = None if uniqueness.key is None else self._by_key.get((uniqueness.caller, uniqueness.key.key))
        return None if found is None else found[0]

    def is_same(self, uniqueness: Uniqueness) -> bool:
        """Whether this submission equals the earlier one under its key, which is known."""
        assert uniqueness.key is not None
        return self._by_key[uniqueness.caller, uniqueness.key.key][1] == uniqueness.key.fingerprint

    def share(self, uniqueness: Uniqueness, job: Job) -> str | None:
        """Add a submission's key to an existing job; return an earlier key that was dropped for it, if any."""
        assert uniqueness.key is not None
        names = self._shared.setdefault(job.id, deque())
        names.append((uniqueness.caller, uniqueness.key.key))
        self._by_key[names[-1]] = (job.id, uniqueness.key.fingerprint)
        if len(names) <= SHARED_MAX:
            return None
        name = names.popleft()
        self._drop_name(name, job)
        return name[1]

    def shared_keys(self, job_id: JobId) -> list[tuple[str | None, str, bytes]]:
        """Return the further keys of a job, the oldest first: caller, key, and fingerprint of the submission."""
        return [(*name, self._by_key[name][1]) for name in self._shared.get(job_id, ())]

    def holder(self, job_type: str, uniqueness: Uniqueness) -> JobId | None:
        """Return the live job that has this unique value."""
        unique = uniqueness.unique
        return None if unique is None else self._by_value.get((uniqueness.owner, job_type, unique.value))

    @property
    def any_keys(self) -> bool:
        """Whether a record has a key: without one, `drop` would find nothing."""
        return bool(self._by_key or self._shared)

    def stake(self, job: Job) -> None:
        """Enter a job that becomes live; a unique value passes to it."""
        uniqueness = job.uniqueness
        assert uniqueness is not None, "a plain submission has no entry"
        if uniqueness.key is not None:
            self._by_key[uniqueness.caller, uniqueness.key.key] = (job.id, uniqueness.key.fingerprint)
        if uniqueness.unique is not None:
            self._by_value[uniqueness.owner, job.spec.type, uniqueness.unique.value] = job.id

    def restore(self, job: Job, shared: Mapping[Name, bytes], *, has_value: bool) -> None:
        """Enter a job of an earlier process.

        Args:
            shared: Its further keys, the oldest first, with the fingerprints of their submissions.
            has_value: Whether it has its unique value.
        """
        uniqueness = job.uniqueness
        assert uniqueness is not None, "a plain submission has no entry"
        if uniqueness.key is not None:
            self._by_key[uniqueness.caller, uniqueness.key.key] = (job.id, uniqueness.key.fingerprint)
        for name, fingerprint in shared.items():
            self._by_key[name] = (job.id, fingerprint)
        if shared:
            self._shared[job.id] = deque(shared)
        if has_value and uniqueness.unique is not None:
            self._by_value[uniqueness.owner, job.spec.type, uniqueness.unique.value] = job.id

    def end(self, job: Job) -> None:
        """Remove the entries that only a live job may have."""
        uniqueness = job.uniqueness
        assert uniqueness is not None, "a plain submission has no entry"
        if uniqueness.unique is not None:
            name = (uniqueness.owner, job.spec.type, uniqueness.unique.value)
            if self._by_value.get(name) == job.id:  # it may have passed to another job
                del self._by_value[name]

    def drop(self, job: Job) -> None:
        """Remove the remaining entries, with the job's record."""
        for name in self._shared.pop(job.id, ()):
            self._drop_name(name, job)
        uniqueness = job.uniqueness
        assert uniqueness is not None, "a plain submission has no entry"
        if uniqueness.key is not None:
            self._drop_name((uniqueness.caller, uniqueness.key.key), job)

    def _drop_name(self, name: Name, job: Job) -> None:
        found = self._by_key.get(name)
        if found is not None and found[0] == job.id:
            del self._by_key[name]
