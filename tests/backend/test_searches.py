"""Searches of the memory backend: slices, turns, bounds."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

import pytest

from jobqueue.backend.base import InvalidCursor
from jobqueue.backend.memory import MemoryBackend
from jobqueue.core.engine import Engine
from jobqueue.core.ids import RUNS, IdIssuer
from jobqueue.core.job import JobSpec, Uniqueness
from jobqueue.core.job_filter import ArgFilter, JobFilter
from jobqueue.core.lineage import Link
from jobqueue.core.policy import QueuePolicy
from jobqueue.core.report import ErrorCode, Failure
from jobqueue.core.tuning import TUNING, Tuning
from jobqueue.testing import virtual_time

WANTED, OTHER = JobSpec(type="wanted"), JobSpec(type="other")
SMALL = Tuning(search_slice=10, search_first=5, search_max=100, bulk_portion=4)


def memory(tuning: Tuning = SMALL) -> MemoryBackend:
    engine = Engine(
        queues={"default": QueuePolicy(capacity=10_000, retry_budget=10_000)},
        ids=IdIssuer(secret=b"0123456789abcdef", run=RUNS[1]),
        rng=Random(1),
        tuning=tuning,
    )
    return MemoryBackend(engine, now=asyncio.get_running_loop().time, tuning=tuning)


async def filled(backend: MemoryBackend, jobs: int, spec: JobSpec = OTHER, args: bytes = b"{}") -> list[str]:
    return [(await backend.submit(spec, args)).job.id for _ in range(jobs)]


class Reads:
    """Counts the work of all searches of a backend by iterations of the loop."""

    def __init__(self, backend: MemoryBackend, monkeypatch: pytest.MonkeyPatch) -> None:
        self.iterations: list[int] = [0]
        engine: Any = backend._engine
        portion = engine.portion

        def counted(after: str | None, *, oldest_first: bool, limit: int) -> Any:
            found = portion(after, oldest_first=oldest_first, limit=limit)
            self.iterations[-1] += len(found)
            return found

        monkeypatch.setattr(engine, "portion", counted)

    async def until(self, *searches: asyncio.Task[Any]) -> None:
        while not all(search.done() for search in searches):
            await asyncio.sleep(0)
            self.iterations.append(0)


@virtual_time
async def test_many_searches_together_read_one_slice_in_an_iteration_of_the_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    backend = memory()
    await filled(backend, 95)
    reads = Reads(backend, monkeypatch)
    wanted = JobFilter(type="wanted")
    searches = [asyncio.create_task(backend.page(wanted, limit=5, cursor=None)) for _ in range(7)]
    await reads.until(*searches)
    assert [search.result().cursor for search in searches] == [None] * 7
    first, *later = reads.iterations
    assert first == 7 * SMALL.search_first
    assert max(later) <= SMALL.search_slice + 1  # and whether there is one more
    assert sum(later) >= 7 * 90


@virtual_time
@pytest.mark.parametrize("oldest_first", [False, True])
async def test_a_search_for_children_reads_no_record_from_before_their_parent(
    monkeypatch: pytest.MonkeyPatch, oldest_first: bool
) -> None:
    backend = memory()
    await filled(backend, 60)
    (parent,) = await filled(backend, 1)
    link = Link((parent,))
    (child,) = await backend.submit_together([(OTHER, b"{}", None, None)], [link])
    await filled(backend, 20)
    reads = Reads(backend, monkeypatch)
    search = backend.page(JobFilter(parent=parent), limit=5, cursor=None, oldest_first=oldest_first)
    page = await search
    assert ([job.id for job in page.jobs], page.cursor) == ([child.job.id], None)
    assert sum(reads.iterations) <= 21 + SMALL.search_slice


@virtual_time
async def test_searches_take_turns() -> None:
    backend = memory()
    await filled(backend, 95)
    ended: list[str] = []

    async def search(name: str) -> None:
        await backend.page(JobFilter(type="wanted"), limit=5, cursor=None)
        ended.append(name)

    async with asyncio.TaskGroup() as group:
        group.create_task(search("long"))
        for name in ("a", "b"):
            group.create_task(search(name))
        await asyncio.sleep(0)
        for _ in range(3):
            await asyncio.sleep(0)
        newest = await filled(backend, 1, WANTED)
        page = await backend.page(JobFilter(type="wanted"), limit=1, cursor=None)  # takes no turn
        assert [job.id for job in page.jobs] == newest
        assert ended == []
    assert ended == ["long", "a", "b"]


@virtual_time
async def test_a_cancelled_search_leaves_its_turn_to_the_next() -> None:
    backend = memory()
    await filled(backend, 95)
    pages = [asyncio.create_task(backend.page(JobFilter(type="wanted"), limit=5, cursor=None)) for _ in range(3)]
    await asyncio.sleep(0)
    pages[0].cancel()
    pages[1].cancel()
    assert (await pages[2]).cursor is None


@virtual_time
async def test_a_search_ends_after_a_bound_of_work_and_its_cursor_goes_on() -> None:
    backend = memory()
    ids = [*await filled(backend, 1, WANTED), *await filled(backend, 3 * SMALL.search_max)]
    cursor, found, pages = None, list[str](), 0
    while pages == 0 or cursor is not None:
        page = await backend.page(JobFilter(type="wanted"), limit=5, cursor=cursor)
        cursor, pages = page.cursor, pages + 1
        found += [job.id for job in page.jobs]
    assert found == ids[:1]
    assert pages == 3


@pytest.mark.parametrize("oldest_first", [False, True])
@virtual_time
async def test_a_search_ends_after_a_time_with_at_least_one_slice_read(oldest_first: bool) -> None:
    backend = memory()
    await filled(backend, 50)
    loop: Any = asyncio.get_running_loop()
    cursor, pages = None, 0
    while pages == 0 or cursor is not None:
        page = asyncio.create_task(
            backend.page(JobFilter(type="wanted"), limit=5, cursor=cursor, oldest_first=oldest_first)
        )
        await asyncio.sleep(0)
        loop.jump(SMALL.search_s_max)
        cursor, pages = (await page).cursor, pages + 1
    assert pages == -(-50 // (SMALL.search_first + SMALL.search_slice))


@virtual_time
async def test_the_work_of_a_search_in_arguments_is_bounded_by_their_length() -> None:
    backend = memory()
    await filled(backend, 40, args=b'{"x":"' + b"y" * 5110 + b'"}')  # eleven units each
    page = await backend.page(JobFilter(args=(ArgFilter(("x",), ("n",)),)), limit=5, cursor=None)
    assert page.cursor is not None
    count = await backend.count(JobFilter(args=(ArgFilter(("x",), ("n",)),)))
    assert (count.count, count.complete) == (0, False)


@virtual_time
async def test_a_page_counts_the_jobs_with_arguments_too_long_to_search() -> None:
    backend = memory(TUNING)
    await filled(backend, 3, args=b'{"x":"' + b"y" * 100_000 + b'"}')
    await filled(backend, 2, args=b'{"x":"n"}')
    job_filter = JobFilter(args=(ArgFilter(("x",), ("n",)),))
    page = await backend.page(job_filter, limit=5, cursor=None)
    assert (len(page.jobs), page.unsearched) == (2, 3)
    assert (await backend.bulk("cancel", job_filter)).unsearched == 3


@virtual_time
async def test_a_count_is_exact_up_to_the_bound_and_a_lower_bound_beyond() -> None:
    backend = memory()
    await filled(backend, 60, WANTED)
    await filled(backend, 30)
    assert await backend.count(JobFilter()) == await backend.count(JobFilter(queue="default"))
    count = await backend.count(JobFilter(type="wanted"))
    assert (count.count, count.complete) == (60, True)
    await filled(backend, 50)
    count = await backend.count(JobFilter(type="wanted"))
    assert count.complete is False
    assert 10 < count.count < 60


@virtual_time
async def test_the_search_for_ids_with_a_prefix_reads_only_those(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = memory(TUNING)
    ids = await filled(backend, 5000)
    reads = Reads(backend, monkeypatch)
    for oldest_first in (False, True):
        for length in (9, 10, 22):
            reads.iterations = [0]
            prefix = ids[2500][:length]
            page = await backend.page(JobFilter(id_prefix=prefix), limit=100, cursor=None, oldest_first=oldest_first)
            wanted = [job_id for job_id in ids if job_id.startswith(prefix)]
            assert [job.id for job in page.jobs] == (wanted if oldest_first else wanted[::-1])
            assert sum(reads.iterations) < 400
            assert page.cursor is None


@virtual_time
async def test_a_search_within_a_time_ends_at_the_first_record_outside() -> None:
    backend = memory(TUNING)
    times, ids = [], []
    for _ in range(30):
        times.append(backend.now())
        ids += await filled(backend, 1)
        await asyncio.sleep(1)
    within = JobFilter(created_from=times[10], created_before=times[20])
    for oldest_first in (False, True):
        page = await backend.page(within, limit=100, cursor=None, oldest_first=oldest_first)
        assert [job.id for job in page.jobs] == (ids[10:20] if oldest_first else ids[10:20][::-1])
        assert page.cursor is None


@virtual_time
async def test_a_cursor_of_the_other_order_is_rejected() -> None:
    backend = memory()
    await filled(backend, 3)
    for oldest_first in (False, True):
        page = await backend.page(JobFilter(), limit=1, cursor=None, oldest_first=oldest_first)
        await backend.page(JobFilter(), limit=1, cursor=page.cursor, oldest_first=oldest_first)
        with pytest.raises(InvalidCursor):
            await backend.page(JobFilter(), limit=1, cursor=page.cursor, oldest_first=not oldest_first)


async def fail_all(backend: MemoryBackend, messages: list[str], spec: JobSpec = OTHER) -> list[str]:
    ids = []
    for message in messages:
        await backend.submit(spec)
        lease = await backend.lease()
        await backend.nack(lease.job_id, lease.attempt, Failure(ErrorCode.HANDLER_ERROR, message))
        ids.append(lease.job_id)
    return ids


@virtual_time
async def test_failures_are_read_in_slices() -> None:
    backend = memory(Tuning(search_slice=10, search_first=4))
    await fail_all(backend, ["x"] * 60)
    search = asyncio.create_task(backend.failures(JobFilter()))
    iterations = 0
    while not search.done():
        await asyncio.sleep(0)
        iterations += 1
    assert search.result().groups[0].count == 60
    assert iterations >= 60 * 2 // 10  # of two units a record


@virtual_time
async def test_a_search_for_failures_ends_after_a_bound_of_work_with_the_newest() -> None:
    backend = memory()
    ids = await fail_all(backend, ["x"] * SMALL.search_max)
    found = await backend.failures(JobFilter())
    assert not found.complete
    assert SMALL.search_max // 2 <= found.groups[0].count <= SMALL.search_max // 2 + SMALL.search_slice
    assert found.groups[0].sample == ids[: -len(found.groups[0].sample) - 1 : -1]


@virtual_time
async def test_a_search_for_failures_passes_over_jobs_that_are_retried_or_deleted_meanwhile() -> None:
    backend = memory()
    ids = await fail_all(backend, ["x"] * 30)
    search = asyncio.create_task(backend.failures(JobFilter()))
    await asyncio.sleep(0)
    await backend.retry(ids[0])
    await backend.delete(ids[1])
    assert (await search).groups[0].count == 28


@virtual_time
async def test_no_more_than_a_number_of_failed_jobs_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobqueue.backend.searches.FAILURES_MAX", 5)
    backend = memory()
    await fail_all(backend, ["old", *["new"] * 5])
    found = await backend.failures(JobFilter())
    assert ([(group.message, group.count) for group in found.groups], found.complete) == ([("new", 5)], False)


@virtual_time
async def test_the_failures_of_an_owner_are_found_behind_any_number_of_others() -> None:
    backend = memory()
    for owner, jobs in (("ann", 2), ("bob", SMALL.search_max)):
        for _ in range(jobs):
            await backend.submit(OTHER, uniqueness=Uniqueness(owner, owner=owner))
            lease = await backend.lease()
            await backend.nack(lease.job_id, lease.attempt, Failure(ErrorCode.HANDLER_ERROR, "x"))
    found = await backend.failures(JobFilter(owner="ann"))
    assert ([group.count for group in found.groups], found.complete) == ([2], True)
