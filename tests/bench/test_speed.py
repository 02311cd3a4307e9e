"""The speed benches: their tables, and a small run of each from end to end."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from subprocess import CompletedProcess

import msgspec
import pytest

from bench.load.generator import Latency
from bench.measure.builds import Build
from bench.measure.machine import Machine, describe
from bench.measure.spread import Spread, many, short, spread, table
from bench.peers.contenders import Kind, Ours, contenders, slug
from bench.peers.packages import Uninstalled
from bench.peers.stacks import stacks
from bench.speed import __main__ as speed
from bench.speed import core, fleet, http, life, memory, targets
from bench.speed.deliveries import measure_deliveries
from bench.speed.eviction import EvictionFigures, measure_eviction
from bench.speed.fleet import Load
from bench.speed.life import Via
from bench.speed.memory import EngineFigures, Pauses, ServerFigures, measure_engine
from bench.speed.operations import ORDERS, EngineBench, Figure, make_jobs, measure_order, measured
from bench.speed.targets import Aim, Bounds, Target, target_table
from bench.store import MISSING

MACHINE = Machine(
    at="now",
    commit="c0ffee",
    cpu="a CPU",
    cores=2,
    memory_gib=4.0,
    system="Linux 6",
    python="3.11",
    packages={"aiohttp": "3.14"},
    load=0.0,
)
SMALL = http.Options(connections=(2,), rounds=1, seconds=0.4, warm_s=0.02, records=50)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


# -- figures


def test_a_spread_has_the_median_the_least_and_the_most() -> None:
    assert spread([3.0, 1.0, 10.0]) == Spread(3.0, 1.0, 10.0)
    assert str(Spread(3.0, 1.0, 10.0)) == "3.00 [1.00-10.0]"
    assert str(Spread(3.0, 3.0, 3.0)) == "3.00"
    assert spread([]) is None


def test_short_keeps_three_significant_digits() -> None:
    assert [short(value) for value in (0.4234, 9.714, 18.34, 123.4, 12345.6, 0)] == [
        "0.42",
        "9.71",
        "18.3",
        "123",
        "12,346",
        "0",
    ]


def test_many_uses_the_singular_for_one() -> None:
    assert [many(count, "connection") for count in (1, 8000)] == ["1 connection", "8,000 connections"]


def test_a_table_is_aligned_and_shows_a_dash_for_a_missing_figure() -> None:
    assert table(["what", "µs"], [["a", 1.5], ["long", None]]) == (
        "| what |  µs |\n|------|----:|\n| a    | 1.5 |\n| long |   - |"
    )


@pytest.mark.parametrize(
    ("measured", "at_least", "verdict"),
    [
        (0.4, False, "stretch"),
        (0.5, False, "stretch"),
        (0.6, False, "met"),
        (0.7, False, "**missed**"),
        (0.7, True, "met"),
        (0.5, True, "**missed**"),
        (0.9, True, "stretch"),
        (None, True, "not measured"),
    ],
)
def test_a_target_is_judged_by_the_median(
    measured: float | None, at_least: bool, verdict: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = None if measured is None else Spread(measured, 0.0, 9.0)
    bounds = Bounds(0.6, 0.8 if at_least else 0.5)
    monkeypatch.setattr(targets, "AIMS", {"x": Aim(pure=bounds, compiled=Bounds(0, 0), at_least=at_least)})
    target = Target(what="x", measured=found)
    assert target.verdict == verdict
    assert verdict in target_table([target])


def test_each_build_is_judged_by_its_own_bounds() -> None:
    half = Spread(0.5, 0.5, 0.5)
    pure, compiled = (Target(what="GET: CPU / Go's", build=build, measured=half) for build in Build)
    assert (pure.verdict, compiled.verdict) == ("stretch", "**missed**")
    assert "| GET: CPU / Go's | compiled | ≤ 0.45 |   ≤ 0.4 |     0.50 | **missed** |" in target_table([pure, compiled])


def test_a_figure_without_bounds_stands_in_the_table_without_a_verdict() -> None:
    target = Target(what="POST, run: CPU / naive's", measured=Spread(0.5, 0.5, 0.5))
    assert target.verdict == ""
    assert "| POST, run: CPU / naive's |  pure |    - |       - |     0.50 |  |" in target_table([target])


def test_a_table_of_targets_names_the_omissions_of_its_figures() -> None:
    text = target_table([Target(what="GET: CPU / Go's", measured=None)])
    assert text.endswith(f"Left out:\n\n- {targets.GO}")
    assert "Left out" not in target_table([Target(what="8,000 clients: p95, ms", measured=None)])


def test_the_description_of_the_machine_has_its_cores_packages_and_commit() -> None:
    machine = describe()
    assert machine.cores >= 1
    assert {"aiohttp", "uvloop"} <= set(machine.packages)
    assert f"commit {machine.commit}" in str(machine)


# -- HTTP


def reading(contender: str, kind: Kind, number: int, cpu_us: float, **more: float) -> http.Reading:
    figures = {"per_s": 1.0, "server": 1.0, "generator": 0.5, "unexpected": 0.0, "p50_ms": 1.0, "p99_ms": 1.0} | more
    return http.Reading(
        contender=contender,
        kind=kind,
        connections=64,
        round=number,
        cpu_us=cpu_us,
        **figures,
    )


def results(*readings: http.Reading) -> http.Results:
    return http.Results(machine=MACHINE, options=SMALL, skipped=[], readings=list(readings))


def ratio_of_gets(found: http.Results, connections: int = 64) -> Spread | None:
    (target,) = (each for each in http.targets(found, connections) if each.what.startswith("GET: CPU / bare"))
    return target.measured


def test_ratios_compare_readings_of_the_same_round() -> None:
    found = results(
        reading("jobqueue", Kind.GET, 0, 10.0),
        reading("aiohttp", Kind.GET, 0, 20.0),
        reading("jobqueue", Kind.GET, 1, 30.0),
        reading("aiohttp", Kind.GET, 1, 40.0),
        reading("aiohttp", Kind.GET, 2, 1.0),
    )
    assert ratio_of_gets(found) == Spread(0.625, 0.5, 0.75)
    assert ratio_of_gets(found, 1) is None


def test_a_reading_with_unexpected_status_codes_is_excluded_and_reported() -> None:
    found = results(reading("jobqueue", Kind.GET, 0, 123.0, unexpected=0.5), reading("aiohttp", Kind.GET, 0, 20.0))
    text = http.report(found)
    assert "123" not in text
    assert "50.0% of the answers had another code than the one to be measured, so it is left out" in text
    assert ratio_of_gets(found) is None


def test_the_report_says_when_the_generator_was_the_limit() -> None:
    busy = reading("jobqueue", Kind.GET, 0, 10.0, server=0.7, generator=0.99)
    assert "The generator was the limit" in http.report(results(busy))
    assert "The generator was the limit" not in http.report(results(reading("jobqueue", Kind.GET, 0, 10.0)))


@pytest.mark.parametrize("name", ["jobqueue", "aiohttp", "naive", "go"])
def test_every_kind_of_request_gets_its_expected_status_code(name: str) -> None:
    if name == "go" and shutil.which("go") is None:
        pytest.skip("there is no go")
    (contender,) = (each for each in contenders()[0] if each.name == name)
    with contender:
        contender.fill(50)
        readings = http._measure(contender, 2, 0, SMALL)
    assert [r.kind for r in readings] == list(contender.kinds)
    assert {r.kind: r.unexpected for r in readings} == dict.fromkeys(contender.kinds, 0.0)
    assert all(r.cpu_us > 1 for r in readings)


def test_a_scene_deletes_its_own_jobs_only() -> None:
    with Ours() as server:
        server.fill(20)
        for kind in (Kind.HELD, Kind.REFUSED, Kind.RUN):
            with server.scene(kind):
                for _ in range(3 if kind is not Kind.REFUSED else 0):
                    server.call("POST", "/v1/jobs", b'{"type":"echo"}')
                if kind is Kind.REFUSED:
                    with pytest.raises(RuntimeError, match="was answered 503"):
                        server.call("POST", "/v1/jobs", b'{"type":"echo"}')
        listed = msgspec.json.decode(server.call("GET", "/v1/jobs?limit=100").body)
    assert [job["type"] for job in listed["jobs"]] == ["sleep"] * 20


def test_an_unavailable_contender_is_skipped_with_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    found, skipped = contenders()
    assert "go" not in [contender.name for contender in found]
    assert any(reason.startswith("go: there is no `go`; install it") for reason in skipped)


def test_a_slug_has_lower_case_words_and_hyphens() -> None:
    assert slug("jobqueue, stock path") == "jobqueue-stock-path"


# -- a job's life


def life_reading(contender: str, number: int, cpu_us: float, jobs_per_s: float) -> life.Reading:
    return life.Reading(
        contender=contender,
        via=Via.HEAD,
        round=number,
        cpu_us=cpu_us,
        jobs_per_s=jobs_per_s,
        requests=2.0,
        p50_ms=1.0,
        p95_ms=2.0,
        server=1.0,
        generator=0.2,
    )


def test_more_jobs_per_second_and_less_cpu_per_job_both_raise_the_ratio() -> None:
    found = life.Results(
        machine=MACHINE,
        options=life.Options(),
        skipped=["naive: no reason"],
        readings=[life_reading("jobqueue", 0, 50.0, 3000.0), life_reading("go", 0, 100.0, 1000.0)],
    )
    measured = {target.what: target.measured for target in life.targets(found)}
    assert measured["life by HEAD: jobs a second, times Go's"] == Spread(3.0, 3.0, 3.0)
    assert measured["life by HEAD: CPU a job, times less than Go"] == Spread(2.0, 2.0, 2.0)
    assert measured["life by HEAD: CPU a job, times less than naive"] is None
    assert "Skipped: naive: no reason." in life.report(found)


def test_a_life_runs_by_every_method(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(life, "CONNECTIONS", 4)  # few enough for a batch of each within the time on a busy machine
    with Ours() as server:
        readings = life._measure(server, 0, life.Options(seconds=0.2, warm_s=0.1))
    assert [r.via for r in readings] == list(Via)
    requests = {r.via: r.requests for r in readings}
    assert requests[Via.AT_ONCE] == pytest.approx(1, abs=0.1)
    assert requests[Via.WAIT] == pytest.approx(2, abs=0.6)
    assert requests[Via.EVENTS] == pytest.approx(2, abs=0.6)
    assert requests[Via.BATCH] < 0.5


def test_event_streams_are_measured_after_every_other_way(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[Via] = []

    def measure(contender: Ours, number: int, options: life.Options, vias: tuple[Via, ...]) -> list[life.Reading]:
        order.extend(vias)
        return []

    monkeypatch.setattr(life, "_measure", measure)
    monkeypatch.setattr(life, "_everyone", lambda options: ([Ours()], []))
    life.run(life.Options(rounds=2, records=10))
    assert [via is Via.EVENTS for via in order] == [False] * 2 * (len(Via) - 1) + [True] * 2


def test_an_unavailable_stack_is_skipped_with_its_requirement(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.peers.stacks.executable", lambda: None)
    found, skipped = stacks()
    assert found == []
    assert skipped[0].endswith(MISSING)


def test_stacks_are_skipped_when_their_packages_can_not_be_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: f"/bin/{name}")
    monkeypatch.setattr("bench.peers.packages._do", fail_to_install)
    found, skipped = stacks()
    assert found == []
    assert [reason.partition(":")[0] for reason in skipped] == ["FastAPI + arq and aiohttp + SAQ", "Fastify + BullMQ"]
    assert all("no network" in reason for reason in skipped)


def fail_to_install(*command: object, cwd: Path | None = None) -> None:
    raise Uninstalled("no network")


# -- the fleet


def phase(**more: object) -> fleet.Phase:
    latency = Latency(count=10, p50=0.2, p95=0.5, p99=3.0, max=9.0)
    figures = {
        "build": Build.PURE,
        "load": Load(8000, 3000.0),
        "connected": 8000,
        "lost": 0,
        "per_s": 3000.0,
        "answers": {"202": 10},
        "latency": {"all": latency, "202": latency},
        "server": 0.3,
        "late_ms": 0.1,
        "rss_bytes_max": 2**27,
    } | more
    return fleet.Phase(**figures)  # type: ignore[arg-type]  # the values have several types


@pytest.mark.parametrize(
    ("figures", "limit"),
    [
        ({}, "neither"),
        ({"server": 0.95}, "server"),
        ({"late_ms": 2.0}, "generator"),
        ({"server": 0.95, "late_ms": 2.0}, "server and generator"),
    ],
)
def test_a_phase_names_the_saturated_side(figures: dict[str, object], limit: str) -> None:
    assert phase(**figures).limit == limit


def test_a_verdict_on_a_late_generator_names_its_delay() -> None:
    found = fleet.Results(machine=MACHINE, skipped=[], phases=[phase(late_ms=20.0)], seconds=[])
    verdicts = {target.what: target.verdict for target in fleet.targets(found)}
    assert verdicts["8,000 clients: p95, ms"] == "met, but the generator was 20.0 ms late"


def test_responses_with_404_or_410_count_as_lost_jobs() -> None:
    assert phase(answers={"202": 10, "404": 2, "410": 3}).jobs_lost == 5


def test_a_skipped_load_is_reported_as_not_measured(tmp_path: Path) -> None:
    found = fleet.Results(machine=MACHINE, skipped=["15,000 clients: files"], phases=[phase()], seconds=[])
    verdicts = {target.what: target.verdict for target in fleet.targets(found)}
    assert verdicts["8,000 clients: p95, ms"] == "met"
    assert verdicts["15,000 clients: jobs lost"] == "not measured"
    assert "Skipped: 15,000 clients: files." in fleet.report(found)
    fleet.BENCH.save(found, tmp_path)
    assert (tmp_path / "fleet.png").read_bytes().startswith(b"\x89PNG")


def test_a_small_fleet_loses_no_connection_or_job() -> None:
    results = fleet.run(fleet.Options(loads=(Load(20, 200.0),), build=(Build.PURE,), seconds=1.0, warm_s=0.2))
    (found,) = results.phases
    assert (found.connected, found.lost, found.jobs_lost) == (20, 0, 0)
    assert {"202"} <= set(found.answers) <= {"200", "202", "304"}
    assert found.latency["all"].count == pytest.approx(200, abs=20)
    assert results.seconds[0].rss_bytes > 2**20


# -- all


def test_the_report_holds_every_part_and_lists_missing_measurements(tmp_path: Path) -> None:
    folder = tmp_path / "figures"
    gets = reading("jobqueue", Kind.GET, 0, 10.0), reading("aiohttp", Kind.GET, 0, 20.0)
    http.BENCH.save(results(*gets), folder)
    speed.render(folder, tmp_path / "RESULTS.md")
    text = (tmp_path / "RESULTS.md").read_text()
    assert "| GET: CPU / bare aiohttp's 204 " in text
    assert "commit c0ffee" in text
    assert "It was not measured: `make bench-life` does." in text
    assert "![Cost of a request](results/http.png)" in text
    assert (tmp_path / "results" / "http.png").exists()


def test_figures_of_another_version_are_reported_as_not_measured(tmp_path: Path) -> None:
    (tmp_path / "life.json").write_text('{"machine": "an older form"}')
    speed.render(tmp_path, tmp_path / "RESULTS.md")
    text = (tmp_path / "RESULTS.md").read_text()
    assert "It was measured by another version: `make bench-life` measures it again." in text


def test_a_failed_bench_is_reported_and_its_old_results_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "core.json").write_text("{}")
    monkeypatch.setattr("subprocess.run", lambda command, **_: CompletedProcess(command, int("core" in command[2])))
    assert speed.run(tmp_path, full=False) == ["core"]
    assert not (tmp_path / "core.json").exists()


# -- core and memory


@pytest.mark.parametrize("name", ORDERS)
def test_an_order_bench_measures_every_operation(name: str) -> None:
    figures = measure_order(name, make_jobs(20), rounds=2)
    assert [figure.operation for figure in figures] == ["position", "remove", "push", "pop", "push to the front"]
    assert all(figure.ns.least > 0 for figure in figures)


def test_an_engine_bench_measures_every_operation_and_ends_empty() -> None:
    bench = EngineBench(20)
    figures = bench.run(rounds=2)
    assert {"get", "submit", "lease", "ack", "cancel", "retry", "evict"} <= {figure.operation for figure in figures}
    assert len(bench.engine.store) == 0


def test_a_delivery_bench_compares_an_end_that_makes_one_with_ends_that_make_none() -> None:
    noted: dict[str, list[float]] = {}
    measure_deliveries(20, 2, lambda name, ns: noted.setdefault(name, []).append(ns))
    assert list(noted) == [
        "an end, without webhooks",
        "an end, to which no endpoint listens",
        "an end that makes a delivery",
    ]
    assert all(len(readings) == 2 and min(readings) > 0 for readings in noted.values())


def test_operations_of_a_build_are_measured_in_a_process_of_their_own() -> None:
    figures = measured(Build.PURE, 20, 1)
    assert {figure.part for figure in figures} == {
        "engine",
        "flows",
        "schedules",
        "webhooks",
        *(f"order: {name}" for name in ORDERS),
    }
    assert {figure.size for figure in figures} == {20}


def test_the_core_report_has_the_growth_of_each_operation(tmp_path: Path) -> None:
    figures = [
        Figure(part="engine", operation="get", size=size, ns=Spread(ns, ns, ns))
        for size, ns in ((100, 200.0), (1000, 500.0))
    ]
    found = core.Results(machine=MACHINE, skipped=[], figures={Build.PURE: figures})
    assert "2.50x" in core.report(found)
    core.BENCH.save(found, tmp_path)
    assert (tmp_path / "core.png").read_bytes().startswith(b"\x89PNG")


def test_measure_engine_returns_pauses_and_the_size_of_an_id() -> None:
    figures = measure_engine(3000)
    assert figures.growing.longest_ms * 1000 >= figures.growing.mean_us > 1
    assert figures.growing.longest_ms >= figures.growing.p9999_ms
    assert figures.evict_us > 0
    in_steps_of = 16  # what Python's allocator rounds up to
    assert figures.parts_bytes["id"] == -(-sys.getsizeof("j" * 22) // in_steps_of) * in_steps_of


def test_measure_eviction_counts_the_cpu_of_a_server_without_its_idle_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.speed.eviction.IDLE_S", 0.2)
    figures = measure_eviction(jobs=1000, ttl_s=4.0)
    assert 0 < figures.idle_ms < 500
    assert figures.evict_us < figures.whole_us
    assert figures.lag_ms > 0


def test_measure_eviction_rejects_a_ttl_that_ends_before_the_last_job() -> None:
    with pytest.raises(RuntimeError, match="too long for a TTL of 1 s"):
        measure_eviction(jobs=100, ttl_s=1.0)


def test_the_memory_report_uses_the_least_disturbed_round(tmp_path: Path) -> None:
    def pauses(longest_ms: float) -> Pauses:
        return Pauses(longest_ms=longest_ms, p9999_ms=1.0, mean_us=20.0, longest_wall_ms=9.0)

    engine = EngineFigures(
        statuses=1000,
        status_bytes=400.0,
        parts_bytes={"record": 144.0},
        growing=pauses(3.0),
        at_bound=pauses(7.5),
        evicting=pauses(2.0),
        evict_us=0.2,
        collecting_ms=1.0,
        collecting_wall_ms=9.5,
        left_bytes=0.0,
    )
    server = ServerFigures(
        statuses=1000,
        connections=10,
        started_bytes=2**20,
        connection_bytes=1024.0,
        connection_new_bytes=512.0,
        full_bytes=2**21,
    )
    disturbed = msgspec.structs.replace(engine, growing=pauses(50.0))
    eviction = EvictionFigures(jobs=1000, evict_us=0.3, whole_us=0.9, idle_ms=2.0, lag_ms=1.5)
    figures = memory.Figures(engine=[disturbed, engine], server=[server], eviction=[eviction])
    found = memory.Results(machine=MACHINE, skipped=[], builds={Build.PURE: figures})
    assert [target.measured for target in memory.targets(found)] == [
        Spread(400.0, 400.0, 400.0),
        Spread(7.5, 7.5, 7.5),
        Spread(0.3, 0.3, 0.3),
    ]
    assert "| bytes a stored status " in memory.report(found)
    memory.save(found, tmp_path)
    assert (tmp_path / "memory.png").read_bytes().startswith(b"\x89PNG")


def test_results_survive_saving_and_loading(tmp_path: Path) -> None:
    found = results(reading("jobqueue", Kind.GET, 0, 10.0), reading("aiohttp", Kind.GET, 0, 20.0))
    http.BENCH.save(found, tmp_path)
    assert msgspec.json.decode((tmp_path / "http.json").read_bytes(), type=http.Results) == found
    assert (tmp_path / "http.png").read_bytes().startswith(b"\x89PNG")
