"""Wiring: constructs, starts and stops the parts of a running JobQueue: backend, spool, pools, workers.

External parts (clocks, randomness, the secret of the ids, executors, the disk) come in as `Surroundings`: `system` has
the machine's own, a test passes others.
"""

from __future__ import annotations

import asyncio
import os
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from jobqueue.backend.memory import MemoryBackend
from jobqueue.config.callers import LimitsOfCallers
from jobqueue.core.engine import Engine
from jobqueue.core.events import Ended, Evicted
from jobqueue.core.ids import RUNS, IdIssuer
from jobqueue.core.store_bounds import StoreBounds
from jobqueue.core.tuning import TUNING, Tuning
from jobqueue.errors import ConfigError
from jobqueue.handlers.result import trace_of
from jobqueue.log import event_logger
from jobqueue.runtime import cgroup
from jobqueue.runtime.executor import Executor, Offload
from jobqueue.runtime.job_log import JobLog
from jobqueue.runtime.lifespan import Lifespan
from jobqueue.runtime.pools.pool_counts import PoolCounts
from jobqueue.runtime.pools.processes import ProcessPool
from jobqueue.runtime.pools.threads import ThreadPool
from jobqueue.runtime.spool import Spool
from jobqueue.runtime.wall_clock import WallClock
from jobqueue.runtime.workers import WorkerPool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from contextlib import AbstractAsyncContextManager

    from jobqueue.backend.base import LocalBackend
    from jobqueue.config import Settings
    from jobqueue.core.policy import QueuePolicy
    from jobqueue.handlers import Handler, Registry
    from jobqueue.handlers.result import Trace
    from jobqueue.runtime.executor import Runs

log = event_logger(__name__)

LIVE_STATES = ("delayed", "queued", "running")


INIT_UNUSED = (
    "no handler runs in a process (run_in='process'), so @queue.process_init is never called; "
    "for handlers on the loop and in threads there is @queue.lifespan"
)


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


def system(settings: Settings) -> Surroundings:
    """Return the machine's own. To be called within the running loop."""
    clock = asyncio.get_running_loop().time
    return Surroundings(
        clock=clock,
        wall_clock=WallClock(clock),
        ids=IdIssuer(secret=os.urandom(32), run=random.SystemRandom().choice(RUNS)),
        threads=ThreadPool(size=settings.runtime.threads),
        processes=ProcessPool(size=settings.runtime.processes or cgroup.cpu_count()),
        spool=Spool(settings.spool),
    )


def _traced(executor: Executor) -> Runs:
    """Return an executor that makes a span of each attempt. Raises ConfigError."""
    from jobqueue.runtime.tracing import TracedExecutor  # imported now: most servers need none of it

    try:
        return TracedExecutor(executor)
    except ModuleNotFoundError as error:
        needs = f"otel.enabled needs {error.name}, which is not installed"
        raise ConfigError(f"{needs}: pip install 'ephemeral-jobqueue[otel]', or set otel.enabled to false") from error


class Wiring:
    """The parts of one run of a queue; a restart makes new ones, and its ids belong to a new run."""

    def __init__(
        self,
        settings: Settings,
        registry: Registry,
        given: Surroundings,
        *,
        lifespan: Callable[[], AbstractAsyncContextManager[Any]] | None = None,
        process_init: Callable[[], Any] | None = None,
    ) -> None:
        self.policies = {name: queue.policy for name, queue in settings.queues.items()}
        self._workers_fixed = settings.runtime.workers
        engine = Engine(
            queues=self.policies,
            ids=given.ids,
            rng=given.rng,
            bounds=StoreBounds(
                jobs_max=settings.statuses.jobs_max,
                bytes_max=settings.statuses.bytes_max,
                ttl_s=settings.statuses.ttl_s,
                failed_ttl_s=settings.statuses.failed_ttl_s,
                failed_max=settings.statuses.failed_max,
            ),
            pools={"thread": given.threads.size, "process": given.processes.size},
            shares=settings.runtime.shares,
            quotas=LimitsOfCallers(settings).quotas,
            tuning=given.tuning,
        )
        self.wall_clock, self.spool, self.run = given.wall_clock, given.spool, given.ids.run
        self.backend: LocalBackend = MemoryBackend(engine, now=given.clock, tuning=given.tuning)
        self._in_process = [handler for handler in registry if handler.run_in == "process"]
        self._threads, self._processes = given.threads, given.processes
        self._processes.on_strength = lambda strength: self.backend.set_permits("process", strength)
        self._lifespan = Lifespan(lifespan)
        self._process_init = process_init
        self._executor = Executor(
            registry=registry,
            backend=self.backend,
            pools={"thread": self._threads, "process": self._processes},
            folder_of=self.spool.folder_of,
            check_room=self.spool.check_room,
            result_bytes_max=settings.limits.result_bytes,
            trace=given.trace,
        )
        self._workers = WorkerPool(
            self._worker_count(),
            backend=self.backend,
            executor=_traced(self._executor) if settings.otel.enabled else self._executor,
            abandoned_min=given.tuning.abandoned_min,
        )
        self.started_at = given.clock()
        self._job_log = JobLog(given.clock, settings.log)
        self._lost_told = False

    async def start(self) -> None:
        for handler in self._in_process:
            self._processes.check(handler)
        if self._process_init is not None and not self._in_process:
            log.warning("process.init_unused", hint=INIT_UNUSED)
        self._executor.state = self._threads.state = await self._lifespan.enter()
        if self._in_process:
            self._processes.start([handler.func for handler in self._in_process], self._process_init)
            self._tell_processes()
        await self.spool.open()
        self.backend.subscribe(self.spool.on_event, Ended, Evicted)
        self.backend.subscribe(self._job_log.on_event, *self._job_log.kinds)
        await self.backend.start(self._workers)
        self._workers.start()

    def _tell_processes(self) -> None:
        count, cpus, quota = self._processes.size, cgroup.cpus_allowed(), cgroup.cpu_quota()
        if quota is not None:
            log.info("processes.planned", processes=count, cpus=cpus, cpu_quota=quota)
        if count > cgroup.cpu_count():
            hint = (
                "runtime.processes is more than the CPUs that this process may use: handlers will wait for each other"
            )
            log.warning("processes.over_quota", processes=count, cpus=cpus, cpu_quota=quota, hint=hint)

    def pools(self) -> tuple[PoolCounts, PoolCounts]:
        """Return the counts of threads and of processes; there are no processes unless a handler runs in one."""
        processes = self._processes.counts if self._in_process else PoolCounts(size=0)
        return self._threads.counts, processes

    @property
    def degraded(self) -> list[str]:
        """Parts that are unavailable now, with the reason."""
        reason = self._processes.degraded if self._in_process else None
        return [] if reason is None else [f"handlers in processes can't run: {reason}"]

    def pid_of(self, job_id: str) -> int | None:
        """Return the process of the pool that runs a job; None: there is none."""
        return self._processes.pid_of(job_id)

    async def stop(self) -> None:
        try:
            await self.backend.stop()
            await self._workers.close()
            await self._threads.close()
            await self._processes.close()
            await self.spool.close()
        finally:
            await self._lifespan.leave()

    async def change(self, queue: str, policy: QueuePolicy) -> None:
        self.policies[queue] = policy
        # In this order: if there are more places now, the change of the queue fills them.
        self._workers.resize(self._worker_count())
        await self.backend.change_queue(queue, policy)

    def _worker_count(self) -> int:
        """Return the number of workers that the queues share: the setting for all, or the sum of their own."""
        return self._workers_fixed or sum(policy.workers for policy in self.policies.values())

    def live_counts(self) -> dict[str, int]:
        """Return the number of jobs in each live state."""
        queues = self.backend.stats()[1]
        return {state: sum(getattr(queue, state) for queue in queues) for state in LIVE_STATES}

    def tell_lost(self) -> dict[str, int]:
        """Log the live jobs as lost (`drain.lost`), if there are any, and once; return their count by state."""
        lost = dict.fromkeys(LIVE_STATES, 0) if self._lost_told else self.live_counts()
        self._lost_told = True
        if any(lost.values()):
            log.warning("drain.lost", **lost)
        return lost
