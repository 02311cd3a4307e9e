"""The performance guard: comparison with the baseline, exit codes and instruction counts."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from subprocess import CalledProcessError

import msgspec
import pytest

from bench.guard import __main__ as guard
from bench.guard import instructions, work
from bench.guard.__main__ import Baseline, Change, Costs, Way, compare, least, main, operation_ratios
from bench.guard.instructions import by_perf, by_valgrind, perf_said, perf_works, valgrind_said, valgrind_works
from bench.guard.work import Child, parts, units_of
from bench.measure.builds import Build
from bench.measure.machine import describe
from bench.peers.contenders import Kind

COUNTER = """#!{python}
import subprocess, sys
at = sys.argv.index(sys.executable) if sys.executable in sys.argv else None
if at is not None:  # the work: a number of instructions per unit, and 1,000 for the start
    pairs = sys.argv[at + 3 :]
    for number, (part, units) in enumerate(zip(pairs[::2], map(int, pairs[1::2]))):
        print('{{"pid":%d,"part":"%s","units":%d}}' % (number, part, units))
        print({said_of_work}, file=sys.stderr)
else:
    print({said}, file=sys.stderr)
"""


@pytest.mark.parametrize(("now", "slower"), [(1.0, False), (1.19, False), (1.21, True), (0.5, False)])
def test_a_cost_is_slower_only_above_its_tolerance(now: float, slower: bool) -> None:
    (change,) = compare({"GET": 1.0}, {"GET": now}, 0.2)
    assert change.slower is slower


def test_the_tolerance_is_3_percent_for_instructions_and_20_percent_for_ratios() -> None:
    assert guard.TOLERANCE == {Way.PERF: 0.03, Way.VALGRIND: 0.03, Way.RATIOS: 0.2}


def test_added_and_removed_costs_are_reported_and_not_slower() -> None:
    changes = compare({"gone": 1.0}, {"new": 9.0}, 0.2)
    assert [(c.name, c.before, c.now, c.slower) for c in changes] == [
        ("gone", 1.0, None, False),
        ("new", None, 9.0, False),
    ]
    assert changes[0] == Change("gone", 1.0, None, 0.2)


def test_least_keeps_the_lower_cost_of_two_measurements() -> None:
    assert least({"a": 1.0, "b": 2.0}, {"a": 3.0, "b": 1.0}) == {"a": 1.0, "b": 1.0}


def test_operation_ratios_are_relative_to_fixed_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "JOBS", 50)
    ratios = operation_ratios(1)
    assert "engine: submit, CPU / fixed work" in ratios
    assert "order: fifo: pop, CPU / fixed work" in ratios
    assert all(ratio > 0 for ratio in ratios.values())


# -- the command


@pytest.fixture
def baseline(tmp_path: Path) -> Path:
    return tmp_path / "baseline.json"


class Machines:
    """A stub of the machine: the available methods, the next measurements and the methods used."""

    def __init__(self) -> None:
        self.ways: list[Way] = [Way.RATIOS]
        self.costs: list[float] = []
        self.measured: list[Way] = []
        self.builds: list[Build] = []

    def measure(self, way: Way, *, rounds: int, build: Build) -> dict[str, float]:
        self.measured.append(way)
        self.builds.append(build)
        return {"GET": self.costs.pop(0)}


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machines:
    machine = Machines()
    monkeypatch.setattr(guard, "possible", lambda: machine.ways)
    monkeypatch.setattr(guard, "measure", machine.measure)
    monkeypatch.setattr(guard, "available", lambda builds: (builds, []))
    return machine


def test_a_missing_baseline_exits_with_2_and_names_the_update_option(
    baseline: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--baseline", str(baseline)]) == 2
    assert "has no costs of the pure build: make them with --update" in capsys.readouterr().err


def test_a_build_is_compared_with_the_costs_of_the_same_build(
    baseline: Path, machine: Machines, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.costs = [2.0, 1.0, 1.0, 2.0]
    assert main(["--update", "--baseline", str(baseline)]) == 0
    assert main(["--build", "compiled", "--baseline", str(baseline)]) == 2
    assert "has no costs of the compiled build" in capsys.readouterr().err
    assert main(["--update", "--build", "compiled", "--baseline", str(baseline)]) == 0
    assert main(["--build", "compiled", "--baseline", str(baseline)]) == 0
    assert main(["--baseline", str(baseline)]) == 0
    assert machine.builds == [Build.PURE, Build.COMPILED, Build.COMPILED, Build.PURE]


def test_costs_within_the_tolerance_pass(baseline: Path, machine: Machines) -> None:
    machine.costs = [1.0, 1.1]
    assert main(["--update", "--baseline", str(baseline)]) == 0
    assert main(["--baseline", str(baseline)]) == 0


def test_a_cost_that_is_slower_in_every_measurement_fails_and_is_named(
    baseline: Path, machine: Machines, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.costs = [1.0, 1.6, 1.5, 1.7]
    main(["--update", "--baseline", str(baseline)])
    assert main(["--baseline", str(baseline)]) == 1
    (line,) = (line for line in capsys.readouterr().out.splitlines() if "SLOWER" in line)
    assert "+50%" in line


def test_a_cost_that_is_slower_in_one_measurement_passes(baseline: Path, machine: Machines) -> None:
    machine.costs = [1.0, 1.6, 1.0]
    main(["--update", "--baseline", str(baseline)])
    assert main(["--baseline", str(baseline)]) == 0


def test_the_baseline_holds_the_costs_of_every_method(baseline: Path, machine: Machines) -> None:
    machine.ways = [Way.VALGRIND, Way.RATIOS]
    machine.costs = [500.0, 1.0]
    main(["--update", "--baseline", str(baseline)])
    written = msgspec.json.decode(baseline.read_bytes(), type=Baseline)[Build.PURE]
    assert written.by_way == {Way.VALGRIND: {"GET": 500.0}, Way.RATIOS: {"GET": 1.0}}


def test_the_guard_uses_and_names_the_best_available_method_of_the_baseline(
    baseline: Path, machine: Machines, capsys: pytest.CaptureFixture[str]
) -> None:
    write(baseline, {Way.VALGRIND: {"GET": 500.0}, Way.RATIOS: {"GET": 1.0}})
    machine.ways = [Way.PERF, Way.VALGRIND, Way.RATIOS]
    machine.costs = [500.0, 1.0]
    assert main(["--baseline", str(baseline)]) == 0
    machine.ways = [Way.PERF, Way.RATIOS]
    assert main(["--baseline", str(baseline)]) == 0
    assert machine.measured == [Way.VALGRIND, Way.RATIOS]
    assert "instructions, counted by valgrind; each may grow by 3%" in capsys.readouterr().out


def test_instruction_counts_of_another_python_build_are_not_compared(baseline: Path, machine: Machines) -> None:
    write(baseline, {Way.VALGRIND: {"GET": 500.0}, Way.RATIOS: {"GET": 1.0}}, python="another")
    machine.ways = [Way.VALGRIND, Way.RATIOS]
    machine.costs = [1.0]
    assert main(["--baseline", str(baseline)]) == 0
    assert machine.measured == [Way.RATIOS]


def test_a_baseline_without_an_available_method_exits_with_2(
    baseline: Path, machine: Machines, capsys: pytest.CaptureFixture[str]
) -> None:
    write(baseline, {Way.PERF: {"GET": 500.0}})
    machine.ways = [Way.VALGRIND, Way.RATIOS]
    assert main(["--baseline", str(baseline)]) == 2
    assert "in no way that can be compared here" in capsys.readouterr().err
    assert machine.measured == []


def write(baseline: Path, by_way: dict[Way, dict[str, float]], python: str = sys.version) -> None:
    costs = Costs(machine=describe(), python=python, by_way=by_way)
    baseline.write_bytes(msgspec.json.encode({Build.PURE: costs}))


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
def test_the_output_of_perf_is_parsed(output: str, number: int | None) -> None:
    assert perf_said(output) == number


def test_the_output_of_valgrind_is_parsed_per_process() -> None:
    assert valgrind_said("GET is slow\n==12== \n==12== I   refs:      2,047,677\n==13== I refs: 5\n") == {
        12: 2_047_677,
        13: 5,
    }


def counter(folder: Path, name: str, *, said: str, said_of_work: str) -> None:
    """Write a fake counter of this name, which prints the given output."""
    program = folder / name
    program.write_text(COUNTER.format(python=sys.executable, said=said, said_of_work=said_of_work))
    program.chmod(0o755)


@pytest.fixture
def counters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    return tmp_path


def test_perf_runs_once_per_child(counters: Path) -> None:
    line = "'%d,,instructions:u,1,100.00,,' % {}"
    counter(counters, "perf", said=line.format(7), said_of_work=line.format("(1000 + 42 * units)"))
    assert perf_works()
    assert by_perf([Kind.GET, work.ENGINE]) == {Kind.GET: 42.0, work.ENGINE: 42.0}


def test_valgrind_counts_all_children_in_one_run(counters: Path) -> None:
    line = "'==%d== I   refs:      %s' % ({}, format({}, ','))"
    counter(counters, "valgrind", said=line.format(1, 1000), said_of_work=line.format("number", "1000 + 42 * units"))
    assert valgrind_works()
    assert by_valgrind([Kind.GET, work.ENGINE]) == {Kind.GET: 42.0, work.ENGINE: 42.0}


def test_only_ratios_are_available_without_counters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert guard.possible() == [Way.RATIOS]


def test_each_part_runs_the_given_number_of_units_in_its_own_process() -> None:
    pairs = [word for part in parts() for word in (part, "2" if part in set(Kind) else "1")]
    done = instructions._work(["env"], pairs)
    children = [msgspec.json.decode(line, type=Child) for line in done.stdout.splitlines()]
    assert [(child.part, child.units) for child in children] == list(
        zip(pairs[::2], map(int, pairs[1::2]), strict=True)
    )
    assert len({child.pid for child in children}) == len(parts())


def test_every_kind_of_request_is_counted_over_the_same_number_of_jobs() -> None:
    assert {units_of(kind) * kind.jobs for kind in Kind} == {work.REQUESTS}


def test_a_failing_part_raises_with_its_error_output() -> None:
    with pytest.raises(CalledProcessError) as failed:
        instructions._work(["env"], ["no such order", "1"])
    assert "KeyError" in failed.value.stderr
