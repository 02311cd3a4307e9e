"""Simulated runs of a queue, from 120 seeds: none violates a rule. `make sim SEEDS=10000` runs more."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from functools import cache

import pytest

from tests.simulation import delivery_mutants
from tests.simulation.mutants import MUTANTS, broken
from tests.simulation.simulation import Outcome, run

SEEDS = 120
REPLAYED = range(900, 908)
SEEDS_FOR_A_MUTANT = 200

EXPECTED_COUNTS = (
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
    *("kill", "pause", "change", "reload", "quota", "tick"),
    *("published", "published again", "published by a handler", "publish QueueFull", "publish KeyReused"),
    *("publish InvalidSubmission", "delivery", "callback", "delivered", "dropped delivery", "pause of a receiver"),
    *("410", "500", "302", "unanswered", "endpoint changed"),
    *("drain", "stop", "cancelled drain", "cancelled stop", "all at once"),
    *("timed_out", "handler_error", "worker_crashed", "rejected", "bad_result", "result_too_large", "shutdown"),
)


@cache
def outcomes() -> list[Outcome]:
    return [run(seed) for seed in range(SEEDS)]


def test_no_seed_violates_a_rule() -> None:
    failed = [outcome for outcome in outcomes() if outcome.violation is not None]
    assert not failed, failed[0].report()


def test_every_kind_of_event_and_fault_occurs() -> None:
    """A run without violations proves a rule only if it exercises the rule."""
    counts: Counter[str] = Counter()
    for outcome in outcomes():
        counts.update(outcome.counts)
    rare = {what: counts[what] for what in EXPECTED_COUNTS if counts[what] < 10}
    assert not rare, f"fewer than 10 times in {SEEDS} seeds: {rare}"


def test_a_seed_replays_exactly() -> None:
    for seed in range(0, SEEDS, 20):
        again = run(seed)
        assert again.trace == outcomes()[seed].trace
        assert again.digest == outcomes()[seed].digest


def test_a_seed_replays_exactly_in_another_process_with_another_hash_seed() -> None:
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


def test_different_seeds_give_different_runs() -> None:
    assert len({outcome.digest for outcome in outcomes()}) == SEEDS


@pytest.mark.parametrize("name", MUTANTS)
def test_the_auditor_detects_each_mutant(name: str) -> None:
    with broken(name):
        assert any(run(seed).violation is not None for seed in range(SEEDS_FOR_A_MUTANT))


def test_the_promises_of_topics_and_webhooks_have_mutants() -> None:
    theirs = [name for name in MUTANTS if hasattr(delivery_mutants, name)]
    assert len(theirs) >= 20


def test_a_violation_report_has_the_trace_and_the_command_to_replay_it() -> None:
    with broken("an_offered_job_is_lost"):
        outcome = next(outcome for seed in range(SEEDS) if (outcome := run(seed)).violation is not None)
        report = outcome.report(last=5)
        assert report.startswith(f"seed {outcome.seed}: {outcome.violation}\n")
        assert report.endswith(f"make sim SEED={outcome.seed}")
        assert len(report.splitlines()) == 8
        assert run(outcome.seed).digest == outcome.digest, "the seed violates the rule again"
