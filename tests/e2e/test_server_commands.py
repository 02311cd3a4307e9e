"""Commands over HTTP to a real server: reload, drain, the level of the log."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

from tests.e2e.processes import ServerProcess

if TYPE_CHECKING:
    from pathlib import Path


def ask(url: str, method: str = "GET", body: Any = None) -> tuple[int, dict[str, Any]]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def test_a_reload_over_http_applies_the_file_and_names_its_faults(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("log: {level: info, format: json}\n")
    with ServerProcess(tmp_path / "spool", f"--config={file}") as server:
        url = f"{server.url}/v1/server"
        process = ask(url)[1]["process"]
        assert str(file) in process["config"]
        assert (process["config_reload_failed"], process["log_level"]) == (False, "info")
        assert process["connections"] == 1
        assert process["rss_bytes"] > 10_000_000
        file.write_text("log: {level: debug, format: json}\nserver: {drain_s: 3}\n")
        assert ask(f"{url}:reload", "POST") == (
            200,
            {"changed": ["log.level"], "restart_required": ["server.drain_s"]},
        )
        assert ask(url)[1]["process"]["log_level"] == "debug"
        assert ask(url, "PATCH", {"log_level": "warning"})[1]["process"]["log_level"] == "warning"
        file.write_text("log:\n  levle: debug\n")
        status, problem = ask(f"{url}:reload", "POST")
        assert (status, problem["type"]) == (422, "/problems/invalid-settings")
        (fault,) = problem["faults"]
        assert fault.startswith(f"{file}:2:3: ")
        assert "did you mean 'log.level'?" in fault
        assert ask(url)[1]["process"]["config_reload_failed"] is True
        assert server.stop() == 0


def test_a_drain_over_http_ends_the_server_as_sigterm_does(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "spool", None, "server.linger_s=1") as server:
        url = server.url
        assert ask(f"{url}/v1/jobs", "POST", {"type": "sleep", "args": {"min_s": 1.5}})[0] == 202
        status, drain = ask(f"{url}/v1/server:drain", "POST")
        assert (status, drain["live"], drain["linger_s"]) == (202, 1, 1.0)
        server.wait_for("server.draining")
        assert ask(f"{url}/v1/server:drain", "POST")[0] == 202, "once more changes nothing"
        assert ask(f"{url}/readyz")[0] == 503
        assert ask(f"{url}/v1/server")[1]["draining"] is True
        status, problem = ask(f"{url}/v1/server:reload", "POST")
        assert (status, problem["type"]) == (503, "/problems/draining")
        assert server.exit_code() == 0
        assert server.wait_for("server.drained")["lost"] == 0
