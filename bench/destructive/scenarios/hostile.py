"""Hostile: each kind of attack alone, then all at once, while honest clients go on."""

from __future__ import annotations

import asyncio
import urllib.request
from typing import TYPE_CHECKING

from bench.destructive.limits import MIB
from bench.destructive.loads.attacks import ATTACKS, KINDS
from bench.destructive.loads.large_results import large_jobs
from bench.destructive.scenarios.scenario import Outcome, Scenario
from bench.destructive.tally import Tally, percentile, total

if TYPE_CHECKING:
    from bench.destructive.stage import Stage

LARGE = 30
LARGE_TTL_S = 3600
QUIET_S = 60.0


def play(stage: Stage) -> Outcome:
    each_s, all_s = (2, 10) if stage.quick else (5, 20)
    large = asyncio.run(large_jobs(stage.server.url, LARGE, LARGE_TTL_S))
    rounds = {
        "none": ([], 3 if not stage.quick else 2),
        **{kind: (list(names), each_s) for kind, names in KINDS.items()},
    }
    if stage.quick:
        rounds = {"none": ([], 2)}
    rounds["all at once"] = (list(ATTACKS), all_s)
    everything, notes = Tally(accepted=LARGE, ended={"succeeded": LARGE}), list[str]()
    for title, (names, seconds) in rounds.items():
        honest, attacks = _round(stage, names, seconds, ",".join(large))
        everything.add(honest)
        everything.add(_of_attackers(attacks))
        notes.append(_note(stage, title, honest, attacks))
    return Outcome(tally=everything, notes=notes)


def _round(stage: Stage, names: list[str], seconds: float, large: str) -> tuple[Tally, Tally]:
    honest = stage.load("honest", seconds)
    # Two processes share the attacks: one alone would be the limit.
    attackers = [stage.load("attacks", seconds, large, *names[at::2]) for at in range(2) if names[at::2]]
    attacks = total(each.tally(seconds + 60) for each in attackers)
    return honest.tally(seconds + 60), attacks


def _of_attackers(attacks: Tally) -> Tally:
    """Return what counts of the attackers' figures: they don't know what was accepted of them."""
    return Tally(
        requests=attacks.requests,
        answers=attacks.answers,
        bare_refusals=attacks.bare_refusals,
        errors=attacks.errors,
    )


def _note(stage: Stage, title: str, honest: Tally, attacks: Tally) -> str:
    p50, p99 = (percentile(honest.waits_ms, share) or 0.0 for share in (0.5, 0.99))
    sample = stage.look()
    return (
        f"{title}: {attacks.requests:,} hostile requests; honest jobs {sum(honest.ended.values())}, p50 {p50:,.0f} ms, "
        f"p99 {p99:,.0f} ms, rejected {honest.refused}, broken {honest.broken}, lost {honest.lost_count}; "
        f"{sample.memory_bytes // MIB} MiB after it, longest gap so far {sample.beat.gap_s_max * 1000:,.0f} ms"
    )


def clean(stage: Stage) -> None:
    """Delete what clients asked to be kept for a day: an operator's way to have the memory back.

    Before that, what the attackers have sent is answered to its end, and their jobs end.
    """
    stage.until(lambda sample: not sample.beat.live and not sample.beat.connections, QUIET_S)
    for state in ("succeeded", "failed"):
        request = urllib.request.Request(
            f"{stage.server.url}/v1/jobs:delete",
            data=f'{{"state":"{state}"}}'.encode(),
            headers={"Content-Type": "application/json"},
            method="POST",
        )
        with urllib.request.urlopen(request, timeout=30):
            pass


SCENARIO = Scenario(
    name="hostile",
    says="11 kinds of attack, each alone and then all at once, while an honest client goes on",
    play=play,
    retention=False,
    clean=clean,
    accounts=False,
)
