"""200 lives of a queue, each from a seed: whatever happens, no rule is broken. `make sim SEEDS=10000` runs more."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from functools import cache

import pytest

from tests.simulation.mutants import MUTANTS, broken
from tests.simulation.simulation import Outcome, run

SEEDS = 200
REPLAYED = range(900, 908)
SEEDS_FOR_A_MUTANT = 80

HAPPENINGS = (
    *("Submitted", "Ready", "Offered", "Started", "Progressed", "StopRequested", "LeaseLost", "BackedOff"),
    *("Ended", "succeeded", "failed", "cancelled", "expired", "retried", "evicted", "evicted early"),
    *(
        "Quarantined",
        "Released",
        "QueueFull",
        "StatusesFull",
        "RateLimited",
        "Draining",
        "TypeQuarantined",
        "refused unseen",
    ),
    *("duplicate", "Duplicate", "KeyReused", "WrongState", "JobGone", "gives up", "run again"),
    *("kill", "pause", "change", "reload", "quota"),
    *("drain", "stop", "cancelled drain", "cancelled stop", "all at once"),
    *("timed_out", "handler_error", "worker_crashed", "rejected", "bad_result", "result_too_large", "shutdown"),
)


@cache
def lives() -> list[Outcome]:
    return [run(seed) for seed in range(SEEDS)]


def test_no_seed_breaks_a_rule() -> None:
    failed = [outcome for outcome in lives() if outcome.violation is not None]
    assert not failed, failed[0].told()


def test_all_that_is_to_happen_does() -> None:
    """A rule that is never put to the test isn't kept, only unbroken."""
    counts: Counter[str] = Counter()
    for outcome in lives():
        counts.update(outcome.counts)
    rare = {what: counts[what] for what in HAPPENINGS if counts[what] < 10}
    assert not rare, f"hardly ever in {SEEDS} seeds: {rare}"


def test_a_seed_is_the_same_run_every_time() -> None:
    for seed in range(0, SEEDS, 20):
        again = run(seed)
        assert again.trace == lives()[seed].trace
        assert again.digest == lives()[seed].digest


def test_a_seed_is_the_same_run_in_another_process_whatever_its_hashes() -> None:
    expected = "".join(f"{seed} {run(seed).digest}\n" for seed in REPLAYED)
    for hash_seed in ("0", "12345"):
        there = subprocess.run(
            [
                sys.executable,
                "-m",
                "tests.simulation",
                "--digests",
                f"--start={REPLAYED[0]}",
                f"--seeds={len(REPLAYED)}",
            ],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        assert there.stdout == expected


def test_seeds_differ() -> None:
    assert len({outcome.digest for outcome in lives()}) == SEEDS


@pytest.mark.parametrize("name", MUTANTS)
def test_a_broken_engine_is_found_out(name: str) -> None:
    with broken(name):
        assert any(run(seed).violation is not None for seed in range(SEEDS_FOR_A_MUTANT))


def test_a_seed_that_breaks_a_rule_tells_how_to_see_it_again() -> None:
    with broken("an_offered_job_is_forgotten"):
        outcome = next(outcome for seed in range(SEEDS) if (outcome := run(seed)).violation is not None)
        story = outcome.told(last=5)
        assert story.startswith(f"seed {outcome.seed}: {outcome.violation}\n")
        assert story.endswith(f"make sim SEED={outcome.seed}")
        assert len(story.splitlines()) == 8
        assert run(outcome.seed).digest == outcome.digest, "and it breaks it again"
