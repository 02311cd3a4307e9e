"""The arena: a server with little memory, an honest client, and the results of both during an attack."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import aiohttp

from jobqueue.runtime.cgroup import groups
from tests.e2e.processes import ROOT, ServerProcess

if TYPE_CHECKING:
    from collections.abc import Iterator

MEMORY_BYTES = 256 * 2**20
SETTINGS = (
    "statuses.bytes_max=48MiB",
    "statuses.jobs_max=40000",
    "server.connections_max=2048",
    "queues.default.capacity=20000",
)
PAUSE_S = 0.05
PATIENCE_S = 20.0


class Honest:
    """A client that repeatedly submits a job and polls it until it is terminal, and obeys Retry-After."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.accepted = self.ended = self.refused = self.broken = 0
        self.lost: list[str] = []
        self.latencies_s: list[float] = []

    async def run(self, until: asyncio.Event) -> None:
        async with aiohttp.ClientSession(self._url, timeout=aiohttp.ClientTimeout(total=10)) as http:
            while not until.is_set():
                await self._one_job(http)
                await asyncio.sleep(PAUSE_S)

    async def _one_job(self, http: aiohttp.ClientSession) -> None:
        # Half of them are too large to come in one piece with their head.
        body = {"type": "echo", "args": {"a": "x" * random.choice((10, 100_000))}, "ttl_s": 60}
        document = await self._patiently(http, "POST", "/v1/jobs", body)
        if document is None:
            self.lost.append("not accepted")
            return
        self.accepted += 1
        job_id, deadline = document["id"], time.monotonic() + PATIENCE_S
        while document is not None and document["state"] in ("queued", "running", "delayed"):
            if time.monotonic() > deadline:
                break
            await asyncio.sleep(PAUSE_S)
            document = await self._patiently(http, "GET", f"/v1/jobs/{job_id}", None)
        if document is not None and document["state"] == "succeeded":
            self.ended += 1
        else:
            self.lost.append(f"{job_id}: {document and document['state']}")

    async def _patiently(
        self, http: aiohttp.ClientSession, method: str, path: str, body: object
    ) -> dict[str, Any] | None:
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            began = time.perf_counter()
            try:
                async with http.request(method, path, json=body) as response:
                    answer: dict[str, Any] = await response.json(content_type=None)
                    self.latencies_s.append(time.perf_counter() - began)
                    if response.status in (200, 202):
                        return answer
                    if response.status not in (429, 503):
                        self.lost.append(f"{method} {path}: {response.status} {answer}")
                        return None
                    self.refused += 1
                    retry_s = float(response.headers.get("Retry-After", 1))
            except (aiohttp.ClientError, TimeoutError):
                self.broken += 1
                retry_s = 0.2
            await asyncio.sleep(min(1.0, retry_s))
        return None


class Row(NamedTuple):
    """The results of one attack."""

    attack: str
    requests: int
    peak_mib: float
    p50_ms: float
    p99_ms: float
    jobs: int
    refused: int
    broken: int
    lost: list[str]

    def __str__(self) -> str:
        attack = f"{self.requests:>8,} | {self.peak_mib:>7.0f} | {self.p50_ms:>7.1f} | {self.p99_ms:>7.1f}"
        honest = f"{self.jobs:>5} | {self.refused:>7} | {self.broken:>6} | {len(self.lost):>4}"
        return f"| {self.attack:<24} | {attack} | {honest} |"


HEAD = (
    "| attack                   | requests | RSS MiB |  p50 ms |  p99 ms |  jobs | refused | broken | lost |\n"
    "|--------------------------|---------:|--------:|--------:|--------:|------:|--------:|-------:|-----:|"
)


class Arena:
    """A server under attack, and an honest client beside it.

    Args:
        server: Runs with little memory.
        large: Jobs with large results.
    """

    def __init__(self, server: ServerProcess, large: list[str]) -> None:
        self.server = server
        self._port = int(server.url.rpartition(":")[2])
        self._large = large

    @property
    def alive(self) -> bool:
        return self.server.process.poll() is None

    async def attacked(self, title: str, names: list[str], seconds: float) -> Row:
        """Run attacks side by side while an honest client works, until its last job is terminal."""
        self._reset_peak()
        honest, over = Honest(self.server.url), asyncio.Event()
        working = asyncio.create_task(honest.run(over))
        attackers = [self._attacker(names[at::2], seconds) for at in range(2) if names[at::2]]
        requests = sum(await asyncio.gather(*attackers))
        if not attackers:
            await asyncio.sleep(seconds)
        over.set()
        await working
        latencies = sorted(honest.latencies_s) or [0.0]
        p50, p99 = (latencies[int(len(latencies) * share)] * 1000 for share in (0.5, 0.99))
        return Row(
            title,
            requests,
            self._peak_bytes() / 2**20 if self.alive else float("inf"),
            p50,
            p99,
            honest.ended,
            honest.refused,
            honest.broken,
            honest.lost,
        )

    async def _attacker(self, names: list[str], seconds: float) -> int:
        process = await asyncio.create_subprocess_exec(
            *(
                sys.executable,
                "-m",
                "tests.memory.attacks",
                str(self._port),
                str(seconds),
                ",".join(self._large),
                *names,
            ),
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            out, _ = await asyncio.wait_for(process.communicate(), seconds + 60)
        except TimeoutError:
            process.kill()
            await process.wait()
            return 0
        return sum(json.loads(out or b"{}").values())

    def _reset_peak(self) -> None:
        # proc_pid_clear_refs(5): the peak of the resident set starts again.
        with contextlib.suppress(OSError):
            Path(f"/proc/{self.server.pid}/clear_refs").write_text("5")

    def _peak_bytes(self) -> int:
        status = Path(f"/proc/{self.server.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024


@contextlib.contextmanager
def little_memory(limit_bytes: int) -> Iterator[tuple[str, ...] | None]:
    """Make a control group with little memory; yield a command prefix that runs a program in it, or None."""
    folder = _own_group()
    if folder is None:
        yield None
        return
    group = folder / f"jobqueue-test-{os.getpid()}"
    try:
        group.mkdir()
        name = "memory.max" if (group / "memory.max").exists() else "memory.limit_in_bytes"
        (group / name).write_text(str(limit_bytes))
    except OSError:
        with contextlib.suppress(OSError):
            group.rmdir()
        yield None
        return
    try:
        yield ("sh", "-c", f'echo $$ > {group}/cgroup.procs && exec "$@"', "sh")
    finally:
        for _ in range(50):
            try:
                group.rmdir()
                break
            except OSError:
                time.sleep(0.1)


def _own_group() -> Path | None:
    return next((group.folder for group in groups("memory") if os.access(group.folder, os.W_OK)), None)


async def large_jobs(url: str, count: int = 30) -> list[str]:
    """Run jobs with results of nearly the maximum size; return their ids."""
    ids = []
    async with aiohttp.ClientSession(url) as http:
        for _ in range(count):
            job = {"type": "echo", "args": {"a": "x" * 900_000}, "ttl_s": 3600}
            async with http.post("/v1/jobs", json=job) as response:
                assert response.status == 202, await response.text()
                ids.append((await response.json())["id"])
        for job_id in ids:
            async with http.get(f"/v1/jobs/{job_id}", headers={"Prefer": "wait=10"}) as response:
                assert (await response.json())["state"] == "succeeded"
    return ids
