"""Flows of the memory backend: lists in slices, bounds."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from jobqueue.backend.memory import MemoryBackend
from jobqueue.core.events import Ended
from jobqueue.core.job import JobSpec, Uniqueness
from jobqueue.testing import virtual_time
from tests.backend.test_searches import SMALL, memory

PLAIN = (JobSpec(type="t"), b"{}", None, None)
ANNS = (JobSpec(type="t"), b"{}", None, Uniqueness("ann", owner="ann"))


async def filled(backend: MemoryBackend, flows: int) -> list[str]:
    return [(await backend.submit_flow([PLAIN], [None])).flow.id for _ in range(flows)]


@virtual_time
async def test_lists_of_flows_together_read_one_slice_in_an_iteration_of_the_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    backend = memory()
    await filled(backend, 95)
    flows: Any = backend._engine.flows
    newest, read = flows.newest, [0]

    def counted(after: str | None, limit: int) -> Any:
        found = newest(after, limit)
        read[-1] += len(found)
        return found

    monkeypatch.setattr(flows, "newest", counted)
    lists = [asyncio.create_task(backend.flows("failed", limit=5)) for _ in range(7)]
    while not all(each.done() for each in lists):
        await asyncio.sleep(0)
        read.append(0)
    assert {(len(each.result().flows), each.result().cursor) for each in lists} == {(0, None)}
    first, *later = read
    assert first == 7 * SMALL.search_first
    assert max(later) <= SMALL.search_slice + 1  # and whether there is one more
    assert sum(later) >= 7 * 90


@virtual_time
async def test_a_flow_is_cancelled_in_portions_between_other_tasks() -> None:
    backend = memory()
    flow = (await backend.submit_flow([PLAIN] * 22, [None] * 22)).flow
    ends: list[int] = [0]

    def count(event: Ended) -> None:
        ends[-1] += 1

    backend.subscribe(count, Ended)
    cancel = asyncio.create_task(backend.cancel_flow(flow.id, limit=2))
    while not cancel.done():
        await asyncio.sleep(0)
        ends.append(0)
    assert (max(ends), sum(ends)) == (SMALL.bulk_portion, 22)
    view = cancel.result()
    assert (view.state, len(view.jobs), sum(view.counts.values())) == ("cancelled", 2, 22)


@virtual_time
async def test_workers_start_no_job_of_a_flow_that_is_being_cancelled() -> None:
    backend = memory()
    flow = (await backend.submit_flow([PLAIN] * 40, [None] * 40)).flow
    cancel = asyncio.create_task(backend.cancel_flow(flow.id))
    turns = 0
    while not cancel.done():
        await asyncio.sleep(0)
        turns += 1
        assert backend.lease_now() is None
    assert turns > 2
    assert cancel.result().counts == {"cancelled": 40}


@virtual_time
async def test_a_cancel_of_a_flow_is_completed_although_its_caller_stops_waiting() -> None:
    backend = memory()
    flow = (await backend.submit_flow([PLAIN] * 40, [None] * 40)).flow
    cancel = asyncio.create_task(backend.cancel_flow(flow.id))
    await asyncio.sleep(0)
    assert (await backend.flow(flow.id)).state == "running"
    cancel.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancel
    assert (await backend.flow(flow.id)).counts == {"cancelled": 40}


@virtual_time
async def test_a_small_flow_is_cancelled_at_once() -> None:
    backend = memory()
    flow = (await backend.submit_flow([PLAIN] * 3, [None] * 3)).flow
    with pytest.raises(StopIteration) as stopped:
        backend.cancel_flow(flow.id).send(None)
    assert stopped.value.value.state == "cancelled"


@virtual_time
async def test_a_list_of_flows_ends_after_its_bound_and_goes_on_at_its_cursor() -> None:
    backend = memory()
    oldest = (await backend.submit_flow([ANNS], [None])).flow.id
    await filled(backend, 250)
    cursor, pages = None, 0
    while True:
        page = await backend.flows(owner="ann", limit=5, cursor=cursor)
        pages += 1
        if page.flows:
            break
        assert page.cursor not in (None, cursor)
        cursor = page.cursor
    assert ([flow.id for flow in page.flows], page.cursor) == ([oldest], None)
    assert pages == -(-251 // (SMALL.search_max + SMALL.search_first))
