"""A backend as a store outside the process is: a MemoryBackend without any local access, which answers later.

Each operation is done in a later loop iteration than it is called in, in the order of the calls, and its answer comes
in one after that. What `StoreBackend` does at once is done at once.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from jobqueue.backend.memory import MemoryBackend
from jobqueue.backend.store import JobNews, SharedEvent, StoreFigures
from jobqueue.backend.valkey import no_flows
from jobqueue.core.engine import Engine
from jobqueue.core.events import (
    BackedOff,
    Ended,
    Paused,
    PolicyChanged,
    Progressed,
    Quarantined,
    Ready,
    Released,
    Resumed,
    Started,
    StopRequested,
    Submitted,
)
from jobqueue.core.ids import IdIssuer
from jobqueue.core.job_view import JobView, view_of
from jobqueue.core.submit import SubmitResult
from jobqueue.errors import JobGone, JobNotFound, StoreUnavailable
from jobqueue.http.streams.event_names import NAMES, name_of

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence

    from jobqueue.backend.base import BulkAction, BulkCount, ChangeListener, Count, Page, Workers
    from jobqueue.backend.store import StoreEndListener
    from jobqueue.core.failure_groups import Failures
    from jobqueue.core.job import Job, JobId, JobSpec, Lease, Uniqueness
    from jobqueue.core.job_filter import JobFilter
    from jobqueue.core.policy import QueuePolicy
    from jobqueue.core.quotas import Quotas
    from jobqueue.core.report import Failure, Progress, Success
    from jobqueue.core.stored_file import Upload
    from jobqueue.core.submit import Asked, SubmitReceipt

T = TypeVar("T")

HELD_MAX = 1000
"""Events that the store holds for those that come back."""

SHOWN = (Submitted, Started, StopRequested, BackedOff, Ready, Progressed, Ended)
STEERING = (Quarantined, Released, Paused, Resumed)


def run(operation: Coroutine[Any, Any, T]) -> T:
    """Run an operation of the backend in this process that waits for nothing."""
    try:
        operation.send(None)
    except StopIteration as end:
        done: T = end.value
        return done
    raise AssertionError("it waits")


class FarBackend:
    """A backend in a store that is another part of this process.

    Args:
        engine: That of the store.
        ids: Its ids.
        offset_s: Returns the Unix seconds at zero of `now`.

    Attributes:
        down: Whether the store doesn't answer.
    """

    keeps = shared = True

    def __init__(
        self, engine: Engine, ids: IdIssuer, *, now: Callable[[], float], offset_s: Callable[[], float] = lambda: 1.8e9
    ) -> None:
        self.down = False
        self.run = ids.run
        self._engine = engine
        self._ids = ids
        self._now = now
        self.offset_s = offset_s
        self._memory = memory = MemoryBackend(engine, now=now)
        memory.keeps = True
        self._policies = {name: state.policy for name, state in engine.queue_states.items()}
        self._ends: dict[JobId, dict[StoreEndListener, None]] = {}
        self.events = FarEvents(self)
        memory.subscribe(self._on_ended, Ended)
        memory.subscribe(self._on_policy, PolicyChanged)
        # The copy of the state in this process, which is exact.
        self.now, self.refuse_unseen, self.estimate = memory.now, memory.refuse_unseen, memory.estimate
        self.stats, self.counts, self.type_counts = memory.stats, memory.counts, memory.type_counts
        self.quarantined, self.limiters = memory.quarantined, memory.limiters
        self.holding, self.holders = memory.holding, memory.holders
        # What a store doesn't have.
        self.submit_together, self.submit_flow = no_flows.submit_together, no_flows.submit_flow
        self.flow = self.cancel_flow = self.retry_flow = no_flows.of_flow
        self.flows = no_flows.flows
        # What concerns this process alone.
        self.pass_on, self.cursor_after, self.set_permits = memory.pass_on, memory.cursor_after, memory.set_permits
        self.stop_admitting, self.excuse, self.subscribe = memory.stop_admitting, memory.excuse, memory.subscribe

    # -- the way there and back

    def send(self, operation: Callable[[], T], done: Callable[[T | Exception], None]) -> None:
        """Have an operation done later, and its answer told later still."""
        loop = asyncio.get_running_loop()
        if self.down:
            loop.call_soon(done, unavailable())
            return

        def do() -> None:
            answer: T | Exception
            try:
                answer = operation()
            except Exception as error:
                answer = error.with_traceback(None)
            loop.call_soon(done, answer)

        loop.call_soon(do)

    async def _far(self, operation: Callable[[], T]) -> T:
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()

        def tell(result: T | Exception) -> None:
            if answer.done():
                return  # no one waits any more
            if isinstance(result, Exception):
                answer.set_exception(result)
            else:
                answer.set_result(result)

        self.send(operation, tell)
        return await answer

    async def _run(self, operation: Callable[[], Coroutine[Any, Any, T]]) -> T:
        return await self._far(lambda: run(operation()))

    async def _search(self, operation: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """As `_run`, of an operation that gives way to others in between; it concerns what exists when it is called."""
        found = await operation()
        await self._far(lambda: None)
        return found

    # -- life

    async def open(self) -> None:
        await self._far(lambda: None)

    async def start(self, workers: Workers) -> None:
        await self._memory.start(workers)

    async def stop(self) -> None:
        await self._memory.stop()

    async def drain(self, deadline_s: float, on_deadline: Callable[[], None], *, work_off: bool = True) -> int:
        return await self._memory.drain(deadline_s, on_deadline, work_off=False)

    # -- the store itself

    def unavailable(self) -> StoreUnavailable | None:
        return unavailable() if self.down else None

    def figures(self) -> StoreFigures:
        return StoreFigures(
            product="Far 1.0",
            address="far:1",
            namespace="far",
            up=not self.down,
            since=self._now(),
            reason="it is down" if self.down else None,
            servers=1,
            durability="async",
            call_s_p50=None,
        )

    def policies(self) -> Mapping[str, QueuePolicy]:
        return self._policies

    def _on_policy(self, event: PolicyChanged) -> None:
        self._policies[event.queue] = event.policy

    async def configure_queue(self, queue: str, policy: QueuePolicy) -> None:
        await self.change_queue(queue, policy)

    # -- submissions and looks

    async def submit(
        self, spec: JobSpec, args: bytes = b"{}", upload: Upload | None = None, uniqueness: Uniqueness | None = None
    ) -> SubmitResult[JobView]:
        return await self._far(partial(self._submit, spec, args, upload, uniqueness))

    def submit_soon(
        self,
        spec: JobSpec,
        args: bytes,
        upload: Upload | None,
        uniqueness: Uniqueness | None,
        done: Callable[[SubmitResult[JobView] | Exception], None],
    ) -> None:
        self.send(partial(self._submit, spec, args, upload, uniqueness), done)

    def _submit(
        self, spec: JobSpec, args: bytes, upload: Upload | None, uniqueness: Uniqueness | None
    ) -> SubmitResult[JobView]:
        submitted = self._memory.submit_now(spec, args, upload, uniqueness)
        return SubmitResult(view_of(submitted.job), submitted.duplicate)

    async def submit_many(self, many: Sequence[Asked]) -> Sequence[SubmitReceipt | Exception]:
        return await self._run(lambda: self._memory.submit_many(many))

    async def get(self, job_id: str, owner: str | None = None) -> JobView:
        if isinstance(missing := self._engine.missing(job_id, owner), JobNotFound):
            raise missing
        return await self._far(lambda: view_of(self._engine.get(job_id, owner)))

    def look_soon(self, job_id: str, owner: str | None, done: Callable[[JobView | Exception], None]) -> None:
        missing = self._engine.missing(job_id, owner)
        if isinstance(missing, JobNotFound):  # as its tag tells without the store
            done(missing)
            return
        self.send(lambda: view_of(self._engine.get(job_id, owner)), done)

    async def get_many(
        self, job_ids: Sequence[str], owner: str | None = None
    ) -> Sequence[JobView | JobNotFound | JobGone]:
        return await self._run(lambda: self._memory.get_many(job_ids, owner))

    async def page(self, job_filter: JobFilter, *, limit: int, cursor: str | None, oldest_first: bool = False) -> Page:
        return await self._search(
            lambda: self._memory.page(job_filter, limit=limit, cursor=cursor, oldest_first=oldest_first)
        )

    async def count(self, job_filter: JobFilter) -> Count:
        return await self._search(lambda: self._memory.count(job_filter))

    async def failures(self, job_filter: JobFilter) -> Failures:
        return await self._search(lambda: self._memory.failures(job_filter))

    # -- attempts

    async def lease(self) -> Lease:
        await self._far(lambda: None)
        return await self._memory.lease()

    def lease_now(self) -> Lease | None:
        return None

    async def ack(self, job_id: JobId, attempt: int, success: Success) -> None:
        await self._run(lambda: self._memory.ack(job_id, attempt, success))

    def end_now(self, job_id: JobId, attempt: int, outcome: Success | Failure) -> bool:
        return False

    async def nack(self, job_id: JobId, attempt: int, failure: Failure) -> None:
        await self._run(lambda: self._memory.nack(job_id, attempt, failure))

    async def stopped(self, job_id: JobId, attempt: int) -> None:
        await self._run(lambda: self._memory.stopped(job_id, attempt))

    async def report(self, job_id: JobId, attempt: int, progress: Progress) -> None:
        await self._run(lambda: self._memory.report(job_id, attempt, progress))

    # -- steering

    async def cancel(self, job_id: str) -> JobView:
        return await self._run(lambda: self._memory.cancel(job_id))

    async def delete(self, job_id: str) -> None:
        await self._run(lambda: self._memory.delete(job_id))

    async def retry(self, job_id: str) -> JobView:
        return await self._run(lambda: self._memory.retry(job_id))

    async def run_now(self, job_id: str) -> JobView:
        return await self._run(lambda: self._memory.run_now(job_id))

    async def bulk(
        self,
        action: BulkAction,
        job_filter: JobFilter,
        *,
        limit: int | None = None,
        oldest_first: bool = False,
        dry_run: bool = False,
    ) -> BulkCount:
        return await self._search(
            lambda: self._memory.bulk(action, job_filter, limit=limit, oldest_first=oldest_first, dry_run=dry_run)
        )

    async def change_queue(self, queue: str, policy: QueuePolicy) -> None:
        await self._run(lambda: self._memory.change_queue(queue, policy))

    async def pause(
        self, queue: str, *, reason: str | None = None, for_s: float | None = None, by: str | None = None
    ) -> None:
        await self._run(lambda: self._memory.pause(queue, reason=reason, for_s=for_s, by=by))

    async def resume(self, queue: str, *, by: str | None = None) -> None:
        await self._run(lambda: self._memory.resume(queue, by=by))

    async def release(self, job_type: str) -> bool:
        return await self._run(lambda: self._memory.release(job_type))

    async def refresh(self, callers: Sequence[str | None] | None = None) -> None:
        await self._run(lambda: self._memory.refresh(callers))

    async def set_quotas(self, quotas: Quotas) -> None:
        await self._run(lambda: self._memory.set_quotas(quotas))

    # -- waits

    async def wait(self, job_id: str) -> JobView:
        return await self.ending(job_id)

    def ending(self, job_id: str) -> asyncio.Future[JobView]:
        wait = _Ending(asyncio.get_running_loop().create_future())

        def looked(answer: JobView | Exception) -> None:
            if wait.future.done():
                return
            if isinstance(answer, Exception):
                wait.future.set_exception(answer)
            elif answer.live:
                wait.future.add_done_callback(lambda _: self.forget(answer.id, wait))
                self.when_ended(answer.id, wait)
            else:
                wait.future.set_result(answer)

        self.look_soon(job_id, None, looked)
        return wait.future

    def when_ended(self, job_id: JobId, listener: StoreEndListener) -> None:
        self._ends.setdefault(job_id, {})[listener] = None

        def looked(answer: JobView | Exception) -> None:
            if listener not in self._ends.get(job_id, {}):
                return
            if isinstance(answer, JobGone):
                self.forget(job_id, listener)
                listener.gone(answer)
            elif isinstance(answer, JobView) and not answer.live:
                self.forget(job_id, listener)
                listener.ended(answer)

        self.send(lambda: view_of(self._engine.get(job_id)), looked)

    def forget(self, job_id: JobId, listener: StoreEndListener) -> None:
        listeners = self._ends.get(job_id, {})
        listeners.pop(listener, None)
        if not listeners:
            self._ends.pop(job_id, None)

    def _on_ended(self, event: Ended) -> None:
        asyncio.get_running_loop().call_soon(self._tell_of_end, view_of(event.job))

    def _tell_of_end(self, job: JobView) -> None:
        listeners = [*self._ends.get(job.id, ())][:100]  # a burst is told a portion at a time
        for listener in listeners:
            self.forget(job.id, listener)
            listener.ended(job)
        if job.id in self._ends:
            asyncio.get_running_loop().call_soon(self._tell_of_end, job)

    async def wait_for_change(self, seen: Mapping[JobId, int]) -> None:
        await self._far(lambda: None)
        await self._memory.wait_for_change(seen)

    def when_changed(self, seen: Mapping[JobId, int], listener: ChangeListener) -> None:
        self._memory.when_changed(tuple(seen), listener)

        def looked(changed: bool | Exception) -> None:
            if changed is True:
                listener.changed()

        self.send(lambda: self._has_changed(seen), looked)

    def forget_changes(self, job_ids: Sequence[JobId], listener: ChangeListener) -> None:
        self._memory.forget_changes(job_ids, listener)

    def _has_changed(self, seen: Mapping[JobId, int]) -> bool:
        jobs = [(self._memory.find(job_id), version) for job_id, version in seen.items()]
        return any(job is None or job.version != version for job, version in jobs)


class FarEvents:
    """The events of the store, which holds the latest ones while any server hears them."""

    def __init__(self, backend: FarBackend) -> None:
        self._backend = backend
        self._held: deque[SharedEvent] = deque(maxlen=HELD_MAX)
        self._epoch = self._last = 0
        self._hear: Callable[[Sequence[SharedEvent]], None] = lambda events: None
        self._leave: ExitStack | None = None
        self.on_gap: Callable[[str], None] = lambda _: None

    async def begin(self, hear: Callable[[Sequence[SharedEvent]], None], on_gap: Callable[[str], None]) -> str:
        return await self._backend._far(lambda: self._begin(hear, on_gap))

    def _begin(self, hear: Callable[[Sequence[SharedEvent]], None], on_gap: Callable[[str], None]) -> str:
        assert self._leave is None, "a second reader in one process"
        self._hear, self.on_gap = hear, on_gap
        self._epoch += 1
        self._held.clear()
        self._leave = ExitStack()
        self._leave.callback(self._backend.subscribe(self._on_job, *SHOWN))
        self._leave.callback(self._backend.subscribe(self._on_steering, *STEERING))
        return self._id()

    def end(self) -> None:
        if self._leave is not None:
            self._leave.close()
            self._leave = None

    async def after(self, event_id: str, most: int) -> Sequence[SharedEvent] | None:
        return await self._backend._far(lambda: self._after(event_id, most))

    def _after(self, event_id: str, most: int) -> Sequence[SharedEvent] | None:
        epoch, _, number = event_id.partition("-")
        first = self._last - len(self._held)
        if epoch != str(self._epoch) or not number.isdecimal() or not first <= int(number) <= self._last:
            return None
        return [*self._held][int(number) - first :][:most]

    def _id(self) -> str:
        return f"{self._epoch}-{self._last}"

    def _on_job(self, event: Any) -> None:
        job: Job = event.job
        name = NAMES.get(type(event)) or name_of(event)
        if name is not None:
            news = (name, job.id, job.spec, job.state, job.attempt, job.version, job.progress, job.error, job.owner)
            self._add(JobNews(*news))

    def _on_steering(self, event: Quarantined | Released | Paused | Resumed) -> None:
        self._add(event)

    def _add(self, news: JobNews | Quarantined | Released | Paused | Resumed) -> None:
        self._last += 1
        backend = self._backend
        event = SharedEvent(self._id(), backend.offset_s() + backend.now(), news)
        self._held.append(event)
        asyncio.get_running_loop().call_soon(self._tell, event)

    def _tell(self, event: SharedEvent) -> None:
        if self._leave is not None:
            self._hear([event])


class _Ending:
    """A wait for a job's end, by a future."""

    def __init__(self, future: asyncio.Future[JobView]) -> None:
        self.future = future

    def ended(self, job: Any) -> None:
        if not self.future.done():
            self.future.set_result(job)

    def gone(self, error: JobGone) -> None:
        if not self.future.done():
            self.future.set_exception(error)


def unavailable() -> StoreUnavailable:
    return StoreUnavailable("the store at far:1 doesn't answer: it is down", retry_after_s=2.0)
