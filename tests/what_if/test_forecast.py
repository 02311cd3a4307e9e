"""The forecast: a whole table, the same for the same question, bounded, and honest about its spread."""

from __future__ import annotations

import itertools

import msgspec
import pytest

from jobqueue.core.policy import Discipline, Limits, QueuePolicy
from jobqueue.what_if import forecast as module
from jobqueue.what_if.forecast import SEEDS
from jobqueue.what_if.measured import NotMeasured, TypeOptions
from jobqueue.what_if.question import Given
from jobqueue.what_if.trial import Sample
from jobqueue.what_if.visits import Returns
from tests.what_if.asked import PRESENT, answer, cell_of, question
from tests.what_if.recording import RUN_MS, Recording, run, total

SHORT = msgspec.structs.replace(PRESENT, capacity=30)
ADAPTIVE = msgspec.structs.replace(PRESENT, discipline=Discipline.ADAPTIVE)


def test_the_same_question_has_the_same_answer_and_another_seed_another_one() -> None:
    asked = question(policies=[ADAPTIVE], loads=[1.0, 2.0])
    assert answer(asked) == answer(asked)
    assert answer(asked).alternatives != answer(question(policies=[ADAPTIVE], loads=[1.0, 2.0], seed=2)).alternatives


def test_the_table_has_the_present_settings_first_and_names_the_changes_of_each_other_one() -> None:
    told = answer(question(policies=[SHORT, msgspec.structs.replace(ADAPTIVE, patience_s=5.0), PRESENT]))
    assert [each.changes for each in told.alternatives] == [[], ["capacity"], ["discipline", "patience_s"]]
    assert [each.live for each in told.alternatives] == [True, True, False]
    assert told.alternatives[1].settings.capacity == 30


def test_by_default_every_discipline_is_compared_and_other_capacities_and_workers() -> None:
    told = answer(question(seconds=5.0))
    settings = [each.settings for each in told.alternatives]
    assert {each.discipline for each in settings} == set(Discipline)
    assert len({each.capacity for each in settings}) >= 2
    assert {each.workers for each in settings} == {10, 20}
    assert settings[0].capacity == PRESENT.capacity
    assert all(each.live for each in told.alternatives)


def test_at_twice_the_capacity_a_long_fifo_queue_loses_its_goodput_and_a_short_one_keeps_it() -> None:
    told = answer(question(policies=[SHORT], loads=[1.0, 2.5]))
    long, short = told.alternatives
    assert cell_of(long).goodput_per_s.mean == pytest.approx(8.0, rel=0.1)
    assert cell_of(long).utilisation.mean == pytest.approx(0.8, abs=0.08)
    assert cell_of(long).refused_share.mean == 0.0
    assert cell_of(long, 1).goodput_per_s.max < 3.0
    assert cell_of(long, 1).late_per_s.min > 6.0
    assert cell_of(short, 1).goodput_per_s.min > 9.0
    assert cell_of(short, 1).refused_share.min > 0.3


def test_a_figure_has_the_spread_of_its_seeds() -> None:
    cell = cell_of(answer(question()).alternatives[0])
    for figure in (cell.goodput_per_s, cell.utilisation):
        assert figure.min < figure.mean < figure.max
    assert cell.wait_p95_s is not None
    assert cell.wait_s.p50 is not None
    assert cell.wait_s.p95 is not None
    assert cell.wait_s.p50 <= cell.wait_s.p95


def test_when_the_time_is_used_up_the_table_has_fewer_seeds_and_says_so() -> None:
    ticks = itertools.count()
    told = answer(question(policies=[ADAPTIVE], loads=[1.0, 2.0], time_s=1000.0), lambda: float(next(ticks)))
    assert not told.simulated.complete
    assert told.simulated.seeds == 1
    assert all(cell is not None for each in told.alternatives for cell in each.cells)
    none = answer(question(policies=[ADAPTIVE], loads=[1.0], time_s=0.0), lambda: float(next(ticks)))
    assert none.simulated.seeds == 0
    assert [each.cells for each in none.alternatives] == [[None], [None]]


@pytest.mark.parametrize(
    ("workers", "arrivals_per_s", "run_s"),
    [(1000, 1_000_000.0, 0.001), (1, 1000.0, 0.5), (100_000, 0.001, 3600.0)],
)
def test_the_work_of_a_simulation_is_bounded_for_any_queue(workers: int, arrivals_per_s: float, run_s: float) -> None:
    present = QueuePolicy(workers=workers, capacity=10_000_000)
    asked = question(present, policies=[present], loads=[1.0, 100.0], given=Given(arrivals_per_s, run_s))
    told = answer(asked)
    assert told.simulated.complete
    assert told.simulated.jobs <= 2 * module.TRIES_MAX
    for load in (0, 1):
        cell = cell_of(told.alternatives[0], load)
        assert cell.offered_per_s == pytest.approx(asked.loads[load] * arrivals_per_s, rel=0.3)


def test_a_scaled_queue_keeps_its_goodput_and_its_utilisation() -> None:
    present = QueuePolicy(workers=200, capacity=2000, patience_s=10.0)
    told = answer(question(present, policies=[present], loads=[0.8, 3.0], given=Given(2000.0, 0.1)))
    assert max(told.simulated.jobs_each) > 5.0
    assert any("stands for" in sentence for sentence in told.assumptions)
    below, above = told.alternatives[0].cells
    assert below is not None
    assert above is not None
    assert below.goodput_per_s.mean == pytest.approx(1600.0, rel=0.1)
    assert below.utilisation.mean == pytest.approx(0.8, abs=0.05)
    assert above.goodput_per_s.mean == pytest.approx(2000.0, rel=0.1)
    assert above.wait_s.p95 == pytest.approx(0.9, rel=0.25)  # 1,800 waiting jobs, 2,000 a second


def test_pools_limits_of_types_and_the_workers_of_all_queues_bound_the_goodput() -> None:
    recording = Recording()
    for _ in range(60):
        row = {total("submitted"): 20, total("succeeded"): 20, run(5): 20, RUN_MS: 4000}
        recording.add(queue=row, a=row)
    present = QueuePolicy(workers=50, capacity=100)

    def goodput(**more: object) -> float:
        types = [TypeOptions(name="a", series=4, **more)]  # type: ignore[arg-type]
        asked = question(
            present,
            policies=[present],
            loads=[2.0],
            given=Given(),
            recorded=recording.recorded(types=types),
            pools={"thread": 5},
            seconds=60.0,
        )
        return cell_of(answer(asked).alternatives[0]).goodput_per_s.mean

    assert recording.history.numbers["type", "a"] == 4
    assert goodput() == pytest.approx(40.0, rel=0.1)
    assert goodput(pool="thread") == pytest.approx(25.0, rel=0.1)
    assert goodput(limits=Limits(concurrency=2)) == pytest.approx(10.0, rel=0.1)
    bounded = question(present, policies=[present], loads=[4.0], given=Given(20.0, 0.2), workers_max=10)
    assert cell_of(answer(bounded).alternatives[0]).goodput_per_s.mean == pytest.approx(50.0, rel=0.1)


def test_attempts_that_fail_are_tried_again_and_take_the_workers_time() -> None:
    recording = Recording()
    for _ in range(60):
        row = {total("submitted"): 10, total("succeeded"): 5, run(5): 10, RUN_MS: 2000}
        recording.add(queue=row, a=row)
    asked = {"loads": [1.0], "policies": [PRESENT], "given": Given(), "seconds": 60.0}

    def cell(attempts_max: int) -> tuple[float, float, float]:
        types = [TypeOptions(name="a", series=4, attempts_max=attempts_max)]
        told = cell_of(answer(question(**asked, recorded=recording.recorded(types=types))).alternatives[0])  # type: ignore[arg-type]
        return told.goodput_per_s.mean, told.failed_per_s.mean, told.utilisation.mean

    goodput, failed, once = cell(1)
    assert goodput == pytest.approx(5.0, rel=0.15)
    assert failed == pytest.approx(5.0, rel=0.15)
    goodput, failed, thrice = cell(3)
    assert goodput == pytest.approx(10 * 7 / 8, rel=0.15)
    assert failed == pytest.approx(10 / 8, rel=0.4)
    assert thrice == pytest.approx(once * 1.75, rel=0.15)


def test_samples_give_simulated_jobs_priorities_groups_and_deadlines() -> None:
    priority = msgspec.structs.replace(PRESENT, discipline=Discipline.PRIORITY)
    samples = [Sample(type="any", priority=each, start_by_s=5.0) for each in (0, 9)]
    told = answer(question(policies=[priority], loads=[2.5], clients={"samples": samples}))
    for alternative in told.alternatives:
        assert cell_of(alternative).expired_per_s.min > 3.0
        assert cell_of(alternative).goodput_per_s.min > 6.0  # without deadlines it is below 3
    assert told.clients.samples == 2
    assert any("latest 2 jobs" in sentence for sentence in told.assumptions)


def test_clients_that_never_return_submit_once_and_disobedient_ones_often() -> None:
    def refused_share(returns: Returns) -> float:
        asked = question(policies=[SHORT], loads=[3.0], clients={"returns": returns})
        return cell_of(answer(asked).alternatives[1]).refused_share.mean

    once, obedient, often = (refused_share(each) for each in (Returns.NEVER, Returns.OBEDIENT, Returns.DISOBEDIENT))
    assert once == pytest.approx(1 - 10 / 24, abs=0.07)
    assert obedient == pytest.approx(once, abs=0.1)  # they find a slot when they return
    assert often > 0.8


def test_given_arrivals_or_run_times_replace_the_measured_ones() -> None:
    recording = Recording()
    for second in range(60):
        row = {total("submitted"): 40 if second % 10 == 0 else 2, total("succeeded"): 5, run(5): 5, RUN_MS: 1000}
        recording.add(queue=row, a=row)
    recorded = recording.recorded()
    asked = {"policies": [PRESENT], "recorded": recorded, "seconds": 20.0}
    measured = answer(question(**asked, given=Given())).measured  # type: ignore[arg-type]
    assert measured.given == []
    assert measured.dispersion is not None
    assert measured.dispersion > 10
    faster = answer(question(**asked, given=Given(arrivals_per_s=50.0))).measured  # type: ignore[arg-type]
    assert faster.arrivals_per_s == pytest.approx(50.0)
    assert faster.run_s == measured.run_s
    longer = answer(question(**asked, given=Given(run_s=3.0))).measured  # type: ignore[arg-type]
    assert longer.run_s.mean == 3.0
    assert longer.arrivals_per_s == measured.arrivals_per_s
    assert answer(question()).measured.window_s == 0
    with pytest.raises(NotMeasured):
        answer(question(given=Given(run_s=3.0)))


def test_every_seed_meets_the_same_clients_under_every_setting() -> None:
    told = answer(question(policies=[SHORT, ADAPTIVE]))
    assert len({cell_of(each).offered_per_s for each in told.alternatives}) == 1
    assert told.simulated.seeds == SEEDS
