"""Memory of the job store: it stays within its bounds over 200,000 jobs; `make test-memory` runs a million."""

from __future__ import annotations

import gc
from itertools import pairwise

import psutil
import pytest

from jobqueue.core.events import Event
from jobqueue.core.job import JobSpec
from jobqueue.core.report import Success
from jobqueue.core.store_bounds import StoreBounds
from tests.core.making import make_engine

JOBS, MANY_JOBS = 200_000, 1_000_000
JOBS_PER_S = 20_000
TTL_S = 2.0
SAMPLES = 10


@pytest.mark.parametrize("jobs", [JOBS, pytest.param(MANY_JOBS, marks=pytest.mark.slow)])
def test_memory_stays_flat_over_finished_jobs(capsys: pytest.CaptureFixture[str], jobs: int) -> None:
    """Run jobs at 20,000 per second, with a TTL of 2 s."""
    engine = make_engine(capacity=10, bounds=StoreBounds(ttl_s=TTL_S))
    spec = JobSpec(type="t")
    process = psutil.Process()
    now = 1000.0
    rss_mib: list[float] = []
    held: list[int] = []
    events: list[Event] = []
    for n in range(1, jobs + 1):
        job = engine.submit(spec, b'{"n":1}', None, now=now).job
        engine.lease(engine.scheduler.pop(now), now=now)
        engine.ack(job.id, attempt=1, success=Success(b'{"n":%d}' % n), now=now)
        events = engine.take_events()
        if n % 100 == 0:
            now += 100 / JOBS_PER_S
            engine.tick(now)
        if n % (jobs // SAMPLES) == 0:
            gc.collect()
            rss_mib.append(process.memory_info().rss / 2**20)
            held.append(len(engine.store))
    assert events
    with capsys.disabled():
        print(f"\n  RSS in MiB after each {jobs // SAMPLES:,} jobs: {[round(mib, 1) for mib in rss_mib]}")
        print(f"  records held: {held} (bound by TTL: {round((TTL_S + 0.25) * JOBS_PER_S):,} and those of one tick)")
    assert engine.totals().accepted == jobs
    assert all(count <= (TTL_S + 0.5) * JOBS_PER_S for count in held)
    settled = rss_mib[1 + round(TTL_S * JOBS_PER_S) // (jobs // SAMPLES) :]
    assert max(settled) - min(settled) < 3.0, "memory is flat after the first TTL"
    assert not all(after > before + 0.05 for before, after in pairwise(settled)), "memory does not grow steadily"
