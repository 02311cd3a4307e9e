"""The guard against getting slower: what it compares, when it complains, and how it counts instructions."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import msgspec
import pytest

from bench import speed_guard
from bench.speed_guard import Change, Costs, can_count, compare, counted, least, main, operation_ratios, write
from tests.bench.test_speed import MACHINE

PERF = """#!{python}
import signal, sys
if "-p" in sys.argv:
    signal.signal(signal.SIGINT, lambda *_: None)
    signal.pause()
print("4200,,instructions:u,1000,100.00,,", file=sys.stderr)
"""


def costs(**more: dict[str, float]) -> Costs:
    return Costs(machine=MACHINE, **({"ratios": {}, "instructions": {}} | more))


@pytest.mark.parametrize(("now", "slower"), [(1.0, False), (1.19, False), (1.21, True), (0.5, False)])
def test_a_ratio_may_grow_by_a_fifth(now: float, slower: bool) -> None:
    (change,) = compare(costs(ratios={"GET": 1.0}), costs(ratios={"GET": now}))
    assert change.slower is slower


def test_instructions_may_hardly_grow() -> None:
    (change,) = compare(costs(instructions={"GET": 100.0}), costs(instructions={"GET": 104.0}))
    assert change.slower
    (change,) = compare(costs(instructions={"GET": 100.0}), costs(instructions={"GET": 104.0}), tolerance=0.05)
    assert not change.slower


def test_what_is_new_or_gone_is_told_and_not_slower() -> None:
    changes = compare(costs(ratios={"gone": 1.0}), costs(ratios={"new": 9.0}))
    assert [(c.name, c.before, c.now, c.slower) for c in changes] == [
        ("gone", 1.0, None, False),
        ("new", None, 9.0, False),
    ]


def test_ratios_are_never_compared_with_instructions() -> None:
    assert compare(costs(instructions={"GET": 1.0}), costs(ratios={"GET": 9.0})) == [Change("GET", None, 9.0, 0.2)]


def test_of_two_measurements_the_lesser_costs_count() -> None:
    assert least(costs(ratios={"a": 1.0, "b": 2.0}), costs(ratios={"a": 3.0, "b": 1.0})).ratios == {"a": 1.0, "b": 1.0}


def test_operations_are_measured_beside_fixed_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed_guard, "JOBS", 50)
    ratios = operation_ratios(1)
    assert "engine: submit, CPU / fixed work" in ratios
    assert "order: fifo: pop, CPU / fixed work" in ratios
    assert all(ratio > 0 for ratio in ratios.values())


# -- the command


@pytest.fixture
def baseline(tmp_path: Path) -> Path:
    return tmp_path / "baseline.json"


def measured(monkeypatch: pytest.MonkeyPatch, *ratios: float) -> None:
    rest = iter(ratios)
    monkeypatch.setattr(speed_guard, "measure", lambda *, rounds: costs(ratios={"GET": next(rest)}))


def test_without_a_baseline_nothing_is_measured(baseline: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--baseline", str(baseline)]) == 2
    assert "make one with --update" in capsys.readouterr().err


def test_what_is_as_it_was_passes(baseline: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured(monkeypatch, 1.0, 1.1)
    assert main(["--update", "--baseline", str(baseline)]) == 0
    assert main(["--baseline", str(baseline)]) == 0


def test_what_is_slower_each_time_fails_and_is_named(
    baseline: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    measured(monkeypatch, 1.0, 1.6, 1.5, 1.7)
    main(["--update", "--baseline", str(baseline)])
    assert main(["--baseline", str(baseline)]) == 1
    (line,) = (line for line in capsys.readouterr().out.splitlines() if "SLOWER" in line)
    assert "+50%" in line


def test_what_was_slower_once_passes(baseline: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured(monkeypatch, 1.0, 1.6, 1.0)
    main(["--update", "--baseline", str(baseline)])
    assert main(["--baseline", str(baseline)]) == 0


def test_a_baseline_of_another_kind_of_machine_compares_nothing(
    baseline: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(costs(instructions={"GET": 5.0}), baseline)
    measured(monkeypatch, 1.0)
    assert main(["--baseline", str(baseline)]) == 2
    assert "of another kind of machine" in capsys.readouterr().err


def test_an_update_keeps_what_was_measured_in_the_other_way(baseline: Path) -> None:
    write(costs(instructions={"GET": 5.0}), baseline)
    write(costs(ratios={"GET": 1.0}), baseline)
    kept = msgspec.json.decode(baseline.read_bytes(), type=Costs)
    assert (kept.instructions, kept.ratios) == ({"GET": 5.0}, {"GET": 1.0})


# -- instructions


@pytest.mark.parametrize(
    ("output", "number"),
    [
        ("1234,,instructions:u,99,100.00,,", 1234),
        ("<not supported>,,instructions:u,0,100.00,,", None),
        ("perf: no permission", None),
        ("", None),
    ],
)
def test_what_perf_says_is_read(output: str, number: int | None) -> None:
    assert counted(output) == number


def test_a_process_is_counted_for_the_time_of_an_act(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    perf = tmp_path / "perf"
    perf.write_text(PERF.format(python=sys.executable))
    perf.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)
    acts: list[int] = []
    assert can_count()
    assert speed_guard._count(os.getpid(), lambda: acts.append(1)) == 4200
    assert acts == [1]


def test_without_perf_nothing_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not can_count()
