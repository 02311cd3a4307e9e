"""Servers that start on the journal of another configuration, or of another hour, and one on a disk that stalls."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.chaos.served import STALL_S, Birth, NotStarted, Nursery, settings

WAITING = 8
HOUR_S = 3600.0


@pytest.fixture
async def nursery(tmp_path: Path) -> AsyncIterator[Nursery]:
    async with Nursery(tmp_path) as nursery:
        yield nursery


async def submit(http: aiohttp.ClientSession, type_: str = "quick", **options: Any) -> str:
    async with http.post("/v1/jobs", json={"type": type_, "args": {"token": "x"}, **options}) as response:
        document = await response.json()
        assert response.status == 202, document
    return str(document["id"])


async def job(http: aiohttp.ClientSession, id_: str) -> dict[str, Any]:
    async with http.get(f"/v1/jobs/{id_}") as response:
        assert response.status in (200, 202), await response.text()
        document: dict[str, Any] = await response.json()
    return document


async def leave(nursery: Nursery, birth: Birth, queue: str = "default", **options: Any) -> list[str]:
    """Start a server, have jobs wait in a paused queue, and kill it; return their ids."""
    async with aiohttp.ClientSession(await nursery.start(birth)) as http:
        async with http.post(f"/v1/queues/{queue}:pause") as response:
            response.raise_for_status()
        ids = [await submit(http, queue=queue, **options) for _ in range(WAITING)]
        await nursery.kill()
    return ids


@pytest.mark.parametrize("sync", ["always", "interval"])
async def test_jobs_of_a_queue_that_is_gone_stop_the_start_or_fail(nursery: Nursery, tmp_path: Path, sync: str) -> None:
    with_it = Birth(settings(tmp_path, sync, queues__mail__workers="1"))
    ids = await leave(nursery, with_it, "mail")
    with pytest.raises(NotStarted) as refused:
        await nursery.start(Birth(settings(tmp_path, sync)))
    assert "mail" in str(refused.value)
    assert str(WAITING) in str(refused.value)
    url = await nursery.start(Birth(settings(tmp_path, sync, journal__unknown="fail")))
    async with aiohttp.ClientSession(url) as http:
        assert {(await job(http, id_))["state"] for id_ in ids} == {"failed"}


async def test_a_refused_start_changes_nothing_so_the_former_configuration_goes_on(
    nursery: Nursery, tmp_path: Path
) -> None:
    with_it = Birth(settings(tmp_path, "always", queues__mail__workers="1"))
    ids = await leave(nursery, with_it, "mail")
    with pytest.raises(NotStarted):
        await nursery.start(Birth(settings(tmp_path, "always")))
    async with aiohttp.ClientSession(await nursery.start(with_it)) as http:
        assert {(await job(http, id_))["state"] for id_ in ids} == {"queued"}


async def test_jobs_of_a_type_that_is_gone_stop_the_start_or_fail(nursery: Nursery, tmp_path: Path) -> None:
    ids = await leave(nursery, Birth(settings(tmp_path, "always")))
    with pytest.raises(NotStarted) as refused:
        await nursery.start(Birth(settings(tmp_path, "always"), without=("quick",)))
    assert "quick" in str(refused.value)
    fails = Birth(settings(tmp_path, "always", journal__unknown="fail"), without=("quick",))
    async with aiohttp.ClientSession(await nursery.start(fails)) as http:
        assert {(await job(http, id_))["state"] for id_ in ids} == {"failed"}


async def test_a_smaller_capacity_keeps_all_jobs_and_takes_no_further_one(nursery: Nursery, tmp_path: Path) -> None:
    ids = await leave(nursery, Birth(settings(tmp_path, "always")))
    smaller = Birth(settings(tmp_path, "always", queues__default__capacity="3"))
    async with aiohttp.ClientSession(await nursery.start(smaller)) as http:
        assert {(await job(http, id_))["state"] for id_ in ids} == {"queued"}
        async with http.post("/v1/jobs", json={"type": "quick", "args": {"token": "x"}}) as response:
            assert response.status == 503
            assert (await response.json())["type"].endswith("queue-full")
        await resume(http)
        await ended(http, ids)
        await submit(http)


@pytest.mark.parametrize("ahead_s", [HOUR_S, -HOUR_S])
async def test_a_wall_clock_an_hour_off_loses_nothing_and_shifts_delayed_jobs(
    nursery: Nursery, tmp_path: Path, ahead_s: float
) -> None:
    short = settings(tmp_path, "always", statuses__ttl_s="7200")
    async with aiohttp.ClientSession(await nursery.start(Birth(short))) as http:
        done = await submit(http)
        delayed = await submit(http, delay_s=HOUR_S / 2)
        soon = await submit(http, "slow", delay_s=60.0)
        await ended(http, [done])
        await nursery.kill()
    moved = Birth(short, ahead_s=ahead_s)
    async with aiohttp.ClientSession(await nursery.start(moved)) as http:
        assert (await job(http, done))["state"] == "succeeded"
        if ahead_s > 0:
            await ended(http, [delayed, soon])
        else:
            assert {(await job(http, id_))["state"] for id_ in (delayed, soon)} == {"delayed"}
        first = await submit(http)
        await nursery.kill()
    async with aiohttp.ClientSession(await nursery.start(Birth(short))) as http:
        second = await submit(http)
        assert len({done, delayed, soon, first, second}) == 5
        for id_ in (done, delayed, soon, first, second):
            await job(http, id_)


async def resume(http: aiohttp.ClientSession) -> None:
    async with http.post("/v1/queues/default:resume") as response:
        response.raise_for_status()


async def ended(http: aiohttp.ClientSession, ids: list[str]) -> None:
    """Wait until all of these have succeeded."""
    for id_ in ids:
        async with http.get(f"/v1/jobs/{id_}", headers={"Prefer": "wait=10"}) as response:
            assert (await response.json())["state"] == "succeeded"


async def post(http: aiohttp.ClientSession) -> tuple[int, str, float]:
    """Submit a job; return the status, the id or the problem's type, and the seconds that the answer took."""
    began = time.monotonic()
    async with http.post("/v1/jobs", json={"type": "quick", "args": {"token": "x"}}) as response:
        document = await response.json()
    if response.status == 503:
        assert int(response.headers["Retry-After"]) >= 1
    return response.status, document.get("id") or document["type"], time.monotonic() - began


async def test_while_the_disk_stalls_the_loop_goes_on_and_waits_are_bounded(
    nursery: Nursery, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stalls = tmp_path / "stalls"
    birth = Birth(settings(tmp_path, "always"), stalls_while=str(stalls))
    async with aiohttp.ClientSession(await nursery.start(birth)) as http:
        known = await submit(http)
        stalls.touch()
        posts = [asyncio.create_task(post(http)) for _ in range(20)]
        looks_s, began = [], time.monotonic()
        while time.monotonic() - began < STALL_S + 1.0:
            at = time.monotonic()
            await job(http, known)
            looks_s.append(time.monotonic() - at)
            await asyncio.sleep(0.01)
            if time.monotonic() - began < STALL_S / 2:
                assert not any(task.done() for task in posts), "a submission was answered before its sync"
        answers = await asyncio.gather(*posts)
        later = await post(http)
        stalls.unlink()
        while (found := await post(http))[0] == 503:
            await asyncio.sleep(0.02)
        await nursery.kill()
    looks_s.sort()
    p50_ms, worst_ms = looks_s[len(looks_s) // 2] * 1e3, looks_s[-1] * 1e3
    rejected_s = max(took for _, _, took in answers)
    with capsys.disabled():
        print(
            f"\n  a disk that takes no sync for {STALL_S + 1:.0f} s: {len(looks_s)} reads, p50 {p50_ms:.1f} ms, worst"
            f" {worst_ms:.0f} ms; 20 submissions rejected after {rejected_s:.2f} s, a later one {later[2] * 1e3:.0f} ms"
        )
    assert p50_ms < 50, "reads wait for the disk"
    assert {(status, problem) for status, problem, _ in (*answers, later)} == {(503, "/problems/journal-failed")}
    assert rejected_s < STALL_S + 1.0
    assert later[2] < 0.5
    assert found[0] == 202
    async with aiohttp.ClientSession(await nursery.start(birth)) as http:
        for id_ in (known, found[1]):
            await job(http, id_)
        assert await count(http) == 2, "a submission that was rejected is there"


async def count(http: aiohttp.ClientSession) -> int:
    async with http.get("/v1/server") as response:
        document = await response.json()
    return int(document["jobs_live"] + document["jobs_terminal"])
