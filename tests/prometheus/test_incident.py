"""A staged incident: a real Prometheus scrapes a real server, and its alerts fire.

    make test-prometheus

The rules are those of `docs/ops`, with seconds instead of minutes. It prints what Prometheus says of its target, its
alerts, and an exemplar.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import shutil
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

OPS = Path(__file__).parents[2] / "docs" / "ops"
WITHIN_S = 60.0

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("prometheus") is None, reason="prometheus is not installed (Debian: prometheus)"),
]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def quick(rules: str) -> str:
    """Return the rules with a second for each minute, so that an incident takes seconds."""
    rules = re.sub(r"for: \d+[mh]", "for: 2s", rules)
    return re.sub(r"\[\d+m\]", "[10s]", rules)


@contextlib.asynccontextmanager
async def running(*command: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.DEVNULL)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def answer_of(http: aiohttp.ClientSession, path: str) -> Any:
    """Ask until the program listens."""
    async with asyncio.timeout(WITHIN_S):
        while True:
            with contextlib.suppress(aiohttp.ClientConnectorError):
                async with http.get(path) as response:
                    if response.status == 200:
                        return await response.json()
            await asyncio.sleep(0.2)


async def alerts_of(http: aiohttp.ClientSession, *wanted: str) -> list[dict[str, Any]]:
    """Wait until these alerts fire; return all that do."""
    async with asyncio.timeout(WITHIN_S):
        while True:
            alerts = (await answer_of(http, "/api/v1/alerts"))["data"]["alerts"]
            firing = [alert for alert in alerts if alert["state"] == "firing"]
            if set(wanted) <= {alert["labels"]["alertname"] for alert in firing}:
                return firing
            await asyncio.sleep(0.5)


async def stage(server: str) -> None:
    """Fill the queue `default`, and let all mails fail."""
    async with aiohttp.ClientSession(server) as http:
        for _ in range(20):
            async with http.post("/v1/jobs", json={"type": "sleep", "args": {"seconds": 600.0}}) as response:
                assert response.status == 202
        async with http.post("/v1/jobs", json={"type": "sleep", "args": {"seconds": 1.0}}) as response:
            assert response.status == 503
        for _ in range(5):
            async with http.post("/v1/jobs", json={"type": "send"}, headers={"Prefer": "wait=5"}) as response:
                assert response.status in (200, 202)


@pytest.mark.timeout(180)
async def test_a_full_queue_and_a_quarantined_type_raise_their_alerts(tmp_path: Path) -> None:
    port, prometheus_port = free_port(), free_port()
    settings = {
        "server": {"port": port},
        "spool": {"dir": str(tmp_path / "spool")},
        "queues": {"default": {"capacity": 20, "workers": 1}, "mail": {"retry_budget": 3}},
        "limits": {"loop_lag_max_s": 30.0},  # other programs may keep the machine busy
    }
    (tmp_path / "settings.yaml").write_text(json.dumps(settings))
    (tmp_path / "alerts.yaml").write_text(quick((OPS / "alerts.yaml").read_text()))
    config = (OPS / "prometheus.yml").read_text().replace("15s", "1s").replace("127.0.0.1:8080", f"127.0.0.1:{port}")
    (tmp_path / "prometheus.yml").write_text(config)
    prometheus = (
        *("prometheus", f"--config.file={tmp_path / 'prometheus.yml'}", f"--storage.tsdb.path={tmp_path / 'data'}"),
        *(f"--web.listen-address=127.0.0.1:{prometheus_port}", "--enable-feature=exemplar-storage"),
    )
    served = (sys.executable, "-m", "tests.prometheus.served", str(tmp_path / "settings.yaml"))
    async with running(*served), running(*prometheus):
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as http:
            await answer_of(http, "/readyz")
        await stage(f"http://127.0.0.1:{port}")
        async with aiohttp.ClientSession(f"http://127.0.0.1:{prometheus_port}") as http:
            firing = await alerts_of(http, "JobqueueQueueFull", "JobqueueTypeQuarantined")
            (target,) = (await answer_of(http, "/api/v1/targets?state=active"))["data"]["activeTargets"]
            query = "/api/v1/query_exemplars?query=jobqueue_job_run_seconds_bucket&start=0&end=9999999999"
            exemplars = (await answer_of(http, query))["data"]
    show("target", {name: target[name] for name in ("scrapeUrl", "health", "lastError", "lastScrapeDuration")})
    for alert in firing:
        show("alert", alert)
    show("exemplar", exemplars[0])
    assert (target["health"], target["lastError"]) == ("up", "")
    by_name = {alert["labels"]["alertname"]: alert["labels"] for alert in firing}
    assert by_name["JobqueueQueueFull"]["queue"] == "default"
    assert by_name["JobqueueTypeQuarantined"]["type"] == "send"
    assert exemplars[0]["exemplars"][0]["labels"]["job_id"]


def show(what: str, value: object) -> None:
    print(what, json.dumps(value))
