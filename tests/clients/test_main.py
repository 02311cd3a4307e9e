"""The fleet as a program: options, signals, exit codes and reports."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from clients import options, processes
from clients.fleet import address_of
from jobqueue.cli.parser import end_with
from tests.children import children_with

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.clients.stub import Stub

SMALL = ("--clients", "4", "--spawn-rate", "1000", "--poll-s", "0.05")


@asynccontextmanager
async def fleet(stub: Stub, *argv: str) -> AsyncIterator[Process]:
    command = (sys.executable, "-m", "clients", "--url", stub.url, *SMALL, *argv)
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def run(stub: Stub, *argv: str) -> tuple[int | None, str, str]:
    async with fleet(stub, *argv) as process:
        out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


def figures(path: Path) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(path.read_bytes())
    return report


async def test_a_successful_run_prints_a_table_writes_a_report_and_exits_with_0(stub: Stub, tmp_path: Path) -> None:
    path = tmp_path / "deep" / "report.json"

    code, out, err = await run(stub, "--duration-s", "1.5", "--report", str(path))

    report = figures(path)
    assert code == 0
    assert report["accepted"] == report["ended"] > 0
    assert report["accepted"] == report["created"]
    assert (report["unseen"], report["refused"], report["errors"]) == (0, 0, 0)
    assert {"p50", "p95", "p99", "max"} < report["latency_ms"]["status 200"].keys()
    assert re.search(rf"\b{report['accepted']:,} +accepted\b", out)
    assert "Every accepted job was seen to end." in out
    assert all(line == line.rstrip() for line in out.splitlines())
    assert err.splitlines()[-1] == f"written: {path}"
    assert "jobs done/s" in err.splitlines()[0]  # one line per second without a terminal


async def test_a_fleet_of_two_processes_adds_up_its_counters(stub: Stub, tmp_path: Path) -> None:
    path = tmp_path / "report.json"

    code, _, _ = await run(stub, "--duration-s", "1", "--processes", "2", "--report", str(path))

    report = figures(path)
    assert code == 0
    assert report["accepted"] == report["ended"] == report["submissions_by_status"]["202"]
    assert report["accepted"] == len(stub.submitted_at)


async def test_an_unmet_requirement_sets_exit_code_99(stub: Stub, tmp_path: Path) -> None:
    path, page = tmp_path / "report.json", tmp_path / "pages" / "report.html"
    met, unmet = ("--require", "p95<60s", "errors<=0"), ("--require", "refused<=0")
    stub.submissions.append("refuse")

    code, out, _ = await run(stub, "--duration-s", "2", *met, *unmet, "--report", str(path), "--html", str(page))

    assert code == 99
    report = figures(path)
    assert [each["met"] for each in report["requirements"]] == [True, True, False]
    assert "NOT MET: refused<=0 (1)" in out
    assert "met: errors<=0 (0)" in out
    assert report["timeline"][-1]["ended"] == report["ended"]
    assert "</html>" in page.read_text()


async def test_met_requirements_keep_exit_code_0(stub: Stub) -> None:
    assert (await run(stub, "--duration-s", "1", "--require", "succeeded>=100%", "--require", "unseen<=0"))[0] == 0


async def test_a_fleet_without_a_server_prints_a_hint_and_no_table(stub: Stub) -> None:
    await stub.stop()

    code, out, _ = await run(stub, "--duration-s", "60", "--require", "p95<1s")

    assert code == 1
    port = stub.url.rpartition(":")[2]
    right = f'start one with make run-server ARGS="--port {port}", or give the URL of one.'
    assert " ".join(out.split()) == f"No server listens on {stub.url}: {right}"  # and no table of zeros


def test_ctrl_c_during_the_start_exits_with_130_without_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    def main() -> int:
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as ended:
        end_with(main)
    assert ended.value.code == 130
    assert capsys.readouterr().err == "\rinterrupted\n"


async def test_an_unresolvable_host_raises_an_error_that_names_it() -> None:
    with pytest.raises(OSError, match=r"the host 'nowhere\.invalid' can't be resolved"):
        address_of(options.Options(url="http://nowhere.invalid"))


async def test_unseen_jobs_set_exit_code_1_and_are_counted_by_state(stub: Stub) -> None:
    stub.ends_as = None

    code, out, _ = await run(stub, "--duration-s", "0.5", "--grace-s", "0.5")

    assert code == 1
    assert "12 jobs were accepted but never seen to end; lost by their last state: 12 queued." in out


async def test_one_stop_signal_finishes_the_accepted_jobs(stub: Stub, tmp_path: Path) -> None:
    stub.polls_to_end = 5
    path = tmp_path / "report.json"
    async with fleet(stub, "--duration-s", "60", "--report", str(path)) as process:
        await stub.submitted(12)
        for number in (signal.SIGINT, signal.SIGTERM):  # one stop, forwarded by the terminal and by a wrapper
            process.send_signal(number)
            await asyncio.sleep(0.01)
        await process.communicate()

    report = figures(path)
    assert process.returncode == 0
    assert report["accepted"] == report["ended"] > 0


async def test_the_fleet_runs_with_closed_standard_descriptors(stub: Stub, tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    arguments = " ".join(["--url", stub.url, *SMALL, "--duration-s", "0.5", "--report", str(path)])
    process = await asyncio.create_subprocess_shell(f"exec {sys.executable} -m clients {arguments} <&- >&- 2>&-")
    assert await asyncio.wait_for(process.wait(), 30) == 0
    assert figures(path)["accepted"] > 0


async def test_a_second_signal_ends_the_fleet_immediately(stub: Stub, tmp_path: Path) -> None:
    stub.ends_as = None
    path = tmp_path / "report.json"
    async with fleet(stub, "--duration-s", "60", "--report", str(path)) as process:
        assert process.stderr is not None
        await stub.submitted(12)
        process.send_signal(signal.SIGINT)
        await process.stderr.readuntil(b"Ctrl-C again")
        await asyncio.sleep(processes.SAME_STOP_S)
        process.send_signal(signal.SIGINT)
        await asyncio.wait_for(process.communicate(), 5)

    assert process.returncode == 1
    assert figures(path)["unseen"] == 12


async def test_worker_processes_end_when_their_parent_is_killed(stub: Stub) -> None:
    stub.ends_as = None
    async with fleet(stub, "--duration-s", "60") as process:
        await stub.submitted(12)
        process.kill()
        await asyncio.wait_for(process.communicate(), 5)  # until every process with its output has ended

    polls = len(stub.polled_at)
    await asyncio.sleep(0.2)
    assert len(stub.polled_at) == polls


@pytest.mark.parametrize(
    ("argv", "hint"),
    [
        (["--clients", "0"], "must be a whole number from 1, not '0'"),
        (["--poll-s", "-1"], "must be a number above 0, not '-1'"),
        (["--args", "[1]"], "is not a JSON object"),
        (["--args", "{"], "is not JSON"),
        (["--file", "/no/such/file"], "/no/such/file: no such file"),
        (["--url", "127.0.0.1:8080"], "expected a URL such as http://127.0.0.1:8080"),
        (["--via", "pigeon"], "invalid choice: 'pigeon' (choose from"),
        (["--via", "heads"], "argument --via: invalid choice: 'heads', did you mean 'head'?"),
        (["--clients", "many"], "argument --clients: must be a number, not 'many'"),
        (["--clients", "1.5"], "argument --clients: must be a whole number from 1, not '1.5'"),
        (["--duration-s", "1m"], "must be a number, not '1m'; durations are in seconds"),
        (["--seed", "one"], "argument --seed: must be a whole number, not 'one'"),
        (["--rat", "500"], "unrecognized arguments: --rat 500, did you mean '--rate'?"),
        (["--html", "/"], "/ is a folder; give a file's name"),
        (["--report", f"{__file__}/report.json"], "report.json can't be written: "),
        (["--disobedient", "2"], "must be a share from 0 to 1, not '2'"),
        (["--rate", "0"], "must be a number above 0, not '0'"),
        (["--rate", "5", "--via", "events"], "with --rate, jobs are polled"),
        (["--rate", "5", "--disobedient", "0.5"], "rejected submissions are not retried"),
        (["--via", "batch", "--file", __file__], "a batch takes no files"),
        (["--url", "unix:"], "is not the URL of a Unix socket"),
        (["--ca-file", "/no/such/ca"], "ca_file need a URL that begins with https://"),
        (["--url", "https://host", "--ca-file", "/no/such/ca"], "/no/such/ca can't be read: No such file"),
        (["--url", "http://host:99999"], "expected a URL such as http://127.0.0.1:8080"),
        (["--require", "p95"], "'p95' is not a requirement; examples: p95<50ms"),
        (["--require", "p95<50"], "p95 is a time; say its unit, as in p95<50ms"),
        (["--require", "refusd<1%"], "there is no metric 'refusd', did you mean refused?"),
        (["--require", "refused<1ms"], "refused is a number, or a share in %, and has no unit 'ms'"),
        (["--require", "jobs_per_s>10%"], "jobs_per_s is a number a second, and has no unit '%'"),
        (["--require", "p95<50ms", "nope<1"], "there is no metric 'nope'; there are: p50, p95"),
    ],
)
def test_an_invalid_option_prints_one_line_with_a_hint(
    argv: list[str], hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        options.parse(argv)

    err = capsys.readouterr().err
    assert hint in err
    assert err.count("\n") == 1  # without the usage, which would hide the hint


def test_only_the_default_type_has_default_arguments() -> None:
    assert options.parse([]).args == {"min_s": 0.05, "max_s": 0.05}
    assert options.parse(["--type", "echo"]).args == {}
    assert options.parse(["--type", "echo", "--args", '{"a": 1}']).args == {"a": 1}


def test_long_polling_and_streaming_clients_open_one_connection_per_job_up_to_a_bound() -> None:
    assert [options.Options(via=via).connections for via in ("head", "get", "batch")] == [1, 1, 1]
    assert [options.Options(via=via).connections for via in ("wait", "events")] == [4, 4]
    assert options.Options(via="wait", jobs=100).connections == 7


def test_too_few_open_files_raise_an_error_with_a_hint() -> None:
    with pytest.raises(OSError, match="use more --processes"):
        processes.raise_open_files(10**9)


async def test_a_killed_process_is_reported_and_its_jobs_are_counted(stub: Stub, tmp_path: Path) -> None:
    stub.ends_as = None
    path = tmp_path / "report.json"
    async with fleet(
        stub, "--duration-s", "2", "--grace-s", "0.1", "--processes", "2", "--report", str(path)
    ) as process:
        await stub.submitted(12)
        await asyncio.sleep(0.5)  # for its counts to be reported
        children_with("spawn_main", of=psutil.Process(process.pid))[0].kill()
        out, _ = await process.communicate()

    report = figures(path)
    assert process.returncode == 1
    assert "1 of the fleet's processes died." in " ".join(out.decode().split())
    assert (report["accepted"], report["unseen"]) == (12, 12)
    assert (report["lost"]["queued"], report["lost"]["unknown"]) == (6, 6)
