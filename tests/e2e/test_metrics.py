"""The metrics of a real server: what its process counts, a port of their own, and a wrong one."""

from __future__ import annotations

import asyncio
import shutil
import signal
import socket
import subprocess
from typing import TYPE_CHECKING

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families as parse_text

from jobqueue.metrics.catalogue import CATALOGUE
from tests.e2e.test_server import running, submit

if TYPE_CHECKING:
    from pathlib import Path

NOT_YET = {
    "jobqueue_queue_oldest_job_timestamp_seconds",
    "jobqueue_journal_snapshot_seconds",
    "jobqueue_journal_snapshot_timestamp_seconds",
}
"""Without a sample: no job is queued, and the journal of a first start has no snapshot."""


def faults_in(text: str) -> str:
    """Return what promtool has to say of metrics."""
    done = subprocess.run(["promtool", "check", "metrics"], input=text, text=True, capture_output=True, check=False)
    return done.stdout + done.stderr if done.returncode else ""


async def text_of(url: str) -> str:
    async with aiohttp.ClientSession() as http, http.get(f"{url}/metrics") as response:
        assert response.status == 200
        return await response.text()


async def ready(http: aiohttp.ClientSession) -> None:
    """Wait until a server with a journal has recovered."""
    while True:
        async with http.get("/readyz") as response:
            if response.status == 200:
                return
        await asyncio.sleep(0.05)


async def test_a_server_exports_every_metric_of_the_catalogue(tmp_path: Path) -> None:
    journal = {"dir": str(tmp_path / "journal")}
    receiver = {
        "url": "https://example.com/hooks",
        "topics": ["order.>"],
        "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    }
    async with running(tmp_path, journal=journal, spool={}, webhooks={"endpoints": {"crm": receiver}}) as server:
        async with aiohttp.ClientSession(await server.url()) as http:
            await ready(http)
        # Over a connection of its own: one that the stock path is still busy with keeps its next request there.
        async with aiohttp.ClientSession(await server.url()) as http:
            await submit(http, "echo")
        text = await text_of(await server.url())
    names = {spec.name.removesuffix("_total") for spec in CATALOGUE}
    of_a_store = {name for name in names if name.startswith("jobqueue_store_")}
    assert of_a_store
    assert names - {family.name for family in parse_text(text)} == NOT_YET | of_a_store
    assert 'jobqueue_http_requests_total{path="fast"} 1\n' in text


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed (Debian: prometheus)")
async def test_promtool_finds_no_fault_in_the_metrics(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        async with aiohttp.ClientSession(await server.url()) as http:
            await submit(http, "echo")
        text = await text_of(await server.url())
    assert faults_in(text) == ""


async def test_metrics_have_a_port_of_their_own_until_the_end_of_a_drain(tmp_path: Path) -> None:
    async with running(tmp_path, metrics={"listen": "127.0.0.1:0"}, server={"drain_s": 30.0}) as server:
        event = await server.event("metrics.listening")
        url = f"http://{event['host']}:{event['port']}"
        async with aiohttp.ClientSession(await server.url()) as http:
            async with http.get("/metrics") as response:
                assert response.status == 404
            await submit(http, "sleep", seconds=60.0)
        assert "jobqueue_draining 0\n" in await text_of(url)
        async with aiohttp.ClientSession(url) as http, http.get("/v1/jobs") as response:
            assert response.status == 404
        server.process.send_signal(signal.SIGTERM)
        await server.event("server.draining")
        assert "jobqueue_draining 1\n" in await text_of(url)
        server.process.send_signal(signal.SIGKILL)


async def test_a_port_of_the_metrics_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        async with running(tmp_path, metrics={"listen": f"127.0.0.1:{port}"}) as server:
            assert await server.exit_code() == 1
            reason = (await server.event("server.failed"))["reason"]
    assert reason.startswith(f"metrics.listen: 127.0.0.1:{port} can't be listened on")
