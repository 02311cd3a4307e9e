"""The backend whose jobs are in a store, which several processes share: its parts, and how they work together.

Rules:

1. The store decides, in functions that are done whole or not at all. This process asks (`link`), and tells what it did
   (`listeners`).
2. The parts know each other by what they are given here.
"""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Final

from jobqueue.backend.valkey import no_flows
from jobqueue.backend.valkey.attempts import Attempts
from jobqueue.backend.valkey.cache import EndedCache
from jobqueue.backend.valkey.clock import StoreClock
from jobqueue.backend.valkey.drain import Drain
from jobqueue.backend.valkey.events import EventStream
from jobqueue.backend.valkey.expected import ExpectedJobs
from jobqueue.backend.valkey.figures import figures_of
from jobqueue.backend.valkey.leases import Leases
from jobqueue.backend.valkey.link import Link
from jobqueue.backend.valkey.listeners import Listeners
from jobqueue.backend.valkey.lists import Lists
from jobqueue.backend.valkey.looks import Looks, missing
from jobqueue.backend.valkey.mirror import Mirror
from jobqueue.backend.valkey.operations import Operations
from jobqueue.backend.valkey.process import Process
from jobqueue.backend.valkey.quarantines import Quarantines
from jobqueue.backend.valkey.queues import Queues
from jobqueue.backend.valkey.records import Records
from jobqueue.backend.valkey.stops import Stops
from jobqueue.backend.valkey.submissions import Submissions
from jobqueue.backend.valkey.ticks import Ticks
from jobqueue.backend.valkey.types import TypeLimits
from jobqueue.backend.valkey.verdicts import Verdicts
from jobqueue.backend.valkey.watches import Watches
from jobqueue.core.events import Started
from jobqueue.core.job import JobId, StopReason
from jobqueue.errors import JobGone, JobNotFound, JobQueueError, StaleLease
from jobqueue.log import event_logger

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from random import Random

    from jobqueue.backend.base import Workers
    from jobqueue.backend.valkey.attempts import Held
    from jobqueue.backend.valkey.calls import Calls
    from jobqueue.backend.valkey.ids import FleetIds
    from jobqueue.core.job import Job, JobSpec, Uniqueness
    from jobqueue.core.job_view import JobView
    from jobqueue.core.policy import QueuePolicy
    from jobqueue.core.quotas import Quotas
    from jobqueue.core.report import Failure, Progress, Success
    from jobqueue.core.store_bounds import StoreBounds
    from jobqueue.core.stored_file import Upload
    from jobqueue.core.submit import SubmitResult

EVENTS_MAX: Final = 10_000
"""Events that the store keeps for streams, about."""

log = event_logger(__name__)


class ValkeyBackend:
    """The backend of one process among those that share a store. To be made within the running loop.

    Args:
        calls: Those of the store.
        queues: Policy by name, as the configuration of this process has it.
        types: The default spec of each type that has a handler here; of none: it takes jobs of every type.
        spec_of: Returns the spec that a stored one has in this process.
        pools: Maximum number of attempts of this process at once in each pool.
        quotas: What a caller may hold.
        now: The loop's clock.
        rng: Draws jitter.
        namespace: That of the keys in the store.
        cache_s: How long a record that has ended is answered without asking the store.
        process_ttl_s: How long after its last beat a process counts as alive.
        info: The host and pid of this process, as others log them once it is lost.
    """

    def __init__(
        self,
        calls: Calls,
        *,
        queues: Mapping[str, QueuePolicy],
        bounds: StoreBounds,
        types: Iterable[JobSpec],
        spec_of: Callable[[JobSpec], JobSpec],
        pools: Mapping[str, int],
        quotas: Quotas,
        now: Callable[[], float],
        rng: Random,
        namespace: str,
        cache_s: float,
        process_ttl_s: float,
        info: str,
        randomness: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self.keeps = self.shared = True
        self._namespace = namespace
        self._calls, self._sections, self._bounds, self._rng = calls, dict(queues), bounds, rng
        self._clock = StoreClock(now)
        self._link = Link(calls, self._clock)
        self._listeners = Listeners()
        self._records = Records(self._clock, spec_of)
        self._attempts = Attempts(pools)
        self._types = TypeLimits(self._link, types)
        self._mirror = Mirror(calls, self._clock, queues, rng, own=self._name)
        self._mirror.permits = dict(pools)
        self._cache = EndedCache(cache_s, now)
        self._expected = ExpectedJobs(self._link.loop, self.when_landed)
        self._looks = Looks(
            self._link,
            self._records,
            self._cache,
            self._ids,
            self._mirror.note_position,
            self._attempts.runs,
            self._expected,
        )
        self._watches = Watches(self._looks, self._missing, now)
        self._process = Process(
            self._link,
            self._attempts,
            self,
            ttl_s=process_ttl_s,
            types=self._types.names,
            info=info,
            channel=lambda name: f"{{{namespace}}}:wake:{name}",
            randomness=randomness,
        )
        self._make_work()
        self._make_operations(quotas)
        self._bind()

    def _make_work(self) -> None:
        """Make the parts that run jobs."""
        link, records, attempts, listeners = self._link, self._records, self._attempts, self._listeners
        self._ticks = Ticks(
            link, self._looks, listeners, rng=self._rng, on_ready=self.on_settled, on_evicted=self._watches.gone
        )
        self._verdicts = Verdicts(
            link,
            records,
            attempts,
            listeners,
            process=self._name,
            on_freed=self._on_freed,
            on_changed=self._looks.dropped,
            on_succeeding=self._looks.succeeding,
            on_succeeded=self._looks.succeeded,
            on_answered=self._looks.answered,
            note_at=self._ticks.note_at,
            rng=self._rng,
        )
        self._stops = Stops(link, attempts, listeners, self._name, self._verdicts.conclude)
        self._leases = Leases(
            link,
            records,
            attempts,
            listeners,
            self._process,
            self._stops,
            self._verdicts,
            queues=tuple(self._sections),
            note_at=self._ticks.note_at,
        )

    def _make_operations(self, quotas: Quotas) -> None:
        """Make the parts that clients use."""
        link, looks, listeners, mirror = self._link, self._looks, self._listeners, self._mirror
        self._submissions = Submissions(
            link,
            self._records,
            looks,
            listeners,
            mirror,
            self._types,
            ids=self._ids,
            quotas=quotas,
            takes=self._leases.takes,
            expected=self._expected,
            on_ready=self._leases.hint,
            note_at=self._ticks.note_at,
        )
        self._operations = Operations(
            link,
            looks,
            listeners,
            mirror,
            self._submissions,
            ids=self._ids,
            rng=self._rng,
            on_ready=self._leases.hint,
            on_stopping=self._on_stopping,
            on_deleted=self._on_deleted,
        )
        self._submissions.on_replaced, self._submissions.on_unknown = self._operations.cancelled, self._process.check
        self._lists = Lists(self._calls, self._clock, self._records, self._operations.act)
        self._quarantines = Quarantines(self._clock.now, listeners)
        mirror.on_quarantined = self._quarantines.see
        self._queues = Queues(self._calls, self._clock, mirror, listeners.publish)
        self._queues.on_unknown = self._process.check
        self.events = EventStream(self._calls, self._clock, self._records)

    def _bind(self) -> None:
        """Give out the operations that a part has alone: a method around each would be a call more for each."""
        mirror, queues, lists, watches = self._mirror, self._queues, self._lists, self._watches
        operations, submissions, leases = self._operations, self._submissions, self._leases
        self.now, self.offset_s = self._clock.now, self._clock.offset_s
        self.refuse_unseen, self.estimate, self.stats = mirror.refuse_unseen, mirror.estimate, mirror.stats
        self.counts, self.type_counts, self.quarantined = mirror.counts, mirror.type_counts, mirror.quarantined
        self.holding, self.holders, self.limiters = mirror.holding, mirror.holders, mirror.limiters
        self.refresh, self.unavailable = mirror.refresh, self._calls.refusal
        self.figures = partial(figures_of, self._calls, mirror, self._namespace)
        self.policies, self.configure_queue = queues.policies, queues.configure_queue
        self.page, self.count, self.failures = lists.page, lists.count, lists.failures
        self.bulk, self.cursor_after = lists.bulk, lists.cursor_after
        self.when_ended, self.forget = watches.when_ended, watches.forget
        self.when_changed, self.forget_changes = watches.when_changed, watches.forget_changes
        self.wait_for_change = watches.change
        self.cancel, self.delete = operations.cancel, operations.delete
        self.retry, self.run_now = operations.retry, operations.run_now
        self.submit_many, self.submit_soon = submissions.submit_many, submissions.submit_soon
        self.submit_together, self.submit_flow = no_flows.submit_together, no_flows.submit_flow
        self.flow = self.cancel_flow = self.retry_flow = no_flows.of_flow
        self.flows = no_flows.flows
        self.lease, self.lease_now, self.pass_on = leases.lease, leases.lease_now, leases.pass_on
        self.look_soon, self.excuse = self._looks.look, self._stops.excuse
        self.subscribe = self._listeners.subscribe
        for kind, hear in mirror.hears.items():
            self.subscribe(hear, kind)
        self.subscribe(watches.hear)
        self.subscribe(self._expected.hear, Started)

    # -- life

    async def open(self) -> None:
        """As `StoreBackend.open`."""
        await self._calls.open()
        await self._process.join()
        self._leases.open()
        self._ticks.start()
        self._mirror.start()

    @property
    def run(self) -> str:
        return self._ids().run

    async def start(self, workers: Workers) -> None:
        self._stops.start(workers)
        self._leases.start(workers)

    def stop_admitting(self) -> None:
        self._submissions.open = False
        self._mirror.stop_admitting()

    async def drain(self, deadline_s: float, on_deadline: Callable[[], None], *, work_off: bool = True) -> int:
        self.stop_admitting()
        return await Drain(self._attempts, self._leases, self._stops).run(deadline_s, on_deadline)

    async def stop(self) -> None:
        self._ticks.stop()
        self._mirror.stop()
        self._stops.stop()
        self._watches.stop()
        self.events.end()
        self._leases.close()
        self._verdicts.close()
        try:
            await self._process.leave()
        except JobQueueError as error:
            log.warning("store.not_left", error=str(error))
        await self._calls.close()

    # -- operations

    async def submit(
        self, spec: JobSpec, args: bytes = b"{}", upload: Upload | None = None, uniqueness: Uniqueness | None = None
    ) -> SubmitResult[JobView]:
        return await self._submissions.submit(spec, args, upload, uniqueness)

    async def get(self, job_id: str, owner: str | None = None) -> JobView:
        (found,) = await self.get_many((job_id,), owner)
        if isinstance(found, Exception):
            raise found
        return found

    async def get_many(
        self, job_ids: Sequence[str], owner: str | None = None
    ) -> Sequence[JobView | JobNotFound | JobGone]:
        """As `Backend.get_many`."""
        answers: list[asyncio.Future[JobView | Exception]] = []
        for job_id in job_ids:
            answer: asyncio.Future[JobView | Exception] = self._link.loop.create_future()
            answers.append(answer)
            self._looks.look(job_id, owner, partial(_answer, answer))
        found: list[JobView | JobNotFound | JobGone] = []
        for answer in answers:
            told = await answer
            if isinstance(told, Exception) and not isinstance(told, JobNotFound | JobGone):
                raise told
            found.append(told)
        return found

    async def wait(self, job_id: str) -> JobView:
        return await self.ending(job_id)

    def ending(self, job_id: str) -> asyncio.Future[JobView]:
        """As `Backend.ending`; an id that was issued and has no record any more is told by the future."""
        ids = self._ids()
        if not ids.may_exist(job_id):
            raise missing(job_id, ids.origin(job_id))
        return self._watches.ending(JobId(job_id))

    async def ack(self, job_id: JobId, attempt: int, success: Success) -> None:
        await self._verdicts.ack(self._conclude(job_id, attempt), success)

    async def nack(self, job_id: JobId, attempt: int, failure: Failure) -> None:
        await self._verdicts.nack(self._conclude(job_id, attempt), failure)

    def end_now(self, job_id: JobId, attempt: int, outcome: Success | Failure) -> bool:
        held = self._attempts.find(job_id, attempt)
        if held is not None and held.stopping is not None:
            return False  # it may have to become another outcome
        self._verdicts.end_now(self._conclude(job_id, attempt), outcome)
        return True

    async def stopped(self, job_id: JobId, attempt: int) -> None:
        await self._verdicts.stopped(self._conclude(job_id, attempt))

    async def report(self, job_id: JobId, attempt: int, progress: Progress) -> None:
        held = self._attempts.find(job_id, attempt)
        if held is None or held.over or held.lost:
            raise StaleLease(f"attempt {attempt} of job {job_id} no longer holds its lease")
        await self._verdicts.report(held, progress)

    def _conclude(self, job_id: JobId, attempt: int) -> Held:
        held = self._attempts.conclude(job_id, attempt)
        self._stops.over(held)
        return held

    async def pause(
        self, queue: str, *, reason: str | None = None, for_s: float | None = None, by: str | None = None
    ) -> None:
        await self._queues.pause(queue, reason=reason, for_s=for_s, by=by)
        if for_s is not None:
            self._ticks.note_at(self.now() + for_s)

    async def resume(self, queue: str, *, by: str | None = None) -> None:
        await self._queues.resume(queue, by=by)
        self.on_settled()

    async def change_queue(self, queue: str, policy: QueuePolicy) -> None:
        await self._queues.change_queue(queue, policy)
        self.on_settled()

    async def release(self, job_type: str) -> bool:
        released = await self._queues.release(job_type)
        self.on_settled()
        return released

    async def set_quotas(self, quotas: Quotas) -> None:
        self._submissions.quotas = quotas

    def set_permits(self, pool: str, permits: int) -> None:
        self._attempts.set_permits(pool, permits)
        self._mirror.permits[pool] = permits
        self.on_settled()

    # -- what the parts tell

    def _ids(self) -> FleetIds:
        return self._process.ids

    def _missing(self, job_id: str) -> JobNotFound | JobGone:
        return missing(job_id, self._ids().origin(job_id))

    def _name(self) -> str:
        return self._process.name

    async def on_joined(self, *, emptied: bool) -> None:
        """Tell a store that knows nothing what it has to know."""
        if emptied:
            self._cache.clear()
            bounds = self._bounds
            args = [bounds.jobs_max, bounds.failed_max, bounds.bytes_max]
            ttls = [round(bounds.ttl_s * 1000.0), round(bounds.failed_ttl_s * 1000.0)]
            await self._link.call("set_bounds", [*args, *ttls, EVENTS_MAX])
            await self._types.tell_all()
            await self._queues.join(self._sections)
            await self._mirror.refresh()
        self.on_settled()

    def on_lost(self, job_id: JobId, attempt: int) -> None:
        held = self._attempts.find(job_id, attempt)
        if held is not None:
            self._looks.dropped(job_id)
            self._stops.lose(held)

    def on_stop(self, job_id: JobId, attempt: int, reason: StopReason) -> None:
        held = self._attempts.find(job_id, attempt)
        if held is not None:
            self._looks.dropped(job_id)
            self._stops.request(held, reason)

    def on_disconnected(self) -> None:
        self._looks.disconnected()

    def on_next_at(self, at: float) -> None:
        self._ticks.note_at(at)

    def on_settled(self) -> None:
        """There may be jobs to lease."""
        self._leases.hint()

    def when_landed(self, then: Callable[[], None]) -> None:
        self._leases.when_landed(then)

    def _on_freed(self) -> None:
        self._leases.freed()

    def _on_stopping(self, job: Job) -> None:
        held = self._attempts.find(job.id, job.attempt)
        if held is not None:
            held.job.version = job.version
            self._stops.request(held, StopReason.CANCELLED)

    def _on_deleted(self, job_id: str) -> None:
        self._mirror.note_deleted(1)
        self._watches.gone(JobId(job_id))


def _answer(answer: asyncio.Future[JobView | Exception], told: JobView | Exception) -> None:
    if not answer.done():
        answer.set_result(told)
