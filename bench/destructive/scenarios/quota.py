"""Quota: three honest clients and one hostile crowd, each with an API key of its own, and strangers without one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from bench.destructive.loads.attacks import ATTACKS
from bench.destructive.scenarios.scenario import Outcome, Scenario
from bench.destructive.tally import Tally, total
from jobqueue.cli.key import entry
from jobqueue.keys import new_key

if TYPE_CHECKING:
    from pathlib import Path

    from bench.destructive.stage import Stage

HONEST = ("ada", "bea", "cleo")
HOSTILE = "mallory"
LIMITS = (
    "  limits: {rate: 200/s, jobs_max: 500, records_max: 5000, bytes_max: 8MiB, connections_max: 500, waits_max: 50}\n"
)
JOB = json.dumps({"type": "sleep", "args": {"min_s": 2, "max_s": 4}})
KEYS = "keys.json"
PAUSE_S = 0.1
SMALL_MS_MAX = 5000.0
"""The bound of a second is that beside large bodies. Here half a CPU is taken by thousands of requests a second."""


def prepare(folder: Path) -> tuple[str, ...]:
    """Draw the keys, and write them for the server and for the loads."""
    keys = {name: new_key() for name in (*HONEST, HOSTILE)}
    entries = [entry(name, key, ("submit", "read")) + LIMITS for name, key in keys.items()]
    (folder / "keys.yaml").write_text("".join(entries))
    (folder / KEYS).write_text(json.dumps({name: key.text for name, key in keys.items()}))
    for name in ("keys.yaml", KEYS):
        (folder / name).chmod(0o600)
    return (f"auth.keys_file={folder / 'keys.yaml'}",)


def play(stage: Stage) -> Outcome:
    seconds, clients = (10, 200) if stage.quick else (60, 1000)
    keys = json.loads((stage.folder / KEYS).read_text())
    honest = [stage.load("honest", seconds, "echo", '{"a":"small"}', key=keys[name], name=name) for name in HONEST]
    crowd = stage.load("crowd", seconds, clients, clients, 0, PAUSE_S, JOB, key=keys[HOSTILE])
    strangers = stage.load("attacks", seconds, "none", *ATTACKS, name="strangers")
    small = total(each.tally(seconds + 60) for each in honest)
    hostile, unknown = crowd.tally(seconds + 120), strangers.tally(60)
    hostile.notes.clear()
    let_in = sum(count for code, count in unknown.answers.items() if code in ("200", "202", "207"))
    if let_in:
        small.note_lost(f"{let_in} requests without a key were answered as if they had one: {unknown.answers}")
    notes = [
        f"honest: {sum(small.ended.values())} jobs ended, {small.refused} rejected, {small.broken} without an answer",
        f"hostile: {hostile.accepted:,} accepted, {hostile.refused:,} rejected, {hostile.broken:,} cut",
        f"strangers: {unknown.requests:,} requests, answers {unknown.answers}",
    ]
    counted = Tally(answers=unknown.answers, bare_refusals=unknown.bare_refusals, errors=unknown.errors)
    return Outcome(tally=total([small, hostile, counted]), small=small, notes=notes)


SCENARIO = Scenario(
    name="quota",
    says="three honest clients and a hostile crowd of 1,000, each with a key and its limits, and all attacks by "
    "strangers without one",
    play=play,
    prepare=prepare,
    key=lambda folder: str(json.loads((folder / KEYS).read_text())[HONEST[0]]),
    small_ms_max=SMALL_MS_MAX,
)
