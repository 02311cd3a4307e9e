"""The bench of the journal: its tables, and a small run of each queue that keeps its jobs on disk."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import pytest

from bench.load.driving import FOLDER
from bench.measure.builds import Build
from bench.measure.spread import Spread
from bench.peers.durable import Journaled, OverSqlite, durable
from bench.peers.packages import Uninstalled
from bench.speed import journal
from bench.speed.recovery import Left, Recovery, measure_recovery
from bench.speed.snapshot import measure_snapshot
from tests.bench.test_speed import MACHINE

SMALL = journal.Options(connections=(64,), rounds=1, seconds=0.2, warm_s=0.1, records=50, rate=200.0)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def reading(contender: str, number: int, cpu_us: float, connections: int = 64) -> journal.Reading:
    return journal.Reading(
        contender=contender,
        connections=connections,
        round=number,
        cpu_us=cpu_us,
        jobs_per_s=1000.0,
        looks=2.0,
        life_p50_ms=1.0,
        life_p99_ms=2.0,
        post_p50_ms=1.0,
        post_p99_ms=2.0,
        posts_per_s=1000.0,
        rate_p50_ms=0.3,
        rate_p99_ms=None,
        server=1.0,
    )


def start(left: Left, ready_s: float) -> Recovery:
    return Recovery(
        build=Build.PURE,
        left=left,
        jobs=1_000_000,
        ready_s=ready_s,
        cpu_s=ready_s,
        before_bytes=0,
        after_bytes=2**20,
        most_bytes=2**21,
        disk_bytes=2**22,
    )


def results(*readings: journal.Reading, starts: tuple[Recovery, ...] = ()) -> journal.Results:
    options = journal.Options(connections=(64, 512))
    return journal.Results(
        machine=MACHINE,
        options=options,
        skipped=["Redis: no reason"],
        readings=list(readings),
        recoveries=list(starts),
        snapshots=[],
    )


def test_the_cost_of_the_journal_is_a_ratio_to_the_same_round_and_connections_without_it() -> None:
    found = results(
        reading("jobqueue", 0, 50.0),
        reading("jobqueue, always", 0, 60.0),
        reading("jobqueue", 1, 100.0),
        reading("jobqueue, always", 1, 150.0),
        reading("jobqueue, always", 1, 999.0, connections=512),
    )
    measured = {target.what: target for target in journal.targets(found)}
    always = measured["life by HEAD, 64 clients: CPU with the journal, always / without"]
    assert always.measured == Spread(1.35, 1.2, 1.5)
    assert always.verdict == "**missed**"
    assert measured["life by HEAD, 512 clients: CPU with the journal, always / without"].verdict == "not measured"


def test_a_start_counts_without_that_on_an_empty_journal() -> None:
    found = results(starts=(start(Left.NOTHING, 1.0), start(Left.ENDED, 5.0), start(Left.WAITING, 8.0)))
    (target,) = (each for each in journal.targets(found) if each.what == journal.READING)
    assert target.measured == Spread(5.5, 4.0, 7.0)
    assert "| succeeded, killed | 1,000,000 |" in journal.report(found)


def test_the_report_names_the_skipped_contenders() -> None:
    assert "Skipped: Redis: no reason." in journal.report(results(reading("jobqueue", 0, 50.0)))


@pytest.mark.parametrize("synchronous", ["NORMAL", "FULL"])
def test_a_queue_over_sqlite_lives_through_every_measurement(synchronous: str) -> None:
    with OverSqlite(synchronous) as peer:
        peer.fill(50)
        found = journal._measure(peer, 64, 0, SMALL)
    assert found.cpu_us > 1
    assert found.rate_p50_ms is not None
    assert list(FOLDER.glob("kept-*")) == []


@pytest.mark.parametrize("sync", ["interval", "always"])
def test_a_server_with_a_journal_lives_through_every_measurement(sync: str) -> None:
    with Journaled(sync) as server:
        server.fill(50)
        found = journal._measure(server, 64, 0, SMALL)
        assert any((server.path / name).stat().st_size for name in server.path.iterdir())
    assert found.cpu_us > 1


def test_starts_are_measured_with_all_jobs_of_the_former_server() -> None:
    found = measure_recovery(Build.PURE, 1000)
    assert [(each.left, each.jobs) for each in found] == [
        (left, 1000 if left is not Left.NOTHING else 0) for left in Left
    ]
    assert all(each.disk_bytes for each in found[1:])


def test_the_steps_of_a_snapshot_are_measured_in_a_process_of_its_own() -> None:
    found = measure_snapshot(Build.PURE, 2000)
    assert found.jobs == 2000
    assert found.size_bytes > 2000 * 50
    assert 0 < found.mean_ms <= found.longest_ms


def test_queues_over_redis_are_skipped_with_their_requirement(monkeypatch: pytest.MonkeyPatch) -> None:
    which = shutil.which
    monkeypatch.setattr("shutil.which", lambda name: None if name == "redis-server" else which(name))
    found, skipped = durable()
    assert not any(contender.name.startswith("Redis") for contender in found)
    assert skipped[-1].endswith("there is no `redis-server`; install it (Debian: apt-get install redis-server)")


def test_queues_over_redis_are_skipped_when_their_packages_can_not_be_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*command: object, cwd: Path | None = None) -> None:
        raise Uninstalled("no network")

    monkeypatch.setattr("shutil.which", lambda name: f"/bin/{name}")
    monkeypatch.setattr("bench.peers.packages._do", fail)
    assert durable()[1][-1] == "Redis: no network"


def test_results_can_be_read_again() -> None:
    found = results(reading("jobqueue", 0, 50.0), starts=(start(Left.ENDED, 5.0),))
    assert msgspec.json.decode(msgspec.json.encode(found), type=journal.Results) == found
