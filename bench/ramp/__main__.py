"""Run a ramp of locust users against a running server, and plot both sides.

    make locust                                        # the known ramp: 15,000 users in 13 minutes
    make locust RAMP=linear USERS=2000 SECONDS=120     # another shape, see shape.py; HOLD=30 at the top
    make locust WEB=1                                  # with locust's own page

The environment: URL (JOBQUEUE_URL, or http://127.0.0.1:8080), JOBQUEUE_KEY, RAMP, USERS, SECONDS, HOLD, PROCESSES,
WEB, VIA. A probe (probe.py) runs beside locust and measures the server's latency by itself, since locust at its limit
measures mostly itself. The files stay in tmp/locust/: locust's CSV files with their full history, its HTML report,
probe.jsonl, and ramp.png.

PROCESSES is the number of locust's processes. The default leaves one core to the server: one process on two cores,
because a generator that takes the server's core measures itself.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import psutil

from bench.ramp.plot import ALL, Row, Sample, draw, parse_history, read_history
from bench.ramp.probe import p95_ms, read_measurements
from bench.ramp.shape import ramp_of
from jobqueue.cli.parser import end_with
from jobqueue.client import KEY_VARIABLE, URL_VARIABLE, ErrorAnswer, NoAnswer, SyncClient
from jobqueue.errors import Forbidden, InvalidSubmission, Refused, Unauthorized

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.ramp.probe import Measurement

HERE = Path(__file__).parent
BUSY = 0.9  # of the cores that a side can use: it is at its limit
FOREIGN_MAX = 0.5  # cores of other programs: from there on the figures are not the server's
CONNECT_S = 3.0
WEB_PORT = 8089
TAIL_BYTES = 8192
LINE_EVERY_S = 10.0  # where the progress goes into a file; a terminal gets a line a second, in place


def main() -> int:
    """Run, draw, and return locust's exit code; 2 for settings that can't be."""
    url = os.environ.get("URL") or os.environ.get(URL_VARIABLE) or "http://127.0.0.1:8080"
    try:
        ramp_of(os.environ)
        processes = _processes(os.environ.get("PROCESSES"))
        _check_listening(url)
        _check_access(url)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    folder = Path("tmp/locust").resolve()
    folder.mkdir(parents=True, exist_ok=True)
    for old in ("ramp_stats_history.csv", "probe.jsonl"):
        (folder / old).unlink(missing_ok=True)
    with ExitStack() as stack:
        probe = stack.enter_context(_probing(url, folder / "probe.jsonl"))
        # In a session of its own: a Ctrl-C lets the ramp end in order, and the figures so far are drawn.
        locust = subprocess.Popen(_command(url, processes, folder), cwd=HERE.parents[1], start_new_session=True)
        samples = _sample(locust, probe, _listener(url), folder)
        if locust.poll() is None:
            locust.send_signal(signal.SIGINT)
        code = locust.wait()
    if not samples:
        return code or 1  # locust has printed the reason
    _conclude(folder, samples, processes)
    return code


def _processes(text: str | None) -> int:
    if not text:
        return max(1, (os.cpu_count() or 2) - 1)
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"PROCESSES must be a whole number from 1, not {text!r}")
    return int(text)


def _check_listening(url: str) -> None:
    parts = urlsplit(url if "//" in url else f"//{url}")
    try:
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("it doesn't look like http://127.0.0.1:8080")  # locust knows no Unix socket
        port = parts.port or (443 if parts.scheme == "https" else 80)
        socket.create_connection((parts.hostname, port), CONNECT_S).close()
    except ValueError as error:
        raise ValueError(f"URL can't be {url!r}: {error}") from None
    except OSError as error:
        raise ValueError(
            f"No server listens on {url} ({error.strerror or error}): start one with make run-server"
        ) from None


def _check_access(url: str) -> None:
    """Raise ValueError unless the server lets these users submit and read: a ramp of refusals measures nothing."""
    client = SyncClient(url, timeout_s=CONNECT_S, retry_reads_for_s=0.0)
    try:
        for ask in (client.queues, partial(client.submit, "")):  # invalid, so that no job comes of it
            with suppress(InvalidSubmission, Refused, ErrorAnswer, NoAnswer):
                ask()
    except (Unauthorized, Forbidden) as error:
        raise ValueError(f"{url} denies access: {error} (the users' API key is that of {KEY_VARIABLE})") from None


def _conclude(folder: Path, samples: Sequence[Sample], processes: int) -> None:
    rows, seen = read_history(folder / "ramp_stats_history.csv"), read_measurements(folder / "probe.jsonl")
    verdict = "; ".join([judge(samples, processes), probe_verdict(seen)])
    users = max((row.users for row in rows), default=0)
    peak = max((row.requests_per_s for row in rows if row.name == ALL), default=0.0)
    title = f"Up to {users:,} users in {samples[-1].at - samples[0].at:,.0f} s, up to {peak:,.0f} requests/s"
    draw(rows, samples, seen, title=title, verdict=verdict, path=folder / "ramp.png")
    print(title, *verdict.split("; "), f"The plot: {folder / 'ramp.png'}", sep="\n")


def judge(samples: Sequence[Sample], processes: int) -> str:
    """Return which side was at its limit at the busiest time, by the CPU of each; or that the run is not valid.

    Locust runs on one core a process, the server's loop on one. Other programs that took half a core or more make the
    run invalid: its latencies are theirs as well.
    """
    generator = _busiest([sample.generator for sample in samples])
    seen = [sample.server for sample in samples if sample.server is not None]
    server = _busiest(seen)
    others = _busiest([sample.others for sample in samples])
    machine = _busiest([sample.generator + (sample.server or 0.0) + sample.others for sample in samples])
    where = f"{server:.0%} of a core for the server" if seen else "a server that runs elsewhere"
    figures = f"{generator:.0%} for locust ({processes} process{'es' * (processes > 1)}), {where}, {machine:.0%} in all"
    if others >= FOREIGN_MAX:
        return f"Not valid: other programs took {others:.0%} of a core; CPU at the busiest: {figures}"
    limits = {
        "the generator": generator >= BUSY * processes,
        "the server": server >= BUSY,
        "the machine": machine >= BUSY * (os.cpu_count() or 1),
    }
    reached = [name for name, at_limit in limits.items() if at_limit]
    return f"At its limit: {' and '.join(reached) or 'nothing'}; CPU at the busiest: {figures}"


def probe_verdict(seen: Sequence[Measurement]) -> str:
    """Say what the probe measured over the whole run."""
    figures = []
    for kind in ("HEAD", "POST"):
        those = [it for it in seen if it.kind == kind]
        if those:
            missing = sum(it.ms is None for it in those)
            figures.append(
                f"{kind} p95 {p95_ms(those):,.1f} ms" + f" ({missing} of {len(those)} unanswered)" * bool(missing)
            )
    lags = [it.ms for it in seen if it.kind == "lag" and it.ms is not None]
    if lags:
        figures.append(f"loop lag at most {max(lags):,.1f} ms")
    return f"The probe beside it: {', '.join(figures) or 'no answer'}"


def _busiest(shares: Sequence[float]) -> float:
    """Return the share that was exceeded for a tenth of the time: one busy second is no limit."""
    return sorted(shares)[int(len(shares) * 0.9)] if shares else 0.0


def _command(url: str, processes: int, folder: Path) -> list[str]:
    command = [sys.executable, "-m", "locust", "--locustfile", str(HERE / "locustfile.py"), "--host", url]
    command += ["--csv", str(folder / "ramp"), "--csv-full-history", "--only-summary", "--loglevel", "WARNING"]
    command += ["--html", str(folder / "ramp.html"), "--exit-code-on-error", "1"]
    if os.environ.get("WEB"):
        print(f"locust's page: http://127.0.0.1:{WEB_PORT}", flush=True)
        command += ["--autostart", "--autoquit", "0", "--web-host", "127.0.0.1", "--web-port", str(WEB_PORT)]
    else:
        command.append("--headless")
    return command if processes == 1 else [*command, "--processes", str(processes)]


@contextmanager
def _probing(url: str, path: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "bench.ramp.probe", url, str(path)]
    probe = subprocess.Popen(command, cwd=HERE.parents[1], stdin=subprocess.PIPE, start_new_session=True)
    try:
        yield probe
    finally:
        assert probe.stdin is not None
        probe.stdin.close()
        probe.wait()


def _listener(url: str) -> psutil.Process | None:
    """Find the server's process, if it runs here and belongs to this user."""
    port = urlsplit(url).port
    with suppress(psutil.AccessDenied):
        for connection in psutil.net_connections("tcp"):
            address, pid = connection.laddr, connection.pid
            if connection.status == psutil.CONN_LISTEN and address and address.port == port and pid:
                return psutil.Process(pid)
    return None


def _sample(
    locust: subprocess.Popen[bytes], probe: subprocess.Popen[bytes], server: psutil.Process | None, folder: Path
) -> list[Sample]:
    """Sample both sides' CPU and print the progress once a second, until locust ends or a Ctrl-C."""
    samples: list[Sample] = []
    # Locust's workers are its children; the server's loop is the parent, and its children do handlers' work.
    generator = _Meter(psutil.Process(locust.pid), with_children=True)
    beside = _Meter(psutil.Process(probe.pid), with_children=False)
    loop = _Meter(server, with_children=False) if server is not None else None
    family = _Meter(server, with_children=True) if server is not None else None
    progress = Progress(folder / "ramp_stats_history.csv")
    psutil.cpu_percent()  # which counts from its last call
    while _goes_on(locust):
        machine = psutil.cpu_percent() / 100 * (os.cpu_count() or 1)
        mine, share = generator.share() or 0.0, loop.share() if loop is not None else None
        ours = mine + (beside.share() or 0.0) + ((family.share() or 0.0) if family is not None else 0.0)
        samples.append(Sample(at=time.time(), generator=mine, server=share, others=max(0.0, machine - ours)))
        progress.tell(samples[-1], samples[0].at)
    progress.end()
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
    """CPU of a process, optionally with its children, in shares of a core between two readings."""

    def __init__(self, process: psutil.Process, *, with_children: bool) -> None:
        self._process = process
        self._with_children = with_children
        self._cpu_s, self._at = self._used_s(), time.monotonic()

    def share(self) -> float | None:
        """Return the share since the last reading; None once the process has ended."""
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


class Progress:
    """Prints the progress of a ramp from locust's CSV file: on a terminal each second, elsewhere every ten seconds."""

    def __init__(self, history: Path) -> None:
        self._history = history
        self._in_place = sys.stdout.isatty()
        self._told_at = 0.0

    def tell(self, sample: Sample, began_at: float) -> None:
        if not self._in_place and sample.at - self._told_at < LINE_EVERY_S:
            return
        self._told_at = sample.at
        line = progress_line(sample.at - began_at, latest_total(self._history), sample)
        print(f"\r\x1b[2K{line}" if self._in_place else line, end="" if self._in_place else "\n", flush=True)

    def end(self) -> None:
        if self._in_place:
            print()


def progress_line(seconds: float, total: Row | None, sample: Sample) -> str:
    """Return one line of at most 80 columns."""
    p95 = "-" if total is None or total.p95_ms is None else f"{total.p95_ms:,.0f} ms"
    users, rate = (0, 0.0) if total is None else (total.users, total.requests_per_s)
    server = "elsewhere" if sample.server is None else f"{sample.server:.0%}"
    return (
        f"{seconds:5.0f} s  {users:,} users  {rate:,.0f}/s  p95 {p95}  locust {sample.generator:.0%}  server {server}"
    )


def latest_total(history: Path) -> Row | None:
    """Return the newest whole line of locust's sum; None while there is none. Reads the file's end only."""
    if not history.exists():
        return None
    with history.open("rb") as file:
        head = file.readline()
        file.seek(max(len(head), history.stat().st_size - TAIL_BYTES))
        lines = file.read().split(b"\n")[:-1]
    for line in reversed(lines):
        if b"," + ALL.encode() + b"," in line and line.count(b",") == head.count(b","):
            return parse_history([head.decode().strip(), line.decode()])[0]
    return None


if __name__ == "__main__":
    end_with(main)
