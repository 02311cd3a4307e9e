"""The simulated fleet against the real server, through drains and rejections."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.authority import Authority
from tests.e2e.processes import ROOT, ServerProcess


def fleet(url: str, report: Path, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "clients", "--url", url, "--report", str(report), *options]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.mark.parametrize("via", ["head", "get", "wait", "events", "batch"])
def test_the_fleet_sees_the_end_of_every_accepted_job(tmp_path: Path, via: str) -> None:
    with ServerProcess(tmp_path) as server:
        run = fleet(server.url, tmp_path / "report.json", "--clients", "50", "--duration-s", "3", "--via", via)
        out, _ = run.communicate(timeout=60)
        assert server.stop() == 0
    report: dict[str, Any] = json.loads((tmp_path / "report.json").read_text())
    assert run.returncode == 0, out
    assert report["accepted"] == report["ended"] > 150
    assert (report["unseen"], report["errors"], report["refused"]) == (0, 0, 0)


@pytest.mark.parametrize("via", ["head", "events"])
@pytest.mark.parametrize("kind", ["tls", "unix"])
def test_the_fleet_runs_over_tls_and_over_a_unix_socket(tmp_path: Path, kind: str, via: str) -> None:
    options: list[str] = []
    if kind == "tls":
        authority = Authority(tmp_path / "authority")
        (cert, key), (own, own_key) = authority.issue("server"), authority.issue("client", "/CN=fleet", "")
        tls = f"server.tls.client_ca={authority.cert}", f"server.tls.cert={cert}", f"server.tls.key={key}"
        options += ["--ca-file", str(authority.cert), "--cert-file", str(own), "--cert-key-file", str(own_key)]
        server = ServerProcess(tmp_path, None, *tls)
    else:
        server = ServerProcess(tmp_path, None, "server.port=null", f"server.socket={tmp_path / 's.sock'}")
    with server:
        options += ["--clients", "20", "--duration-s", "1", "--via", via, "--processes", "2"]
        run = fleet(server.url, tmp_path / "report.json", *options)
        out, _ = run.communicate(timeout=60)
        assert server.stop() == 0
    report: dict[str, Any] = json.loads((tmp_path / "report.json").read_text())
    assert run.returncode == 0, out
    assert report["accepted"] == report["ended"] > 20
    assert (report["unseen"], report["errors"], report["refused"]) == (0, 0, 0)


@pytest.mark.parametrize("via", ["head", "wait", "events", "batch"])
def test_rejected_jobs_are_submitted_again_and_the_end_of_every_accepted_one_is_seen(tmp_path: Path, via: str) -> None:
    with ServerProcess(tmp_path, None, "queues.default.workers=4", "queues.default.capacity=8") as server:
        options = ("--clients", "20", "--duration-s", "6", "--via", via, "--poll-s", "0.2")
        run = fleet(server.url, tmp_path / "report.json", *options)
        out, _ = run.communicate(timeout=60)
        assert server.stop() == 0
    report: dict[str, Any] = json.loads((tmp_path / "report.json").read_text())
    assert run.returncode == 0, out
    assert report["refused"] > 20
    assert report["accepted"] == report["ended"] > 8, "more than the capacity: rejected jobs were accepted later"
    assert (report["unseen"], report["errors"], report["unknown_fate"]) == (0, 0, 0)


def test_every_job_of_an_open_loop_is_accepted_rejected_or_unsent(tmp_path: Path) -> None:
    with ServerProcess(tmp_path, None, "queues.default.workers=4", "queues.default.capacity=20") as server:
        options = ("--clients", "20", "--duration-s", "4", "--rate", "400", "--args", '{"min_s": 0.05}')
        run = fleet(server.url, tmp_path / "report.json", *options)
        out, _ = run.communicate(timeout=60)
        assert server.stop() == 0
    report: dict[str, Any] = json.loads((tmp_path / "report.json").read_text())
    assert run.returncode == 0, out
    assert report["offered"] == report["accepted"] + report["refused"] + report["unsent"] > 1400
    assert report["refused"] > report["accepted"] == report["ended"] > 100
    assert 40 <= report["goodput_per_s"] <= 80  # the capacity of 4 workers
    assert report["latency_ms"]["refusal"]["count"] == report["refused"]


@pytest.mark.parametrize("via", ["head", "wait", "events"])
def test_server_and_fleet_count_the_same_jobs_lost_by_a_stop(tmp_path: Path, via: str) -> None:
    settings = ["server.drain_s=1", "server.linger_s=2", "queues.default.workers=4"]
    with ServerProcess(tmp_path, None, *settings) as server:
        options = ["--clients", "40", "--duration-s", "30", "--args", '{"min_s": 0.5}', "--via", via]
        # A client that obeys poll_after_s may poll too late: the server does not foresee the stop.
        options += ["--poll-s", "0.2", "--disobedient", "1"]
        run = fleet(server.url, tmp_path / "report.json", *options)
        assert run.stdout is not None
        while "jobs ended 1" not in run.stdout.readline():  # some jobs have ended, most wait
            assert run.poll() is None
        assert server.stop(signal.SIGTERM) == 0
        run.send_signal(signal.SIGINT)
        run.communicate(timeout=60)
        lost_event = server.wait_for("drain.lost")
    report: dict[str, Any] = json.loads((tmp_path / "report.json").read_text())
    lost = {state: lost_event[state] for state in ("delayed", "queued", "running")}
    assert report["lost"] == lost
    assert lost["queued"] > 10
    assert report["accepted"] == report["ended"]
    assert report["unseen"] == 0
    assert report["unreadable"]["up"] == 0, "a status was unreadable before the exit of the server"
