"""The backend in this process with a journal: what it answers outlives the process.

Rules:

1. An operation returns, or its answer goes out, once what it has changed is kept. Attempts start and end without
   waiting for it, so after a crash one may run again.
2. A submission is kept, or leaves no job: one that can't be kept, or is cancelled meanwhile, is withdrawn; in the
   latter case not if a repetition has got its job.
3. Other changes that can't be kept are in effect, although they are answered with the error.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol

from jobqueue.backend.memory import MemoryBackend
from jobqueue.core.job_view import view_of
from jobqueue.core.submit import SubmitReceipt, SubmitResult
from jobqueue.core.tuning import TUNING
from jobqueue.errors import JournalFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jobqueue.backend.base import BulkAction, BulkCount
    from jobqueue.core.engine import Engine
    from jobqueue.core.flow import FlowResult, FlowView
    from jobqueue.core.job import Job, JobId, JobSpec, Uniqueness
    from jobqueue.core.job_filter import JobFilter
    from jobqueue.core.job_view import AnyJob, JobView
    from jobqueue.core.lineage import Link
    from jobqueue.core.policy import QueuePolicy
    from jobqueue.core.stored_file import Upload
    from jobqueue.core.submit import Asked
    from jobqueue.core.tuning import Tuning


class Keeper(Protocol):
    """Keeps what the events of a backend tell. Called on the loop only.

    Attributes:
        troubled: Nothing can be kept now: `check` raises.
        waits: What is recorded is kept later. False before it records anything.
    """

    @property
    def troubled(self) -> bool: ...

    @property
    def waits(self) -> bool: ...

    def attach(self, backend: MemoryBackend, engine: Engine) -> None:
        """Take over a backend, before anything happens in it."""

    def check(self) -> None:
        """Raise JournalFailed if nothing can be kept now."""

    def settle(self) -> bool:
        """Have all that is recorded kept, soon; return whether it is already. Raises JournalFailed."""
        ...

    def when_kept(self, done: Callable[[JournalFailed | None], None]) -> None:
        """Call `done` once, later, when all that is recorded by now is kept, or with the reason why it can't be."""

    def kept_together(self, tell: Callable[[list[Any], JournalFailed | None], None]) -> list[Any]:
        """As `LocalBackend.kept_together`."""
        ...

    async def close(self) -> None:
        """Keep what is recorded, and end."""


class JournaledBackend(MemoryBackend):
    """A MemoryBackend with operations that return once they are kept.

    Args:
        keeper: Keeps what happens in this backend. It is closed when the backend stops.
        engine, now, tuning: As of MemoryBackend.
    """

    def __init__(self, engine: Engine, keeper: Keeper, *, now: Callable[[], float], tuning: Tuning = TUNING) -> None:
        super().__init__(engine, now=now, tuning=tuning)
        self._keeper = keeper
        self.keeps = True
        self.kept_together = keeper.kept_together
        # New jobs whose submission waits, and that no repetition has got.
        self._alone: set[JobId] = set()
        keeper.attach(self, engine)

    async def stop(self) -> None:
        await MemoryBackend.stop(self)
        await self._keeper.close()

    async def submit(
        self, spec: JobSpec, args: bytes = b"{}", upload: Upload | None = None, uniqueness: Uniqueness | None = None
    ) -> SubmitResult[JobView]:
        result = self.submit_now(spec, args, upload, uniqueness)
        job = view_of(result.job)
        if self.defers:
            await self._kept(() if result.duplicate else (job.id,))
        return SubmitResult(job, result.duplicate)

    def submit_now(
        self, spec: JobSpec, args: bytes = b"{}", upload: Upload | None = None, uniqueness: Uniqueness | None = None
    ) -> SubmitResult[Job]:
        keeper = self._keeper
        if keeper.troubled:
            keeper.check()
        try:  # as `MemoryBackend.submit_now`, inline: each submission has a call
            result = self._engine.submit(spec, args, upload, uniqueness, now=self._now())
        finally:
            self._publish()
        if result.duplicate:
            self._alone.discard(result.job.id)
            self._settle(())
        else:  # it is recorded
            self.defers = keeper.waits
        return result

    async def submit_many(self, many: Sequence[Asked]) -> Sequence[SubmitReceipt | Exception]:
        try:
            self._keeper.check()
        except JournalFailed as error:
            return [_same(error) for _ in many]
        receipts = await MemoryBackend.submit_many(self, many)
        self._alone.difference_update(
            each.id for each in receipts if isinstance(each, SubmitReceipt) and each.duplicate
        )
        new = tuple(each.id for each in receipts if isinstance(each, SubmitReceipt) and not each.duplicate)
        try:
            await self._keep(new)
        except JournalFailed as error:
            return [_same(error) if isinstance(each, SubmitReceipt) else each for each in receipts]
        return receipts

    async def submit_together(
        self,
        many: Sequence[Asked],
        links: Sequence[Link | None] | None = None,
        *,
        flow: str | None = None,
        owner: str | None = None,
    ) -> list[SubmitResult[JobView]]:
        self._keeper.check()
        results = await MemoryBackend.submit_together(self, many, links, flow=flow, owner=owner)
        self._alone.difference_update(each.job.id for each in results if each.duplicate)
        await self._keep(tuple(each.job.id for each in results if not each.duplicate))
        return results

    async def submit_flow(
        self, many: Sequence[Asked], links: Sequence[Link | None], *, owner: str | None = None
    ) -> FlowResult:
        self._keeper.check()
        result = await MemoryBackend.submit_flow(self, many, links, owner=owner)
        ids = tuple(job.id for job in result.flow.jobs)
        if result.duplicate:
            self._alone.difference_update(ids)
        await self._keep(() if result.duplicate else ids)
        return result

    async def cancel_flow(self, flow_id: str, owner: str | None = None, *, limit: int | None = None) -> FlowView:
        self._keeper.check()
        flow = await MemoryBackend.cancel_flow(self, flow_id, owner, limit=limit)
        await self._keep()
        return flow

    async def retry_flow(self, flow_id: str, owner: str | None = None, *, limit: int | None = None) -> FlowView:
        self._keeper.check()
        flow = await MemoryBackend.retry_flow(self, flow_id, owner, limit=limit)
        await self._keep()
        return flow

    def when_kept(self, done: Callable[[JournalFailed | None], None]) -> None:
        self._keeper.when_kept(done)

    async def cancel(self, job_id: str) -> JobView:
        self._keeper.check()
        job = await MemoryBackend.cancel(self, job_id)
        await self._keep()
        return job

    async def delete(self, job_id: str) -> None:
        self._keeper.check()
        await MemoryBackend.delete(self, job_id)
        await self._keep()

    async def retry(self, job_id: str) -> JobView:
        self._keeper.check()
        job = await MemoryBackend.retry(self, job_id)
        await self._keep()
        return job

    async def run_now(self, job_id: str) -> JobView:
        self._keeper.check()
        job = await MemoryBackend.run_now(self, job_id)
        await self._keep()
        return job

    async def bulk(
        self,
        action: BulkAction,
        job_filter: JobFilter,
        *,
        limit: int | None = None,
        oldest_first: bool = False,
        dry_run: bool = False,
    ) -> BulkCount:
        if not dry_run:
            self._keeper.check()
        done = await MemoryBackend.bulk(
            self, action, job_filter, limit=limit, oldest_first=oldest_first, dry_run=dry_run
        )
        if done.count and not dry_run:
            await self._keep()
        return done

    async def pause(
        self, queue: str, *, reason: str | None = None, for_s: float | None = None, by: str | None = None
    ) -> None:
        self._keeper.check()
        await MemoryBackend.pause(self, queue, reason=reason, for_s=for_s, by=by)
        await self._keep()

    async def change_queue(self, queue: str, policy: QueuePolicy) -> None:
        # Not checked before: a reload takes the settings over all the same, and the next start reads them again.
        await MemoryBackend.change_queue(self, queue, policy)
        await self._keep()

    async def resume(self, queue: str, *, by: str | None = None) -> None:
        self._keeper.check()
        await MemoryBackend.resume(self, queue, by=by)
        await self._keep()

    async def _keep(self, submitted: tuple[JobId, ...] = ()) -> None:
        """Return once all that was done so far is kept. Args: As `_settle`."""
        self._settle(submitted)
        if self.defers:
            await self._kept(submitted)

    def _settle(self, submitted: tuple[JobId, ...]) -> None:
        """Have all that was done so far kept, and set `defers`.

        Args:
            submitted: Jobs that were just accepted: withdrawn if they can't be kept.

        Raises:
            JournalFailed
        """
        try:
            self.defers = not self._keeper.settle()
        except JournalFailed:
            self._withdraw_all(submitted)
            raise

    async def _kept(self, submitted: tuple[JobId, ...]) -> None:
        """Wait until what is settled is kept. Args, Raises: As `_settle`."""
        kept: asyncio.Future[JournalFailed | None] = asyncio.get_running_loop().create_future()

        def told(error: JournalFailed | None) -> None:
            if not kept.done():
                kept.set_result(error)

        self._keeper.when_kept(told)
        self._alone.update(submitted)
        try:
            error = await kept
        except asyncio.CancelledError:  # its result is not awaited any more
            self._withdraw_all(tuple(job_id for job_id in submitted if job_id in self._alone))
            raise
        finally:
            self._alone.difference_update(submitted)
        if error is not None:
            self._withdraw_all(submitted)
            raise _same(error)

    def _withdraw_all(self, submitted: tuple[JobId, ...]) -> None:
        for job_id in reversed(submitted):  # children before their parents
            self.withdraw(job_id)

    def withdraw(self, job_id: JobId) -> None:
        job = self.find(job_id)
        if job is None:
            return
        if job.live:
            self._engine.cancel(job_id, now=self._now())
            self._publish()
        if job.live:
            self.when_ended(job_id, _Withdrawn(self))
        else:
            self.remove(job_id)

    def remove(self, job_id: JobId) -> None:
        """Remove a withdrawn job's record, if it is still held."""
        if self.find(job_id) is not None:
            self._engine.delete(job_id, needed=True)
            self._publish()


class _Withdrawn:
    """Has a job's record removed at its end."""

    def __init__(self, backend: JournaledBackend) -> None:
        self._backend = backend

    def ended(self, job: AnyJob) -> None:
        # Later, since the end is still being told.
        asyncio.get_running_loop().call_soon(self._backend.remove, job.id)


def _same(error: JournalFailed) -> JournalFailed:
    """Return an error of its own for each operation: a traceback would grow with every raise."""
    return JournalFailed(str(error), error.retry_after_s)
