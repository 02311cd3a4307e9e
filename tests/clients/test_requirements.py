"""Requirements: their syntax, and their comparison with the figures of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from clients.counters import Counters
from clients.options import Options
from clients.report import Report, report_of
from clients.requirements import requirement

if TYPE_CHECKING:
    from clients.requirements import Checked


def figures(*texts: str) -> Report:
    seen = Counters()
    counts = seen.counts
    counts.created, counts.accepted, counts.ended, counts.answers, counts.errors = 100, 90, 90, 400, 4
    counts.refused, counts.invalid, counts.given_up, counts.good = 10, 0, 10, 80
    seen.ended_by_state.update(succeeded=81, failed=9)
    for millis in range(1, 101):
        seen.time("status 200", millis / 1000)
        seen.time("life", millis / 10)
    return report_of(Options(require=tuple(requirement(text) for text in texts)), seen, elapsed_s=10.0, cpu_s=0.1)


def checked_requirements(*texts: str) -> tuple[Checked, ...]:
    return figures(*texts).requirements


@pytest.mark.parametrize(
    ("text", "met"),
    [
        ("p95<100ms", True),
        ("p95 < 0.09 s", False),
        ("max<=0.2s", True),
        ("p50>40000us", True),
        ("p50>40000µs", True),
        ("life.p99<1min", True),
        ("life.p99<5s", False),
        ("status.p95<100ms", True),
        ("refused<=10", True),
        ("refused<10", False),
        ("refused<=10%", True),
        ("refused<9.9%", False),
        ("errors<1%", True),
        ("errors<0.9%", False),
        ("succeeded>=90%", True),
        ("failed<10%", False),
        ("ended>=100%", True),
        ("expired<=0", True),
        ("given_up<11%", True),
        ("jobs_per_s>=9", True),
        ("jobs_per_s>9/s", False),
        ("wait.p95<1s", False),  # no long poll was made
    ],
)
def test_a_requirement_is_compared_with_its_figure_and_sets_the_exit_code(text: str, met: bool) -> None:
    (checked,) = checked_requirements(text)
    assert (checked.text, checked.met) == (text, met)
    assert figures(text).exit_code == (0 if met else 99)


def test_a_checked_figure_is_shown_with_its_unit() -> None:
    shown = [
        each.told for each in checked_requirements("p50<1s", "refused<1%", "refused<1", "jobs_per_s>1", "wait.p95<1s")
    ]
    assert shown == ["50.01 ms", "10 %", "10", "9/s", "no figure"]


def test_a_failed_fleet_has_exit_code_1_regardless_of_requirements() -> None:
    nothing = report_of(Options(require=(requirement("p95<1s"),)), Counters(), elapsed_s=1.0, cpu_s=0.0)
    assert nothing.exit_code == 1
    assert not nothing.requirements[0].met


def test_repeated_require_options_accumulate() -> None:
    from clients.options import parse

    given = parse(["--require", "p95<50ms", "refused<1%", "--require", "errors<=0"]).require
    assert [each.text for each in given] == ["p95<50ms", "refused<1%", "errors<=0"]
    assert [(each.bound, each.unit) for each in given] == [(0.05, "s"), (1.0, "%"), (0.0, "")]
