"""The bench of jobs within one process: its figures, and a small run of the queues that need no installation."""

from __future__ import annotations

from pathlib import Path
from subprocess import CalledProcessError

import pytest

from bench.measure.builds import Build
from bench.peers.in_process import QUEUES
from bench.peers.packages import Uninstalled
from bench.speed import in_process
from bench.speed.in_process import BARE, FEATURES, PEERS, Contender, Options, Reading, Results
from tests.bench.test_speed import MACHINE

SMALL = Options(at_once=(1, 3), rounds=1, seconds=0.1, warm_s=0.02, only=("jobqueue", "asyncio.Queue-dict"))


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def uninstallable() -> Path:
    raise Uninstalled("no network")


def test_every_queue_has_a_command_and_a_row_of_features() -> None:
    assert set(QUEUES) == set(FEATURES) == {"jobqueue", BARE, *PEERS}


def test_each_queue_is_measured_at_each_number_of_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_process, "install_python", uninstallable)
    monkeypatch.setattr(in_process, "available", lambda: ([Build.PURE], []))
    readings = in_process.run(SMALL).readings
    assert {(r.contender, r.at_once) for r in readings} == {
        (name, at_once) for name in ("jobqueue", BARE) for at_once in (1, 3)
    }
    assert all(r.cpu_us > 1 for r in readings)
    assert all(r.jobs_per_s > 100 for r in readings)


def test_peers_without_packages_are_skipped_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_process, "install_python", uninstallable)
    found, skipped = in_process.contenders()
    assert not {contender.name for contender in found} & set(PEERS)
    assert "aiojobs; taskiq, in memory; huey, in memory; huey, immediate: no network" in skipped


def test_a_queue_that_is_not_there_fails_the_bench() -> None:
    with pytest.raises(CalledProcessError):
        in_process._measure(Contender("rabbits"), 1, SMALL)


def test_the_report_has_the_figures_and_the_features_of_each_queue(tmp_path: Path) -> None:
    readings = [
        Reading(contender=name, at_once=at_once, round=0, cpu_us=10.0 * at_once, jobs_per_s=1000.0)
        for name in ("jobqueue", "jobqueue, compiled", "aiojobs")
        for at_once in (1, 64)
    ]
    found = Results(machine=MACHINE, options=Options(), skipped=["huey, in memory: no network"], readings=readings)
    text = in_process.report(found)
    assert "jobs a second, 64 at once" in text
    assert "| jobqueue, compiled | state, result, errors |" in text
    assert "| aiojobs            |                     - |" in text
    assert text.endswith("Skipped: huey, in memory: no network.")
    in_process.BENCH.save(found, tmp_path)
    assert (tmp_path / "in_process.png").read_bytes().startswith(b"\x89PNG")
