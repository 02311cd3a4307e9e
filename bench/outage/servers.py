"""The servers of an outage: over one store, on a port each, killed and started again; and Caddy in front of them."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.request import urlopen

from bench.deploys.supervisor import Server, free_port, wait_until_open
from bench.load.driving import end_with_parent
from bench.outage.witness import RUNS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

TTL_S = 3
"""After this long without a sign of life a server's jobs run elsewhere: the least that the settings take."""

ANSWER_S = 30.0

CADDYFILE = """
{{
	admin off
}}
http://127.0.0.1:{port} {{
	bind 127.0.0.1
	reverse_proxy {servers} {{
		health_uri /readyz
		health_interval 1s
		lb_try_duration 5s
		header_up Host localhost
		transport http {{
			keepalive 10s
		}}
	}}
}}
"""
"""As in `docs/how-to/scale-out.md`; the `Host` is one that a server on a loopback address answers to."""


class Member:
    """One server, the same after a kill: on the same port, of the same settings."""

    def __init__(self, store: str, runs: Path) -> None:
        self.port = free_port()
        settings = {
            "backend": "valkey",
            "valkey.url": store,
            "valkey.ttl_s": f"{TTL_S}s",
            "valkey.call_timeout_s": "1s",
            "server.linger_s": "0",
        }
        settings |= {"queues.default.capacity": "100000", "statuses.ttl_s": "1h"}
        self._command = ["env", f"{RUNS}={runs}", sys.executable, "-m", "jobqueue", "serve", "bench.outage.tasks:queue"]
        self._command += [f"--port={self.port}", *(f"--set={name}={value}" for name, value in settings.items())]
        self._server: Server | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it; return once it is ready."""
        self._server = Server(self._command)
        self._server.wait_until_ready(self.port)

    def kill(self) -> None:
        if self._server is not None:
            self._server.kill()
            self._server = None

    def ask(self, path: str) -> dict[str, Any]:
        """Return the document of a path."""
        with urlopen(f"{self.url}{path}", timeout=ANSWER_S) as answer:
            document: dict[str, Any] = json.load(answer)
        return document

    def states(self, ids: Sequence[str]) -> list[str]:
        """Return the states of jobs; the status in place of that of a job that is not there."""
        documents: list[dict[str, Any]] = []
        for start in range(0, len(ids), 100):
            documents += self.ask(f"/v1/jobs?ids={','.join(ids[start : start + 100])}")["jobs"]
        return [str(each.get("state") or each["status"]) for each in documents]


@contextmanager
def caddy(folder: Path, members: Sequence[Member]) -> Iterator[str]:
    """Run Caddy in front of servers; yield its URL."""
    port, file = free_port(), folder / "Caddyfile"
    file.write_text(CADDYFILE.format(port=port, servers=" ".join(f"127.0.0.1:{each.port}" for each in members)))
    null = subprocess.DEVNULL
    command = ["caddy", "run", "--config", str(file), "--adapter", "caddyfile"]
    process = subprocess.Popen(command, stdout=null, stderr=null, preexec_fn=end_with_parent)
    try:
        wait_until_open(port)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()
