"""Three servers over one store are killed and frozen under load, and so is the store: nothing acknowledged is lost.

The short runs are in `make test` where a store is, the long ones in `make test-valkey`.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.store import MISSING, Store, executable
from tests.chaos.cluster import HARM, Cluster, Outcome, harm_of, run_under

pytestmark = [pytest.mark.skipif(executable() is None, reason=MISSING), pytest.mark.timeout(600)]

SHORT, LONG = len(HARM), 60
OF_SERVERS = [each for each in HARM if each[0].startswith("server")]


def told(outcome: Outcome, of: str, capsys: pytest.CaptureFixture[str]) -> None:
    harm = ", ".join(f"{count} times {name}" for name, count in outcome.injected.items())
    with capsys.disabled():
        print(
            f"\n  {of}: {harm}; {outcome.accepted:,} jobs acknowledged, {outcome.attempts:,} attempts,"
            f" {outcome.unanswered} requests without an answer, {dict(sorted(outcome.answers.items()))}"
        )


async def over_a_file(
    folder: Path, fsync: str, times: int, seed: int, capsys: pytest.CaptureFixture[str], **settings: str
) -> None:
    """Do all kinds of harm to servers and their store, which appends to a file. Args: settings: Of the servers."""
    own = folder / "store"
    own.mkdir()
    with Store("--appendonly", "yes", "--appendfsync", fsync, folder=own) as store:
        async with Cluster(folder, store.url, **settings) as cluster:
            outcome = await run_under(cluster, store, harm_of(times), seed)
    told(outcome, f"appendfsync {fsync}, seed {seed}", capsys)
    assert outcome.faults == []
    assert outcome.accepted > 20 * times


async def test_kills_and_freezes_of_servers_and_store_lose_nothing_acknowledged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await over_a_file(tmp_path, "always", SHORT, 1, capsys)


@pytest.mark.slow
@pytest.mark.parametrize("fsync", ["always", "everysec"])
@pytest.mark.parametrize("seed", [11, 12])
async def test_many_kills_and_freezes_lose_nothing_acknowledged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], fsync: str, seed: int
) -> None:
    await over_a_file(tmp_path, fsync, LONG, seed, capsys)


@pytest.mark.slow
async def test_groups_that_take_turns_lose_nothing_acknowledged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await over_a_file(tmp_path, "always", LONG, 31, capsys, **{"queues.default.discipline": "fair"})


@pytest.mark.slow
async def test_a_store_in_memory_loses_nothing_while_servers_alone_are_killed_and_frozen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Store() as store:
        async with Cluster(tmp_path, store.url) as cluster:
            outcome = await run_under(cluster, store, harm_of(LONG, OF_SERVERS), 21)
    told(outcome, "in memory", capsys)
    assert outcome.faults == []
