"""Backlog: 20,000 jobs at once onto 2,000 workers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.destructive.scenarios.scenario import Outcome, Scenario

if TYPE_CHECKING:
    from bench.destructive.stage import Stage

JOB = '{"type":"sleep","args":{"min_s":0.5,"max_s":1.5},"ttl_s":5}'
BATCH = 100


def play(stage: Stage) -> Outcome:
    count, seconds = (4_000, 40) if stage.quick else (20_000, 90)
    before = stage.look().beat.succeeded
    tally = stage.load("flood", seconds, count, BATCH, JOB).tally(seconds + 60)
    if not stage.until(lambda sample: sample.beat.live == 0, seconds):
        tally.note_lost(f"{stage.look().beat.live:,.0f} jobs are still live")
    ended = stage.look().beat.succeeded - before
    if ended != tally.accepted:
        tally.note_lost(f"{ended:,.0f} of {tally.accepted:,} succeeded")
    tally.notes.clear()
    return Outcome(tally=tally, notes=[f"{ended:,.0f} jobs succeeded"])


SCENARIO = Scenario(
    name="backlog",
    says="20,000 jobs at once onto 2,000 workers",
    play=play,
    settings=("queues.default.workers=2000",),
    follows=False,
)
