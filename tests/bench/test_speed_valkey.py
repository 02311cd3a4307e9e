"""The bench of a shared store: its ratios, the costs that it finds for the model, and a small run."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.peers.contenders import Ours
from bench.peers.over_store import OverStore
from bench.scaling.cluster import Call
from bench.speed import valkey
from bench.speed.pipelined import measure_pipelined
from bench.speed.store_costs import Sample, fit
from bench.store import MISSING, executable
from tests.bench.test_speed import MACHINE

needs_store = pytest.mark.skipif(executable() is None, reason=MISSING)
ALONE, APART = OverStore().name, OverStore(apart=True).name


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def reading(
    contender: str, number: int, servers_us: float, *, store_us: float = 0.0, jobs_per_s: float = 1000.0
) -> valkey.Reading:
    return valkey.Reading(
        contender=contender,
        connections=64,
        round=number,
        servers_us=servers_us,
        store_us=store_us,
        jobs_per_s=jobs_per_s,
        looks=1.0,
        calls=0.1 if store_us else 0.0,
        life_p50_ms=1.0,
        life_p99_ms=2.0,
        busy=1.0,
    )


def results(*readings: valkey.Reading) -> valkey.Results:
    return valkey.Results(
        machine=MACHINE,
        options=valkey.Options(connections=(64,)),
        program="valkey-server",
        skipped=["Fastify + BullMQ: no reason"],
        readings=list(readings),
        hset_us=[3.0],
        costs=None,
    )


def test_ratios_are_of_the_same_round_and_leave_the_store_to_its_own_row() -> None:
    found = results(
        *(reading("jobqueue", number, 50.0, jobs_per_s=2000.0) for number in (0, 1)),
        *(reading(ALONE, number, 60.0 + 20.0 * number, store_us=30.0) for number in (0, 1)),
        reading(APART, 0, 60.0, store_us=30.0, jobs_per_s=1500.0),
        reading("aiohttp + SAQ", 0, 900.0),
    )
    measured = {target.what: target.measured for target in valkey.targets(found)}
    cpu = measured["life by HEAD, 64 clients: CPU of the server over valkey / in memory"]
    assert cpu is not None
    assert (cpu.least, cpu.most) == (1.2, 1.6)
    rate = measured["life by HEAD, 64 clients: jobs a second over valkey, store apart / in memory"]
    assert rate is not None
    assert rate.median == 0.75
    better = measured["life by HEAD over valkey: CPU a job, times less than aiohttp + SAQ"]
    assert better is not None
    assert better.median == 10.0
    assert measured["life by HEAD over valkey: CPU a job, times less than Fastify + BullMQ"] is None


def test_every_figure_with_a_target_has_bounds() -> None:
    assert [target.what for target in valkey.targets(results()) if target.aim is None] == []


def test_the_report_has_a_table_for_each_number_of_connections_and_names_skipped_peers() -> None:
    text = valkey.report(results(reading("jobqueue", 0, 50.0), reading(ALONE, 0, 60.0, store_us=30.0)))
    assert "64 connections:" in text
    assert "| jobqueue, valkey, 1 server" in text
    assert "Skipped: Fastify + BullMQ: no reason." in text


def test_the_costs_of_the_model_are_found_in_lives_with_few_and_with_many_calls() -> None:
    over = [
        Sample(40.0 + 10.0 * looks + 80.0 * calls, 20.0 + 2.0 * looks + 9.0 * calls, calls, looks)
        for calls, looks in ((4.5, 1.0), (0.5, 2.0), (0.2, 1.5), (0.1, 3.0))
    ]
    costs = fit(over, [Sample(60.0, 0.0, 0.0, 1.0)])
    assert costs.post_us + costs.run_us == pytest.approx(40.0)
    assert costs.look_us == pytest.approx(10.0)
    assert costs.client.call_us == pytest.approx(80.0)
    assert costs.store[Call.LOOK].job_us == pytest.approx(2.0)
    assert costs.store[Call.SUBMIT].call_us == pytest.approx(9.0)
    assert sum(costs.store[call].job_us for call in (Call.SUBMIT, Call.LEASE, Call.ACK)) == pytest.approx(20.0)
    assert costs.memory_us == 60.0


def test_a_constant_number_of_looks_is_part_of_the_life() -> None:
    over = [Sample(50.0 + 80.0 * calls, 20.0, calls, looks) for calls, looks in ((4.5, 1.0), (0.5, 1.1), (0.2, 1.0))]
    costs = fit(over, [Sample(60.0, 0.0, 0.0, 1.0)])
    assert costs.look_us == costs.store[Call.LOOK].job_us == 0.0
    assert costs.post_us + costs.run_us == pytest.approx(50.0)


def test_a_cost_that_would_be_negative_is_none() -> None:
    over = [Sample(50.0 - looks, 20.0, 0.1 * looks, looks) for looks in (1.0, 2.0, 4.0)]
    assert fit(over, [Sample(60.0, 0.0, 0.0, 1.0)]).look_us == 0.0


@needs_store
def test_an_hset_costs_a_store_some_microseconds() -> None:
    assert 0.5 < measure_pipelined() < 100


@needs_store
def test_a_small_run_measures_servers_and_store_apart(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    over = [OverStore(), OverStore(servers=2)]
    monkeypatch.setattr(valkey, "_everyone", lambda _: ([Ours(), *over], []))
    options = valkey.Options(connections=(4, 16), rounds=1, seconds=0.4, warm_s=0.2, records=50)
    found = valkey.run(options)
    names = {each.name for each in over}
    assert {each.contender for each in found.readings} == {"jobqueue", *names}
    assert all((each.store_us > 0) == (each.contender in names) for each in found.readings)
    assert all((each.calls > 0) == (each.contender in names) for each in found.readings)
    assert found.costs is not None
    valkey.draw(found, tmp_path / "valkey.png")
    assert (tmp_path / "valkey.png").stat().st_size > 1000
