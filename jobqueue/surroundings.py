"""The external parts of a run, as a queue's wiring needs them: a test may pass others than the machine's own."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from jobqueue.backend.journaled import Keeper
from jobqueue.core.tuning import TUNING, Tuning
from jobqueue.handlers.result import trace_of
from jobqueue.runtime.executor import Offload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from jobqueue.backend.journal.figures import JournalFigures
    from jobqueue.backend.journal.schedule_book import ScheduleBook
    from jobqueue.backend.store import StoreBackend
    from jobqueue.core.ids import IdIssuer
    from jobqueue.core.job import Job, JobSpec
    from jobqueue.core.policy import QueuePolicy
    from jobqueue.core.quotas import Quotas
    from jobqueue.core.store_bounds import StoreBounds
    from jobqueue.handlers import Handler
    from jobqueue.handlers.result import Trace
    from jobqueue.runtime.pools.pool_counts import PoolCounts
    from jobqueue.runtime.spool import Spool
    from jobqueue.runtime.wall_clock import WallClock
    from jobqueue.runtime.webhooks import Sends


class Threads(Offload, Protocol):
    """A pool of threads. `state` is `ctx.state` of its handlers."""

    size: int
    state: Any

    @property
    def counts(self) -> PoolCounts: ...

    async def close(self) -> None: ...


class Processes(Offload, Protocol):
    """A pool of processes. `on_strength` is called with the number of calls that can be carried out at once."""

    size: int
    on_strength: Callable[[int], None]

    @property
    def counts(self) -> PoolCounts: ...

    @property
    def degraded(self) -> str | None: ...

    def pid_of(self, job_id: str) -> int | None: ...

    def check(self, handler: Handler) -> None: ...

    def start(self, handlers: Iterable[Callable[..., Any]], init: Callable[[], Any] | None = None) -> None: ...

    async def close(self) -> None: ...


class MakesStore(Protocol):
    """Makes the backend in a store that other servers share; nothing is asked before its `open`."""

    def __call__(
        self,
        *,
        queues: Mapping[str, QueuePolicy],
        bounds: StoreBounds,
        types: Sequence[JobSpec],
        spec_of: Callable[[JobSpec], JobSpec],
        pools: Mapping[str, int],
        quotas: Quotas,
        now: Callable[[], float],
        rng: random.Random,
    ) -> StoreBackend:
        """Return it.

        Args:
            queues: The settings of each queue, as configured.
            types: The options of each handler's jobs, by default.
            spec_of: Returns the spec that a stored job of this one has in this process.
            pools: Permits of each pool of this process.
        """
        ...


class Recovers(Keeper, Protocol):
    """Keeps jobs beyond the process, and brings those of earlier ones back.

    Attributes:
        with_files: The jobs that it has brought back, and that have files.
        policies: Settings of queues that were changed in use, and hold on.
        schedules: What is kept of schedules, and keeps it.
        unclean_starts: Starts in the last minute that followed a crash, this one included.
    """

    with_files: list[Job]
    policies: dict[str, QueuePolicy]
    schedules: ScheduleBook
    unclean_starts: int

    @property
    def progress(self) -> float:
        """How much of them `restore` has brought back, from 0 to 1."""
        ...

    async def restore(self, spec_of: Callable[[JobSpec], JobSpec], knows_type: Callable[[str], bool]) -> None:
        """Bring the jobs back, in portions, while requests are answered.

        Args:
            spec_of: Returns the spec that a job of this one has in this process.
            knows_type: Whether a type has a handler.

        Raises:
            ConfigError
        """

    async def record(self, begun: Callable[[Sequence[Job]], None]) -> None:
        """Keep what `restore` has changed, and all that happens from then on.

        Args:
            begun: Called once all is recorded, with the jobs that `restore` has ended. What it changes is kept together
                with these ends.

        Raises:
            ConfigError
        """

    def unlock(self) -> None:
        """Let the next process have what is kept, once nothing of this one runs any more."""

    def figures(self) -> JournalFigures:
        """Return what is shown of it."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """The external parts of one run of a queue. Made for each start, within the running loop.

    Attributes:
        clock: The clock of every instant and deadline, in seconds: the loop's.
        wall_clock: Converts its instants to Unix seconds.
        ids: Issues the ids of this run.
        rng: Draws the jitter of backoffs and of Retry-After.
        threads, processes: The pools of the two offloads; their sizes are the permits of jobs there.
        spool: Keeps files.
        trace: Returns the traceback of a handler's exception, as text.
        tuning: Bounds of the work that one step does.
        journal: Keeps the jobs beyond the end of the process; None: they end with it, or are in a store.
        store: Makes the backend of a store; None: the jobs are in this process.
        sender: Sends the deliveries of webhooks; None: the settings have none.
    """

    clock: Callable[[], float]
    wall_clock: WallClock
    ids: IdIssuer
    threads: Threads
    processes: Processes
    spool: Spool
    rng: random.Random = field(default_factory=random.Random)
    trace: Trace = trace_of
    tuning: Tuning = TUNING
    journal: Recovers | None = None
    store: MakesStore | None = None
    sender: Sends | None = None
