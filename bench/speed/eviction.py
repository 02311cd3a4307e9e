"""Cost of evictions on a server: its own CPU time in a window in which nothing else happens.

Jobs wait in a paused queue, then run one right after the other, so that their TTLs end together. The CPU time from the
first eviction to the last counts, less what the idle server takes in as long a time: its loop monitor beats ten times a
second, and in a window of many seconds that is more than all evictions.
"""

from __future__ import annotations

import re
import time

import msgspec

from bench.load.driving import Generator
from bench.load.generator import Order
from bench.load.scripts import Cycle
from bench.measure.builds import Build
from bench.measure.meter import cpu_s
from bench.peers.contenders import SUBMISSION, Ours, request

JOBS = 100_000
TTL_S = 30.0
IDLE_S = 5.0
MARGIN_S = 1.0
CONNECTIONS = 4
BATCH = 100
_LAG = re.compile(r'"lag_s_max": ?([0-9.e-]+)')


class EvictionFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Of a server that evicted `jobs` records.

    Attributes:
        evict_us: CPU of an eviction.
        whole_us: The same with the idle server's share.
        idle_ms: CPU of the idle server per second.
        lag_ms: Longest lateness of the loop's heartbeat while it evicted, by the wall clock.
    """

    jobs: int
    evict_us: float
    whole_us: float
    idle_ms: float
    lag_ms: float


def measure_eviction(build: Build = Build.PURE, jobs: int = JOBS, ttl_s: float = TTL_S) -> EvictionFigures:
    """Have a server run jobs, and measure it while it evicts them.

    Raises:
        RuntimeError: The machine is too slow for this: the first TTL ended before the last job.
    """
    with Ours(build=build, ttl_s=ttl_s) as server:
        began_at, ended_at, paths = _run(server, jobs)
        evicting_at, evicted_at = began_at + ttl_s - MARGIN_S, ended_at + ttl_s + MARGIN_S
        if ended_at > evicting_at - IDLE_S:
            raise RuntimeError(f"{jobs:,} jobs ran for {ended_at - began_at:.0f} s: too long for a TTL of {ttl_s:g} s")
        pid = server.process.pid
        before_s = _cpu_between(pid, evicting_at - IDLE_S, evicting_at)
        used_s = _cpu_between(pid, evicting_at, evicted_at)
        after_s = _cpu_between(pid, evicted_at, evicted_at + IDLE_S)
        idle = (before_s + after_s) / (2 * IDLE_S)
        if not all(_is_gone(server, path) for path in paths):
            raise RuntimeError("the server has not evicted all jobs")
        lag = _LAG.search(server.process.interrupt())
        assert lag is not None, "a server tells its lag when it stops"
    return EvictionFigures(
        jobs=jobs,
        evict_us=(used_s - idle * (evicted_at - evicting_at)) / jobs * 1e6,
        whole_us=used_s / jobs * 1e6,
        idle_ms=idle * 1e3,
        lag_ms=float(lag[1]) * 1e3,
    )


def _run(server: Ours, jobs: int) -> tuple[float, float, list[str]]:
    """Run jobs; return when the first began, when the last had ended, and the paths of both."""
    server.hold(full=False)
    paths = [_submit(server)]
    body = b'{"jobs":[' + b",".join([SUBMISSION] * BATCH) + b"]}"
    with Generator(server.port, CONNECTIONS) as generator:
        script = Cycle(request=request("POST", f"{server.jobs}:batch", body=body))
        generator.run(Order(script=script, units=jobs // BATCH))
    paths.append(_submit(server))
    began_at = time.monotonic()
    server.call("POST", "/v1/queues/default:resume")
    server.settle()
    return began_at, time.monotonic(), paths


def _submit(server: Ours) -> str:
    return server.call("POST", server.jobs, SUBMISSION).headers["Location"]


def _is_gone(server: Ours, path: str) -> bool:
    try:
        server.call("HEAD", path)
    except RuntimeError as error:
        return " 410" in str(error)
    return False


def _cpu_between(pid: int, begin_at: float, end_at: float) -> float:
    """Return the CPU time that a process uses between two instants, in seconds; sleeps until then."""
    time.sleep(max(0.0, begin_at - time.monotonic()))
    before_s = cpu_s(pid)
    time.sleep(max(0.0, end_at - time.monotonic()))
    return cpu_s(pid) - before_s
