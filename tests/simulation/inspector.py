"""The inspector: checks that the internal structures of the engine agree with each other.

It depends on the implementation, and changes with it; the auditor does not.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from jobqueue.core.job import LIVE, JobState
from jobqueue.runtime.workers import WAITING_MIN

if TYPE_CHECKING:
    from jobqueue.app import JobQueue
    from tests.simulation.auditor import Auditor
    from tests.simulation.scenario import Scenario


class Inspector:
    """Checks the engine between events.

    Args:
        auditor: Records violations, and knows which jobs may run.
    """

    def __init__(self, queue: JobQueue, auditor: Auditor, scenario: Scenario) -> None:
        self._auditor = auditor
        self._scenario = scenario
        self._settings = queue.settings
        assert queue.service._wiring is not None
        self._wiring = queue.service._wiring
        self._engine = auditor.engine

    def check(self) -> None:
        """Check the invariants that hold after every step."""
        self._check_positions()
        self._check_bounds()
        self._check_deadlines()
        self._check_uniqueness()
        self._check_live_of_callers()
        self._check_flows()

    def _check_positions(self) -> None:
        """Check that each queued job is either ready or waits at one limiter, and that the counts agree."""
        check, engine = self._auditor.check, self._engine
        ready = [job for order in engine.scheduler._orders.values() for job in order]
        waiting = [
            job
            for limiter in engine.limiters._all()
            for wait_list in limiter.wait_lists.values()
            for job in wait_list.order
        ]
        positions = Counter(job.id for job in [*ready, *waiting])
        counts: Counter[tuple[str, JobState]] = Counter()
        for known in self._auditor.known.values():
            job = known.job
            counts[job.spec.queue, job.state] += 1
            queued = job.state is JobState.QUEUED
            found = positions.pop(job.id, 0)
            if found != queued:
                check(False, f"{known} is {job.state}, and is in {found} positions")
            if (job.id in engine.queue_states[job.spec.queue].waiting) != queued:
                check(False, f"{known} is {job.state}; counted as queued: {not queued}")
            if job.id in engine.limiters.held and job.state is not JobState.RUNNING:
                check(False, f"{known} holds permits unused")
        check(not positions, f"{len(positions)} jobs wait or are ready without a record")
        for queue_state in engine.queue_states.values():
            for state in LIVE:
                found = counts[queue_state.name, state]
                check(
                    queue_state.counts[state] == found,
                    f"{found} are {state} in {queue_state.name}, not {queue_state.counts[state]}",
                )

    def _check_bounds(self) -> None:
        check, store, bounds = self._auditor.check, self._engine.store, self._settings.statuses
        held = [known.job for known in self._auditor.known.values()]
        check(len(store) <= bounds.jobs_max, f"{len(store)} records are held, of {bounds.jobs_max}")
        used = sum(job.size_bytes for job in held)
        check(store.bytes_used == used, f"{used} bytes are held, not {store.bytes_used}")
        check(used <= bounds.bytes_max, f"{used} bytes are held, of {bounds.bytes_max}")
        live_bytes = sum(job.size_bytes for job in held if job.live)
        check(store.live_bytes == live_bytes, f"{live_bytes} bytes are live, not {store.live_bytes}")
        failed = sum(job.state is JobState.FAILED for job in held)
        check(failed <= bounds.failed_max, f"{failed} failed jobs are held, of {bounds.failed_max}")
        check(len(store.failed) == failed, f"{failed} failed jobs, not {len(store.failed)}")

    def _check_deadlines(self) -> None:
        """Check that each job with a timed transition has a deadline, and that only live jobs have one."""
        deadlines = self._engine._transitions.deadlines
        count = 0
        for known in self._auditor.known.values():
            job = known.job
            has = job.id in deadlines
            count += has
            needs = job.state is JobState.DELAYED or (
                job.state is JobState.RUNNING and (job.stopping is not None or job.spec.timeout_s is not None)
            )
            if needs and not has:
                self._auditor.check(False, f"{known} is {job.state}, and no deadline moves it")
            if has and not job.live:
                self._auditor.check(False, f"{known} is over, and has a deadline")
        self._auditor.check(len(deadlines) == count, f"{len(deadlines)} deadlines, of {count} jobs")

    def _check_uniqueness(self) -> None:
        check, uniqueness_index, known = (
            self._auditor.check,
            self._engine._transitions.uniqueness_index,
            self._auditor.known,
        )
        for name, job_id in uniqueness_index._by_value.items():
            check(job_id in known and known[job_id].live, f"the unique value {name} is held by no live job")
        for key, (job_id, _) in uniqueness_index._by_key.items():
            check(job_id in known, f"the idempotency key {key} is of an evicted job")

    def _check_live_of_callers(self) -> None:
        holdings = self._engine.store.holdings
        live = Counter(each.job.caller for each in self._auditor.known.values() if each.live)
        for caller in holdings.by_caller.keys() | live.keys():
            held, _ = holdings.live_of(caller)
            self._auditor.check(held == live[caller], f"{caller} has {live[caller]} live jobs, and {held} are counted")

    # -- before time advances

    def _check_flows(self) -> None:
        """Check that each flow has counted the ends of its jobs, and that the order of flows has each of them."""
        flows = self._engine.flows
        for flow in flows.all():
            jobs = [self._engine.find(job_id) for job_id in flow.jobs]
            states = Counter(job.state for job in jobs if job is not None)
            ended = Counter({state: count for state, count in states.items() if state not in LIVE}) + Counter(
                flow.evicted
            )
            self._auditor.check(
                +Counter(flow.ended) == ended, f"flow {flow.id} has {ended}, and {flow.ended} are counted"
            )
            self._auditor.check(
                flow.live == sum(states[state] for state in LIVE), f"{flow.live} jobs of {flow.id} are live"
            )
        ids = sorted((flow.id for flow in flows.all()), reverse=True)
        self._auditor.check(
            [flow.id for flow in flows.newest(None, len(ids) + 1)] == ids, "the list of flows lacks one"
        )

    def check_quiet(self) -> None:
        """Check that no worker idles beside a ready job, and that no job waits at a limiter with a free permit."""
        self._check_workers()
        check, engine, now = self._auditor.check, self._engine, self._wiring.backend.now()
        due_at = engine.next_at()
        if due_at is not None and due_at <= now:
            return  # the next tick comes before time advances
        wait_lists = [each for limiter in engine.limiters._all() for each in limiter.wait_lists.values()]
        if not wait_lists:
            return
        # An offered job stands for the jobs behind it: it may be ready and wait for a worker of its queue.
        ready = [job.spec for order in engine.scheduler._orders.values() for job in order]
        offered = {(spec.queue, spec.type) for spec in ready} | {(spec.queue, spec.pool) for spec in ready}
        for job in [job for wait_list in wait_lists for job in wait_list.order]:
            if (job.spec.queue, job.spec.type) in offered or (job.spec.queue, job.spec.pool) in offered:
                continue
            held_back = self._auditor.limits.hold_back(job, now)
            check(held_back, f"{self._auditor.known[job.id]} waits in a limiter, and nothing holds it back")

    def _check_workers(self) -> None:
        """Check the size of the pool, its idle workers, and that each running job has exactly one worker."""
        check, pool = self._auditor.check, self._wiring._workers
        idle = [worker for worker in pool._workers.values() if worker.lease is None]
        takeable = len(self._engine.scheduler)
        check(not (idle and takeable), f"{len(idle)} workers idle, and {takeable} jobs might be taken")
        policies = [queue_state.policy for queue_state in self._engine.queue_states.values()]
        size = self._settings.runtime.workers or sum(policy.workers for policy in policies)
        check(pool.size == size, f"the pool is to have {size} workers, not {pool.size}")
        strength = len(pool._workers) + len(pool._pauses)
        stuck = max(0, len(pool._abandoned) - max(self._scenario.abandoned, pool.size))
        waiting = strength - len(pool._by_job)
        check(
            waiting >= WAITING_MIN or strength + stuck >= pool.size,
            f"{waiting} of {strength} workers wait for jobs, or come back, and there may be {pool.size}",
        )
        check(self._scenario.deadly or not pool._crashes, "a worker died that was not killed")
        check(
            strength <= pool.size or not idle, f"{len(idle)} of {strength} workers idle, and there may be {pool.size}"
        )
        held = {(job_id, worker.lease.attempt) for job_id, worker in pool._by_job.items() if worker.lease}
        running = self._auditor.limits.running
        for known in running.values():
            check((known.job.id, known.attempt) in held, f"{known} runs, and no worker has it")
        check(len(held) == len(running), "a worker has a job that doesn't run")

    # -- after the last job

    def check_over(self) -> None:
        """Check that no waiter, permit or worker of a terminal job is left."""
        check, engine, backend = self._auditor.check, self._engine, self._wiring.backend
        check(not self._auditor.live, f"{self._auditor.live} live jobs are left")
        check(not backend._waits.ends, f"{len(backend._waits.ends)} jobs are still waited for")
        check(not backend._waits.changes, f"{len(backend._waits.changes)} watchers are left")
        limiters = engine.limiters
        check(not limiters.held, f"{len(limiters.held)} permits were not released")
        check(not limiters._waiters, f"{len(limiters._waiters)} wait for a permit")
        for limiter in limiters._all():
            check(
                not limiter.held or not limiter.bounded,
                f"limiter {limiter.name} {limiter.group} counts {limiter.held} holders",
            )
            check(not limiter.wait_lists, f"limiter {limiter.name} {limiter.group} has empty wait lists")
        check(not self._wiring._workers._by_job, "workers hold jobs that are over")

    def check_evicted(self) -> None:
        """Check that no record and no index entry is left after every TTL."""
        check, engine = self._auditor.check, self._engine
        check(not len(engine.store), f"{len(engine.store)} records outlive their TTL")
        check(not engine.store.bytes_used, f"{engine.store.bytes_used} bytes are used without a record")
        check(not len(engine.store.holdings), "callers hold something without a record")
        check(not self._wiring._workers._abandoned, "workers are counted as stuck that have ended")
        uniqueness_index = engine._transitions.uniqueness_index
        check(
            not (uniqueness_index._by_key or uniqueness_index._by_value or uniqueness_index._shared),
            "index entries of evicted jobs",
        )
        check(
            not engine.store._id_pages and not engine.store._expiry_buckets,
            "id pages or expiry buckets of evicted jobs",
        )
        groups = engine.limiters._groups
        check(not groups, f"limiters of groups that have no jobs: {list(groups)}")
