"""The model from one server to many stores: its limits, where they can be worked out by hand, and its command."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from bench.scaling import __main__ as scaling
from bench.scaling.__main__ import main, rendered
from bench.scaling.cluster import BATCH, Call, Costs, Linear, Shape, simulate
from bench.scaling.shards import Placement, balance

NOTHING = Linear(0.0, 0.0)
COSTS = Costs(
    post_us=30.0,
    look_us=10.0,
    run_us=20.0,
    client=Linear(60.0, 5.0),
    store={Call.SUBMIT: Linear(9, 11), Call.LEASE: Linear(9, 6), Call.ACK: Linear(9, 5), Call.LOOK: Linear(6, 2)},
)


def test_a_server_with_free_calls_takes_the_costs_of_its_requests() -> None:
    free = msgspec.structs.replace(COSTS, client=NOTHING, store=dict.fromkeys(Call, NOTHING))
    run = simulate(free, Shape(servers=1, clients=256), 0.2)
    assert run.server_us == pytest.approx(30.0 + 20.0 + run.looks * 10.0, rel=0.02)
    assert run.lives_per_s == pytest.approx(run.servers_busy * 1e6 / run.server_us, rel=0.02)
    assert run.servers_busy > 0.95


def test_a_store_is_a_bound_that_no_number_of_servers_passes() -> None:
    four, eight = (simulate(COSTS, Shape(servers=number, clients=1024), 0.2) for number in (4, 8))
    assert eight.lives_per_s < 1.15 * four.lives_per_s
    assert eight.store_busy > 0.95
    assert eight.lives_per_s * eight.store_us == pytest.approx(1e6 * eight.store_busy, rel=0.02)


def test_two_servers_take_twice_as_much_while_the_store_is_idle() -> None:
    one, two = (simulate(COSTS, Shape(servers=number, clients=256 * number), 0.2) for number in (1, 2))
    assert two.lives_per_s == pytest.approx(2 * one.lives_per_s, rel=0.1)


def test_calls_are_as_full_as_their_bound_and_a_lone_client_has_calls_of_one_job() -> None:
    many = simulate(COSTS, Shape(servers=1, clients=1024), 0.2)
    assert max(many.batches.values()) <= BATCH
    assert many.batches[Call.LEASE] > BATCH / 2
    lone = simulate(COSTS, Shape(servers=1, clients=1), 0.2)
    assert lone.batches[Call.SUBMIT] == lone.batches[Call.ACK] == 1.0
    assert lone.server_us > many.server_us


def test_a_look_waits_for_the_end_of_a_job_that_its_server_is_about_to_run() -> None:
    one = simulate(COSTS, Shape(servers=1, clients=64), 0.2)
    assert one.looks == pytest.approx(1.0, abs=0.02)
    assert one.batches[Call.LOOK] == 0.0
    assert simulate(COSTS, Shape(servers=3, clients=64), 0.2).looks > 1.1


def test_on_one_core_servers_and_store_share_its_time() -> None:
    run = simulate(COSTS, Shape(servers=3, clients=64, cores=1, shared=True), 0.2)
    assert 0.9 < run.store_busy + 3 * run.servers_busy <= 1.01


def test_the_same_costs_give_the_same_figures() -> None:
    shape = Shape(servers=2, clients=64)
    assert simulate(COSTS, shape, 0.1) == simulate(COSTS, shape, 0.1)


@pytest.mark.parametrize("placement", Placement)
def test_groups_that_are_alike_load_stores_evenly(placement: Placement) -> None:
    assert balance(8, 100_000, 0.0, placement, seeds=1).worst < 1.05


@pytest.mark.parametrize("placement", Placement)
def test_the_largest_group_bounds_the_use_of_stores(placement: Placement) -> None:
    skewed = balance(32, 10_000, 1.1, placement, seeds=1)
    assert skewed.usable <= 1 / skewed.largest
    assert skewed.worst > 2


def test_moved_groups_load_stores_more_evenly_than_hashed_ones() -> None:
    hashed, moved = (balance(8, 10_000, 0.8, each, seeds=3).worst for each in (Placement.HASHED, Placement.MOVED))
    assert moved < hashed
    assert moved == pytest.approx(1.0, abs=0.02)


def test_the_command_prints_its_tables_and_draws_its_plots(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scaling, "SERVERS", (1, 2))
    monkeypatch.setattr(scaling, "CLIENTS", (16,))
    monkeypatch.setattr(scaling, "GROUPS", 1000)
    measured = tmp_path / "valkey.json"
    life = {"contender": "jobqueue, valkey, 2 servers", "connections": 16, "servers_us": 100.0, "store_us": 50.0}
    lives = [{**life, "jobs_per_s": 6000.0}, {**life, "contender": "jobqueue", "jobs_per_s": 9000.0}]
    measured.write_bytes(msgspec.json.encode({"costs": COSTS, "readings": lives}))
    assert main(["--measured", str(measured), "--out", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "/ 100 (" in out
    assert "/ 9,000" not in out
    assert "| servers | clients each |" in out
    assert "| skew | stores |" in out
    assert all((tmp_path / name).stat().st_size > 1000 for name in ("cluster.png", "shards.png"))


def test_a_file_without_costs_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "valkey.json").write_text('{"costs": {"post_us": 1}}')
    with pytest.raises(SystemExit):
        main(["--measured", str(tmp_path / "valkey.json"), "--out", str(tmp_path)])
    assert "valkey.json has no costs: Object missing required field" in capsys.readouterr().err


def test_tables_are_put_into_their_places_of_the_page_again_and_again() -> None:
    page = "a\n<!-- scaling: check -->\n<!-- scaling: end -->\nb\n<!-- scaling: sizes -->\nold\n<!-- scaling: end -->\n"
    once = rendered(page, {"check": "one", "sizes": "two"})
    assert once == rendered(once, {"check": "one", "sizes": "two"})
    assert "old" not in once
    assert once.index("one") < once.index("b\n") < once.index("two")
    with pytest.raises(ValueError, match="no place for shards"):
        rendered(page, {"shards": "three"})
