"""Short storm: 1,000 clients that become 3,000 within half a minute, and ignore every hint."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from bench.destructive.scenarios.scenario import Outcome, Scenario

if TYPE_CHECKING:
    from bench.destructive.stage import Stage

JOB = json.dumps({"type": "sleep", "args": {"min_s": 0.5, "max_s": 1.5}})
PAUSE_S = 0.1


def play(stage: Stage) -> Outcome:
    seconds, first, last = (10, 300, 900) if stage.quick else (40, 1000, 3000)
    ramp_s = seconds * 0.75
    crowd = stage.load("crowd", seconds, first, last, ramp_s, PAUSE_S, JOB)
    tally = crowd.tally(seconds + 120)
    clients = tally.notes.pop("clients", 0)
    return Outcome(tally=tally, notes=[f"{clients:,.0f} clients, {tally.requests / seconds:,.0f} requests/s"])


SCENARIO = Scenario(
    name="storm",
    says="1,000 clients grow to 3,000 in 30 s; each submits and polls every 0.1 s and ignores Retry-After; the queue "
    "holds 1,000 jobs",
    play=play,
    settings=("server.connections_max=3200", "queues.default.capacity=1000", "queues.default.workers=200"),
)
