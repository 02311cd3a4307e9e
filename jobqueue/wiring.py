"""Wiring: constructs, starts and stops the parts of a running JobQueue: backend, spool, pools, workers.

External parts (clocks, randomness, the secret of the ids, executors, the disk) come in as `Surroundings`: `system` has
the machine's own, a test passes others.
"""

from __future__ import annotations

import asyncio
import os
import random
import socket
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

from jobqueue.backend.journaled import JournaledBackend
from jobqueue.backend.memory import MemoryBackend
from jobqueue.config.callers import LimitsOfCallers
from jobqueue.config.webhooks import WEBHOOK
from jobqueue.core.engine import Engine
from jobqueue.core.events import PolicyChanged
from jobqueue.core.ids import RUNS, IdIssuer
from jobqueue.core.store_bounds import StoreBounds
from jobqueue.errors import ConfigError
from jobqueue.handlers.restored_spec import restored_spec
from jobqueue.log import event_logger
from jobqueue.runtime import cgroup
from jobqueue.runtime.executor import Executor
from jobqueue.runtime.job_log import JobLog
from jobqueue.runtime.lifespan import Lifespan
from jobqueue.runtime.no_files import NoFiles
from jobqueue.runtime.pools.pool_counts import PoolCounts
from jobqueue.runtime.pools.processes import ProcessPool
from jobqueue.runtime.pools.threads import ThreadPool
from jobqueue.runtime.spool import Spool
from jobqueue.runtime.wall_clock import WallClock
from jobqueue.runtime.workers import WorkerPool
from jobqueue.schedules.runner import ScheduleRunner
from jobqueue.schedules.sources import kept_definitions
from jobqueue.surroundings import Surroundings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractAsyncContextManager

    from jobqueue.backend.base import Backend
    from jobqueue.backend.local import LocalBackend
    from jobqueue.backend.store import StoreBackend
    from jobqueue.config import Settings, ValkeySettings
    from jobqueue.core.job import Job, JobSpec
    from jobqueue.core.policy import QueuePolicy
    from jobqueue.handlers import Registry
    from jobqueue.journal_wiring import JournalParts
    from jobqueue.runtime.executor import Runs
    from jobqueue.runtime.pools.reach import Family
    from jobqueue.runtime.webhooks import Sends, Topics, Webhooks
    from jobqueue.schedules.definition import Definition
    from jobqueue.surroundings import MakesStore, Recovers

log = event_logger(__name__)

LIVE_STATES = ("waiting", "delayed", "queued", "running")

UNCLEAN_STARTS_MAX = 3
"""Starts after a crash, within a minute, at which all queues are paused."""

CRASHED = (
    "the server has crashed {} times within a minute: one of the first queued jobs may be the cause; cancel it, then "
    "resume the queue (jobqueue queues resume NAME)"
)


INIT_UNUSED = (
    "no handler runs in a process (run_in='process'), so @queue.process_init is never called; "
    "for handlers on the loop and in threads there is @queue.lifespan"
)


def system(settings: Settings) -> Surroundings:
    """Return the machine's own. To be called within the running loop. Raises ConfigError: The journal can't be used."""
    clock = asyncio.get_running_loop().time
    wall_clock = WallClock(clock)
    kept = _journal(settings, clock, wall_clock)
    threads = ThreadPool(size=settings.runtime.threads)
    processes = ProcessPool(size=settings.runtime.processes or cgroup.cpu_count())
    if kept is not None:
        return Surroundings(
            clock=clock,
            wall_clock=wall_clock,
            ids=kept.ids,
            threads=threads,
            processes=processes,
            spool=kept.spool,
            journal=kept.journal,
            sender=_sender(settings),
        )
    shared = settings.backend == "valkey"
    return Surroundings(
        clock=clock,
        wall_clock=wall_clock,
        ids=IdIssuer(secret=os.urandom(32), run=random.SystemRandom().choice(RUNS)),  # a store has its own
        threads=threads,
        processes=processes,
        spool=NoFiles(settings.spool) if shared else Spool(settings.spool),
        store=_valkey(settings.valkey) if shared else None,
        sender=None if shared else _sender(settings),
    )


def _journal(settings: Settings, clock: Callable[[], float], wall_clock: WallClock) -> JournalParts | None:
    folder = settings.journal.dir
    if folder is None:
        return None
    from jobqueue.journal_wiring import journal_parts  # imported now: most servers need none of it

    return journal_parts(settings, folder, clock=clock, wall_clock=wall_clock)


def _sender(settings: Settings) -> Sends | None:
    """Return what sends the deliveries of webhooks; None: there are none."""
    if not settings.webhooks.wanted:
        return None
    from jobqueue.webhooks.http_sender import HttpSender  # imported now: most servers need none of it

    return HttpSender()


def _webhooks(settings: Settings, given: Surroundings, topics: Topics) -> Webhooks | None:
    if given.sender is None:
        return None
    from jobqueue.runtime.webhooks import Webhooks  # as above

    return Webhooks(
        settings.webhooks,
        given.sender,
        topics,
        now=given.clock,
        wall=lambda instant: given.wall_clock.offset_s() + instant,
    )


def _valkey(settings: ValkeySettings) -> MakesStore:
    """Return what makes the backend on Valkey. Raises ConfigError: Its client isn't installed."""
    from jobqueue.backend.valkey.backend import ValkeyBackend  # imported now: most servers need none of it
    from jobqueue.backend.valkey.opening import store_calls

    return partial(
        ValkeyBackend,
        store_calls(settings),
        namespace=settings.namespace,
        cache_s=settings.cache_s,
        process_ttl_s=settings.ttl_s,
        info=f"{socket.gethostname()}:{os.getpid()}",
    )


def _traced(executor: Executor) -> Runs:
    """Return an executor that makes a span of each attempt. Raises ConfigError."""
    from jobqueue.runtime.tracing import TracedExecutor  # imported now: most servers need none of it

    try:
        return TracedExecutor(executor)
    except ModuleNotFoundError as error:
        needs = f"otel.enabled needs {error.name}, which is not installed"
        raise ConfigError(f"{needs}: pip install 'ephemeral-jobqueue[otel]', or set otel.enabled to false") from error


def _bounds(settings: Settings) -> StoreBounds:
    statuses = settings.statuses
    return StoreBounds(
        jobs_max=statuses.jobs_max,
        bytes_max=statuses.bytes_max,
        ttl_s=statuses.ttl_s,
        failed_ttl_s=statuses.failed_ttl_s,
        failed_max=statuses.failed_max,
    )


def _pools(given: Surroundings) -> dict[str, int]:
    return {"thread": given.threads.size, "process": given.processes.size}


def _local_backend(settings: Settings, policies: dict[str, QueuePolicy], given: Surroundings) -> LocalBackend:
    engine = Engine(
        queues=policies,
        ids=given.ids,
        rng=given.rng,
        bounds=_bounds(settings),
        pools=_pools(given),
        shares=settings.runtime.shares,
        quotas=LimitsOfCallers(settings).quotas,
        tuning=given.tuning,
        follow_ups=frozenset() if given.sender is None else frozenset({WEBHOOK}),
    )
    if given.journal is None:
        return MemoryBackend(engine, now=given.clock, tuning=given.tuning)
    return JournaledBackend(engine, given.journal, now=given.clock, tuning=given.tuning)


def _one_of(local: LocalBackend | None, store: StoreBackend | None) -> Backend:
    backend = local or store
    assert backend is not None, "there is one of them"
    return backend


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
        topics: Topics,
        family: Family | None = None,
        definitions: Sequence[Definition] = (),
    ) -> None:
        self.policies = {name: queue.policy for name, queue in settings.queues.items()}
        self._workers_fixed = settings.runtime.workers
        self._registry = registry
        self.journal, self.spool, self._ids = given.journal, given.spool, given.ids
        self.local = _local_backend(settings, self.policies, given) if given.store is None else None
        self.store = self._store_backend(settings, given, given.store) if given.store is not None else None
        self.backend = _one_of(self.local, self.store)
        self.webhooks = _webhooks(settings, given, topics)
        registry.set_built_in(*([] if self.webhooks is None else [self.webhooks.handler]))
        self.offset_s = given.wall_clock.offset_s if self.store is None else self.store.offset_s
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
            settle=self.spool.settle,
            result_bytes_max=settings.limits.result_bytes,
            family=family,
            trace=given.trace,
        )
        self._workers = WorkerPool(
            self._worker_count(),
            backend=self.backend,
            executor=_traced(self._executor) if settings.otel.enabled else self._executor,
            abandoned_min=given.tuning.abandoned_min,
        )
        self._definitions = definitions
        self.schedules = ScheduleRunner(
            self.backend,
            given.journal,
            local=self.local,
            now=given.clock,
            offset_s=self.offset_s,
            rng=given.rng,
        )
        self.started_at = given.clock()
        self._job_log = JobLog(given.clock, settings.log)
        self.journal_figures = None if given.journal is None else given.journal.figures
        self._drain_told = False

    def _store_backend(self, settings: Settings, given: Surroundings, make: MakesStore) -> StoreBackend:
        return make(
            queues=dict(self.policies),
            bounds=_bounds(settings),
            types=[handler.default_spec for handler in self._registry],
            spec_of=self._spec_of,
            pools=_pools(given),
            quotas=LimitsOfCallers(settings).quotas,
            now=given.clock,
            rng=given.rng,
        )

    @property
    def run(self) -> str:
        """The first characters of the ids that are issued."""
        return self._ids.run if self.store is None else self.store.run

    async def open(self) -> None:
        """Join the store, enter the lifespan and open the spool: what may fail, and comes before a server listens."""
        for handler in self._in_process:
            self._processes.check(handler)
        if self.store is not None:
            await self.store.open()
        if self._process_init is not None and not self._in_process:
            log.warning("process.init_unused", hint=INIT_UNUSED)
        self._executor.state = self._threads.state = await self._lifespan.enter()
        if self._in_process:
            self._processes.start([handler.func for handler in self._in_process], self._process_init)
            self._tell_processes()
        await self.spool.open()

    async def start(self) -> None:
        """Bring kept jobs back, if there are any; then start timer and workers."""
        if self.journal is not None:
            await self._restore(self.journal)
        else:
            self._deliver_ends()
        self.spool.follow(self.backend.subscribe)
        self.backend.subscribe(self._job_log.on_event, *self._job_log.kinds)
        if self.store is not None:
            self._follow_policies(self.store)
        await self.backend.start(self._workers)
        if self.journal is not None and self.journal.unclean_starts >= UNCLEAN_STARTS_MAX:
            await self._pause_all(self.journal.unclean_starts)
        self._workers.start()
        journal, queues = self.journal, self.policies
        put = [] if journal is None else kept_definitions(journal.schedules, self._registry, queues.__contains__)
        self.schedules.start(self._definitions, put)

    async def _restore(self, journal: Recovers) -> None:
        """Bring the kept jobs back, with their files and the settings of their queues."""
        find, local = self._registry.find, self.local
        assert local is not None, "a journal keeps the jobs of this process"
        await journal.restore(self._spec_of, lambda job_type: find(job_type) is not None)
        if self.webhooks is not None:
            await self.webhooks.count_kept(local)
        await journal.record(self._deliver_ends)
        await self.spool.adopt([job for job in journal.with_files if local.find(job.id) is not None])
        self.policies.update(journal.policies)
        self._workers.resize(self._worker_count())

    def _deliver_ends(self, ended: Sequence[Job] = ()) -> None:
        """Have webhooks deliver the ends of jobs from now on. Args: ended: Jobs that the recovery has ended."""
        if self.webhooks is not None and self.local is not None:
            self.webhooks.follow(self.local)
            self.webhooks.deliver_ends(ended)

    def _spec_of(self, stored: JobSpec) -> JobSpec:
        """Return the spec that a job of another process has in this one."""
        handler = self._registry.find(stored.type)
        return restored_spec(stored, None if handler is None else handler.default_spec)

    def _follow_policies(self, store: StoreBackend) -> None:
        """Take over the settings of queues, and later every change, of whichever server."""
        self.policies.update(store.policies())
        self._workers.resize(self._worker_count())

        def on_change(event: PolicyChanged) -> None:
            self.policies[event.queue] = event.policy
            self._workers.resize(self._worker_count())

        store.subscribe(on_change, PolicyChanged)

    async def _pause_all(self, starts: int) -> None:
        """Start nothing: a job may be what the process crashes of."""
        from jobqueue.backend.journal import journal_log  # it is loaded: there is a journal
        from jobqueue.backend.journal.journal import UNCLEAN_WITHIN_S

        journal_log.starts_paused(starts, within_s=UNCLEAN_WITHIN_S)
        for queue in self.backend.stats()[1]:
            if queue.pause is None:
                await self.backend.pause(queue.name, reason=CRASHED.format(starts))

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
        found = [] if reason is None else [f"handlers in processes can't run: {reason}"]
        if self.store is not None and (down := self.store.unavailable()) is not None:
            found.append(str(down))
        return found

    def pid_of(self, job_id: str) -> int | None:
        """Return the process of the pool that runs a job; None: there is none."""
        return self._processes.pid_of(job_id)

    async def stop(self) -> None:
        """End all parts, whichever of them raise; the folder of the journal is given up last."""
        async with AsyncExitStack() as parts:
            if self.journal is not None:
                parts.callback(self.journal.unlock)
            parts.push_async_callback(self._lifespan.leave)
            parts.push_async_callback(self.spool.close)
            parts.push_async_callback(self._processes.close)
            parts.push_async_callback(self._threads.close)
            parts.push_async_callback(self._workers.close)
            if self.webhooks is not None:
                parts.callback(self.webhooks.close)
            parts.push_async_callback(self.schedules.stop)
            await self.backend.stop()

    def apply(self, settings: Settings, definitions: Sequence[Definition]) -> None:
        """Put reloaded settings into effect, with their schedules; those of queues aside."""
        self._definitions = definitions
        if self.schedules.started:  # else it begins with them, once what is kept is back
            self.schedules.replace(definitions)
        if self.webhooks is not None:
            self.webhooks.apply(settings.webhooks)

    async def change(self, queue: str, policy: QueuePolicy, *, configured: bool = False) -> None:
        """Change a queue's settings. Args: configured: They are the new ones of the configuration."""
        if self.store is not None:
            change = self.store.configure_queue if configured else self.store.change_queue
            await change(queue, policy)
            return
        self.policies[queue] = policy
        # In this order: if there are more places now, the change of the queue fills them.
        self._workers.resize(self._worker_count())
        await self.backend.change_queue(queue, policy)

    def _worker_count(self) -> int:
        """Return the number of workers that the queues share: the setting for all, or the sum of their own."""
        return self._workers_fixed or sum(policy.workers for policy in self.policies.values())

    def live_counts(self) -> dict[str, int]:
        """Return the number of jobs in each live state; of shared ones, those that run in this process alone."""
        if self.backend.shared:
            return dict.fromkeys(LIVE_STATES, 0) | {"running": self._workers.busy}
        queues = self.backend.stats()[1]
        return {state: sum(getattr(queue, state) for queue in queues) for state in LIVE_STATES}

    async def drain(self, deadline_s: float, *, work_off: bool) -> dict[str, int]:
        """Drain the backend, as `Backend.drain`; log the live jobs that are left as lost, kept, or given back.

        Returns the count of lost ones by state.
        """
        self.schedules.stop_ticks()
        lost = dict.fromkeys(LIVE_STATES, 0)
        given_back = await self.backend.drain(
            deadline_s, lambda: None if self.backend.keeps else lost.update(self.tell_lost()), work_off=work_off
        )
        if self.backend.shared:
            if given_back:
                log.info("drain.returned", running=given_back)
        elif self.backend.keeps:
            self._tell_kept(given_back)
        return lost

    def tell_lost(self) -> dict[str, int]:
        """Log the live jobs as lost (`drain.lost`) or kept, if there are any, and once; return the lost ones."""
        lost = dict.fromkeys(LIVE_STATES, 0)
        if self.backend.keeps:
            if not self.backend.shared:  # else the other servers have them
                self._tell_kept(0)
        elif not self._drain_told:
            self._drain_told, lost = True, self.live_counts()
            if any(lost.values()):
                log.warning("drain.lost", **lost)
        return lost

    def _tell_kept(self, given_back: int) -> None:
        """Log the live jobs that the next run goes on with. Args: given_back: Queued ones whose attempt was stopped."""
        kept = self.live_counts()
        if not self._drain_told and any(kept.values()):
            kept["queued"] -= given_back
            kept["running"] += given_back
            log.info("drain.kept", **kept)
        self._drain_told = True
