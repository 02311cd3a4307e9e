"""Faults of handlers: what they raise, swallow, block and take."""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from tests.faults.measuring import Vitals, seen, until
from tests.faults.storm import Storm, p99_ms

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from tests.faults.conftest import Serve

KINDS = ("value", "exit", "interrupt", "generator", "cancelled", "odd", "group", "memory")
EXCEPTIONS = ("value", "memory", "cancelled")
RAISING = {"raise_on_the_loop": 400, "raise_after_a_pause": 300, "raise_in_a_thread": 200, "raise_in_a_process": 100}


async def submit(http: aiohttp.ClientSession, type: str, *, wait_s: int = 0, **job: Any) -> dict[str, Any]:
    headers = {"Prefer": f"wait={wait_s}"} if wait_s else {}
    async with http.post("/v1/jobs", json={"type": type, **job}, headers=headers) as response:
        document: dict[str, Any] = await response.json()
        assert response.status in (200, 202), document
        return document


async def ended(http: aiohttp.ClientSession, ids: Iterable[str]) -> list[dict[str, Any]]:
    """Wait for jobs; return their documents."""
    documents = []
    for id_ in ids:
        async with http.get(f"/v1/jobs/{id_}", headers={"Prefer": "wait=30"}) as response:
            documents.append(await response.json())
            assert response.status == 200, documents[-1]
    return documents


async def test_a_thousand_exceptions_of_all_kinds_fail_their_own_jobs_alone(serve: Serve) -> None:
    server = serve("queues.default.retry_budget=0")
    jobs = [
        {"type": type_, "args": {"kind": KINDS[number % len(KINDS)]}}
        for type_, count in RAISING.items()
        for number in range(count)
    ]
    began = time.perf_counter()
    async with aiohttp.ClientSession(server.url) as http:
        async with http.post("/v1/jobs:batch", json={"jobs": jobs}) as response:
            items = (await response.json())["jobs"]
        assert [item["status"] for item in items] == [202] * 1000
        documents = await ended(http, [item["id"] for item in items])
        took_s = time.perf_counter() - began
        outcomes = Counter((each["state"], each["error"]["code"]) for each in documents)
        async with http.get("/v1/queues") as response:
            (queue,) = (await response.json())["queues"]
        assert (await submit(http, "record", wait_s=10, args={"token": "after"}))["state"] == "succeeded"
    assert server.stop() == 0
    ordinary = sum(job["args"]["kind"] in EXCEPTIONS for job in jobs)
    assert outcomes == {("failed", "handler_error"): ordinary, ("failed", "worker_crashed"): 1000 - ordinary}
    assert queue["failed_total"] == 1000
    assert Counter(each["event"] for each in server.events)["job.failed"] == 1000, "a line for each failed job"
    seen("raises", f"1,000 failed in {took_s:.1f} s, each counted and logged once; the next job succeeded; exit 0")


async def test_a_swallowed_cancellation_costs_its_job_alone(serve: Serve) -> None:
    server = serve("queues.default.workers=2", "server.drain_s=0.2")
    async with aiohttp.ClientSession(server.url) as http:
        stuck = [await submit(http, "swallow", timeout_s=0.3) for _ in range(2)]
        began = time.perf_counter()
        after = await submit(http, "record", args={"token": "after"})
        documents = await ended(http, [each["id"] for each in stuck])
        (next_one,) = await ended(http, [after["id"]])
        took_s = time.perf_counter() - began
    assert [(each["state"], each["error"]["code"]) for each in documents] == [("failed", "timed_out")] * 2
    assert next_one["state"] == "succeeded"
    assert "swallow" in server.wait_for("worker.stuck")["stack"]
    assert server.stop() == 0
    assert took_s < 0.3 + 1.0 + 2.0
    seen("swallows", f"timed out, and both workers replaced, {took_s:.2f} s after the start (timeout 0.3 s, grace 1 s)")


@pytest.mark.slow
async def test_a_handler_that_blocks_the_loop_for_five_seconds_delays_answers_and_loses_nothing(
    serve: Serve, runs: Path
) -> None:
    server = serve()
    storm = Storm(server.url, clients=10)
    async with storm.raging(), aiohttp.ClientSession(server.url) as http:
        began = time.perf_counter()
        blocking = await submit(http, "block", args={"seconds": 5.0})
        report = await asyncio.to_thread(server.wait_for, "loop.blocked")
        reported_s = time.perf_counter() - began
        (document,) = await ended(http, [blocking["id"]])
        assert document["state"] == "succeeded"
        accepted = len(storm.history.accepted)
        await until(lambda: len(storm.history.accepted) > accepted + 50, "goes on")
    assert "in block" in report["stack"]
    counts = storm.history.check(runs)
    assert (counts.faults, set(storm.statuses) - {200, 202, 503}) == ([], set())
    assert server.stop() == 0
    worst_s = max(*storm.life_s, *storm.submit_s, *storm.refuse_s)
    seen(
        "blocks",
        f"reported with its stack after {reported_s:.2f} s; longest wait of a client {worst_s:.1f} s;"
        f" {counts.ended} of {counts.accepted} accepted jobs ended",
    )


async def test_a_thread_that_is_stuck_at_the_drain_does_not_delay_the_exit(serve: Serve) -> None:
    server = serve("server.drain_s=0.5", "server.linger_s=0.2")
    async with aiohttp.ClientSession(server.url) as http:
        job = await submit(http, "record_in_a_thread", args={"token": "stuck", "seconds": 60.0})
        while job["state"] != "running":
            async with http.get(f"/v1/jobs/{job['id']}") as response:
                job = await response.json()
    began = time.perf_counter()
    assert await asyncio.to_thread(server.stop, signal.SIGTERM) == 0
    took_s = time.perf_counter() - began
    lost = server.wait_for("drain.lost")
    assert (lost["delayed"], lost["queued"], lost["running"]) == (0, 0, 1)
    assert took_s < 0.5 + 0.2 + 2.0 + 1.0
    seen("thread_stuck", f"exit 0 after {took_s:.2f} s (drain 0.5 s, linger 0.2 s); 1 running job counted as lost")


@pytest.mark.parametrize("where", ["fill_memory", "fill_memory_in_a_thread"])
async def test_a_memory_error_fails_its_job_alone(serve: Serve, runs: Path, where: str) -> None:
    server = serve(under=["prlimit", f"--as={4 * 2**30}"])
    storm = Storm(server.url, clients=5)
    vitals = Vitals(server)
    async with storm.raging(), aiohttp.ClientSession(server.url) as http:
        jobs = [await submit(http, where, args={"size_bytes": 8 * 2**30}) for _ in range(20)]
        documents = await ended(http, [each["id"] for each in jobs])
    assert Counter(each["error"]["message"].partition(":")[0] for each in documents) == {"MemoryError": 20}
    counts = storm.history.check(runs)
    assert counts.faults == []
    assert counts.ended > 0
    grown_mib = vitals.grown_mib
    assert server.stop() == 0
    seen(
        "memory_error",
        f"20 of 20 failed as MemoryError ({'thread' if 'thread' in where else 'loop'}); {counts.ended} others ended,"
        f" p99 {p99_ms(storm.life_s):.0f} ms; memory grew by {grown_mib:.0f} MiB",
    )
