"""The power is cut at random instants: `always` loses nothing acknowledged, `interval` the last moments alone."""

from __future__ import annotations

import pytest

from jobqueue.backend.journal import journal
from tests.chaos.power import INTERVAL_S, Losses, cut_power

CUTS, MANY_CUTS = 30, 250


@pytest.fixture(autouse=True)
def _snapshots_are_frequent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "WATCH_S", 0.03)


def told(losses: Losses, cuts: int, sync: str, capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        print(
            f"\n  {cuts} power cuts, {sync}: {losses.promised:,} times an acknowledged job or cancel was looked for,"
            f" {losses.lost} not found, the oldest {losses.oldest_s * 1000:.0f} ms before the cut"
            f" (loop and disk were {losses.late_s * 1000:.0f} ms late at most)"
        )


async def always(seeds: range, cuts: int, capsys: pytest.CaptureFixture[str]) -> None:
    for seed in seeds:
        losses = await cut_power(seed, "always", cuts)
        told(losses, cuts, f"always, seed {seed}", capsys)
        assert losses.faults == []
        assert losses.lost == 0
        assert losses.promised > cuts


async def interval(seeds: range, cuts: int, capsys: pytest.CaptureFixture[str]) -> None:
    for seed in seeds:
        losses = await cut_power(seed, "interval", cuts)
        told(losses, cuts, f"interval, seed {seed}", capsys)
        assert losses.faults == []
        assert losses.oldest_s < INTERVAL_S + 2 * losses.late_s
        assert losses.promised > cuts


async def test_power_cuts_take_nothing_that_always_has_promised(capsys: pytest.CaptureFixture[str]) -> None:
    await always(range(1), CUTS, capsys)


async def test_power_cuts_take_the_last_interval_at_most(capsys: pytest.CaptureFixture[str]) -> None:
    await interval(range(1), CUTS, capsys)


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_many_power_cuts_take_nothing_that_always_has_promised(capsys: pytest.CaptureFixture[str]) -> None:
    await always(range(100, 102), MANY_CUTS, capsys)


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_many_power_cuts_take_the_last_interval_at_most(capsys: pytest.CaptureFixture[str]) -> None:
    await interval(range(100, 102), MANY_CUTS, capsys)
