"""The fleet against the real server, and what both say of a stop in the middle."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.processes import ROOT, ServerProcess


def fleet(url: str, report: Path, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "clients", "--url", url, "--report", str(report), *options]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.mark.parametrize("via", ["head", "get", "wait", "events", "batch"])
def test_every_job_that_the_server_accepts_is_seen_to_end(tmp_path: Path, via: str) -> None:
    with ServerProcess(tmp_path) as server:
        run = fleet(server.url, tmp_path / "report.json", "--clients", "50", "--duration-s", "3", "--via", via)
        out, _ = run.communicate(timeout=60)
        assert server.stop() == 0
    report: dict[str, Any] = json.loads((tmp_path / "report.json").read_text())
    assert run.returncode == 0, out
    assert report["accepted"] == report["ended"] > 150
    assert (report["unseen"], report["errors"], report["refused"]) == (0, 0, 0)


@pytest.mark.parametrize("via", ["head", "wait", "events", "batch"])
def test_refused_jobs_come_back_and_every_accepted_one_is_seen_to_end(tmp_path: Path, via: str) -> None:
    with ServerProcess(tmp_path, None, "queues.default.workers=4", "queues.default.capacity=8") as server:
        options = ("--clients", "20", "--duration-s", "6", "--via", via, "--poll-s", "0.2")
        run = fleet(server.url, tmp_path / "report.json", *options)
        out, _ = run.communicate(timeout=60)
        assert server.stop() == 0
    report: dict[str, Any] = json.loads((tmp_path / "report.json").read_text())
    assert run.returncode == 0, out
    assert report["refused"] > 20
    assert report["accepted"] == report["ended"] > 8, "more than the queue holds: those that were refused got in"
    assert (report["unseen"], report["errors"], report["unknown_fate"]) == (0, 0, 0)


def test_what_was_offered_in_an_open_loop_was_accepted_or_refused(tmp_path: Path) -> None:
    with ServerProcess(tmp_path, None, "queues.default.workers=4", "queues.default.capacity=20") as server:
        options = ("--clients", "20", "--duration-s", "4", "--rate", "400", "--args", '{"min_s": 0.05}')
        run = fleet(server.url, tmp_path / "report.json", *options)
        out, _ = run.communicate(timeout=60)
        assert server.stop() == 0
    report: dict[str, Any] = json.loads((tmp_path / "report.json").read_text())
    assert run.returncode == 0, out
    assert report["offered"] == report["accepted"] + report["refused"] + report["unsent"] > 1400
    assert report["refused"] > report["accepted"] == report["ended"] > 100
    assert 40 <= report["goodput_per_s"] <= 80  # which is what 4 workers can do
    assert report["latency_ms"]["refusal"]["count"] == report["refused"]


@pytest.mark.parametrize("via", ["head", "wait", "events"])
def test_what_a_stop_loses_is_counted_alike_by_the_server_and_by_its_clients(tmp_path: Path, via: str) -> None:
    settings = ["server.drain_s=1", "server.linger_s=2", "queues.default.workers=4"]
    with ServerProcess(tmp_path, None, *settings) as server:
        options = ["--clients", "40", "--duration-s", "30", "--args", '{"min_s": 0.5}', "--via", via]
        # Who polls when the server says so may come too late: it does not know then that it will stop.
        options += ["--poll-s", "0.2", "--disobedient", "1"]
        run = fleet(server.url, tmp_path / "report.json", *options)
        assert run.stdout is not None
        while "jobs ended 1" not in run.stdout.readline():  # some are over, most wait
            assert run.poll() is None
        assert server.stop(signal.SIGTERM) == 0
        run.send_signal(signal.SIGINT)
        run.communicate(timeout=60)
        told = server.wait_for("drain.lost")
    report: dict[str, Any] = json.loads((tmp_path / "report.json").read_text())
    lost = {state: told[state] for state in ("delayed", "queued", "running")}
    assert report["lost"] == lost
    assert lost["queued"] > 10
    assert report["accepted"] == report["ended"]
    assert report["unseen"] == 0
    assert report["unreadable"]["up"] == 0, "until its exit, the server told every status"
