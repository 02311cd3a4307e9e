"""`iter_all`: all jobs of a list, page by page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from jobqueue.client import Client, ErrorAnswer, pages
from tests.client.calling import answer, document, scripted

if TYPE_CHECKING:
    from tests.client.calling import Call


def page(*ids: str, then: str | None = None) -> bytes:
    jobs: list[dict[str, Any]] = [document("queued", id=id) for id in ids]
    return answer(200, {"jobs": jobs, "next_cursor": then})


async def test_all_jobs_of_a_list_are_yielded_once(call: Call) -> None:
    ids = await call("submit_many", [{"type": "echo"}] * 7)

    jobs = await call("iter_all", type="echo", limit=3)

    assert sorted(job.id for job in jobs) == sorted(ids)
    assert len(jobs) == 7


async def test_pages_are_asked_for_only_when_they_are_needed(kind: str) -> None:
    async with scripted(kind, page("a", "b", then="2"), page("c")) as (call, script):
        assert [job.id for job in await call("iter_all", first=2, queue="q")] == ["a", "b"]
        assert script.requests == ["GET /v1/jobs?queue=q"]


async def test_an_empty_page_with_a_cursor_is_followed(kind: str) -> None:
    async with scripted(kind, page(then="2"), page("a", then="3"), page()) as (call, script):
        assert [job.id for job in await call("iter_all", cursor="1")] == ["a"]
    assert script.requests == [f"GET /v1/jobs?cursor={n}" for n in (1, 2, 3)]


async def test_a_cursor_that_does_not_advance_is_an_error(kind: str) -> None:
    async with scripted(kind, page("a", then="2"), page("b", then="2"), page("c", then="2")) as (call, script):
        with pytest.raises(ErrorAnswer, match="the same page again"):
            await call("iter_all")
    assert len(script.requests) == 2


async def test_empty_pages_without_end_are_an_error(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "EMPTY_PAGES_MAX", 3)
    async with scripted(kind, *[page(then=str(n)) for n in range(9)]) as (call, script):
        with pytest.raises(ErrorAnswer, match="more than 3 pages of the list in a row are empty"):
            await call("iter_all")
    assert len(script.requests) == 4


@pytest.mark.parametrize("body", [{"jobs": [], "next_cursor": 5}, {"jobs": 7}, ["jobs"], {"jobs": [{}]}])
async def test_a_page_that_is_none_is_an_error(kind: str, body: Any) -> None:
    async with scripted(kind, answer(200, body)) as (call, _):
        with pytest.raises(ErrorAnswer, match="not an answer of this API"):
            await call("iter_all")


async def test_an_iteration_that_is_left_asks_for_nothing_more() -> None:
    async with scripted("async", page("a", "b", then="2"), page("c")) as (_, script), Client(script.url) as client:
        jobs = client.iter_all()
        assert (await anext(jobs)).id == "a"
        await jobs.aclose()
        assert len(script.requests) == 1
