"""The port of a backend whose jobs are in a store outside this process, which several servers share.

It adds to `Backend` what the fast path needs, which has no task that could await: the same operations with callbacks.
"""

from __future__ import annotations

from collections.abc import Mapping  # msgspec reads it from the annotations
from typing import TYPE_CHECKING, Final, Protocol, cast

import msgspec

from jobqueue.backend.base import Backend, EndListener
from jobqueue.core.events import Paused, Quarantined, Released, Resumed
from jobqueue.core.job import JobId, JobSpec, JobState
from jobqueue.core.report import JobError, Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jobqueue.backend.base import ChangeListener
    from jobqueue.core.job import Uniqueness
    from jobqueue.core.job_view import JobView
    from jobqueue.core.policy import QueuePolicy
    from jobqueue.core.stored_file import Upload
    from jobqueue.core.submit import SubmitResult
    from jobqueue.errors import JobGone, StoreUnavailable


class JobNews(msgspec.Struct, frozen=True, gc=False):
    """A change of a job, as event streams show it.

    Attributes:
        name: The event's name in a stream: `submitted`, `queued`, `started`, `progress`, `changed`, `stopping`,
            `retrying`, or the terminal state.
        version: The record's since then: a reader that knows this version, or a later one, knows the event.
    """

    name: str
    id: JobId
    spec: JobSpec
    state: JobState
    attempt: int
    version: int
    progress: Progress | None
    error: JobError | None
    owner: str | None


class SharedEvent(msgspec.Struct, frozen=True, gc=False):
    """An event of any server of the store.

    Attributes:
        id: Two numbers with a dash between, compared as a pair: its place in the order of all, on every server.
        at: Its instant, in Unix seconds.
        news: Of a job, a type or a queue; their instants are on `Backend.now`'s clock.
    """

    id: str
    at: float
    news: JobNews | Quarantined | Released | Paused | Resumed


def order_of(event_id: str) -> tuple[int, int]:
    """Return what an id of `SharedEvent` is compared by."""
    first, _, second = event_id.partition("-")
    return int(first), int(second)


class EventSource(Protocol):
    """The events of all servers, in one order. Nothing is read from the store while nothing listens.

    Its operations raise StoreUnavailable.
    """

    async def begin(self, hear: Callable[[Sequence[SharedEvent]], None], on_gap: Callable[[str], None]) -> str:
        """Hear the events from now on; return the id of the latest one before, or one that stands for there being none.

        Args:
            hear: Called with the next events, a portion at a time. Must not raise.
            on_gap: Called where events before the next ones are missing: the store was gone for too long, emptied, or
                another one has taken its place. It gets the id that the next ones come after, which may be lower than
                those heard before.
        """
        ...

    def end(self) -> None:
        """Hear no more."""

    async def after(self, event_id: str, most: int) -> Sequence[SharedEvent] | None:
        """Return the first events after an id; None: it is none of this store, or some after it are not held any more.

        Args:
            most: The number of events to return at most.
        """
        ...


MISSING_S: Final = 900.0
"""How long a lost server that none has replaced is told, from when it was heard last."""


class StoreServer(msgspec.Struct, frozen=True):
    """A server that shares the store.

    Attributes:
        name: Its host and pid.
        joined_at: When it has joined the others.
        own: It is this one.
    """

    name: str
    joined_at: float
    own: bool


class MissingServer(msgspec.Struct, frozen=True):
    """A server of the store that was lost, and that none has replaced.

    Attributes:
        name: Its host and pid.
        heard_at: When it was heard last.
        jobs: How many it ran when it was taken for dead.
    """

    name: str
    heard_at: float
    jobs: int


class StoreFigures(msgspec.Struct, frozen=True):
    """The state and the figures of a store, as documents, metrics and commands show them.

    Attributes:
        product: Name and version of its server, such as `Valkey 9.1.0`; empty: not known yet.
        address: Where it is, without a password.
        namespace: That of its keys.
        up: Whether it answers.
        since: The instant since when that is so.
        reason: Why it doesn't answer; None: it does.
        servers: The number of live processes that share it, as last heard.
        durability: What an accepted job survives, as configured.
        call_s_p50: The median time of a call in the last minute or so, in seconds; None: there was none.
        calls: Calls that were answered since the start, by function.
        call_counts: The same by the time from the call to its answer (`histogram.BOUNDS_S`).
        call_sum_s: The sum of these times.
        errors: What went wrong with calls since the start, by kind.
        reconnects_total: Connections after the first one.
        copy_age_s: Seconds since the numbers of the store were read last; None: they never were.
        members: These servers, as last heard; at most a hundred.
        missing: Those that were lost within the last quarter of an hour, while none has taken their place; at most 20.
    """

    product: str
    address: str
    namespace: str
    up: bool
    since: float
    reason: str | None
    servers: int
    durability: str
    call_s_p50: float | None
    calls: Mapping[str, int] = {}
    call_counts: tuple[int, ...] = ()
    call_sum_s: float = 0.0
    errors: Mapping[str, int] = {}
    reconnects_total: int = 0
    copy_age_s: float | None = None
    members: tuple[StoreServer, ...] = ()
    missing: tuple[MissingServer, ...] = ()


class StoreEndListener(EndListener, Protocol):
    """Waits for the end of a job that may end in another process."""

    def gone(self, error: JobGone) -> None:
        """The record was removed before its end was seen. In place of `ended`, on the same terms."""
        ...


class StoreBackend(Backend, Protocol):
    """A backend in a store, which other servers use at the same time: `keeps` and `shared` are true.

    Callbacks are called on the loop, once, within the call or later, and must not raise. Each operation may meet
    StoreUnavailable: the store doesn't answer in time. Then a change may have been made all the same; the error says
    nothing of the job, so it must never be taken for JobNotFound or JobGone. What is done at once never raises it.

    A queue's settings may be changed by any server: `PolicyChanged` is told of each change of those in effect,
    whichever server made it. All other events are those of this process's own operations.
    """

    @property
    def run(self) -> str:
        """The first characters of the ids that this process issues, once it is open."""
        ...

    @property
    def events(self) -> EventSource:
        """The events of all servers."""
        ...

    async def open(self) -> None:
        """Connect, check that the store fits, and join the others, before anything else is called.

        Raises:
            ConfigError: It can't be reached within the time for that, or doesn't fit: all its faults.
        """

    def offset_s(self) -> float:
        """Return the Unix seconds, by the store's clock, at zero of `now`'s clock."""
        ...

    def unavailable(self) -> StoreUnavailable | None:
        """Return the rejection of what needs the store, if it doesn't answer now."""
        ...

    def figures(self) -> StoreFigures:
        """Return what is shown of the store."""
        ...

    def look_soon(self, job_id: str, owner: str | None, done: Callable[[JobView | Exception], None]) -> None:
        """As `get`: `done` is given what that returns or raises."""

    def submit_soon(
        self,
        spec: JobSpec,
        args: bytes,
        upload: Upload | None,
        uniqueness: Uniqueness | None,
        done: Callable[[SubmitResult[JobView] | Exception], None],
    ) -> None:
        """As `submit`: `done` is given what that returns or raises."""

    def when_ended(self, job_id: JobId, listener: StoreEndListener) -> None:
        """Tell a listener, later, of the end of a job that was live when last looked at; it may have ended since.

        While the store doesn't answer, nothing is told: how long to wait is the caller's business.
        """

    def forget(self, job_id: JobId, listener: StoreEndListener) -> None:
        """End what `when_ended` began. Where the job has ended, the listener may be told all the same."""

    def when_changed(self, seen: Mapping[JobId, int], listener: ChangeListener) -> None:
        """Tell a listener, later, when any record has another version than was seen, or was removed; maybe again."""

    def forget_changes(self, job_ids: Sequence[JobId], listener: ChangeListener) -> None:
        """End what `when_changed` began. The listener may be told of an earlier change all the same."""

    def policies(self) -> Mapping[str, QueuePolicy]:
        """Return the settings of each queue that are in effect, as last heard."""
        ...

    async def configure_queue(self, queue: str, policy: QueuePolicy) -> None:
        """Tell the settings that the configuration of this server has for a queue, after a reload.

        They take effect unless another server has told the same before, and they were changed since
        (`Backend.change_queue`): that holds until the configuration differs.
        """


def figures_of(backend: Backend) -> StoreFigures | None:
    """Return what is shown of the store of a backend; None: its jobs are in this process."""
    return cast("StoreBackend", backend).figures() if backend.shared else None
