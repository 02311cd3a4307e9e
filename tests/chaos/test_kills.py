"""Servers with a journal are killed under load: nothing of what they acknowledged is lost, no attempt begins twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.chain import run_chain

SEEDS = 20
MANY_SEEDS = 200
ROW = 10
"""Kills of one journal, one after the other."""


async def kill(folder: Path, seeds: range, capsys: pytest.CaptureFixture[str]) -> None:
    outcomes = []
    for start in range(seeds.start, seeds.stop, ROW):
        sync = ("always", "interval")[start // ROW % 2]
        own = folder / str(start)
        own.mkdir()
        outcome = await run_chain(own, range(start, start + ROW), sync)
        assert outcome.faults == [], f"seeds {start} to {start + ROW - 1}, {sync}"
        outcomes.append(outcome)
    kills, accepted, unanswered = (sum(each[n] for each in outcomes) for n in range(3))
    with capsys.disabled():
        print(f"\n  {kills} kills: {accepted} jobs acknowledged, 0 lost; {unanswered} requests without an answer")
    assert accepted > 10 * kills


async def test_twenty_kills_lose_nothing_that_was_acknowledged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await kill(tmp_path, range(SEEDS), capsys)


@pytest.mark.slow
@pytest.mark.timeout(1200)
async def test_two_hundred_kills_lose_nothing_that_was_acknowledged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await kill(tmp_path, range(1000, 1000 + MANY_SEEDS), capsys)
