"""The scenarios: what they read, how the crash search and the soak judge, and the command line."""

from __future__ import annotations

import pytest

from bench.destructive.__main__ import parse
from bench.destructive.limits import MIB
from bench.destructive.loads.attacks import ATTACKS, KINDS
from bench.destructive.scenarios import ORDER, crash
from bench.destructive.scenarios.crash import Step
from bench.destructive.scenarios.hammer import read
from bench.destructive.scenarios.soak import judge_slopes
from tests.bench.destructive.samples_of import sample

STORM = """answers:
     40 202
     20 503
reasons of refusals:
     20 "type":"/problems/queue-full"
2 refused without Retry-After
ends of the accepted:
     40 succeeded
60 submitted = 40 accepted + 20 refused with a reason; 39 of the accepted seen to end
"""


def step(mib: int, fate: str) -> Step:
    return Step(memory_bytes=mib * MIB, fate=fate, says="")


def test_every_attack_has_a_kind() -> None:
    assert sorted(name for names in KINDS.values() for name in names) == sorted(ATTACKS)


def test_the_figures_of_the_curl_loop_are_read() -> None:
    tally = read(STORM)
    assert (tally.requests, tally.accepted, tally.bare_refusals) == (60, 40, 2)
    assert tally.answers == {"202": 40, "503": 20}
    assert sum(tally.ended.values()) == 39


def test_a_curl_loop_without_a_sum_is_a_loss() -> None:
    assert read("sh: curl: not found").lost_count == 1


def test_the_crash_search_publishes_the_point_of_death() -> None:
    bounds = crash.judge([step(256, "served"), step(128, "served"), step(96, "killed")])
    assert all(bound.kept for bound in bounds)
    assert bounds[-1].seen == "alive down to 128 MiB, dead at 96 MiB"


def test_a_wedge_and_a_death_with_256_mib_miss_their_bounds() -> None:
    wedged = crash.judge([step(256, "served"), step(96, "wedged")])
    assert [bound.kept for bound in wedged] == [False, True, True]
    killed = crash.judge([step(256, "killed")])
    assert [bound.kept for bound in killed] == [True, False, True]


def test_growth_in_a_soak_misses_its_bound() -> None:
    flat = [sample(100.0 + 10 * n, beat={"tasks": 8 + n % 3, "objects": 1e5 + n % 7}) for n in range(720)]
    assert [bound.what for bound in judge_slopes(flat) if not bound.kept] == []
    leaking = [sample(100.0 + 10 * n, descriptors=20 + n, beat={"tasks": 8, "objects": 1e5}) for n in range(720)]
    assert [bound.what for bound in judge_slopes(leaking) if not bound.kept] == ["descriptors an hour"]


def test_a_soak_too_short_for_a_slope_misses_all_of_them() -> None:
    bounds = judge_slopes([sample(100.0 + n / 10) for n in range(100)])
    assert {bound.seen for bound in bounds} == {"too short a run"}


def test_all_scenarios_but_the_soak_are_played_by_default() -> None:
    assert parse([]).scenarios == [*ORDER, "crash"]
    assert parse(["--only", "storm,bomb"]).scenarios == ["storm", "bomb"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["--only", "strom"], "no scenario is called strom"), (["--only", "soak", "--hours", "0"], "--hours: over 0")],
)
def test_a_wrong_argument_is_an_error(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(arguments)
    assert message in capsys.readouterr().err
