"""Long bomb: requests as long as they may be, or longer, all at once, while small jobs go on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.destructive.scenarios.scenario import Outcome, Scenario
from bench.destructive.tally import total

if TYPE_CHECKING:
    from bench.destructive.stage import Stage


def play(stage: Stage) -> Outcome:
    sizes = (2, 1, 40, 10, 10) if stage.quick else (10, 20, 200, 50, 50)
    seconds = 40 if stage.quick else 420
    honest = stage.load("honest", seconds, "echo", '{"a":"small"}')
    bomb = stage.load("bomb", seconds, *sizes).tally(seconds + 60)
    honest.interrupt()
    small = honest.tally(60)
    notes = ", ".join(f"{name}: {count:,.0f}" for name, count in sorted(bomb.notes.items()))
    bomb.notes.clear()
    return Outcome(tally=total([bomb, small]), small=small, notes=[f"answers of the bomb: {notes}"])


SCENARIO = Scenario(
    name="bomb",
    says="10 audio files of 20 minutes at once to `transcode`, 200 bodies of just 1 MiB, 50 chunked ones of 64 MiB, "
    "50 compressed ones, while small jobs go on",
    play=play,
)
