"""Webhooks of a real server, to a receiver in another process that checks signatures with the reference library."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tests.e2e.processes import ROOT, ServerProcess
from tests.e2e.test_server_commands import ask

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # of the specification's own example


class Received:
    """The requests that a receiver gets."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.port = int(self._line())

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the receiver has ended"
        return line

    def next(self) -> dict[str, Any]:
        """Wait for the next request."""
        told: dict[str, Any] = json.loads(self._line())
        return told


@contextmanager
def receiver(*answers: str) -> Iterator[Received]:
    command = [sys.executable, "-m", "tests.e2e.receiver", SECRET, *answers]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        yield Received(process)
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def settings(tmp_path: Path, port: int, **crm: Any) -> str:
    """Write settings with an endpoint on this port of loopback; return the option that names the file."""
    endpoint = {"url": f"http://127.0.0.1:{port}/hooks", "events": ["job.succeeded", "job.failed"]} | crm
    (tmp_path / "secret").write_text(f"{SECRET}\n")
    webhooks = {"allow": ["127.0.0.1"], "secret_file": f"{tmp_path}/secret", "endpoints": {"crm": endpoint}}
    file = tmp_path / "config.yaml"
    file.write_text(json.dumps({"webhooks": webhooks}))
    return f"--config={file}"


def submit(server: ServerProcess, type: str = "echo", **options: Any) -> str:
    status, job = 503, {}
    while status == 503:  # it recovers its jobs
        status, job = ask(f"{server.url}/v1/jobs", "POST", {"type": type, **options})
    assert status in (200, 202), job
    return str(job["id"])


def shown(server: ServerProcess, number: int = 0) -> dict[str, Any]:
    """Return the document of a receiver: of the endpoint, or of the host of callbacks behind it."""
    found: dict[str, Any] = ask(f"{server.url}/v1/webhooks")[1]["webhooks"][number]
    return found


def wait_for(server: ServerProcess, number: int = 0, **members: Any) -> dict[str, Any]:
    """Wait until the receiver's document has these members."""
    until = time.monotonic() + 30.0
    while True:
        told = shown(server, number)
        if all(told[name] == value for name, value in members.items()):
            return told
        assert time.monotonic() < until, told
        time.sleep(0.05)


def wait_until(holds: Callable[[], bool]) -> None:
    """Wait until a condition holds, for 30 s at most."""
    until = time.monotonic() + 30.0
    while not holds():
        assert time.monotonic() < until, "the condition never held"
        time.sleep(0.02)


def test_an_event_is_delivered_once_and_verified_by_the_reference_library(tmp_path: Path) -> None:
    with receiver("204") as there, ServerProcess(tmp_path, None, settings(tmp_path, there.port)) as server:
        for type, state in (("echo", "succeeded"), ("fail", "failed")):
            job_id = submit(server, type)
            told = there.next()
            assert (told["path"], told["event"]["type"]) == ("/hooks", f"job.{state}")
            assert (told["event"]["data"]["id"], told["event"]["data"]["type"]) == (job_id, type)
        assert wait_for(server, delivered_total=2)["failed_total"] == 0


def test_a_failed_attempt_is_repeated_with_the_same_id_after_the_pause_that_was_asked_for(tmp_path: Path) -> None:
    answers = "500:0", "503:1", "redirect:0", "204"
    with receiver(*answers) as there, ServerProcess(tmp_path, None, settings(tmp_path, there.port)) as server:
        submit(server)
        told = [there.next() for _ in answers]
        assert [each["answer"] for each in told] == [*answers]
        assert [each["path"] for each in told] == ["/hooks"] * 4
        assert len({each["id"] for each in told}) == 1
        assert all("error" not in each["event"] for each in told)
        assert wait_for(server, delivered_total=1)["attempts_failed_total"] == 3


def test_410_disables_an_endpoint(tmp_path: Path) -> None:
    with receiver("410") as there, ServerProcess(tmp_path, None, settings(tmp_path, there.port)) as server:
        submit(server)
        assert there.next()["answer"] == "410"
        wait_for(server, state="disabled", failed_total=1)
        submit(server)
        wait_for(server, dropped_total=1)
        assert server.wait_for("webhook.disabled")["webhook"] == "crm"
        assert server.wait_for("webhook.dropped")["webhook"] == "crm"


def test_a_receiver_that_is_silent_is_given_up_and_holds_up_neither_jobs_nor_the_exit(tmp_path: Path) -> None:
    options = settings(tmp_path, 1, timeout_s=0.5)
    with receiver("silence") as there:
        options = settings(tmp_path, there.port, timeout_s=0.5, attempts_max=1)
        with ServerProcess(tmp_path, None, options, "server.drain_s=5") as server:
            submit(server)
            assert there.next()["answer"] == "silence"
            told = wait_for(server, failed_total=1)
            assert told["last_attempt"]["error"] == "127.0.0.1 has not answered within 0.5 s"
            assert server.stop() == 0


def test_no_address_of_the_machine_is_connected_to_unless_it_is_listed(tmp_path: Path) -> None:
    with receiver("204") as there:
        settings(tmp_path, there.port)
        file = tmp_path / "config.yaml"
        written = json.loads(file.read_text())
        written["webhooks"] |= {"allow": ["localhost"]}
        written["webhooks"]["endpoints"]["crm"]["url"] = f"http://127.0.0.1:{there.port}/hooks"
        file.write_text(json.dumps(written))
        command = [sys.executable, "-m", "jobqueue", "config", "check", f"--config={file}"]
        checked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert checked.returncode == 2
        assert "127.0.0.1 is a loopback address, and webhooks.allow does not list it" in checked.stderr
        written["webhooks"]["endpoints"]["crm"]["url"] = f"http://localhost:{there.port}/hooks"
        file.write_text(json.dumps(written))
        with ServerProcess(tmp_path, None, f"--config={file}") as server:
            submit(server)
            assert there.next()["event"]["type"] == "job.succeeded"
            written["webhooks"] |= {"allow": []}
            written["webhooks"]["endpoints"]["crm"]["url"] = f"https://localhost:{there.port}/hooks"
            file.write_text(json.dumps(written))
            assert ask(f"{server.url}/v1/server:reload", "POST")[0] == 200
            submit(server)
            told = wait_for(server, failed_total=1)
            assert "webhooks.allow does not list it" in told["last_attempt"]["error"]


def test_a_delivery_outlives_a_killed_server_with_a_journal(tmp_path: Path) -> None:
    with receiver("503:1", "204") as there:
        options = settings(tmp_path, there.port, types=["echo"]), f"journal.dir={tmp_path}/journal"
        with ServerProcess(tmp_path, None, *options) as server:
            job_id = submit(server)
            first = there.next()
            wait_for(server, attempts_failed_total=1)
            submit(server, "fail")  # accepted, so it is kept, and so is all before it
            server.stop(signal.SIGKILL)
        with ServerProcess(tmp_path, None, *options) as server:
            second = there.next()
            assert first["event"]["data"]["id"] == second["event"]["data"]["id"] == job_id
            assert first["id"] == second["id"]
            wait_for(server, delivered_total=1)
            assert server.stop() == 0


def test_the_ends_that_a_recovery_decides_are_delivered_once(tmp_path: Path) -> None:
    with receiver("204") as there:
        options = settings(tmp_path, there.port, events=["job.failed", "job.expired", "job.succeeded"])
        file = tmp_path / "config.yaml"
        written = json.loads(file.read_text())
        written["webhooks"] |= {"callbacks": True, "callback_hosts": [f"127.0.0.1:{there.port}"]}
        file.write_text(json.dumps(written))
        callback = f"http://127.0.0.1:{there.port}/done"
        given = options, f"journal.dir={tmp_path}/journal"
        with ServerProcess(tmp_path, None, *given) as server:
            running = submit(server, "sleep", args={"min_s": 3600}, callback=callback)
            wait_until(lambda: ask(f"{server.url}/v1/jobs/{running}")[1]["state"] == "running")
            ask(f"{server.url}/v1/queues/default:pause", "POST", {})
            late = submit(server, "echo", start_by_s=0.5, callback=callback)
            expires_at = time.monotonic() + 0.5
            server.stop(signal.SIGKILL)
        time.sleep(max(0.0, expires_at - time.monotonic()))
        with ServerProcess(tmp_path, None, *given) as server:
            told = [there.next() for _ in range(4)]
            expected = {
                (path, kind, job_id)
                for path in ("/hooks", "/done")
                for kind, job_id in (("job.failed", running), ("job.expired", late))
            }
            assert {(each["path"], each["event"]["type"], each["event"]["data"]["id"]) for each in told} == expected
            for number in (0, 1):
                wait_for(server, number, delivered_total=2)
            echoed = submit(server)  # accepted, so it is kept, and so is all before it
            server.stop(signal.SIGKILL)
        with ServerProcess(tmp_path, None, *given) as server:
            server.wait_for("journal.recovered")
            wait_until(lambda: ask(f"{server.url}/v1/queues/default:resume", "POST", {})[0] != 503)
            assert there.next()["event"]["data"]["id"] == echoed
            assert len(ask(f"{server.url}/v1/jobs?type=webhook")[1]["jobs"]) == 5


def test_a_secret_is_replaced_by_a_reload_and_never_shown(tmp_path: Path) -> None:
    other = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX"
    with receiver("204") as there:
        options = settings(tmp_path, there.port)
        (tmp_path / "secret").write_text(other)
        with ServerProcess(tmp_path, None, options) as server:
            submit(server)
            assert there.next()["event"] == {"error": "No matching signature found"}
            (tmp_path / "secret").write_text(f"{other}\n{SECRET}\n")
            status, reloaded = ask(f"{server.url}/v1/server:reload", "POST")
            assert (status, reloaded["changed"]) == (200, ["webhooks.secret"])
            submit(server)
            assert there.next()["event"]["type"] == "job.succeeded"
            shown = json.dumps([ask(f"{server.url}/v1/server/settings"), ask(f"{server.url}/v1/server/log")])
            assert server.stop() == 0
            for secret in (SECRET, other):
                assert secret.removeprefix("whsec_") not in shown + json.dumps(server.events)
