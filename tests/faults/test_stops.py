"""Faults of the whole process: signals, death, suspension, steps of the wall clock."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import time
from collections import Counter
from typing import TYPE_CHECKING

import aiohttp
import psutil
import pytest

from jobqueue.process.signals import SAME_STOP_S
from tests.faults.measuring import seen, until
from tests.faults.stepped_clock import AHEAD, step
from tests.faults.storm import Storm, p99_ms
from tests.faults.test_handlers import ended, submit

if TYPE_CHECKING:
    from pathlib import Path

    from tests.faults.conftest import Serve

CONTAINER = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child"]


def in_a_container() -> list[str]:
    if not shutil.which("unshare") or subprocess.run([*CONTAINER, "true"], check=False).returncode:
        pytest.skip("no process namespaces here")
    return CONTAINER


@pytest.mark.parametrize("first_process", [False, True])
async def test_sigterm_in_a_storm_loses_no_accepted_job(serve: Serve, runs: Path, first_process: bool) -> None:
    server = serve("server.linger_s=1.0", under=in_a_container() if first_process else ())
    storm = Storm(server.url, clients=40, seconds=0.05)
    async with storm.raging(), aiohttp.ClientSession(server.url) as http:
        await until(lambda: len(storm.history.accepted) > 300, "a storm")
        pid = psutil.Process(server.pid).children()[0].pid if first_process else server.pid
        at, status = time.monotonic(), 200
        os.kill(pid, signal.SIGTERM)
        while status == 200:
            async with http.get("/readyz") as response:
                status = response.status
        unready_ms = (time.monotonic() - at) * 1000
        code = await asyncio.to_thread(server.exit_code)
        exit_s = time.monotonic() - at
    counts = storm.history.check(runs)
    assert (code, status, counts.faults) == (0, 503, [])
    assert set(storm.statuses) == {200, 202, 503}
    assert unready_ms < 1000, "the promise is 100 ms"
    assert storm.last_accepted_at - at < 1.0
    assert exit_s < 20.0 + 1.0 + 2.0
    assert server.wait_for("server.drained")["lost"] == 0
    seen(
        "sigterm_first_process" if first_process else "sigterm_storm",
        f"not ready after {unready_ms:.0f} ms, first 503 to a POST after {(storm.first_refused_at - at) * 1000:.0f} ms,"
        f" last 202 after {max(0.0, storm.last_accepted_at - at) * 1000:.0f} ms; {counts.accepted} accepted,"
        f" {counts.succeeded} succeeded, 0 lost; exit 0 after {exit_s:.2f} s",
    )


async def test_sigterm_with_a_full_queue_loses_jobs_beyond_the_drain_and_counts_each(serve: Serve, runs: Path) -> None:
    settings = ("queues.default.workers=4", "queues.default.capacity=60", "server.drain_s=0.6", "server.linger_s=2")
    server = serve(*settings)
    storm = Storm(server.url, clients=80, seconds=0.1)
    async with storm.raging(), aiohttp.ClientSession(server.url) as http:
        await until(lambda: storm.statuses[503] > 0 and len(storm.history.accepted) >= 60, "a full queue")
        storm.stop()
        at = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        await asyncio.to_thread(server.wait_for, "server.drained")
        for id_ in storm.history.accepted.values():
            async with http.get(f"/v1/jobs/{id_}") as response:
                assert response.status == 200, "readable during the linger"
        code = await asyncio.to_thread(server.exit_code)
        exit_s = time.monotonic() - at
    counts, lost = storm.history.check(runs), server.wait_for("drain.lost")
    assert (code, counts.faults) == (0, [])
    assert counts.accepted == counts.ended == counts.succeeded + lost["queued"] + lost["running"]
    assert lost["queued"] > 10
    assert exit_s < 0.6 + 2.0 + 2.0 + 1.0
    seen(
        "sigterm_full",
        f"{counts.accepted} accepted = {counts.succeeded} succeeded + {lost['queued'] + lost['running']} counted as"
        f" lost, all readable until the exit; exit 0 after {exit_s:.2f} s (drain 0.6 s, linger 2 s)",
    )


async def test_a_second_sigterm_in_a_storm_ends_the_server_and_counts_each_lost_job(serve: Serve, runs: Path) -> None:
    server = serve()
    storm = Storm(server.url, clients=30, seconds=60.0)
    async with storm.raging():
        await until(lambda: len(storm.history.accepted) == 30, "running jobs")
        storm.stop()
        server.process.send_signal(signal.SIGTERM)
        await asyncio.sleep(SAME_STOP_S + 0.1)
        at = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        code = await asyncio.to_thread(server.exit_code)
        exit_ms = (time.monotonic() - at) * 1000
    counts, lost = storm.history.check(runs, all_end=False), server.wait_for("drain.lost")
    assert (code, counts.faults, counts.ended) == (1, [], 0)
    assert (lost["delayed"], lost["queued"], lost["running"]) == (0, 0, counts.accepted)
    assert exit_ms < 3000
    seen(
        "sigterm_twice", f"exit 1 {exit_ms:.0f} ms after the second one; {counts.accepted} running jobs counted as lost"
    )


async def test_sigkill_in_a_storm_loses_jobs_and_the_next_run_says_so_for_each(serve: Serve, runs: Path) -> None:
    server = serve()
    storm = Storm(server.url, clients=40, seconds=0.05)
    async with storm.raging():
        await until(lambda: len(storm.history.accepted) > 300, "a storm")
        server.process.kill()
        storm.stop()
        at = time.monotonic()
        code = await asyncio.to_thread(server.exit_code)
    counts = storm.history.check(runs, all_end=False)
    assert (code, counts.faults) == (-signal.SIGKILL, [])
    server = serve()
    ids = list(storm.history.accepted.values())
    async with aiohttp.ClientSession(server.url) as http:
        assert (await submit(http, "record", wait_s=10, args={"token": "next"}))["state"] == "succeeded"
        back_s = time.monotonic() - at
        for id_ in ids:
            async with http.get(f"/v1/jobs/{id_}") as response:
                assert (response.status, (await response.json())["reason"]) == (410, "earlier-run")
    assert server.stop() == 0
    seen(
        "sigkill",
        f"{counts.accepted - counts.ended} of {counts.accepted} accepted jobs lost; the next run had a job done after"
        f" {back_s:.2f} s, and answers 410 earlier-run for all {len(ids)} ids; nothing ran twice",
    )


@pytest.mark.slow
async def test_a_suspension_of_ten_seconds_times_no_job_out(serve: Serve) -> None:
    server = serve()
    async with aiohttp.ClientSession(server.url) as http:
        jobs = [
            await submit(http, "record", timeout_s=3.0, args={"token": f"s{number}", "seconds": 2.0})
            for number in range(200)
        ]
        server.process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(10.0)
        server.process.send_signal(signal.SIGCONT)
        at = time.monotonic()
        outcomes = Counter(each["state"] for each in await ended(http, [each["id"] for each in jobs]))
        took_s = time.monotonic() - at
    assert outcomes == {"succeeded": 200}
    suspended_s = server.wait_for("process.suspended")["seconds"]
    assert server.stop() == 0
    seen(
        "sigstop",
        f"{suspended_s:.1f} s recognised as a suspension; of 200 running jobs (2 s, timeout 3 s) 0 timed out, all"
        f" succeeded within {took_s:.2f} s of SIGCONT",
    )


async def test_steps_of_the_wall_clock_change_no_deadline(serve: Serve, runs: Path, tmp_path: Path) -> None:
    clock = tmp_path / "clock"
    clock.write_bytes(AHEAD.pack(0.0))
    server = serve(module="tests.faults.stepped_clock", environment={"FAULTS_CLOCK": str(clock)})
    storm = Storm(server.url, clients=5)
    async with storm.raging(), aiohttp.ClientSession(server.url) as http:
        kept = await submit(http, "record", wait_s=10, ttl_s=30, args={"token": "kept"})
        storm.history.sent("kept")
        years: list[str] = []
        delays_s: list[float] = []
        for ahead_s in (3600.0, -3600.0, 0.0):
            accepted, began = len(storm.history.accepted), time.monotonic()
            for name in ("delayed", "running", "after"):
                storm.history.sent(f"{name}{ahead_s}")
            delayed = await submit(http, "record", delay_s=0.5, args={"token": f"delayed{ahead_s}"})
            running = await submit(http, "record", timeout_s=5, args={"token": f"running{ahead_s}", "seconds": 0.5})
            step(clock, ahead_s)
            for document in await ended(http, [delayed["id"], running["id"]]):
                assert document["state"] == "succeeded"
            delays_s.append(time.monotonic() - began)
            await until(lambda: len(storm.history.accepted) > accepted + 50, "goes on")  # noqa: B023
            created = await submit(http, "record", args={"token": f"after{ahead_s}"})
            years.append(created["created_at"])
            async with http.get(f"/v1/jobs/{kept['id']}") as response:
                assert response.status == 200, "its TTL is not over"
    counts = storm.history.check(runs)
    assert counts.faults == []
    assert set(storm.statuses) <= {200, 202}
    assert years[1] < years[2] < years[0], "documents follow the wall clock"
    assert min(delays_s) >= 0.5
    assert max(delays_s) < 0.5 + 2.0
    assert server.stop() == 0
    seen(
        "wall_clock",
        f"+1 h, -1 h and back: delays of 0.5 s took {min(delays_s):.2f} to {max(delays_s):.2f} s, no TTL or timeout"
        f" came early; {counts.ended} other jobs ended, p99 {p99_ms(storm.life_s):.0f} ms",
    )
