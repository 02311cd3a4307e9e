"""Faults of clients: gone, slow, silent, greedy."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
import time
from collections import Counter
from typing import TYPE_CHECKING

import aiohttp
import pytest

from tests.faults.measuring import Vitals, seen
from tests.faults.storm import Storm, p99_ms
from tests.faults.test_handlers import ended, submit
from tests.streams import connected, port_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.faults.conftest import Serve

FORM = "multipart/form-data; boundary=xyz"


def post(token: str, *headers: str, seconds: float = 0.0) -> bytes:
    body = json.dumps({"type": "record", "args": {"token": token, "seconds": seconds}}).encode()
    lines = ("Host: localhost", "Content-Type: application/json", f"Content-Length: {len(body)}", *headers)
    return "\r\n".join(["POST /v1/jobs HTTP/1.1", *lines, "", ""]).encode() + body


def form(token: str) -> bytes:
    job = json.dumps({"type": "record", "args": {"token": token}})
    parts = f'--xyz\r\nContent-Disposition: form-data; name="job"\r\n\r\n{job}\r\n--xyz\r\n'
    parts += 'Content-Disposition: form-data; name="f"; filename="f"\r\n\r\n' + "x" * 20_000
    lines = ("Host: localhost", f"Content-Type: {FORM}", "Content-Length: 100000")
    return "\r\n".join(["POST /v1/jobs HTTP/1.1", *lines, "", parts]).encode()


def witnessed(runs: Path) -> list[str]:
    return runs.read_text().splitlines()


async def reset_after(url: str, data: bytes, begun: Callable[[], bool] | None = None) -> None:
    """Send bytes, and reset the connection: a moment later, or once the job has begun."""
    async with connected(port_of(url)) as (_, writer):
        writer.write(data)
        await writer.drain()
        await asyncio.sleep(0.005)
        while begun is not None and not begun():
            await asyncio.sleep(0.005)
        wire = writer.get_extra_info("socket")
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


async def read_to_the_end(reader: asyncio.StreamReader) -> bytes:
    received = b""
    with contextlib.suppress(ConnectionError):
        while chunk := await reader.read(65_536):
            received += chunk
    return received


async def test_clients_gone_in_the_middle_of_a_post_or_after_it_leave_no_job_half_done(
    serve: Serve, runs: Path
) -> None:
    server = serve()
    vitals = Vitals(server)
    cut = [post(f"cut{number}")[:-number] for number in range(1, 101)] + [form(f"cut{n}") for n in range(101, 151)]
    whole = [post(f"whole{number}") for number in range(100)]
    waiting = [post(f"wait{number}", "Prefer: wait=30", seconds=0.2) for number in range(100)]
    storm = Storm(server.url, clients=5)
    async with storm.raging():
        await asyncio.gather(*(reset_after(server.url, each) for each in (*cut, *whole, *waiting)))
        for number in range(5):  # of those before, none may have been received before its reset
            token = f"whole and begun{number}"
            await reset_after(server.url, post(token), lambda token=token: f"begin {token}" in witnessed(runs))
    async with aiohttp.ClientSession(server.url) as http:
        (queue,) = (await (await http.get("/v1/queues")).json())["queues"]
        while queue["queued"] + queue["running"]:
            (queue,) = (await (await http.get("/v1/queues")).json())["queues"]
    ran = Counter(line.partition(" ")[2] for line in witnessed(runs) if line.startswith("begin"))
    assert [token for token in ran if token.startswith("cut")] == []
    kept = {token: count for token, count in ran.items() if token.startswith(("whole", "wait"))}
    assert set(kept.values()) == {1}
    assert queue["submitted_total"] == queue["succeeded_total"] == len(ran)
    await vitals.descriptors_are_back()
    assert server.stop() == 0
    seen(
        "client_gone",
        f"150 resets within a POST: 0 jobs; 205 after a whole one: {len(kept)} jobs, each ran once; no descriptor left",
    )


async def test_five_hundred_slowloris_connections_are_cut_and_hurt_only_themselves(serve: Serve, runs: Path) -> None:
    server = serve("limits.idle_timeout_s=2")
    vitals = Vitals(server)
    began, cut_s = time.monotonic(), []

    async def slow() -> None:
        async with connected(port_of(server.url)) as (reader, writer):
            reading = asyncio.ensure_future(read_to_the_end(reader))
            with contextlib.suppress(ConnectionError):
                writer.write(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n")
                while not reading.done():
                    writer.write(b"X-a: b\r\n")
                    await asyncio.wait([reading], timeout=0.3)
            await reading
            cut_s.append(time.monotonic() - began)

    storm = Storm(server.url, clients=5, pause_s=0.01)
    async with storm.raging():
        await asyncio.gather(*(slow() for _ in range(500)))
    counts = storm.history.check(runs)
    assert (counts.faults, storm.unanswered, set(storm.statuses) - {200, 202}) == ([], 0, set())
    assert max(cut_s) < 2.0 + 6.0
    await vitals.descriptors_are_back()
    grown_mib = vitals.grown_mib
    assert server.stop() == 0
    seen(
        "slowloris",
        f"500 cut after {min(cut_s):.1f} to {max(cut_s):.1f} s (idle timeout 2 s); meanwhile {counts.ended} jobs of"
        f" honest clients, p99 {p99_ms(storm.life_s):.0f} ms, 0 lost; memory grew by {grown_mib:.0f} MiB",
    )


async def test_bodies_of_one_byte_per_second_get_408_and_hurt_only_themselves(serve: Serve, runs: Path) -> None:
    server = serve("limits.body_timeout_s=2")
    vitals = Vitals(server)
    began, answered_s = time.monotonic(), []
    statuses: Counter[bytes] = Counter()

    async def slow(number: int) -> None:
        request = post(f"slow{number}")
        head, body = request[:-60], request[-60:]
        async with connected(port_of(server.url)) as (reader, writer):
            reading = asyncio.ensure_future(read_to_the_end(reader))
            with contextlib.suppress(ConnectionError):
                writer.write(head)
                for at in range(len(body)):
                    writer.write(body[at : at + 1])
                    if (await asyncio.wait([reading], timeout=1.0))[0]:
                        break
            statuses[(await reading)[9:12]] += 1
            answered_s.append(time.monotonic() - began)

    storm = Storm(server.url, clients=5, pause_s=0.01)
    async with storm.raging():
        await asyncio.gather(*(slow(number) for number in range(200)))
    counts = storm.history.check(runs)
    assert statuses == {b"408": 200}
    assert (counts.faults, storm.unanswered) == ([], 0)
    await vitals.descriptors_are_back()
    assert server.stop() == 0
    seen(
        "slow_bodies",
        f"200 of 200 got 408 after {min(answered_s):.1f} to {max(answered_s):.1f} s (body timeout 2 s), none"
        f" ran; honest clients' p99 {p99_ms(storm.life_s):.0f} ms",
    )


@pytest.mark.slow
async def test_slow_readers_of_ten_thousand_pipelined_answers_get_all_or_are_cut(serve: Serve, runs: Path) -> None:
    server = serve("limits.write_timeout_s=2")
    vitals = Vitals(server)
    async with aiohttp.ClientSession(server.url) as http:
        job = await submit(http, "record", args={"token": "read"})
        await ended(http, [job["id"]])
    storm, complete, cut = Storm(server.url, clients=3, pause_s=0.01), 0, 0
    pipelined = f"GET /v1/jobs/{job['id']} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode() * 10_000
    peak_mib = 0.0

    async def read(slowly: bool) -> None:
        nonlocal complete, cut, peak_mib
        async with connected(port_of(server.url)) as (reader, writer):
            writer.write(pipelined)
            writer.write(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            if not slowly:
                reader._transport.pause_reading()  # type: ignore[attr-defined]
                await asyncio.sleep(8.0)
                reader._transport.resume_reading()  # type: ignore[attr-defined]
            received = b""
            try:
                while chunk := await reader.read(50_000):
                    received += chunk
                    peak_mib = max(peak_mib, vitals.grown_mib)
                    await asyncio.sleep(0.02 if slowly else 0)
            except ConnectionError:
                cut += 1
                return
            assert received.count(b"HTTP/1.1 200 OK") == 10_001
            complete += 1

    async with storm.raging():
        await asyncio.gather(*(read(slowly=True) for _ in range(4)), *(read(slowly=False) for _ in range(16)))
    storm.history.sent("read")
    counts = storm.history.check(runs)
    assert (counts.faults, storm.unanswered) == ([], 0)
    assert (complete, cut) == (4, 16)
    assert peak_mib < 64
    await vitals.descriptors_are_back()
    assert server.stop() == 0
    seen(
        "slow_readers",
        f"4 slow readers got all 10,000 answers in order, 16 that did not read were cut; memory grew by"
        f" {peak_mib:.0f} MiB at most; honest clients' p99 {p99_ms(storm.life_s):.0f} ms",
    )
