"""Faults of the machine: too few descriptors, a full disk; and a full job store."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import subprocess
from collections import Counter
from typing import TYPE_CHECKING

import aiohttp
import pytest

from tests.faults.measuring import Vitals, seen
from tests.faults.storm import Storm, p99_ms
from tests.faults.test_clients import read_to_the_end, witnessed
from tests.faults.test_handlers import ended, submit
from tests.streams import connected, port_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.faults.conftest import Serve

ON_A_SMALL_DISK = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
MOUNT = 'mount -t tmpfs -o size=1m none "$0" && exec "$@"'


async def test_two_hundred_sockets_at_sixty_four_descriptors_hurt_no_open_connection(serve: Serve, runs: Path) -> None:
    server = serve("server.drain_s=2", under=["prlimit", "--nofile=64:64"])
    vitals = Vitals(server)
    storm = Storm(server.url, clients=5, pause_s=0.01)
    get = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"
    statuses: Counter[bytes] = Counter()
    peak = 0
    async with storm.raging():
        await asyncio.sleep(0.2)  # these connections are open before the others come
        async with contextlib.AsyncExitStack() as many:
            wires = [await many.enter_async_context(connected(port_of(server.url))) for _ in range(200)]
            for _, writer in wires:
                writer.write(get)
            for _ in range(20):
                peak = max(peak, vitals.descriptors)
                await asyncio.sleep(0.1)
            for reader, writer in wires:
                with contextlib.suppress(TimeoutError, ConnectionError):
                    async with asyncio.timeout(0.001):
                        statuses[(await reader.read(12))[9:12] or b"cut"] += 1
                writer.close()
    await vitals.descriptors_are_back()
    cpu_share = vitals.cpu_share
    counts = storm.history.check(runs)
    assert (counts.faults, storm.unanswered) == ([], 0)
    assert statuses[b"200"] + statuses[b"503"] > 0
    assert peak <= 64
    async with connected(port_of(server.url)) as (reader, writer):
        writer.write(get.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        assert b" 200 OK" in await read_to_the_end(reader)
    capped = server.wait_for("server.connections_capped")
    assert server.stop() == 0
    seen(
        "few_descriptors",
        f"room for {capped['possible']} connections; of 200 sockets {statuses[b'200']} served, {statuses[b'503']} got"
        f" 503, the rest waited; {counts.ended} jobs over open connections, p99 {p99_ms(storm.life_s):.0f} ms, 0 lost;"
        f" at most {peak} descriptors, {cpu_share:.0%} of a CPU; served again afterwards",
    )


async def test_a_full_disk_rejects_uploads_and_spoils_no_accepted_file(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "spool").mkdir()
    command = [*ON_A_SMALL_DISK, MOUNT, str(tmp_path / "spool")]
    if not shutil.which("unshare") or subprocess.run([*command, "true"], check=False).returncode:  # noqa: ASYNC221 - before any other task runs
        pytest.skip("no mount namespaces here")
    server = serve(under=command)

    async def upload(http: aiohttp.ClientSession) -> tuple[int, str, str]:
        form = aiohttp.FormData({"job": '{"type":"read_files","delay_s":60}'})
        form.add_field("file", b"x" * 200_000, filename="f")
        async with http.post("/v1/jobs", data=form) as response:
            document = await response.json()
            return response.status, document["type"], document.get("id", "")

    async with aiohttp.ClientSession(server.url) as http:
        answers = [await upload(http) for _ in range(12)]
        kinds = Counter((status, kind) for status, kind, _ in answers)
        assert set(kinds) == {(202, "read_files"), (503, "/problems/spool-full")}
        held = [id_ for _, _, id_ in answers if id_]
        assert 1 <= len(held) <= 5, "a disk of 1 MiB"
        result = await submit(http, "write_a_file", wait_s=10, args={"size_bytes": 2_000_000})
        assert (result["state"], result["error"]["code"]) == ("failed", "handler_error")
        assert (await submit(http, "record", wait_s=10, args={"token": "plain"}))["state"] == "succeeded"
        for id_ in held:
            async with http.post(f"/v1/jobs/{id_}:run") as response:
                assert response.status == 202
        documents = await ended(http, held)
        assert [each["result"] for each in documents] == [200_000] * len(held), "what was accepted is whole"
        status, _, last = await upload(http)
        assert status == 202, "there is room again"
        async with http.post(f"/v1/jobs/{last}:cancel") as response:
            assert response.status == 200
    assert server.stop() == 0
    seen(
        "disk_full",
        f"of 12 uploads of 200 kB onto 1 MiB {len(held)} accepted, each whole, {12 - len(held)} got 503 spool-full;"
        f" a result file without room failed its job; jobs without files went on; room again at once when jobs ended",
    )


async def test_a_job_store_full_of_live_jobs_rejects_and_evicts_none_of_them(serve: Serve, runs: Path) -> None:
    server = serve("statuses.jobs_max=200", "queues.default.capacity=1000", "server.drain_s=0.1")
    async with aiohttp.ClientSession(server.url) as http:
        over = await submit(http, "record", wait_s=10, args={"token": "over"})
        live = [await submit(http, "record", delay_s=600, args={"token": f"live{number}"}) for number in range(200)]
        kinds: Counter[tuple[int, str]] = Counter()
        for number in range(100):
            body = {"type": "record", "args": {"token": f"refused{number}"}}
            async with http.post("/v1/jobs", json=body) as response:
                kinds[response.status, (await response.json())["type"]] += 1
                assert int(response.headers["Retry-After"]) >= 1
        assert kinds == {(503, "/problems/statuses-full"): 100}
        async with http.get(f"/v1/jobs/{over['id']}") as response:
            assert (response.status, (await response.json())["reason"]) == (410, "evicted")
        for each in live:
            async with http.get(f"/v1/jobs/{each['id']}") as response:
                assert response.status == 202
        for each in live[:10]:
            async with http.post(f"/v1/jobs/{each['id']}:cancel") as response:
                assert response.status == 200
        for number in range(10):
            assert (await submit(http, "record", args={"token": f"next{number}"}))["id"]
    assert server.stop() == 0
    assert [line for line in witnessed(runs) if "refused" in line or "live" in line] == []
    seen(
        "store_full",
        "200 of 200 live records readable, the terminal one evicted first (410); 100 of 100 further submissions got 503"
        " statuses-full with Retry-After, none ran; 10 cancelled jobs made room for 10",
    )
