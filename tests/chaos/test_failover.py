"""The primary is killed and a late replica promoted under load: with `durability: replica` no answered job is lost."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path
from random import Random

import pytest

from bench.store import MISSING, Store, executable, free_ports
from tests.chaos.cluster import Cluster, Outcome, run_under
from tests.chaos.relay import Relay
from tests.stores import client_of

pytestmark = [pytest.mark.skipif(executable() is None, reason=MISSING), pytest.mark.slow, pytest.mark.timeout(300)]

LATE_S = 0.1
"""How far the replica is behind."""

LOAD_S = 3.0
REPEATED = "began "
"""How the faults begin that a failover may bring: the replica had not got a lease, so the attempt begins once more."""


def follow(store: Store, port: int) -> None:
    """Make a store the replica of another one, and wait until it has all of it."""
    client = client_of(store)
    client.replicaof("127.0.0.1", port)
    while client.info("replication")["master_link_status"] != "up":
        pass
    client.close()


def promote(store: Store) -> None:
    client = client_of(store)
    client.replicaof("no", "one")
    client.close()


def failover(
    relay: Relay, primary: Store, replica: Store, next_replica: Store
) -> Callable[[Cluster, Store, Random, Counter[str]], Awaitable[None]]:
    async def harm(cluster: Cluster, store: Store, rng: Random, injected: Counter[str]) -> None:
        await asyncio.sleep(LOAD_S)
        primary.kill()
        injected["primary killed, replica promoted"] += 1
        await asyncio.sleep(0.3)
        promote(replica)
        assert replica.port is not None
        await asyncio.to_thread(follow, next_replica, replica.port)
        relay.lead_to(replica.port)
        await asyncio.sleep(LOAD_S)

    return harm


async def run_failover(folder: Path, durability: str, capsys: pytest.CaptureFixture[str]) -> Outcome:
    ports = free_ports(3)
    with ExitStack() as stack:
        flags = ("--repl-diskless-sync-delay", "0")
        primary, replica, next_replica = (stack.enter_context(Store(*flags, port=port)) for port in ports)
        async with Relay(ports[0], LATE_S) as behind, Relay(ports[0]) as relay:
            await asyncio.to_thread(follow, replica, behind.port)
            settings = {"valkey.durability": durability}
            async with Cluster(folder, f"redis://127.0.0.1:{relay.port}", **settings) as cluster:
                outcome = await run_under(cluster, replica, failover(relay, primary, replica, next_replica), 31)
    kinds = Counter(fault.split(":")[0].split(" ")[0] for fault in outcome.faults)
    with capsys.disabled():
        print(
            f"\n  durability: {durability}, replica {LATE_S * 1000:.0f} ms behind, promoted: {outcome.accepted:,} jobs"
            f" acknowledged; faults: {dict(kinds) or 'none'}; answers: {dict(sorted(outcome.answers.items()))}"
        )
    return outcome


async def test_a_promoted_replica_has_every_job_that_was_answered_with_durability_replica(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = await run_failover(tmp_path, "replica", capsys)
    assert [fault for fault in outcome.faults if not fault.startswith(REPEATED)] == []
    assert outcome.accepted > 100


async def test_a_promoted_replica_lacks_the_latest_jobs_without(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = await run_failover(tmp_path, "async", capsys)
    assert [fault for fault in outcome.faults if fault.startswith("lost: ")] != []
    assert [fault for fault in outcome.faults if fault.startswith("audit: ")] == []
