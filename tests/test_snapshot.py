"""The snapshot of a service: what metrics and statistics read."""

from __future__ import annotations

import msgspec
import pytest

from jobqueue import JobQueue
from jobqueue.config import QueueSettings, Settings
from jobqueue.testing import virtual_time


def queue_of_two() -> JobQueue:
    queue = JobQueue(Settings(queues={"default": QueueSettings(), "other": QueueSettings(capacity=5)}))

    @queue.handler
    async def greet(name: str) -> str:
        return f"hello {name}"

    @queue.handler(queue="other")
    async def count() -> int:
        return 1

    return queue


@virtual_time
async def test_a_snapshot_has_the_registered_types_with_the_queues_of_their_jobs() -> None:
    queue = queue_of_two()
    async with queue:
        snapshot = queue.service.snapshot()
    assert {(each.name, each.queue) for each in snapshot.types} == {("greet", "default"), ("count", "other")}
    assert [each.name for each in snapshot.queues] == ["default", "other"]


@virtual_time
async def test_a_snapshot_is_of_one_instant_and_does_not_change() -> None:
    queue = queue_of_two()
    async with queue:
        before = queue.service.snapshot()
        await (await queue.submit("greet", {"name": "you"})).result()
        assert (before.store.accepted_total, queue.service.snapshot().store.accepted_total) == (0, 1)
        assert queue.service.counts("default").types["greet"].succeeded_total == 1
        with pytest.raises(AttributeError):
            before.draining = True  # type: ignore[misc]  # frozen


@virtual_time
async def test_a_snapshot_tells_the_start_and_the_drain() -> None:
    queue = queue_of_two()
    async with queue:
        snapshot = queue.service.snapshot()
        assert snapshot.started_at == pytest.approx(snapshot.wall_offset_s + snapshot.at)
        assert not snapshot.draining
        queue.service.stop_admitting()
        assert queue.service.snapshot().draining


@virtual_time
async def test_a_queue_that_does_not_run_has_no_snapshot() -> None:
    queue = queue_of_two()
    with pytest.raises(RuntimeError, match="not running"):
        queue.service.snapshot()
    with pytest.raises(RuntimeError, match="not running"):
        queue.service.counts("default")


@virtual_time
async def test_pools_without_handlers_are_idle() -> None:
    queue = queue_of_two()
    async with queue:
        snapshot = queue.service.snapshot()
    assert (snapshot.threads.busy, snapshot.threads.abandoned, snapshot.processes.size) == (0, 0, 0)
    assert msgspec.structs.asdict(snapshot.spool) == {"bytes_used": 0, "errors_total": 0}
