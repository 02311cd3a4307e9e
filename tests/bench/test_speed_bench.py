"""The common parts of the speed benches: command line, files, rotation, conditions of a target, clean servers."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import msgspec
import pytest

from bench.load.driving import GENERATOR_CORE, SERVER_CORE
from bench.measure.builds import Build
from bench.measure.machine import describe
from bench.peers.contenders import Bare, Ours
from bench.speed import fleet, http, in_process, journal, life, valkey
from bench.speed.bench import SpeedBench, in_turn
from bench.speed.comparison import FLAGS, chosen
from bench.speed.fleet import DefaultServer
from bench.speed.targets import AIMS, Target
from tests.bench.test_speed import MACHINE, life_reading, reading


class Options(msgspec.Struct, frozen=True, kw_only=True):
    rounds: int = 5
    only: tuple[str, ...] | None = None


class Results(msgspec.Struct, frozen=True):
    options: Options


BENCH = SpeedBench(
    name="x",
    about="Measure x.",
    whole=Options(),
    quick=Options(rounds=1),
    flags={"--rounds": {"type": int}},
    run=Results,
    report=lambda results: f"in {results.options.rounds} rounds",
    draw=lambda results, path: path.touch(),
)


@pytest.mark.parametrize(("arguments", "rounds"), [([], 5), (["--quick"], 1), (["--quick", "--rounds", "3"], 3)])
def test_command_line_options_override_the_defaults(
    arguments: list[str], rounds: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "figures"
    assert BENCH.main([*arguments, "--out", str(folder)]) == 0
    assert capsys.readouterr().out == f"in {rounds} rounds\n"
    assert msgspec.json.decode((folder / "x.json").read_bytes(), type=Results).options.rounds == rounds
    assert (folder / "x.png").exists()


def test_contenders_rotate_their_order_in_each_round() -> None:
    assert [in_turn("abc", number) for number in range(4)] == [list("abc"), list("bca"), list("cab"), list("abc")]


def test_a_quick_run_skips_no_contender_of_a_target() -> None:
    assert {theirs for _, _, theirs, _ in http.RATIOS}.isdisjoint(http.QUICK.without)
    assert {theirs for _, theirs, _ in life.RATIOS}.isdisjoint(life.QUICK.without)


def test_every_target_is_the_figure_of_a_bench() -> None:
    ratios = {what for what, *_ in (*http.RATIOS, *life.RATIOS)} | {life.WAITS}
    no_journal = journal.Results(
        machine=MACHINE, options=journal.QUICK, skipped=[], readings=[], recoveries=[], snapshots=[]
    )
    empty = fleet.Results(machine=MACHINE, skipped=[], phases=[], seconds=[])
    no_store = valkey.Results(
        machine=MACHINE, options=valkey.QUICK, program="", skipped=[], readings=[], hset_us=[], costs=None
    )
    figures = (*fleet.targets(empty), *journal.targets(no_journal), *valkey.targets(no_store))
    found = {target.what for target in figures}
    assert set(AIMS) - ratios - found == {
        "bytes a stored status",
        "longest pause to a million statuses and back, ms",
        "evicting a status whose TTL is over, server CPU, µs",
    }


def test_a_comparison_takes_contenders_by_their_names_and_by_those_of_their_files() -> None:
    everyone = [Ours(), Ours(fast_path=False), Ours(build=Build.COMPILED), Bare()]
    found = chosen(everyone, ("jobqueue-stock-path", "aiohttp", "jobqueue, compiled"))
    assert [each.name for each in found] == ["jobqueue, stock path", "jobqueue, compiled", "aiohttp"]
    with pytest.raises(SystemExit, match=r"^there is no go here; there are: jobqueue, jobqueue-stock-path, "):
        chosen(everyone, ("go", "aiohttp"))


def test_a_verdict_names_a_shortfall_from_the_conditions_of_its_target() -> None:
    readings = [
        reading("jobqueue", kind, 0, {http.Kind.REFUSED: 0.2, http.Kind.BATCH: 30.0}.get(kind, 1.0))
        for kind in http.Kind
    ]
    readings += [reading(other, kind, 0, 9.0) for other in ("aiohttp", "go") for kind in http.Kind]

    def verdicts(records: int) -> set[str]:
        options = http.Options(records=records)
        found = http.Results(machine=MACHINE, options=options, skipped=[], readings=readings)
        return {target.verdict for target in http.targets(found) if target.aim is not None}

    assert verdicts(20_000) == {"stretch, but with 20,000 records, not 100,000"}
    assert verdicts(100_000) == {"stretch"}


def test_a_target_without_a_measurement_has_no_shortfall() -> None:
    assert Target(what="GET: CPU / Go's", measured=None, short_of="with less").verdict == "not measured"


def test_the_description_of_the_machine_names_the_cores_of_both_sides() -> None:
    if SERVER_CORE is None:
        pytest.skip("there is one core")
    assert f"servers on core {SERVER_CORE}, the load generator on core {GENERATOR_CORE}" in str(describe())


def test_clearing_a_server_deletes_its_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with DefaultServer() as server:
        for _ in range(3):
            server.call("POST", "/v1/jobs", b'{"type":"sleep","args":{"min_s":60}}')
        server.clear()
        assert msgspec.json.decode(server.call("GET", "/v1/jobs").body)["jobs"] == []


def test_the_report_names_a_server_that_was_not_saturated() -> None:
    readings = [life_reading("jobqueue", 0, 50.0, 3000.0), life_reading("go", 0, 100.0, 1000.0)]
    readings[1] = msgspec.structs.replace(readings[1], server=0.8)
    found = life.Results(machine=MACHINE, options=life.Options(), skipped=[], readings=readings)
    text = life.report(found)
    assert text.endswith("jobs a second depend on more than CPU a job: go by HEAD.")


@pytest.mark.parametrize("bench", [http, in_process, life])
def test_a_comparison_is_read_back_from_its_file_and_takes_the_common_options(bench: ModuleType) -> None:
    found = bench.Results(machine=MACHINE, options=bench.Options(), skipped=["go: not installed"], readings=[])
    assert msgspec.json.decode(msgspec.json.encode(found), type=bench.Results) == found
    assert set(FLAGS) <= set(bench.BENCH.flags)
