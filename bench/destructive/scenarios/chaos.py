"""Chaos: a process of handlers is killed every few seconds, while jobs run in it."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from bench.destructive.scenarios.scenario import Outcome, Scenario
from bench.destructive.tally import total

if TYPE_CHECKING:
    from bench.destructive.stage import Stage

EVERY_S = 5.0
CLIENTS = 4
SPIN = '{"duration_s":0.2}'


def play(stage: Stage) -> Outcome:
    seconds, every_s = (14, 3.0) if stage.quick else (60, EVERY_S)
    clients = [stage.load("honest", seconds, "spin", SPIN, name="spinning") for _ in range(CLIENTS)]
    small = stage.load("honest", seconds, "echo", '{"a":"small"}', name="small")
    killed, until = 0, time.monotonic() + seconds
    while time.monotonic() + every_s < until:
        time.sleep(every_s)
        killed += _kill_one(stage)
    spinning = total(each.tally(seconds + 60) for each in clients)
    honest = small.tally(60)
    crashed = spinning.ended.get("failed", 0)
    if crashed > killed:
        spinning.note_lost(f"{crashed} jobs failed, {killed} processes were killed")
    return Outcome(
        tally=total([spinning, honest]),
        small=honest,
        killed=killed,
        notes=[f"{killed} processes killed, {crashed} jobs failed as worker_crashed"],
    )


def _kill_one(stage: Stage) -> int:
    """Kill the newest process of handlers; return how many that are: 1, or 0 if there is none now."""
    started = [int(each["pid"]) for each in stage.server.events() if each.get("event") == "process.started"]
    for pid in reversed(started):
        with suppress(OSError):
            if stage.server.is_descendant(pid):
                os.kill(pid, signal.SIGKILL)
                return 1
    return 0


SCENARIO = Scenario(
    name="chaos",
    says="a process of handlers is killed every 5 s, while 4 clients keep it busy and small jobs go on",
    play=play,
)
