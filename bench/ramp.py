"""Run the known ramp against a server that is already there, and draw what came of it.

    make locust                                  # 15,000 users in 13 minutes
    USERS=200 SECONDS=30 python -m bench.ramp    # the same form, smaller

The environment: URL (http://127.0.0.1:8080), USERS, SECONDS, PROCESSES. Everything is left in
tmp/locust/: locust's CSV files with their full history, its HTML report, and ramp.png.

PROCESSES is how many processes locust is split over. The default leaves one core to the server:
one process on two cores, because a generator that takes the server's core measures itself.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import psutil

from bench.plot import ALL, Sample, draw, read_history

if TYPE_CHECKING:
    from collections.abc import Sequence

HERE = Path(__file__).parent
BUSY = 0.9  # of the cores that a side can use: it is at its limit


def main() -> int:
    """Run, draw, and return locust's exit code."""
    url = os.environ.get("URL") or "http://127.0.0.1:8080"
    processes = int(os.environ.get("PROCESSES") or max(1, (os.cpu_count() or 2) - 1))
    folder = Path("tmp/locust").resolve()
    folder.mkdir(parents=True, exist_ok=True)
    # A session of its own: a Ctrl-C ends the ramp in order, and what there is by then is drawn.
    locust = subprocess.Popen(_command(url, processes, folder), cwd=HERE.parent, start_new_session=True)
    samples = _sample(locust, _listener(url))
    if locust.poll() is None:
        locust.send_signal(signal.SIGINT)
    code = locust.wait()
    if not samples:
        return code or 1  # it has said why
    rows = read_history(folder / "ramp_stats_history.csv")
    verdict = judge(samples, processes)
    users = max((row.users for row in rows), default=0)
    peak = max((row.requests_per_s for row in rows if row.name == ALL), default=0.0)
    title = f"Up to {users:,} users in {samples[-1].at - samples[0].at:,.0f} s, up to {peak:,.0f} requests/s"
    draw(rows, samples, title=title, verdict=verdict, path=folder / "ramp.png")
    print(f"{title}.\n{verdict}.\nThe plot: {folder / 'ramp.png'}")
    return code


def judge(samples: Sequence[Sample], processes: int) -> str:
    """Say what was at its limit at the busiest time, by the CPU that each side took.

    Locust runs on one core a process, the server's loop on one.
    """
    generator = _busiest([sample.generator for sample in samples])
    seen = [sample.server for sample in samples if sample.server is not None]
    server = _busiest(seen)
    machine = _busiest([sample.generator + (sample.server or 0.0) + sample.others for sample in samples])
    where = f"{server:.0%} of a core for the server" if seen else "a server that runs elsewhere"
    figures = f"{generator:.0%} for locust ({processes} process{'es' * (processes > 1)}), {where}, {machine:.0%} in all"
    limits = {
        "the generator": generator >= BUSY * processes,
        "the server": server >= BUSY,
        "the machine": machine >= BUSY * (os.cpu_count() or 1),
    }
    reached = [name for name, at_limit in limits.items() if at_limit]
    return f"At its limit: {' and '.join(reached) or 'nothing'}; CPU at the busiest: {figures}"


def _busiest(shares: Sequence[float]) -> float:
    """Return the share that was exceeded for a tenth of the time: one busy second is no limit."""
    return sorted(shares)[int(len(shares) * 0.9)] if shares else 0.0


def _command(url: str, processes: int, folder: Path) -> list[str]:
    command = [sys.executable, "-m", "locust", "--locustfile", str(HERE / "locustfile.py"), "--headless"]
    command += ["--host", url, "--csv", str(folder / "ramp"), "--csv-full-history", "--only-summary"]
    command += ["--html", str(folder / "ramp.html"), "--exit-code-on-error", "1"]
    return command if processes == 1 else [*command, "--processes", str(processes)]


def _listener(url: str) -> psutil.Process | None:
    """Find the server's process, if it runs here and belongs to this user."""
    port = urlsplit(url).port
    with suppress(psutil.AccessDenied):
        for connection in psutil.net_connections("tcp"):
            address, pid = connection.laddr, connection.pid
            if connection.status == psutil.CONN_LISTEN and address and address.port == port and pid:
                return psutil.Process(pid)
    return None


def _sample(locust: subprocess.Popen[bytes], server: psutil.Process | None) -> list[Sample]:
    """Look at both sides' CPU once a second, until locust ends or someone interrupts."""
    samples: list[Sample] = []
    # Locust's workers are its children; the server's loop is the parent, and its children do handlers' work.
    generator = _Meter(psutil.Process(locust.pid), with_children=True)
    other = _Meter(server, with_children=False) if server is not None else None
    psutil.cpu_percent()  # which counts from its last call
    while _goes_on(locust):
        machine = psutil.cpu_percent() / 100 * (os.cpu_count() or 1)
        mine, share = generator.share() or 0.0, other.share() if other is not None else None
        others = max(0.0, machine - mine - (share or 0.0))
        samples.append(Sample(at=time.time(), generator=mine, server=share, others=others))
    return samples


def _goes_on(locust: subprocess.Popen[bytes]) -> bool:
    try:
        locust.wait(1.0)
    except subprocess.TimeoutExpired:
        return True
    except KeyboardInterrupt:
        return False
    return False


class _Meter:
    """The CPU that a process takes (with its children, if told so), in shares of a core, from one look to the next."""

    def __init__(self, process: psutil.Process, *, with_children: bool) -> None:
        self._process = process
        self._with_children = with_children
        self._cpu_s, self._at = self._used_s(), time.monotonic()

    def share(self) -> float | None:
        """Return the share since the last look; None once the process has ended."""
        if not self._process.is_running():
            return None
        cpu_s, at = self._used_s(), time.monotonic()
        share = (cpu_s - self._cpu_s) / (at - self._at)
        self._cpu_s, self._at = cpu_s, at
        return max(0.0, share)

    def _used_s(self) -> float:
        family = [self._process, *(self._process.children(recursive=True) if self._with_children else ())]
        total = 0.0
        for process in family:
            with suppress(psutil.NoSuchProcess):  # a child may end meanwhile
                times = process.cpu_times()
                total += times.user + times.system
        return total


if __name__ == "__main__":
    sys.exit(main())
