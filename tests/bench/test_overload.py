"""The overload lab: its models against theory, its findings and its reproducibility."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from random import Random

import msgspec
import pytest

from bench.overload import __main__ as overload
from bench.overload.choice import choice
from bench.overload.clients import ELEPHANT, MICE_LOAD, RetryBehaviour, Service, arrivals
from bench.overload.figures import Figures
from bench.overload.policies import CHOICES, POLICIES, RED_THRESHOLDS, DropByCoDel, Red
from bench.overload.returns import SCENES, ReturnFigures, Scene, peak_to_mean, poisson_peak_to_mean, run_scene
from bench.overload.run import LOADS, SERVICE, Load, run
from bench.overload.table import overview, returns_table, table
from jobqueue.core.job import Job, JobSpec
from jobqueue.core.policy import QueuePolicy
from jobqueue.what_if.quantiles import quantiles
from jobqueue.what_if.simulated_queue import Attempt, SimulatedQueue
from jobqueue.what_if.visits import PAUSE_S, whole_seconds

ROOT = Path(__file__).parents[2]
POLICY = {policy.name(SERVICE): policy for policy in POLICIES}
TWICE = Load(2.0, 60.0, 60.0)


def run_twice(name: str, behaviour: RetryBehaviour = RetryBehaviour.OBEDIENT) -> Figures:
    """Run a policy at twice the capacity."""
    return run(POLICY[name], TWICE, behaviour, seed="1")


def peaks_like_poisson(figures: ReturnFigures) -> bool:
    """Return whether the peak of returns per second is about that of a Poisson stream."""
    assert figures.peak_to_mean is not None
    assert figures.peak_to_mean_poisson is not None
    return figures.peak_to_mean <= 1.5 * figures.peak_to_mean_poisson


# -- the findings


def test_at_twice_the_capacity_fifo_does_dead_work_and_adaptive_does_not() -> None:
    fifo, adaptive = run_twice("fifo"), run_twice("adaptive")

    assert fifo.dead > 0.95
    assert fifo.goodput < 0.05
    assert adaptive.dead < 0.15
    assert adaptive.goodput > 0.85


@pytest.mark.parametrize("name", list(POLICY))
def test_every_policy_serves_nearly_all_clients_below_its_capacity(name: str) -> None:
    figures = run(POLICY[name], Load(0.5, 20.0, 60.0), RetryBehaviour.OBEDIENT, seed="1")

    assert figures.served > 0.98
    assert figures.dead < 0.03
    assert figures.refused == 0.0


def test_priority_alone_rejects_all_priorities_alike_and_red_spares_the_highest() -> None:
    alone, red = run_twice("priority"), run_twice("priority red")

    assert alone.refused_by_priority[9] == pytest.approx(alone.refused_by_priority[0], abs=0.1)
    assert red.refused_by_priority[9] == 0.0
    assert (red.refused_by_priority[0] or 0.0) > 0.8
    assert red.served_by_priority[9] == 1.0


def test_priority_serves_the_highest_if_clients_send_start_by() -> None:
    figures = run_twice("priority start_by")

    assert figures.served_by_priority[9] == 1.0
    assert figures.dead < 0.05


def test_a_short_queue_suffices_for_obedient_but_not_for_disobedient_clients() -> None:
    obedient, disobedient = run_twice("fifo 30 slots"), run_twice("fifo 30 slots", RetryBehaviour.DISOBEDIENT)

    assert obedient.goodput > 0.9
    assert obedient.dead < 0.05
    assert disobedient.dead > 0.2


def test_fair_protects_mice_from_the_elephant_only_with_a_limit_of_live_jobs() -> None:
    fair, bounded = run_twice("fair"), run_twice("fair caller_jobs_max")

    assert (fair.served_mice or 0.0) < 0.7
    assert bounded.served_mice == 1.0


def test_obedient_clients_try_less_often_for_the_same_outcome() -> None:
    obedient, disobedient = run_twice("fifo"), run_twice("fifo", RetryBehaviour.DISOBEDIENT)

    assert obedient.tries < 1.5
    assert disobedient.tries > 4
    assert disobedient.never_accepted == pytest.approx(obedient.never_accepted, abs=0.1)


@pytest.mark.parametrize("scene", [scene for scene in SCENES if scene.constant_s is None], ids=lambda scene: scene.name)
def test_90_percent_of_first_returns_find_a_slot_and_returns_are_spread(scene: Scene) -> None:
    figures = run_scene(scene, seed="1")

    assert figures.first_return is not None
    assert figures.first_return >= 0.9
    assert peaks_like_poisson(figures)
    assert figures.busy > 0.85


def test_a_constant_retry_after_brings_all_clients_back_at_once() -> None:
    scene = next(scene for scene in SCENES if scene.constant_s is not None)

    figures = run_scene(scene, seed="1")

    assert figures.first_return is not None
    assert figures.first_return < 0.6
    assert not peaks_like_poisson(figures)


# -- reproducibility


def test_figures_depend_on_the_seed_only() -> None:
    def figures(seed: str) -> list[Figures]:
        return [run(POLICY[name], Load(2.0, 5.0, 10.0), RetryBehaviour.DISOBEDIENT, seed=seed) for name in POLICY]

    first = figures("1")

    assert figures("1") == first
    assert figures("2") != first


def test_figures_do_not_depend_on_the_hash_seed() -> None:
    program = (
        "from bench.overload.policies import POLICIES\n"
        "from bench.overload.run import Load, RetryBehaviour, run\n"
        "from bench.overload.returns import SCENES, run_scene\n"
        "for policy in POLICIES: print(run(policy, Load(2.0, 5.0, 10.0), RetryBehaviour.OBEDIENT, seed='1'))\n"
        "print(run_scene(SCENES[0], seed='1'))\n"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            timeout=60,
        ).stdout
        for seed in ("1", "2")
    }

    assert len(outputs) == 1
    assert b"Figures(policy='fifo'" in outputs.pop()


# -- arrivals


def test_arrivals_are_a_poisson_stream_of_the_given_load() -> None:
    clients = arrivals(2.0, until=1000.0, seed="1", service=SERVICE)
    gaps = [after.at - before.at for before, after in pairwise(clients)]
    mean = sum(gaps) / len(gaps)
    variance = sum((gap - mean) ** 2 for gap in gaps) / len(gaps)

    assert sum(client.work_s for client in clients) / 1000.0 == pytest.approx(2 * SERVICE.capacity_per_s, rel=0.03)
    assert variance == pytest.approx(mean**2, rel=0.05)  # exponential
    mice = sum(client.group != ELEPHANT for client in clients) / len(clients)
    assert mice == pytest.approx(MICE_LOAD / 2.0, abs=0.02)


def test_a_longer_stream_begins_with_the_shorter_one() -> None:
    first, longer = (arrivals(1.2, until=until, seed="1", service=SERVICE) for until in (9.0, 99.0))
    assert longer[: len(first)] == first


def test_every_client_is_counted_once() -> None:
    for name in POLICY:
        figures = run(POLICY[name], Load(5.0, 5.0, 5.0), RetryBehaviour.DISOBEDIENT, seed="1")
        assert figures.served + figures.unserved + figures.never_accepted == pytest.approx(1.0)


def test_retry_after_is_rounded_up_to_whole_seconds() -> None:
    assert [whole_seconds(seconds) for seconds in (0.01, 1.0, 1.01, 59.5)] == [1.0, 1.0, 2.0, 60.0]


def test_disobedient_clients_retry_after_their_own_pause() -> None:
    # Patience is at most 15 s, so there are at most that many pauses in it, and the first try.
    figures = run(POLICY["fifo"], Load(10.0, 5.0, 10.0), RetryBehaviour.DISOBEDIENT, seed="1")
    assert 8 < figures.tries < 1 + 15 / PAUSE_S


# -- the simulated queue


def test_waits_at_the_desk_match_erlangs_c_formula() -> None:
    workers, load, rng = 10, 0.8, Random("erlang")
    waits: list[float] = []

    def end(job: Job) -> None:
        assert job.started_at is not None
        waits.append(job.started_at - job.created_at)

    queue = SimulatedQueue(QueuePolicy(capacity=10_000, workers=workers), seed="1", on_end=end)

    def arrive(_: None) -> None:
        queue.submit(JobSpec(type="work"), (Attempt(rng.expovariate(1.0)),))
        queue.at(queue.now + rng.expovariate(load * workers), arrive, None)

    queue.at(0.0, arrive, None)
    queue.run(3000.0)

    # Erlang's C formula: the probability of a wait, and the mean wait, of M/M/c.
    offered = load * workers
    full = offered**workers / math.factorial(workers) / (1 - load)
    chance = full / (sum(offered**k / math.factorial(k) for k in range(workers)) + full)
    assert sum(wait > 0 for wait in waits) / len(waits) == pytest.approx(chance, rel=0.1)
    assert sum(waits) / len(waits) == pytest.approx(chance / (workers - offered), rel=0.2)


def test_the_desk_keeps_to_its_workers_and_slots() -> None:
    queue = SimulatedQueue(POLICY["fifo"].queue_policy(SERVICE), seed="1", on_end=lambda job: None)
    live: list[int] = []

    def arrive(client: object) -> None:
        if queue.queue_state.live < SERVICE.slots:
            queue.submit(JobSpec(type="work"), (Attempt(1.0),))
        live.append(queue.queue_state.live)

    for client in arrivals(10.0, until=20.0, seed="1", service=SERVICE):
        queue.at(client.at, arrive, client)
    queue.run(20.0)

    assert max(live) == SERVICE.slots
    assert queue.queue_state.live - queue.queued == SERVICE.workers


# -- RED and CoDel


def rejected_share(red: Red, *, priority: int, queued: int, tries: int = 2000) -> float:
    """Submit `tries` jobs at a constant backlog; return the share rejected in the second half."""
    answers = [red.refuses(number / 20, priority=priority, queued=queued) for number in range(tries)]
    return sum(answers[tries // 2 :]) / (tries - tries // 2)


@pytest.mark.parametrize("priority", RED_THRESHOLDS)
def test_red_rejects_none_below_and_all_above_the_thresholds_of_a_priority(priority: int) -> None:
    lower, upper = (round(100 * share) for share in RED_THRESHOLDS[priority])

    assert rejected_share(Red(Random(1), SERVICE), priority=priority, queued=lower - 1) == 0.0
    assert 0.02 < rejected_share(Red(Random(1), SERVICE), priority=priority, queued=(lower + upper) // 2) < 0.2
    assert rejected_share(Red(Random(1), SERVICE), priority=priority, queued=upper + 1) == 1.0


def test_red_spaces_rejections_evenly() -> None:
    red = Red(Random(1), SERVICE)
    answers = [red.refuses(number / 20, priority=0, queued=20) for number in range(5000)]
    refused_at = [number for number, answer in enumerate(answers) if answer][50:]

    # Halfway between the thresholds the chance is half of the greatest, 0.05: one in at most 20.
    assert max(after - before for before, after in pairwise(refused_at)) <= 21


def test_red_accepts_a_burst() -> None:
    red = Red(Random(1), SERVICE)
    assert not any(red.refuses(0.0, priority=0, queued=queued) for queued in range(30))


def test_red_resets_its_average_when_the_queue_is_empty() -> None:
    red = Red(Random(1), SERVICE)
    rejected_share(red, priority=0, queued=100)

    assert red.refuses(100.0, priority=0, queued=1)
    assert not red.refuses(130.0, priority=0, queued=0)
    assert not red.refuses(130.0, priority=0, queued=1)


def test_codel_sheds_at_an_increasing_rate_while_waits_stay_above_the_target() -> None:
    codel = DropByCoDel(Random(1), SERVICE)
    shed = [second for second in range(200) if codel.sheds(float(second), waited_s=5.0, backlog=50)]

    assert shed[0] == 10  # an interval
    gaps = [after - before for before, after in pairwise(shed)]
    assert gaps[0] == 10
    assert gaps[-1] < 5
    assert not codel.sheds(200.0, waited_s=0.5, backlog=50)


def test_codel_sheds_jobs_at_twice_the_capacity() -> None:
    figures = run(POLICY["codel"], Load(2.0, 60.0, 60.0), RetryBehaviour.OBEDIENT, seed="1")
    assert figures.shed > 0.0


def test_a_limit_of_live_jobs_per_caller_bounds_the_wait() -> None:
    figures = run_twice("fair caller_jobs_max")
    assert figures.wait_s["p99"] is not None
    # All live jobs of the elephant wait for at most their own number of runs, at its share of the workers.
    assert figures.wait_s["p99"] < 2 * SERVICE.caller_jobs_max / (SERVICE.capacity_per_s * (1 - MICE_LOAD))


# -- figures and tables


def test_quantiles_are_observed_values() -> None:
    assert quantiles(range(100)) == {"p50": 50, "p95": 95, "p99": 99}
    assert quantiles([]) == {"p50": None, "p95": None, "p99": None}


def test_peak_to_mean_is_that_of_the_fullest_interval() -> None:
    assert peak_to_mean([0.1, 0.2, 0.9, 3.5], 1.0) == 3.0
    assert peak_to_mean([], 1.0) is None


def test_the_poisson_peak_to_mean_matches_a_simulation() -> None:
    rng = Random(1)
    throws = sorted(peak_to_mean([rng.uniform(0, 100) for _ in range(300)], 1.0) or 0.0 for _ in range(200))

    assert poisson_peak_to_mean([100 * number / 300 for number in range(300)], 1.0) == pytest.approx(
        throws[100], rel=0.15
    )


def test_a_table_is_aligned_markdown() -> None:
    assert table(["name", "n"], [["a", "1"], ["long name", "1,000"]]).splitlines() == [
        "| name      |     n |",
        "| --------- | ----: |",
        "| a         |     1 |",
        "| long name | 1,000 |",
    ]


def test_the_command_prints_tables_and_writes_figures_and_plots(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overload, "LOADS", (Load(0.5, 0.0, 2.0), Load(2.0, 0.0, 2.0)))
    monkeypatch.setattr(overload, "POLICIES", [POLICY[name] for name in ("fifo", "priority", "fair")])
    monkeypatch.setattr(overload, "SCENES", SCENES[-3::2])

    assert overload.main(["--seed", "3", "--out", str(tmp_path / "new" / "folder")]) == 0

    printed = capsys.readouterr()
    assert "| fifo" in printed.out
    assert "| priority" not in printed.out
    assert "6 of 6: fair; disobedient" in printed.err
    results = msgspec.json.decode((tmp_path / "new" / "folder" / "overload.json").read_bytes(), type=overload.Results)
    assert results.seed == 3
    assert {run.load for run in results.runs} == {0.5, 2.0}
    plots = {path.name for path in (tmp_path / "new" / "folder").glob("*.png")}
    single = ("refusals", "shares", "returns")
    both = ("goodput", "dead-work", "waits")
    assert plots == {f"{name}.png" for name in (*single, *both, *(f"{name}-all" for name in both))}
    tables = (tmp_path / "new" / "folder" / "overload.md").read_text()
    assert "| priority" in tables


def simulate_service(tmp_path: Path, capsys: pytest.CaptureFixture[str], *options: str) -> str:
    assert overload.main(["--out", str(tmp_path), *options]) == 0
    return capsys.readouterr().out


def test_a_custom_service_is_simulated_at_its_load_and_gets_a_recommendation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    printed = simulate_service(tmp_path, capsys, "--rate", "40", "--run", "0.1", "--workers", "2", "--patience", "2")

    assert printed.splitlines()[-1].startswith("At 2\N{MULTIPLICATION SIGN} the capacity choose")
    assert "`fifo 10 slots` if clients return when Retry-After says" in printed
    assert "plain `fifo` with 80 slots: 0%" in printed
    results = msgspec.json.decode((tmp_path / "overload.json").read_bytes(), type=overload.Results)
    assert results.service == Service(workers=2, work_s=0.1, patience_s=2.0)
    assert {run.load for run in results.runs} == {2.0}
    assert not list(tmp_path.glob("*.png"))


def test_a_service_below_its_capacity_gets_no_recommendation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    printed = simulate_service(tmp_path, capsys, "--rate", "5", "--policy", "fifo,adaptive")

    assert "At 0.5\N{MULTIPLICATION SIGN} the capacity no choice is needed" in printed
    assert "priority" not in printed


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--run", "2"], "RATE is missing"),
        (["--rate", "0"], "RATE must be a positive number, not '0'"),
        (["--rate", "nan"], "RATE must be a positive number"),
        (["--rate", "20", "--workers", "-1"], "WORKERS must be a whole number from 1, not '-1'"),
        (["--rate", "40/s"], "RATE must be a positive number, not '40/s'"),
        (["--rate", "40", "--run", "500ms"], "RUN must be a positive number of seconds, not '500ms'"),
        (["--rate", "5000", "--workers", "900"], "divide RATE and WORKERS by the same number"),
        (["--policy", "fifo,lottery"], "POLICY: there is no 'lottery'; there are fifo, fifo 30 slots"),
    ],
)
def test_invalid_options_exit_with_a_message_that_names_them(
    options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        overload.main(["--out", str(tmp_path), *options])

    assert message in " ".join(capsys.readouterr().err.split())


def test_the_recommendation_names_the_best_policy_per_kind_of_client_and_warns_of_fifo() -> None:
    runs = [run(policy, TWICE, behaviour, seed="1") for policy in CHOICES for behaviour in RetryBehaviour]

    sentence = choice(runs, load=2.0, service=SERVICE)

    assert "`fifo 30 slots` if clients return when Retry-After says" in sentence
    assert "`adaptive` if they try again at once" in sentence
    assert "`priority start_by` if they send start_by_s" in sentence
    assert "plain `fifo` with 200 slots: 0%" in sentence


# -- the document


def test_the_tables_of_the_document_match_the_simulation() -> None:
    """Only a few rows are simulated here; `make overload` produces all of them."""
    text = (ROOT / "docs" / "explanation" / "overload.md").read_text()
    for behaviour in RetryBehaviour:
        for name in ("fifo", "adaptive"):
            figures = [run(POLICY[name], load, behaviour, seed=str(overload.SEED)) for load in LOADS[:4]]
            row = overview(figures).splitlines()[-1]
            assert any(_cells(line)[:5] == _cells(row) for line in text.splitlines()), row
    scene = run_scene(SCENES[0], seed=str(overload.SEED))
    row = returns_table([scene]).splitlines()[-1]
    assert any(_cells(line) == _cells(row) for line in text.splitlines()), row


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.split("|")[1:-1]]
