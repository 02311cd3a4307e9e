"""The cluster of `make run-cluster`: its command line, and one that starts, answers on each port, and ends."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from bench.cluster import main
from bench.store import MISSING, executable, free_ports, is_taken
from jobqueue.client import SyncClient

ROOT = Path(__file__).parents[2]


def test_a_taken_port_is_an_error_with_a_remedy(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SystemExit) as ended:
            main(["--ports", str(port)])
    assert ended.value.code == 2
    assert f"error: port {port} is taken: end what listens there, or choose others, --ports" in capsys.readouterr().err


@pytest.mark.parametrize("ports", ["8080,8080", "0", "80,http", "70000", ""])
def test_ports_are_different_numbers(ports: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--ports", ports])
    assert ended.value.code == 2
    assert f"argument --ports: invalid ports value: '{ports}'" in capsys.readouterr().err


@pytest.mark.skipif(executable() is None, reason=MISSING)
def test_servers_share_their_jobs_and_outlive_each_other_until_a_signal(tmp_path: Path) -> None:
    one, other = free_ports(2)
    command = [sys.executable, "-m", "bench.cluster", "--ports", f"{one},{other}"]
    with (
        (tmp_path / "log").open("wb") as log,
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=log, text=True) as cluster,
    ):
        try:
            assert cluster.stdout is not None
            lines = [cluster.stdout.readline()]
            while "Ctrl-C" not in lines[-1]:
                assert lines[-1], (tmp_path / "log").read_text()
                lines.append(cluster.stdout.readline())
            pids = {int(port): int(pid) for port, pid in re.findall(r":(\d+)   pid (\d+)", "".join(lines))}
            with SyncClient(f"http://127.0.0.1:{one}") as first, SyncClient(f"http://127.0.0.1:{other}") as second:
                job = first.submit("echo", {"text": "hello"})
                assert second.wait(job.id).result == {"text": "hello"}
                os.kill(pids[one], signal.SIGKILL)
                assert second.wait(second.submit("echo", {}).id).state == "succeeded"
                assert second.status(job.id).state == "succeeded"
        finally:
            cluster.send_signal(signal.SIGINT)
        assert cluster.wait(20) == 0
    assert f"{one} | has ended with -9" in (tmp_path / "log").read_text()
    assert not is_taken(one)
    assert not is_taken(other)
