"""The server process: start, signals, drain, death."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import gc
import json
import os
import pty
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import termios
import time
from typing import TYPE_CHECKING, Any

import aiohttp
import psutil
import pytest

from jobqueue import __version__
from jobqueue.app import JobQueue
from jobqueue.build import build, interpreter
from jobqueue.process.signals import SAME_STOP_S
from jobqueue.server import COLLECTIONS
from tests.children import children_with
from tests.faults.measuring import seen

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


class Server:
    """A server in a process of its own, and its log."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.log: list[dict[str, Any]] = []
        self._reading = asyncio.create_task(self._read())
        self._news = asyncio.Event()

    async def _read(self) -> None:
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            with contextlib.suppress(ValueError):
                self.log.append(json.loads(line))
            self._news.set()
        self._news.set()

    async def event(self, name: str) -> dict[str, Any]:
        """Wait until the event is logged."""
        async with asyncio.timeout(15):
            while True:
                for entry in self.log:
                    if entry["event"] == name:
                        return entry
                await self.news()

    async def news(self) -> None:
        """Wait for the next log line."""
        assert not self._reading.done(), self.log
        self._news.clear()
        await self._news.wait()

    async def exit_code(self) -> int:
        async with asyncio.timeout(15):
            code = await self.process.wait()
            await self._reading
            return code

    async def url(self) -> str:
        listening = await self.event("server.listening")
        return f"http://{listening['host']}:{listening['port']}"


def write_settings(tmp_path: Path, **settings: dict[str, Any]) -> Path:
    """Write the settings file of the server; JSON is YAML, too."""
    settings = {"spool": {"dir": str(tmp_path)}, "server": {"drain_s": 5.0, "linger_s": 0.3}, **settings}
    settings["server"] = {"port": 0, **settings["server"]}
    path = tmp_path / "settings.yaml"
    path.write_text(json.dumps(settings))
    return path


@contextlib.asynccontextmanager
async def running(tmp_path: Path, *, stdin: int | None = None, **settings: dict[str, Any]) -> AsyncIterator[Server]:
    path = write_settings(tmp_path, **settings)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.e2e.served", str(path)), stdin=stdin, stderr=asyncio.subprocess.PIPE
    )
    server = Server(process)
    try:
        yield server
    finally:
        if process.returncode is None:
            process.kill()
        await server.exit_code()


async def submit(http: aiohttp.ClientSession, type: str, **args: object) -> str:
    async with http.post("/v1/jobs", json={"type": type, "args": args}) as response:
        assert response.status == 202, await response.text()
        job_id: str = (await response.json())["id"]
        return job_id


async def state_of(http: aiohttp.ClientSession, job_id: str) -> str:
    # Not HEAD: for aiohttp's client, a response without a length ends with its connection.
    async with http.get(f"/v1/jobs/{job_id}") as response:
        await response.read()
        return response.headers["Job-State"]


async def test_suspension_of_the_process_extends_the_deadlines_of_running_attempts(tmp_path: Path) -> None:
    async with running(tmp_path) as server, aiohttp.ClientSession(await server.url()) as http:
        body = {"type": "sleep", "args": {"seconds": 1.5}, "timeout_s": 2.5}
        async with http.post("/v1/jobs", json=body) as response:
            job_id = (await response.json())["id"]
        await asyncio.sleep(0.5)
        server.process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(3.0)
        server.process.send_signal(signal.SIGCONT)
        assert (await server.event("process.suspended"))["seconds"] > 2.5
        async with http.get(f"/v1/jobs/{job_id}", headers={"Prefer": "wait=10"}) as response:
            assert (await response.json())["state"] == "succeeded"


async def test_sigterm_drains_the_queue_while_statuses_stay_readable(tmp_path: Path) -> None:
    async with running(tmp_path, server={"linger_s": 2.0}) as server, aiohttp.ClientSession(await server.url()) as http:
        job = await submit(http, "sleep", seconds=0.5)
        server.process.send_signal(signal.SIGTERM)
        signalled_at = time.monotonic()
        while True:
            async with http.get("/readyz") as response:
                if response.status == 503:
                    assert response.headers["Retry-After"]
                    break
        async with http.post("/v1/jobs", json={"type": "echo"}) as response:
            assert (response.status, (await response.json())["type"]) == (503, "/problems/draining")
            assert response.headers["Retry-After"]
        assert await state_of(http, job) == "running", "the submission is rejected long before the drain ends"
        await server.event("server.drained")
        # The linger: over a new connection, too.
        async with aiohttp.ClientSession(http._base_url) as other:
            assert await state_of(other, job) == "succeeded"
        assert await server.exit_code() == 0
        assert 0.5 + 2.0 <= time.monotonic() - signalled_at < 0.5 + 2.0 + 10
    assert (await server.event("server.drained"))["lost"] == 0
    assert "drain.lost" not in [entry["event"] for entry in server.log]
    assert list(tmp_path.rglob("run-*")) == []  # noqa: ASYNC240 - a test may access files


async def test_jobs_lost_by_a_drain_are_counted_by_state(tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "server": {"drain_s": 0.2, "linger_s": 2.0},
        "queues": {"default": {"workers": 2, "capacity": 100}},
    }
    async with running(tmp_path, **settings) as server, aiohttp.ClientSession(await server.url()) as http:
        jobs = [await submit(http, "sleep", seconds=60) for _ in range(5)]
        async with http.post("/v1/jobs", json={"type": "echo", "delay_s": 60}) as response:
            delayed = (await response.json())["id"]
        server.process.send_signal(signal.SIGINT)
        lost = await server.event("drain.lost")
        assert (lost["delayed"], lost["queued"], lost["running"]) == (1, 3, 2)
        await server.event("server.drained")  # the count comes first, then the jobs end
        for job in (*jobs, delayed):
            async with http.get(f"/v1/jobs/{job}") as response:
                document = await response.json()
                assert (response.status, document["state"], document["error"]["code"]) == (200, "cancelled", "shutdown")
        assert await server.exit_code() == 0


async def test_a_handler_that_ignores_its_cancellation_does_not_change_the_exit_code(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"server": {"drain_s": 0.2, "linger_s": 0.0}}
    async with running(tmp_path, **settings) as server, aiohttp.ClientSession(await server.url()) as http:
        job = await submit(http, "stubborn")
        while await state_of(http, job) != "running":
            await asyncio.sleep(0.01)
        server.process.send_signal(signal.SIGTERM)
        assert await server.exit_code() == 0
    assert (await server.event("drain.lost"))["running"] == 1
    assert (await server.event("server.tasks_leaked"))["tasks"] >= 1
    assert list(tmp_path.rglob("run-*")) == []  # noqa: ASYNC240 - a test may access files


async def test_a_second_signal_aborts_the_server_with_all_its_children(tmp_path: Path) -> None:
    async with running(tmp_path) as server, aiohttp.ClientSession(await server.url()) as http:
        await submit(http, "spawn")
        me = psutil.Process(server.process.pid)
        while not children_with("sleep", of=me):
            await asyncio.sleep(0.02)
        children = me.children(recursive=True)
        server.process.send_signal(signal.SIGTERM)
        await server.event("server.draining")
        await asyncio.sleep(SAME_STOP_S)
        began = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        assert await server.exit_code() == 1
        assert time.monotonic() - began < 10  # a drain would take 20 s
        _, left = psutil.wait_procs(children, timeout=2)
        assert not left, left


async def test_jobs_lost_by_an_abort_are_counted_by_state(tmp_path: Path) -> None:
    queues: dict[str, Any] = {"default": {"workers": 2}, "other": {"workers": 1}}
    async with running(tmp_path, queues=queues) as server, aiohttp.ClientSession(await server.url()) as http:
        for _ in range(5):
            await submit(http, "sleep", seconds=60)
        for fields in ({"delay_s": 60}, {"queue": "other", "delay_s": 60}, {"queue": "other", "args": {"value": 1}}):
            async with http.post("/v1/jobs", json={"type": "echo", "args": {}, **fields}) as response:
                assert response.status == 202
        server.process.send_signal(signal.SIGTERM)
        await server.event("server.draining")
        await asyncio.sleep(SAME_STOP_S)
        server.process.send_signal(signal.SIGINT)
        assert await server.exit_code() == 1
    (lost,) = [entry for entry in server.log if entry["event"] == "drain.lost"]
    assert (lost["level"], lost["delayed"], lost["queued"], lost["running"]) == ("warning", 2, 3, 2)


async def test_an_abort_does_not_count_jobs_lost_by_the_drain_again(tmp_path: Path) -> None:
    server_settings = {"drain_s": 0.1, "linger_s": 30.0}
    async with running(tmp_path, server=server_settings) as server, aiohttp.ClientSession(await server.url()) as http:
        await submit(http, "stubborn")
        server.process.send_signal(signal.SIGTERM)
        await server.event("drain.lost")
        await asyncio.sleep(SAME_STOP_S)
        server.process.send_signal(signal.SIGTERM)
        assert await server.exit_code() == 1
    assert [entry["running"] for entry in server.log if entry["event"] == "drain.lost"] == [1]


async def test_several_signals_in_quick_succession_are_one_stop(tmp_path: Path) -> None:
    async with running(tmp_path, server={"linger_s": 2.0}) as server, aiohttp.ClientSession(await server.url()) as http:
        job = await submit(http, "sleep", seconds=0.5)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGTERM):
            server.process.send_signal(number)
            await asyncio.sleep(0.005)
        await server.event("server.drained")
        assert await state_of(http, job) == "succeeded"
        assert await server.exit_code() == 0


async def test_a_second_signal_aborts_the_server_while_a_handler_blocks_the_loop(tmp_path: Path) -> None:
    async with running(tmp_path) as server, aiohttp.ClientSession(await server.url()) as http:
        await submit(http, "echo")
        await submit(http, "block", seconds=30)
        await server.event("loop.blocked")
        server.process.send_signal(signal.SIGTERM)
        await asyncio.sleep(SAME_STOP_S)
        server.process.send_signal(signal.SIGTERM)
        assert await server.exit_code() == 1
    lost = await server.event("drain.lost")
    assert (lost["delayed"], lost["queued"], lost["running"]) == (0, 0, 1)


async def test_an_idle_server_without_clients_exits_without_linger(tmp_path: Path) -> None:
    async with running(tmp_path, server={"linger_s": 60.0}) as server:
        await server.url()
        began = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        assert await server.exit_code() == 0
        seen("sigterm_idle", f"exit 0 after {time.monotonic() - began:.2f} s (linger 60 s)")
    async with running(tmp_path, server={"linger_s": 60.0}) as server:
        async with aiohttp.ClientSession(await server.url()) as http:
            await submit(http, "sleep", seconds=0.3)
        server.process.send_signal(signal.SIGTERM)
        await server.event("server.drained")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await server.process.wait()


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
async def test_the_server_runs_and_stops_with_standard_descriptors_closed(tmp_path: Path, closed: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = f"--port {port} --set spool.dir={tmp_path} --set server.linger_s=0"
    process = await asyncio.create_subprocess_shell(
        f"exec {sys.executable} -m jobqueue serve {options} {closed}",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as http, asyncio.timeout(20):
        while True:
            with contextlib.suppress(aiohttp.ClientConnectionError):
                await submit(http, "echo")
                break
            await asyncio.sleep(0.05)
        for fd in (0, 1, 2):
            where = os.readlink(f"/proc/{process.pid}/fd/{fd}")
            assert where.startswith(("/dev/", "pipe:", "socket:", "/")), where
            assert "anon_inode" not in where, where
        async with http.post("/v1/jobs", json={"type": "digest"}, headers={"Prefer": "wait=5"}) as response:
            assert response.status == 200
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0


SLOW_TARGET = """
import pathlib, time
pathlib.Path("importing").touch()
{body}
from jobqueue import JobQueue
queue = JobQueue()
"""


@pytest.mark.parametrize("body", ["time.sleep(60)", "try: time.sleep(60)\nexcept BaseException: pass"])
@pytest.mark.parametrize("first_process", [False, True])
async def test_sigterm_during_the_start_stops_the_server(tmp_path: Path, body: str, first_process: bool) -> None:
    unshare = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child"] if first_process else []
    if unshare and (not shutil.which("unshare") or subprocess.run([*unshare, "true"], check=False).returncode):  # noqa: ASYNC221 - before any other task runs
        pytest.skip("no process namespaces here")
    (tmp_path / "tasks.py").write_text(SLOW_TARGET.format(body=body))
    process = await asyncio.create_subprocess_exec(
        *unshare,
        *(sys.executable, "-m", "jobqueue", "serve", "tasks.py", "--port=0", f"--set=spool.dir={tmp_path}"),
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.getcwd()},
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(20):
            while not (tmp_path / "importing").exists():
                await asyncio.sleep(0.02)
            me = psutil.Process(process.pid)
            pid = me.children()[0].pid if unshare else me.pid
            began = time.monotonic()
            os.kill(pid, signal.SIGTERM)
            _, errors = await process.communicate()
        assert (process.returncode, errors) == (0, b"")
        as_first = ", as PID 1" if first_process else ""
        seen("sigterm_start", f"exit 0 after {time.monotonic() - began:.2f} s, within an import{as_first}")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_a_blocked_loop_delays_the_exit_by_a_bounded_time(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"server": {"drain_s": 0.1, "linger_s": 0.1}}
    async with running(tmp_path, **settings) as server, aiohttp.ClientSession(await server.url()) as http:
        await submit(http, "block", seconds=30)
        await server.event("loop.blocked")
        server.process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        assert await server.exit_code() == 1
        assert 0.2 + 1.5 < time.monotonic() - began < 0.2 + 6.0  # with a margin for a busy machine
    await server.event("server.stuck")


async def test_a_standing_loop_lag_rejects_submissions_while_statuses_are_served(tmp_path: Path) -> None:
    async with (
        running(tmp_path, limits={"loop_lag_max_s": 0.1}) as server,
        aiohttp.ClientSession(await server.url()) as http,
    ):
        job = await submit(http, "lumber", seconds=3.0)
        status = 202
        async with asyncio.timeout(15):
            while status == 202:
                async with http.post("/v1/jobs", json={"type": "echo"}) as response:
                    status, document = response.status, await response.json()
        assert (status, document["type"]) == (503, "/problems/overloaded")
        assert response.headers["Retry-After"]
        assert await state_of(http, job) == "running"
        while await state_of(http, job) == "running":
            await asyncio.sleep(0.05)
        while status == 503:
            await asyncio.sleep(0.05)
            async with http.post("/v1/jobs", json={"type": "echo"}) as response:
                status = response.status
        assert status == 202


async def test_sighup_reloads_the_settings(tmp_path: Path) -> None:
    narrow: dict[str, Any] = {"default": {"workers": 1, "capacity": 2}}
    wide: dict[str, Any] = {"default": {"workers": 2, "capacity": 3, "discipline": "lifo"}}
    async with running(tmp_path, queues=narrow) as server, aiohttp.ClientSession(await server.url()) as http:
        first, second = [await submit(http, "sleep", seconds=60) for _ in range(2)]
        async with http.post("/v1/jobs", json={"type": "echo"}) as response:
            assert (response.status, (await response.json())["type"]) == (503, "/problems/queue-full")
        assert (await state_of(http, first), await state_of(http, second)) == ("running", "queued")
        write_settings(tmp_path, queues=wide, runtime={"threads": 5}, log={"level": "debug"})
        server.process.send_signal(signal.SIGHUP)
        assert (await server.event("config.reloaded"))["changed"] == {
            "queues.default.workers": "1 -> 2",
            "queues.default.capacity": "2 -> 3",
            "queues.default.discipline": "fifo -> lifo",
            "log.level": "info -> debug",
        }
        assert (await server.event("config.restart_required"))["settings"] == ["runtime.threads"]
        while await state_of(http, second) != "running":
            await asyncio.sleep(0.01)
        await submit(http, "echo")


async def test_an_invalid_reload_logs_each_fault_and_changes_nothing(tmp_path: Path) -> None:
    queues: dict[str, Any] = {"default": {"workers": 1, "capacity": 1}}
    async with running(tmp_path, queues=queues) as server, aiohttp.ClientSession(await server.url()) as http:
        await submit(http, "sleep", seconds=60)
        path = tmp_path / "settings.yaml"
        path.write_text("queues:\n  default:\n    capacity: 5\n    discipline: random\nlimits: {caller_rate: 10/x}\n")
        server.process.send_signal(signal.SIGHUP)
        while len(faults := [entry["fault"] for entry in server.log if entry["event"] == "config.invalid"]) < 2:
            await server.news()
        assert faults[0].startswith(f"{path}:4:17: queues.default.discipline: must be one of fifo, lifo, ")
        assert faults[1].startswith(f"{path}:5:23: limits.caller_rate: must be a rate such as 10/s, ")
        async with http.post("/v1/jobs", json={"type": "echo"}) as response:
            assert (response.status, (await response.json())["type"]) == (503, "/problems/queue-full")
        assert "config.reloaded" not in [entry["event"] for entry in server.log]


async def test_sighup_during_a_drain_is_ignored(tmp_path: Path) -> None:
    async with running(tmp_path, server={"linger_s": 2.0}) as server, aiohttp.ClientSession(await server.url()) as http:
        job = await submit(http, "sleep", seconds=0.5)
        server.process.send_signal(signal.SIGTERM)
        await server.event("server.draining")
        server.process.send_signal(signal.SIGHUP)
        await server.event("config.reload_ignored")
        await server.event("server.drained")
        assert await state_of(http, job) == "succeeded"
        assert await server.exit_code() == 0


async def test_sighup_of_a_closed_terminal_stops_the_server(tmp_path: Path) -> None:
    terminal, inside = pty.openpty()
    async with (
        running(tmp_path, stdin=inside, server={"linger_s": 2.0}) as server,
        aiohttp.ClientSession(await server.url()) as http,
    ):
        server.process.send_signal(signal.SIGHUP)
        await server.event("config.reloaded")  # the terminal is still there
        job = await submit(http, "sleep", seconds=0.2)
        os.close(inside)
        os.close(terminal)
        for _ in range(2):  # the shell and the kernel both send it
            server.process.send_signal(signal.SIGHUP)
        await server.event("server.drained")
        assert await state_of(http, job) == "succeeded"
        assert await server.exit_code() == 0


async def test_after_sigkill_the_next_run_answers_410_for_earlier_ids(tmp_path: Path) -> None:
    async with running(tmp_path) as server, aiohttp.ClientSession(await server.url()) as http:
        job = await submit(http, "sleep", seconds=60)
        server.process.kill()
        assert await server.exit_code() == -signal.SIGKILL
    left = set(tmp_path.rglob("run-*"))  # noqa: ASYNC240 - a test may access files
    assert len(left) == 1
    async with running(tmp_path) as server, aiohttp.ClientSession(await server.url()) as http:
        async with http.get(f"/v1/jobs/{job}") as response:
            assert (response.status, (await response.json())["reason"]) == (410, "earlier-run")
        while left & set(tmp_path.rglob("run-*")):  # noqa: ASYNC240 - a test may access files
            await asyncio.sleep(0.02)


async def test_a_port_in_use_fails_the_start_with_its_reason(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        began = time.monotonic()
        async with running(tmp_path, server={"port": port}) as server:
            assert await server.exit_code() == 1
            seen("port_taken", f"exit 1 after {time.monotonic() - began:.1f} s, the reason names the port")
    failed = await server.event("server.failed")
    assert f"127.0.0.1:{port} is in use" in failed["reason"]


async def test_an_address_of_another_machine_fails_the_start_with_its_reason(tmp_path: Path) -> None:
    async with running(tmp_path, server={"host": "192.0.2.1"}, auth={"none": True}) as server:
        assert await server.exit_code() == 1
    assert "not an address of this machine" in (await server.event("server.failed"))["reason"]


async def test_an_address_that_other_machines_reach_logs_a_warning_and_accepts_any_host(tmp_path: Path) -> None:
    async with running(tmp_path, server={"host": "0.0.0.0"}, auth={"none": True}) as server:
        warning = await server.event("server.exposed")
        assert "limits.caller_jobs_max" in (await server.event("server.callers_unbounded"))["hint"]
        assert (warning["level"], warning["host"]) == ("warning", "0.0.0.0")
        for word in ("no authentication", "proxy", "firewall", "server.host"):
            assert word in warning["reason"]
        async with aiohttp.ClientSession(await server.url()) as http:
            async with http.get("/livez", headers={"Host": "jobs.example"}) as response:
                assert response.status == 200
            async with http.post("/v1/queues/default:pause", headers={"Origin": "http://evil.example"}) as response:
                assert response.status == 403


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "localhost", "::1"])
async def test_a_loopback_address_logs_no_warning_and_accepts_its_own_names_alone(tmp_path: Path, host: str) -> None:
    async with running(tmp_path, server={"host": host}) as server:
        listening = await server.event("server.listening")
        assert not {"server.exposed", "server.callers_unbounded"} & {entry["event"] for entry in server.log}
        own = f"[{listening['host']}]" if ":" in listening["host"] else listening["host"]
        async with aiohttp.ClientSession(f"http://{own}:{listening['port']}") as http:
            for name, status in ((own, 200), ("localhost", 200), ("jobs.example", 421), ("10.0.0.1", 421)):
                async with http.get("/livez", headers={"Host": f"{name}:{listening['port']}"}) as response:
                    assert response.status == status


@pytest.mark.parametrize(
    ("host", "tracebacks", "sent"),
    [
        ("127.0.0.1", None, True),
        ("127.0.0.1", False, False),
        ("0.0.0.0", None, False),
        ("0.0.0.0", True, True),
    ],
)
async def test_tracebacks_are_sent_on_a_loopback_address_and_always_logged(
    tmp_path: Path, host: str, tracebacks: bool | None, sent: bool
) -> None:
    async with running(tmp_path, server={"host": host, "tracebacks": tracebacks}, auth={"none": True}) as server:
        url = await server.url()
        async with aiohttp.ClientSession(url) as http:
            prefer = {"Prefer": "wait=10"}
            async with http.post("/v1/jobs", json={"type": "fail"}, headers=prefer) as response:
                documents = [await response.json()]
            async with http.get(f"/v1/jobs/{documents[0]['id']}") as response:
                documents.append(await response.json())
            for query in (f"ids={documents[0]['id']}", "state=failed"):
                async with http.get(f"/v1/jobs?{query}") as response:
                    listed = (await response.json())["jobs"]
                    assert [attempt["traceback"] for job in listed for attempt in job["history"]] == [None], (
                        "lists have no tracebacks"
                    )
            async with http.get(f"/v1/jobs/{documents[0]['id']}/events") as response:
                assert ("Traceback" in await response.text()) <= sent
        for document in documents:
            assert (document["state"], document["error"]["message"]) == ("failed", "ValueError: it can't be done")
            for attempt in document["history"]:
                assert attempt["message"] == "ValueError: it can't be done"
                assert ("Traceback" in (attempt["traceback"] or "")) == sent
        while not any("Traceback" in entry.get("traceback", "") for entry in server.log):
            await server.news()


async def test_the_server_does_not_start_without_the_c_parser(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIOHTTP_NO_EXTENSIONS", "1")
    began = time.monotonic()
    async with running(tmp_path) as server:
        assert await server.exit_code() == 1
        seen("no_c_parser", f"exit 1 after {time.monotonic() - began:.1f} s, the reason names the C parser")
    assert "C parser" in (await server.event("server.failed"))["reason"]


async def test_a_stuck_log_pipe_does_not_stop_the_server(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    path = write_settings(tmp_path, log={"level": "debug"})
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.e2e.served", str(path)), stderr=writing
    )
    os.close(writing)
    loop = asyncio.get_running_loop()
    try:
        listening: dict[str, Any] = {}
        while listening.get("event") != "server.listening":
            lines = await loop.run_in_executor(None, os.read, reading, 4096)
            listening = next((each for line in lines.splitlines() if "port" in (each := json.loads(line))), {})
        async with aiohttp.ClientSession(f"http://127.0.0.1:{listening['port']}") as http:
            noise = "x" * 4000
            for _ in range(2000):  # more log lines than the pipe holds, and no reader
                async with http.get(f"/{noise}") as response:
                    assert response.status == 404
            for _ in range(500):
                async with http.post("/v1/jobs", json={"type": "sleep", "args": {"seconds": 0}}) as response:
                    assert response.status == 202
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(10):
            assert await process.wait() == 0
        seen("stderr_unread", "2,000 log lines of 4 kB unread: 2,500 of 2,500 requests answered; exit 0")
    finally:
        os.close(reading)
        if process.returncode is None:
            process.kill()
            await process.wait()
        await loop.shutdown_default_executor()


async def test_the_limit_of_open_files_is_raised_and_a_low_one_is_logged(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *("prlimit", "--nofile=256:1024", sys.executable, "-m", "tests.e2e.served"),
        str(write_settings(tmp_path)),
        stderr=asyncio.subprocess.PIPE,
    )
    server = Server(process)
    try:
        capped = await server.event("server.connections_capped")
        assert (capped["connections_max"], capped["open_files_max"]) == (16_384, 1024)
        assert 0 < capped["possible"] < 1024
        assert 0 < capped["files_sent_max"] < 1024 - capped["possible"]
        url = await server.url()
        connections = [await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2])) for _ in range(600)]
        assert psutil.Process(process.pid).num_fds() < 1024
        cpu_before = sum(psutil.Process(process.pid).cpu_times()[:2])
        await asyncio.sleep(1.0)
        assert sum(psutil.Process(process.pid).cpu_times()[:2]) - cpu_before < 0.5, "a full table must not spin"
        for _, writer in connections:
            writer.close()
        async with aiohttp.ClientSession(url) as http:
            while True:
                with contextlib.suppress(aiohttp.ClientError):
                    async with http.get("/readyz") as response:
                        if response.status == 200:
                            break
                await asyncio.sleep(0.02)
    finally:
        process.kill()
        await server.exit_code()


async def test_garbage_collection_is_tuned_in_the_server_and_unchanged_in_other_programs(tmp_path: Path) -> None:
    default_thresholds = gc.get_threshold()
    async with JobQueue():
        assert gc.get_threshold() == default_thresholds
    async with running(tmp_path) as server, aiohttp.ClientSession(await server.url()) as http:
        job = await submit(http, "thresholds")
        async with http.get(f"/v1/jobs/{job}", headers={"Prefer": "wait=5"}) as response:
            assert tuple((await response.json())["result"]) == COLLECTIONS != default_thresholds


async def test_exhausted_file_descriptors_do_not_spin_the_loop_or_stop_open_connections(tmp_path: Path) -> None:
    async with running(tmp_path, server={"drain_s": 0.0, "linger_s": 0.0}) as server:
        url = await server.url()
        port = int(url.rpartition(":")[2])
        psutil.Process(server.process.pid).rlimit(psutil.RLIMIT_NOFILE, (256, 256))
        one = aiohttp.TCPConnector(limit=1)
        async with aiohttp.ClientSession(url, connector=one) as http, aiohttp.ClientSession(url) as other:
            async with other.get("/readyz") as response:
                await response.read()
            job = await submit(http, "hog", seconds=1.5)
            while await state_of(http, job) != "running":
                await asyncio.sleep(0.01)
            process = psutil.Process(server.process.pid)
            cpu_before, began = sum(process.cpu_times()[:2]), time.monotonic()
            waiting = [await asyncio.open_connection("127.0.0.1", port) for _ in range(20)]
            form = aiohttp.FormData({"job": '{"type":"echo"}'})
            form.add_field("file", b"x", filename="f")
            async with other.post("/v1/jobs", data=form) as response:
                assert (response.status, (await response.json())["type"]) == (503, "/problems/spool-full")
            while await state_of(http, job) == "running":
                await asyncio.sleep(0.1)
            assert sum(process.cpu_times()[:2]) - cpu_before < 0.5 * (time.monotonic() - began)
            for _, writer in waiting:
                writer.close()
        async with aiohttp.ClientSession(url) as http:
            await submit(http, "echo")


class Screen:
    """A server on a terminal of 80 columns without colours, and its output."""

    def __init__(self, tmp_path: Path, *settings: str) -> None:
        self.terminal, inside = pty.openpty()
        fcntl.ioctl(inside, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        options = ("--port=0", f"--set=spool.dir={tmp_path}", *(f"--set={each}" for each in settings))
        environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "jobqueue", "serve", *options],
            **dict.fromkeys(("stdin", "stdout", "stderr"), inside),
            env=environment | {"NO_COLOR": "1"},
            start_new_session=True,
        )
        os.close(inside)
        os.set_blocking(self.terminal, False)
        self.text = ""

    async def until(self, text: str) -> None:
        """Wait until the text is there."""
        async with asyncio.timeout(15):
            while text not in self.text:
                await asyncio.sleep(0.02)
                with contextlib.suppress(OSError):  # nothing new; or the end
                    self.text += os.read(self.terminal, 65536).decode().replace("\r\n", "\n")

    def __enter__(self) -> Screen:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.terminal)


async def test_on_a_terminal_the_server_prints_a_banner_and_text_lines(tmp_path: Path) -> None:
    with Screen(tmp_path, "server.linger_s=60") as screen:
        await screen.until("Ctrl-C\n")
        # In a container with a quota, a line about it comes first.
        first, *rest = screen.text[screen.text.index("jobqueue ") : screen.text.index("Ctrl-C")].splitlines()
        url = first.removeprefix(f"jobqueue {__version__} on ")
        assert rest == [
            f"  console   {url}/console/",
            "  handlers  echo, sleep, fail, spin, digest",
            "  settings  config.yaml, 3 flags",
            f"  build     {build()}, {interpreter()}",
            "  stop      ",
        ]
        async with aiohttp.ClientSession(url) as http:
            await submit(http, "fail")
            await screen.until("\n    RuntimeError: it was asked to fail\n")
            assert re.search(r"^\d\d:\d\d:\d\d WARNING job.failed job_id=", screen.text, re.MULTILINE)
            await submit(http, "sleep", min_s=60)
        screen.process.send_signal(signal.SIGINT)
        await screen.until("\rdraining 1 job, up to 20 s; Ctrl-C again to stop now\n")
        await asyncio.sleep(SAME_STOP_S)
        screen.process.send_signal(signal.SIGINT)
        await screen.until(" WARNING drain.lost waiting=0 delayed=0 queued=0 running=1\n")
        assert "{" not in screen.text


async def test_on_a_terminal_the_banner_precedes_the_warnings(tmp_path: Path) -> None:
    with Screen(
        tmp_path, "server.host=0.0.0.0", "auth.none=true", "statuses.bytes_max=1000GiB", "server.linger_s=0"
    ) as screen:
        await screen.until(" WARNING server.callers_unbounded")
        positions = [screen.text.index(text) for text in ("Ctrl-C\n", "server.memory_overcommitted", "server.exposed")]
        assert positions == sorted(positions)


async def test_on_a_terminal_an_idle_stop_is_immediate_and_prints_two_lines(tmp_path: Path) -> None:
    with Screen(tmp_path, "server.linger_s=60") as screen:
        await screen.until("Ctrl-C\n")
        began = len(screen.text)
        screen.process.send_signal(signal.SIGINT)
        await screen.until("stopped\n")
        lines = [line for line in screen.text[began:].splitlines() if "process.started" not in line]
        assert [line for line in lines if line] == ["stopping", "stopped"]


async def test_the_server_runs_without_docstrings_and_assertions(tmp_path: Path) -> None:
    options = ("--port=0", f"--set=spool.dir={tmp_path}", "--set=server.linger_s=0", "--set=log.format=json")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-OO", "-m", "jobqueue", "serve", *options), stderr=asyncio.subprocess.PIPE
    )
    server = Server(process)
    try:
        async with aiohttp.ClientSession(await server.url()) as http:
            form = aiohttp.FormData({"job": '{"type":"digest"}'})
            form.add_field("file", b"x", filename="f")
            async with http.post("/v1/jobs", data=form, headers={"Prefer": "wait=10"}) as response:
                assert (await response.json())["state"] == "succeeded"
            for body in ({"type": "spin", "args": {"duration_s": 0}}, {"type": "sleep", "args": {"min_s": 0}}):
                async with http.post("/v1/jobs", json=body, headers={"Prefer": "wait=10"}) as response:
                    assert (await response.json())["state"] == "succeeded"
        process.send_signal(signal.SIGTERM)
        assert await server.exit_code() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await server.exit_code()
