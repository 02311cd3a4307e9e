"""Churn: a million jobs, each readable for two seconds after its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.destructive.scenarios.scenario import Outcome, Scenario

if TYPE_CHECKING:
    from bench.destructive.stage import Stage

JOB = '{"type":"echo","args":{},"ttl_s":2}'
BATCH = 500


def play(stage: Stage) -> Outcome:
    count, seconds = (30_000, 30) if stage.quick else (1_000_000, 300)
    tally = stage.load("flood", seconds, count, BATCH, JOB).tally(seconds + 60)
    tally.notes.clear()
    if tally.accepted < count:
        tally.note_lost(f"{tally.accepted:,} of {count:,} were accepted in {seconds} s")
    if not stage.until(lambda sample: sample.beat.live == 0 and sample.beat.terminal == 0, 30):
        beat = stage.look().beat
        tally.note_lost(f"{beat.live:,.0f} jobs are still live, {beat.terminal:,.0f} records not evicted")
    beat = stage.look().beat
    return Outcome(tally=tally, notes=[f"{beat.evicted:,.0f} records evicted, {beat.evicted_early:,.0f} of them early"])


SCENARIO = Scenario(
    name="churn",
    says="a million jobs, each readable for 2 s after its end",
    play=play,
    follows=False,
)
