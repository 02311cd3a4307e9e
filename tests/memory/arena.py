"""The arena: a server with little memory, an honest client, and the results of both during an attack."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from pathlib import Path
from typing import NamedTuple

from bench.destructive.loads.honest import Honest
from tests.e2e.processes import ROOT, ServerProcess


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
            honest.tally.ended.get("succeeded", 0),
            honest.tally.refused,
            honest.tally.broken,
            honest.tally.lost,
        )

    async def _attacker(self, names: list[str], seconds: float) -> int:
        process = await asyncio.create_subprocess_exec(
            *(
                sys.executable,
                "-m",
                "bench.destructive.loads.attacks",
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
        return int(json.loads(out or b'{"requests":0}')["requests"])

    def _reset_peak(self) -> None:
        # proc_pid_clear_refs(5): the peak of the resident set starts again.
        with contextlib.suppress(OSError):
            Path(f"/proc/{self.server.pid}/clear_refs").write_text("5")

    def _peak_bytes(self) -> int:
        status = Path(f"/proc/{self.server.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024
