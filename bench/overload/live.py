"""Overload the real server, and check its promises: goodput, cheap rejections, readable statuses.

    make overload-live
    python -m bench.overload.live --workers 64 --seconds 10    # a load that the processor feels, too

A server of few workers and jobs that only sleep has a known capacity: workers / seconds a job. It is offered a little
more than that first, which gives its peak, and then ten times as much. Submissions come in an open loop (`clients`
with --rate), each rejection final. Latencies count from the intended times. Goodput is by the server's own counters,
over the time of full load.

The bounds: goodput at 10x is at least 80 % of the peak; rejections answer within 50 ms and HEADs within 200 ms (both
p99, as the clients see them); every accepted job is seen to end, and no request fails. A generator that was itself
the limit counts as missed. Exit code 1 when a bound is missed; the figures go to
tmp/overload_live.json.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import psutil

from clients.report import Report
from jobqueue.cli.parser import Parser, end_with

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator, Sequence

ROOT = Path(__file__).parents[2]
PEAK_FACTOR = 1.1  # so that no worker waits for work
WARM_UP_S = 2.0  # until the queue is as full as it gets
QUEUE_S = 1.0  # of work that the queue holds
GRACE_S = 20.0  # for the last jobs to be seen to end
END_S = 30.0  # beyond which a process that should have ended is killed
SAMPLE_S = 0.25  # between two samples of the server's counters

GOODPUT_SHARE_MIN = 0.8
REFUSAL_P99_MS_MAX = 50.0
HEAD_P99_MS_MAX = 200.0
LATE_P99_MS_MAX = 25.0
OFFERED_SHARE_MIN = 0.95


class Sample(msgspec.Struct, frozen=True):
    """The server's counters at one time: submissions that came, jobs that succeeded, CPU seconds; and the machine's."""

    at: float
    came: int
    succeeded: int
    cpu_s: float
    machine_s: float


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """One phase: the load, and its results.

    Attributes:
        wanted_per_s: Submissions a second that were to be offered.
        goodput_per_s: Jobs that succeeded in a second, by the server's counters.
        server_share: The server's share of one core.
        machine_share: The CPU of all processes together, in cores.
    """

    wanted_per_s: float
    goodput_per_s: float
    server_share: float
    machine_share: float
    fleet: Report

    @property
    def offered_per_s(self) -> float:
        return self.fleet.created / self.fleet.duration_s

    def ms(self, name: str, percentile: str = "p99") -> float | None:
        """Return a percentile of a latency; None if there was none."""
        latency = self.fleet.latency_ms.get(name)
        figure: float | None = None if latency is None else getattr(latency, percentile)
        return figure


class Bound(msgspec.Struct, frozen=True, kw_only=True):
    """One promise, and its measurement."""

    what: str
    wanted: str
    seen: str
    kept: bool


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, write; return the exit code."""
    wanted = parse(argv)
    capacity_per_s = wanted.workers / wanted.sleep_s
    with tempfile.TemporaryDirectory() as folder, server(wanted, Path(folder)) as (url, process):
        peak = offer(url, process, capacity_per_s * PEAK_FACTOR, wanted.peak_seconds, wanted)
        over = offer(url, process, capacity_per_s * wanted.factor, wanted.seconds, wanted)
    bounds = judge(peak, over)
    print(table({f"{PEAK_FACTOR:g}x": peak, f"{wanted.factor:g}x": over}))
    for bound in bounds:
        print(f"{'kept  ' if bound.kept else 'MISSED'}  {bound.what}: {bound.seen} (wanted: {bound.wanted})")
    figures = {"capacity_per_s": capacity_per_s, "peak": peak, "over": over, "bounds": bounds}
    wanted.report.parent.mkdir(parents=True, exist_ok=True)
    wanted.report.write_bytes(msgspec.json.format(msgspec.json.encode(figures), indent=2) + b"\n")
    print(f"The figures: {wanted.report}")
    return 0 if all(bound.kept for bound in bounds) else 1


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(prog="python -m bench.overload.live", description="Overload the real server.")
    add = parser.add_argument
    add("--workers", type=int, default=16, metavar="N", help="of the server (default %(default)s)")
    add("--sleep-s", type=float, default=0.05, metavar="S", help="how long a job takes (default %(default)s)")
    add("--factor", type=float, default=10.0, metavar="X", help="times its capacity (default %(default)s)")
    add("--seconds", type=float, default=30.0, metavar="S", help="of overload (default %(default)s)")
    add("--peak-seconds", type=float, default=10.0, metavar="S", help="for the peak before it (default %(default)s)")
    add("--connections", type=int, default=200, metavar="N", help="of the fleet (default %(default)s)")
    add("--seed", type=int, default=0, metavar="N", help="of the times of submission (default %(default)s)")
    add("--report", type=Path, default=Path("tmp/overload_live.json"), metavar="PATH", help="(default %(default)s)")
    wanted = parser.parse_args(argv)
    if min(wanted.seconds, wanted.peak_seconds) < WARM_UP_S + 1:
        parser.error(f"both times are {WARM_UP_S + 1:g} s or more: the first {WARM_UP_S:g} s of each don't count")
    return wanted


@contextmanager
def server(wanted: argparse.Namespace, folder: Path) -> Iterator[tuple[str, psutil.Process]]:
    """Serve the demo handlers on a free port, until the end of the block."""
    capacity = round(wanted.workers + wanted.workers / wanted.sleep_s * QUEUE_S)
    settings = (f"queues.default.workers={wanted.workers}", f"queues.default.capacity={capacity}", "server.linger_s=0")
    command = [sys.executable, "-m", "jobqueue", "serve", "--port=0", f"--set=spool.dir={folder}"]
    log = folder / "server.log"
    command += [f"--set={each}" for each in settings]
    with log.open("wb") as file:
        # A session of its own, as the fleet's: a Ctrl-C ends this program, which ends both in order.
        process = subprocess.Popen(command, cwd=ROOT, stderr=file, start_new_session=True)
    try:
        yield _url_in(log, process), psutil.Process(process.pid)
    finally:
        _end(process)


def _url_in(log: Path, process: subprocess.Popen[bytes]) -> str:
    give_up_at = time.monotonic() + END_S
    while process.poll() is None and time.monotonic() < give_up_at:
        for line in log.read_text().splitlines():
            told = json.loads(line)
            if told["event"] == "server.listening":
                return f"http://{told['host']}:{told['port']}"
        time.sleep(0.05)
    raise RuntimeError(f"the server did not start:\n{log.read_text()}")


def offer(url: str, process: psutil.Process, rate: float, seconds: float, wanted: argparse.Namespace) -> Load:
    """Offer one load, and watch the server meanwhile."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        options = {
            "url": url,
            "rate": rate,
            "clients": wanted.connections,
            "duration-s": seconds,
            "grace-s": GRACE_S,
            "seed": wanted.seed,
            "args": json.dumps({"min_s": wanted.sleep_s}),
            "type": "sleep",
            "report": report,
        }
        command = [sys.executable, "-m", "clients", *(f"--{name}={value}" for name, value in options.items())]
        fleet = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        try:
            samples = list(watch(url, process, fleet, time.monotonic() + seconds + GRACE_S + END_S))
        finally:
            _end(fleet)
        figures = msgspec.json.decode(report.read_bytes(), type=Report)
    first, last = under_load(samples, seconds)
    span_s = last.at - first.at
    return Load(
        wanted_per_s=rate,
        goodput_per_s=round((last.succeeded - first.succeeded) / span_s, 1),
        server_share=round((last.cpu_s - first.cpu_s) / span_s, 3),
        machine_share=round((last.machine_s - first.machine_s) / span_s, 3),
        fleet=figures,
    )


def watch(url: str, process: psutil.Process, fleet: subprocess.Popen[bytes], until: float) -> Iterator[Sample]:
    """Sample the server's counters until the fleet has ended."""
    while fleet.poll() is None and time.monotonic() < until:
        with urllib.request.urlopen(f"{url}/v1/queues/default", timeout=END_S) as answer:
            told = json.loads(answer.read())
        used, machine = process.cpu_times(), psutil.cpu_times()
        yield Sample(
            at=time.monotonic(),
            came=told["submitted_total"] + told["refused_total"],
            succeeded=told["succeeded_total"],
            cpu_s=used.user + used.system,
            machine_s=sum(machine) - machine.idle - getattr(machine, "iowait", 0.0),
        )
        time.sleep(SAMPLE_S)


def under_load(samples: Sequence[Sample], seconds: float) -> tuple[Sample, Sample]:
    """Return the first and the last sample while all of the load was there."""
    began_at = next(sample.at for sample in samples if sample.came > samples[0].came)
    inside = [sample for sample in samples if began_at + WARM_UP_S <= sample.at <= began_at + seconds - SAMPLE_S]
    return inside[0], inside[-1]


def judge(peak: Load, over: Load) -> list[Bound]:
    """Compare the measurements with the promises."""
    share = over.goodput_per_s / peak.goodput_per_s if peak.goodput_per_s else 0.0
    fleet = over.fleet
    late_ms = over.ms("late") or 0.0
    offered = over.offered_per_s / over.wanted_per_s
    unanswered = fleet.errors + fleet.unknown_fate + fleet.unreachable
    return [
        Bound(
            what="goodput, of the peak",
            wanted=f"{GOODPUT_SHARE_MIN:.0%} or more",
            seen=f"{share:.1%}",
            kept=share >= GOODPUT_SHARE_MIN,
        ),
        _within("rejections, p99", over.ms("refusal"), REFUSAL_P99_MS_MAX),
        _within("HEAD, p99", over.ms("status"), HEAD_P99_MS_MAX),
        Bound(
            what="accepted jobs not seen to end",
            wanted="0",
            seen=f"{fleet.unseen:,} of {fleet.accepted:,}",
            kept=not fleet.unseen,
        ),
        Bound(what="requests that failed", wanted="0", seen=f"{unanswered:,}", kept=not unanswered),
        Bound(
            what="the generator was not the limit: offered of what it should, its own delay at p99",
            wanted=f"{OFFERED_SHARE_MIN:.0%} or more, {LATE_P99_MS_MAX:g} ms or less",
            seen=f"{offered:.1%}, {late_ms:.1f} ms",
            kept=offered >= OFFERED_SHARE_MIN and late_ms <= LATE_P99_MS_MAX,
        ),
    ]


def _within(what: str, seen_ms: float | None, ms_max: float) -> Bound:
    seen = "none came" if seen_ms is None else f"{seen_ms:.1f} ms"
    return Bound(what=what, wanted=f"{ms_max:g} ms or less", seen=seen, kept=seen_ms is not None and seen_ms <= ms_max)


def table(loads: dict[str, Load]) -> str:
    """Lay the figures out, a column for each load."""
    rows = [("", list(loads))]
    columns: tuple[tuple[str, Callable[[Load], str]], ...] = (
        ("offered, a second", lambda load: f"{load.offered_per_s:,.0f}"),
        ("accepted, a second", lambda load: f"{load.fleet.accepted / load.fleet.duration_s:,.0f}"),
        ("rejected, a second", lambda load: f"{load.fleet.refused / load.fleet.duration_s:,.0f}"),
        ("goodput, a second", lambda load: f"{load.goodput_per_s:,.1f}"),
        ("rejection, ms: p50 p95 p99", lambda load: _percentiles(load, "refusal")),
        ("acceptance, ms: p50 p95 p99", lambda load: _percentiles(load, "submit 202")),
        ("HEAD, ms: p50 p95 p99", lambda load: _percentiles(load, "status")),
        ("server, of a core", lambda load: f"{load.server_share:.0%}"),
        ("generator, of a core", lambda load: f"{load.fleet.cpu_share:.0%}"),
        ("all processes, in cores", lambda load: f"{load.machine_share:.2f} of {psutil.cpu_count()}"),
    )
    rows += [(title, [figure(load) for load in loads.values()]) for title, figure in columns]
    return "\n".join(f"{title:<30}" + "".join(f"{cell:>24}" for cell in cells) for title, cells in rows)


def _percentiles(load: Load, name: str) -> str:
    figures = [load.ms(name, percentile) for percentile in ("p50", "p95", "p99")]
    return " ".join("-" if figure is None else f"{figure:.1f}" for figure in figures)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


if __name__ == "__main__":
    end_with(main)
