"""The backend with a journal: what is answered is kept, and a submission that can't be kept leaves nothing."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from random import Random
from typing import TYPE_CHECKING

import pytest

from jobqueue.backend.journaled import JournaledBackend
from jobqueue.core.engine import Engine
from jobqueue.core.ids import RUNS, IdIssuer
from jobqueue.core.job import IdempotencyKey, JobSpec, JobState, Uniqueness
from jobqueue.core.job_filter import JobFilter
from jobqueue.core.lineage import Link
from jobqueue.core.policy import QueuePolicy
from jobqueue.core.report import ErrorCode, Failure, Success
from jobqueue.errors import JobGone, JournalFailed, QueueFull
from tests.backend.keeping import BROKEN, HeldKeeper

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from typing import Any

SPEC = JobSpec(type="echo", queue="default")
LATER = JobSpec(type="echo", queue="default", delay_s=1000.0)
KEYED = Uniqueness("caller", None, IdempotencyKey("key", b"print"))


def made(keeper: HeldKeeper) -> JournaledBackend:
    engine = Engine(
        queues={"default": QueuePolicy()}, ids=IdIssuer(secret=b"0123456789abcdef", run=RUNS[1]), rng=Random(1)
    )
    return JournaledBackend(engine, keeper, now=asyncio.get_running_loop().time)


async def kept(backend: JournaledBackend, keeper: HeldKeeper, operation: Coroutine[Any, Any, Any]) -> Any:
    """Begin an operation, check that it waits, and return its result once all is kept."""
    task = asyncio.create_task(operation)
    for _ in range(5):
        await asyncio.sleep(0)
    assert not task.done(), "it returns before it is kept"
    keeper.release()
    return await task


async def failed(backend: JournaledBackend, keeper: HeldKeeper) -> str:
    job_id = (await kept(backend, keeper, backend.submit(SPEC))).job.id
    lease = await backend.lease()
    await backend.nack(lease.job_id, lease.attempt, Failure(ErrorCode.HANDLER_ERROR, "no", final=True))
    keeper.release()
    return str(job_id)


async def delayed(backend: JournaledBackend, keeper: HeldKeeper) -> str:
    return str((await kept(backend, keeper, backend.submit(LATER))).job.id)


async def flow(backend: JournaledBackend, keeper: HeldKeeper, spec: JobSpec = LATER) -> str:
    made = await kept(backend, keeper, backend.submit_flow([(spec, b"{}", None, None)], [Link()]))
    return str(made.flow.id)


async def failed_flow(backend: JournaledBackend, keeper: HeldKeeper) -> str:
    flow_id = await flow(backend, keeper, JobSpec(type="t"))
    lease = await backend.lease()
    await backend.nack(lease.job_id, lease.attempt, Failure(ErrorCode.HANDLER_ERROR, "no", final=True))
    keeper.release()
    return flow_id


CHANGES: dict[
    str, tuple[Callable[..., Awaitable[str]], Callable[[JournaledBackend, str], Coroutine[Any, Any, Any]]]
] = {
    "submit": (delayed, lambda backend, _: backend.submit(LATER)),
    "submit_many": (delayed, lambda backend, _: backend.submit_many([(LATER, b"{}", None, None)])),
    "submit_together": (delayed, lambda backend, _: backend.submit_together([(LATER, b"{}", None, None)] * 2)),
    "submit_flow": (delayed, lambda backend, _: backend.submit_flow([(LATER, b"{}", None, None)], [Link()])),
    "cancel_flow": (flow, lambda backend, flow_id: backend.cancel_flow(flow_id)),
    "retry_flow": (failed_flow, lambda backend, flow_id: backend.retry_flow(flow_id)),
    "cancel": (delayed, lambda backend, job_id: backend.cancel(job_id)),
    "delete": (failed, lambda backend, job_id: backend.delete(job_id)),
    "retry": (failed, lambda backend, job_id: backend.retry(job_id)),
    "run_now": (delayed, lambda backend, job_id: backend.run_now(job_id)),
    "bulk": (delayed, lambda backend, _: backend.bulk("cancel", JobFilter())),
    "pause": (delayed, lambda backend, _: backend.pause("default")),
}


@pytest.mark.parametrize("name", CHANGES)
async def test_a_change_returns_once_it_is_kept(name: str) -> None:
    prepare, change = CHANGES[name]
    keeper = HeldKeeper()
    backend = made(keeper)
    job_id = await prepare(backend, keeper)
    await kept(backend, keeper, change(backend, job_id))
    assert keeper.kept == keeper.recorded


async def test_a_pause_ends_and_settings_change_once_that_is_kept() -> None:
    keeper = HeldKeeper()
    backend = made(keeper)
    await kept(backend, keeper, backend.change_queue("default", QueuePolicy(capacity=5)))
    await kept(backend, keeper, backend.pause("default"))
    await kept(backend, keeper, backend.resume("default"))


@pytest.mark.parametrize("name", CHANGES)
async def test_a_change_that_can_not_be_kept_raises(name: str) -> None:
    prepare, change = CHANGES[name]
    keeper = HeldKeeper()
    backend = made(keeper)
    job_id = await prepare(backend, keeper)
    task = asyncio.create_task(change(backend, job_id))
    while not keeper.waiting:
        await asyncio.sleep(0)
    keeper.broken = True
    keeper.release()
    if name == "submit_many":
        (receipt,) = await task
        assert isinstance(receipt, JournalFailed)
    else:
        with pytest.raises(JournalFailed, match=BROKEN):
            await task


@pytest.mark.parametrize("name", CHANGES)
async def test_while_nothing_can_be_kept_nothing_is_changed(name: str) -> None:
    prepare, change = CHANGES[name]
    keeper = HeldKeeper()
    backend = made(keeper)
    job_id = await prepare(backend, keeper)
    recorded, keeper.broken = keeper.recorded, True
    if name == "submit_many":
        (receipt,) = await backend.submit_many([(LATER, b"{}", None, None)])
        assert isinstance(receipt, JournalFailed)
    else:
        with pytest.raises(JournalFailed, match=BROKEN):
            await change(backend, job_id)
    assert keeper.recorded == recorded
    assert name.endswith("_flow") or (await backend.get(job_id)).id == job_id


async def submit_and_break(backend: JournaledBackend, keeper: HeldKeeper, **given: Any) -> asyncio.Task[Any]:
    task = asyncio.create_task(backend.submit(**given))
    while not keeper.waiting:
        await asyncio.sleep(0)
    return task


async def test_a_submission_that_can_not_be_kept_leaves_no_job_and_its_key_is_free() -> None:
    keeper = HeldKeeper()
    backend = made(keeper)
    task = await submit_and_break(backend, keeper, spec=LATER, uniqueness=KEYED)
    (job,) = (await backend.page(JobFilter(), limit=2, cursor=None)).jobs
    again = asyncio.create_task(backend.submit(LATER, uniqueness=KEYED))  # which waits for the first one
    await asyncio.sleep(0)
    keeper.broken = True
    keeper.release()
    for each in (task, again):
        with pytest.raises(JournalFailed):
            await each
    with pytest.raises(JobGone):
        await backend.get(job.id)
    assert backend.stats()[0].live == 0
    keeper.broken = False
    result = await kept(backend, keeper, backend.submit(LATER, uniqueness=KEYED))
    assert (result.duplicate, result.job.id == job.id) == (False, False)


async def test_a_running_job_that_can_not_be_kept_is_stopped_and_removed_at_its_end() -> None:
    keeper = HeldKeeper()
    backend = made(keeper)
    task = await submit_and_break(backend, keeper, spec=SPEC)
    lease = await backend.lease()
    keeper.broken = True
    keeper.release()
    with pytest.raises(JournalFailed):
        await task
    assert (await backend.get(lease.job_id)).stopping is not None
    await backend.stopped(lease.job_id, lease.attempt)
    await asyncio.sleep(0)
    with pytest.raises(JobGone):
        await backend.get(lease.job_id)


async def test_a_job_that_is_over_before_it_is_found_not_to_be_kept_is_removed() -> None:
    keeper = HeldKeeper()
    backend = made(keeper)
    task = await submit_and_break(backend, keeper, spec=SPEC)
    lease = await backend.lease()
    await backend.ack(lease.job_id, lease.attempt, Success(b"1"))
    keeper.broken = True
    keeper.release()
    with pytest.raises(JournalFailed):
        await task
    with pytest.raises(JobGone):
        await backend.get(lease.job_id)


async def test_a_cancelled_submission_leaves_no_job() -> None:
    keeper = HeldKeeper()
    backend = made(keeper)
    task = await submit_and_break(backend, keeper, spec=LATER)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert backend.stats()[0].live == 0
    keeper.release()


@pytest.mark.parametrize("many", [False, True])
async def test_a_job_stays_if_its_submission_is_cancelled_after_a_repetition_has_got_it(many: bool) -> None:
    keeper = HeldKeeper()
    backend = made(keeper)
    task = await submit_and_break(backend, keeper, spec=LATER, uniqueness=KEYED)
    keeper.broken = False
    if many:
        repetition = asyncio.create_task(backend.submit_many([(LATER, b"{}", None, KEYED)]))
    else:
        repetition = asyncio.create_task(backend.submit(LATER, uniqueness=KEYED))  # type: ignore[arg-type]  # its result is another than above
    await asyncio.sleep(0)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    keeper.release()
    await repetition
    assert backend.stats()[0].live == 1


async def test_an_existing_job_stays_where_its_repetition_can_not_be_kept() -> None:
    keeper = HeldKeeper()
    backend = made(keeper)
    first = (await kept(backend, keeper, backend.submit(LATER, uniqueness=KEYED))).job
    other = asyncio.create_task(backend.submit(LATER))
    await asyncio.sleep(0)
    again = asyncio.create_task(backend.submit(LATER, uniqueness=KEYED))
    await asyncio.sleep(0)
    keeper.broken = True
    keeper.release()
    for task in (other, again):
        with pytest.raises(JournalFailed):
            await task
    assert (await backend.get(first.id)).state is JobState.DELAYED
    assert backend.stats()[0].live == 1


async def test_rejected_items_of_a_batch_keep_their_reason() -> None:
    keeper = HeldKeeper()
    backend = made(keeper)
    await kept(backend, keeper, backend.change_queue("default", QueuePolicy(capacity=1)))
    task = asyncio.create_task(backend.submit_many([(LATER, b"{}", None, None)] * 2))
    while not keeper.waiting:
        await asyncio.sleep(0)
    keeper.broken = True
    keeper.release()
    first, second = await task
    assert (type(first), type(second)) == (JournalFailed, QueueFull)
    assert backend.stats()[0].live == 0


async def test_nothing_waits_where_all_is_kept_at_once() -> None:
    keeper = HeldKeeper(waits=False)
    backend = made(keeper)
    job = (await backend.submit(LATER)).job
    assert not backend.defers
    await backend.run_now(job.id)
    keeper.broken = True
    with pytest.raises(JournalFailed):
        await backend.submit(LATER)
    assert backend.stats()[0].live == 1


async def test_a_bulk_action_waits_once() -> None:
    keeper = HeldKeeper()
    backend = made(keeper)
    for _ in range(10):
        await delayed(backend, keeper)
    task = asyncio.create_task(backend.bulk("cancel", JobFilter()))
    while not keeper.waiting:
        await asyncio.sleep(0)
    assert backend.stats()[0].live == 0
    assert len(keeper.waiting) == 1
    keeper.release()
    assert (await task).count == 10
