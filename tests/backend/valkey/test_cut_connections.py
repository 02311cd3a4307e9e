"""A whole backend with workers on a connection that is cut, and loses replies, under load."""

from __future__ import annotations

import asyncio
from collections import Counter
from random import Random
from typing import TYPE_CHECKING

from jobqueue.backend.valkey.backend import ValkeyBackend
from jobqueue.backend.valkey.opening import store_calls
from jobqueue.config import ValkeySettings
from jobqueue.core.job import JobSpec, JobState
from jobqueue.core.policy import QueuePolicy
from jobqueue.core.quotas import Quotas
from jobqueue.core.report import Success
from jobqueue.core.store_bounds import StoreBounds
from jobqueue.runtime.workers import WorkerPool
from tests.backend.valkey.faulty_proxy import FaultyProxy

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bench.store import Store
    from jobqueue.core.job import Lease

SPEC = JobSpec(type="t")
JOBS = 300
CUT_EVERY = 40
LOSE_AT = (100, 200)
"""Runs from which on replies are lost, until a call has missed its own."""


class Trouble:
    """Runs jobs, and makes trouble as it does; counts the runs of each."""

    def __init__(self, proxy: FaultyProxy, timeouts: Callable[[], int]) -> None:
        self.runs: Counter[str] = Counter()
        self._proxy, self._timeouts = proxy, timeouts

    def _go_on_after(self, timeouts: int) -> None:
        """Forward replies again once a call has missed its own: before, the next one would be taken for it."""
        if self._timeouts() > timeouts:
            self._proxy.swallow_replies(False)
        else:
            asyncio.get_running_loop().call_later(0.02, self._go_on_after, timeouts)

    async def run(self, lease: Lease) -> Success:
        self.runs[lease.job_id] += 1
        number = self.runs.total()
        if number in LOSE_AT:
            self._proxy.swallow_replies()
            self._go_on_after(self._timeouts())
        elif number % CUT_EVERY == 0:
            self._proxy.cut()
        return Success(b"1")


async def test_each_job_runs_once_though_connections_are_cut_and_replies_lost(store: Store, tmp_path: Path) -> None:
    async with FaultyProxy(tmp_path, store.url) as proxy:
        settings = ValkeySettings(url=proxy.url, call_timeout_s=1.0)
        calls = store_calls(settings)
        backend = ValkeyBackend(
            calls,
            queues={"default": QueuePolicy()},
            bounds=StoreBounds(),
            types=[SPEC],
            spec_of=lambda spec: spec,
            pools={},
            quotas=Quotas(),
            now=asyncio.get_running_loop().time,
            rng=Random(1),
            namespace=settings.namespace,
            cache_s=settings.cache_s,
            process_ttl_s=settings.ttl_s,
            info="host:1",
        )
        await backend.open()
        trouble = Trouble(proxy, lambda: calls.figures.errors.get("timeout", 0))
        pool = WorkerPool(20, backend=backend, executor=trouble, abandoned_min=10)
        await backend.start(pool)
        pool.start()
        for _ in range(10):
            receipts = await backend.submit_many([(SPEC, b"{}", None, None)] * (JOBS // 10))
            assert not [receipt for receipt in receipts if isinstance(receipt, Exception)]
            ends = await asyncio.gather(*(backend.wait(receipt.id) for receipt in receipts))  # type: ignore[union-attr]  # none is an error
            assert {job.state for job in ends} == {JobState.SUCCEEDED}
        assert set(trouble.runs.values()) == {1}
        assert len(trouble.runs) == JOBS
        assert backend.figures().reconnects_total >= JOBS // CUT_EVERY
        await backend.drain(1.0, lambda: None)
        await pool.close()
        await backend.stop()
