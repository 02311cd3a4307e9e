"""The port of a backend with its jobs in this process.

It adds to `Backend` the same operations without an await: for the fast path, which has no task that could await, and
for parts that act on events.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

from jobqueue.backend.base import Backend

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jobqueue.backend.base import ChangeListener, EndListener
    from jobqueue.core.job import Job, JobId, JobSpec, Uniqueness
    from jobqueue.core.scheduling.eta import Estimate
    from jobqueue.core.stored_file import Upload
    from jobqueue.core.submit import SubmitResult
    from jobqueue.errors import JobGone, JobNotFound, JournalFailed, Refused

T = TypeVar("T")


class LocalBackend(Backend, Protocol):
    """A backend in this process.

    Records are the live ones here, and so are those of events.

    Attributes:
        defers: What was done last is not kept yet, so its answer has to wait (`when_kept`). The operations of `Backend`
            return once it is. False for ever where nothing outlives the process.
    """

    defers: bool

    def find(self, job_id: str) -> Job | None:
        """Return the record with this id, if there is one."""

    def missing(self, job_id: str, owner: str | None = None) -> JobNotFound | JobGone:
        """Return what `get` raises for an id that has no record, or none of this owner."""

    def is_closed(self) -> bool:
        """Whether every new job is rejected now: if not, `refuse_unseen` rejects no submission of unknown queue."""

    def unique_values(self) -> int:
        """Return the number of unique values that live jobs have."""
        ...

    def under_key(self, caller: str | None, key: str) -> Job | None:
        """Return the record that a caller's Idempotency-Key belongs to, if it is held."""

    def refuse_closed(self, uniqueness: Uniqueness, may_be_unique: bool) -> Refused | None:
        """As `refuse_unseen`, given that `is_closed`, of a submission without a key, or under one of no held job."""
        ...

    def submit_now(
        self, spec: JobSpec, args: bytes = b"{}", upload: Upload | None = None, uniqueness: Uniqueness | None = None
    ) -> SubmitResult[Job]:
        """As `submit`, at once; if the backend `defers` then, the submission is answered by `when_kept`."""

    def call_after_events(self, act: Callable[[], None]) -> None:
        """Call `act`, once, as soon as all listeners have heard all events that are being passed on.

        A listener that reacts to an event by operations calls this: done at once, their events would reach later
        listeners before those of the current step, such as a record's eviction before its job's end.
        """

    def when_kept(self, done: Callable[[JournalFailed | None], None]) -> None:
        """Call `done`, later, once all that was done so far is kept, or with the reason why it can't be.

        Only while the backend `defers`. `done` is called on the loop, once, and must not raise.
        """
        ...

    def kept_together(self, tell: Callable[[list[T], JournalFailed | None], None]) -> list[T]:
        """Return a list of what waits for what was just done; `tell` gets it then, as `done` of `when_kept`.

        What is appended to it at once is told with all that is appended for the same `tell`, and kept at that moment.
        For the answers to submissions, of which an iteration of the loop has many.
        """
        ...

    def withdraw(self, job_id: JobId) -> None:
        """Cancel a new job that can't be kept, and remove its record, once it has ended; nothing if there is none."""

    def estimate_now(self, job: Job) -> Estimate:
        """As `estimate`, of the live record itself."""

    def when_ended(self, job_id: JobId, listener: EndListener) -> None:
        """Tell a listener of the end of a job that is live now, which is not checked, unless it is forgotten before."""
        ...

    def forget(self, job_id: JobId, listener: EndListener) -> None:
        """End what `when_ended` began. Where the job has ended, the listener may be told all the same."""
        ...

    def when_changed(self, job_ids: Sequence[JobId], listener: ChangeListener) -> None:
        """Tell a listener of each change of any of these jobs, as `wait_for_change` does once."""
        ...

    def forget_changes(self, job_ids: Sequence[JobId], listener: ChangeListener) -> None:
        """End what `when_changed` began. The listener may be told of an earlier change all the same."""
        ...
