"""The verdict: each bound is missed by what it forbids, and by nothing else."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from bench.destructive.limits import MIB
from bench.destructive.tally import Tally
from bench.destructive.verdict import judge
from tests.bench.destructive.samples_of import run, sample, samples


def missed(**changes: Any) -> list[str]:
    return [bound.what for bound in judge(run(**changes)) if bound.missed]


def tally(**changes: Any) -> Tally:
    return Tally(**{"accepted": 5, "ended": {"succeeded": 5}, **changes})


def test_a_healthy_run_keeps_every_bound() -> None:
    bounds = judge(run(small=Tally(waits_ms=[10.0, 20.0])))
    assert len(bounds) == 12
    assert [bound for bound in bounds if not bound.kept] == []


@pytest.mark.parametrize(
    ("changes", "bound"),
    [
        ({"samples": samples(rss_bytes=201 * MIB)}, "peak memory"),
        ({"samples": samples(usage={"anonymous_bytes": 201 * MIB})}, "peak memory"),
        ({"samples": samples(usage={"oom_kills": 1})}, "oom_kill"),
        ({"exit_code": None}, "alive to the end"),
        ({"exit_code": 1}, "alive to the end"),
        ({"samples": [*samples(50), *[sample(105 + n / 10, alive=False) for n in range(50)]]}, "alive to the end"),
        ({"tally": tally(answers={"500": 1})}, "answers of 500"),
        ({"internal_errors": 1}, "answers of 500"),
        (
            {"samples": [*samples(20), *[sample(102 + n / 10, beat={"gap_s_max": 0.51}) for n in range(80)]]},
            "longest gap",
        ),
        ({"samples": samples(beat={"beats": 0})}, "longest gap"),
        ({"tally": tally(answers={"503": 3}, bare_refusals=1)}, "rejections"),
        ({"rested_s": None}, "memory back"),
        ({"samples": [*samples(99), sample(110, beat={"terminal": 4})]}, "accepted ="),
        ({"tally": tally(accepted=6, ended={"succeeded": 6})}, "jobs accepted, by the server"),
        ({"tally": tally(accepted=4, ended={"succeeded": 4})}, "jobs accepted, by the server"),
        ({"tally": tally(ended={"succeeded": 4})}, "accepted jobs that were not"),
        ({"tally": tally(lost=["a"], lost_count=1)}, "accepted jobs that were not"),
        ({"samples": [*samples(10), *[sample(101 + n / 5) for n in range(50)]]}, "samples of the monitor"),
        ({"small": Tally(waits_ms=[10.0] * 98 + [1001.0] * 2)}, "small jobs"),
        ({"small": Tally()}, "small jobs"),
    ],
)
def test_a_bound_is_missed_by_its_figure(changes: dict[str, Any], bound: str) -> None:
    found = missed(**changes)
    assert len(found) == 1, found
    assert found[0].startswith(bound)


SPOILED = [sample(100 + n / 10, wait_s=n / 20, beat={"gap_s_max": 0.51 if n > 30 else 0.06}) for n in range(100)]


def test_a_gap_before_the_load_does_not_count() -> None:
    assert missed(samples=samples(beat={"gap_s_max": 0.51})) == []


def test_a_gap_before_the_load_does_not_hide_a_shorter_one_under_it() -> None:
    told = [sample(100 + n / 10, beat={"gap_s_max": 0.9}) for n in range(100)]
    told[30:34] = [msgspec.structs.replace(each, beat=told[29].beat) for each in told[30:34]]
    told[34] = sample(103.4, beat={"at": 103.4, "gap_s_max": 0.9})
    assert max(each.age_s for each in told) < 0.5
    assert missed(samples=told) == ["longest gap of the heartbeat"]


def test_a_full_run_misses_figures_of_time_that_other_programs_spoil() -> None:
    assert missed(samples=SPOILED) == ["longest gap of the heartbeat"]


def test_a_quick_run_judges_no_figure_of_time_that_other_programs_spoil() -> None:
    bounds = judge(run(samples=SPOILED, quick=True, internal_errors=1))
    assert [bound.what for bound in bounds if bound.missed] == ["answers of 500, by the clients and by the log"]
    (gap,) = [bound for bound in bounds if not bound.judged]
    assert str(gap).startswith("not judged")
    assert "other programs kept its loop from a CPU for 50% of the time" in gap.seen


def test_a_quick_run_judges_time_that_its_quota_took() -> None:
    throttled = [
        msgspec.structs.replace(each, usage=msgspec.structs.replace(each.usage, throttled_s=(each.at - 100) / 2))
        for each in SPOILED
    ]
    bounds = judge(run(samples=throttled, quick=True))
    assert [bound.what for bound in bounds if bound.missed] == ["longest gap of the heartbeat"]


def test_a_frozen_server_misses_the_heartbeat_although_its_own_figure_is_good() -> None:
    frozen = [*samples(40), *[sample(104 + n / 10, beat={"at": 104.0, "gap_s_max": 0.06}) for n in range(60)]]
    assert missed(samples=frozen) == ["longest gap of the heartbeat"]


def test_submissions_without_an_answer_may_have_been_accepted() -> None:
    assert missed(tally=tally(accepted=4, ended={"succeeded": 4}, unknown=1)) == []


def test_evicted_records_are_not_lost_jobs() -> None:
    assert missed(tally=tally(ended={"succeeded": 3}, gone=2)) == []


def test_attackers_may_have_more_jobs_accepted_than_are_counted() -> None:
    assert missed(tally=tally(accepted=1, ended={"succeeded": 1}), accounts=False) == []
    assert missed(tally=tally(accepted=9, ended={"succeeded": 9}), accounts=False) != []


def test_throttling_stands_beside_the_heartbeat() -> None:
    throttled = [
        sample(
            100 + n / 10,
            usage={"periods": n, "throttled": n // 2, "throttled_s": n / 40},
            beat={"gap_s_max": 0.06 if n > 30 else 0.05},
        )
        for n in range(100)
    ]
    (heart,) = (bound for bound in judge(run(samples=throttled)) if bound.what.startswith("longest gap"))
    assert heart.seen == "60 ms, throttled in 50% of the periods, its loop waited for a CPU 25% of the time"
