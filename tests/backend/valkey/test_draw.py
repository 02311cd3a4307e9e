"""The draw of the library's variant for tests: it repeats, and with it a run of the model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.backend.valkey.function_client import SECRET, TTL_MS, Client
from tests.stores import client_of

if TYPE_CHECKING:
    from bench.store import Store

JOBS = 30


def requeued_one_by_one(store: Store, start_ms: int) -> list[str]:
    """Return the jobs of a lost process in the order in which ticks of one step give them back."""
    jq = Client(client_of(store))
    jq.client.flushall()
    jq.set_now(start_ms)
    jq.call("join", "p1", TTL_MS, "server", SECRET, "host:1", 0)
    jq.set_queue(workers=JOBS)
    jq.submit(*(f"job-{number}" for number in range(JOBS)))
    assert len(jq.lease("p1", JOBS)) == JOBS
    jq.pass_time(TTL_MS)
    order = [jq.call("tick", 1)[5][0].decode() for _ in range(JOBS)]
    jq.client.close()
    return order


def test_the_same_jobs_are_drawn_again_and_others_at_another_instant(store: Store) -> None:
    first, second, other = (requeued_one_by_one(store, at_ms) for at_ms in (1_000_000, 1_000_000, 2_000_000))
    assert first == second
    assert sorted(first) == sorted(other)
    assert first != other
