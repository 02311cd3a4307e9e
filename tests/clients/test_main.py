"""The fleet as its users start it: a program with options, signals, an exit code and a report."""

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


async def test_a_whole_course_ends_with_a_table_a_report_and_exit_code_0(stub: Stub, tmp_path: Path) -> None:
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
    assert "jobs done/s" in err.splitlines()[0]  # a line a second, where there is no terminal


async def test_two_processes_are_one_fleet(stub: Stub, tmp_path: Path) -> None:
    path = tmp_path / "report.json"

    code, _, _ = await run(stub, "--duration-s", "1", "--processes", "2", "--report", str(path))

    report = figures(path)
    assert code == 0
    assert report["accepted"] == report["ended"] == report["submissions_by_status"]["202"]
    assert report["accepted"] == len(stub.submitted_at)


async def test_a_requirement_that_is_not_met_is_exit_code_99(stub: Stub, tmp_path: Path) -> None:
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


async def test_a_run_that_keeps_to_its_requirements_is_exit_code_0(stub: Stub) -> None:
    assert (await run(stub, "--duration-s", "1", "--require", "succeeded>=100%", "--require", "unseen<=0"))[0] == 0


async def test_without_a_server_the_fleet_says_so_and_ends(stub: Stub) -> None:
    await stub.go_away()

    code, out, _ = await run(stub, "--duration-s", "60", "--require", "p95<1s")

    assert code == 1
    port = stub.url.rpartition(":")[2]
    right = f'start one with make run-server ARGS="--port {port}", or give the URL of one.'
    assert " ".join(out.split()) == f"No server listens on {stub.url}: {right}"  # and no table of noughts


def test_a_ctrl_c_while_a_program_starts_has_no_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    def main() -> int:
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as ended:
        end_with(main)
    assert ended.value.code == 130
    assert capsys.readouterr().err == "\rinterrupted\n"


async def test_a_host_without_an_address_is_named() -> None:
    with pytest.raises(OSError, match=r"the host 'nowhere\.invalid' can't be resolved"):
        address_of(options.Options(url="http://nowhere.invalid"))


async def test_jobs_never_seen_to_end_are_exit_code_1_and_counted(stub: Stub) -> None:
    stub.ends_as = None

    code, out, _ = await run(stub, "--duration-s", "0.5", "--grace-s", "0.5")

    assert code == 1
    assert "12 jobs were accepted but never seen to end; lost by their last state: 12 queued." in out


async def test_one_signal_finishes_in_order(stub: Stub, tmp_path: Path) -> None:
    stub.polls_to_end = 5
    path = tmp_path / "report.json"
    async with fleet(stub, "--duration-s", "60", "--report", str(path)) as process:
        await stub.submitted(12)
        for number in (signal.SIGINT, signal.SIGTERM):  # as a terminal and a wrapper pass one stop on
            process.send_signal(number)
            await asyncio.sleep(0.01)
        await process.communicate()

    report = figures(path)
    assert process.returncode == 0
    assert report["accepted"] == report["ended"] > 0


async def test_it_runs_with_standard_descriptors_closed(stub: Stub, tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    arguments = " ".join(["--url", stub.url, *SMALL, "--duration-s", "0.5", "--report", str(path)])
    process = await asyncio.create_subprocess_shell(f"exec {sys.executable} -m clients {arguments} <&- >&- 2>&-")
    assert await asyncio.wait_for(process.wait(), 30) == 0
    assert figures(path)["accepted"] > 0


async def test_a_second_signal_ends_it_now(stub: Stub, tmp_path: Path) -> None:
    stub.ends_as = None
    path = tmp_path / "report.json"
    async with fleet(stub, "--duration-s", "60", "--report", str(path)) as process:
        assert process.stderr is not None
        await stub.submitted(12)
        process.send_signal(signal.SIGINT)
        await process.stderr.readuntil(b"Once more")
        await asyncio.sleep(processes.SAME_STOP_S)
        process.send_signal(signal.SIGINT)
        await asyncio.wait_for(process.communicate(), 5)

    assert process.returncode == 1
    assert figures(path)["unseen"] == 12


async def test_a_fleet_whose_parent_is_killed_ends_by_itself(stub: Stub) -> None:
    stub.ends_as = None
    async with fleet(stub, "--duration-s", "60") as process:
        await stub.submitted(12)
        process.kill()
        await asyncio.wait_for(process.communicate(), 5)  # until every holder of its output is gone

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
        (["--url", "https://host"], "plain http only"),
        (["--url", "http://host:99999"], "expected a URL such as http://127.0.0.1:8080"),
        (["--require", "p95"], "'p95' is not a requirement; examples: p95<50ms"),
        (["--require", "p95<50"], "p95 is a time; say its unit, as in p95<50ms"),
        (["--require", "refusd<1%"], "there is no metric 'refusd', did you mean refused?"),
        (["--require", "refused<1ms"], "refused is a number, or a share in %, and has no unit 'ms'"),
        (["--require", "jobs_per_s>10%"], "jobs_per_s is a number a second, and has no unit '%'"),
        (["--require", "p95<50ms", "nope<1"], "there is no metric 'nope'; there are: p50, p95"),
    ],
)
def test_a_wrong_option_says_what_would_be_right(
    argv: list[str], hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        options.parse(argv)

    err = capsys.readouterr().err
    assert hint in err
    assert err.count("\n") == 1  # without the usage, which would hide it


def test_another_type_has_no_arguments_unless_they_are_given() -> None:
    assert options.parse([]).args == {"min_s": 0.05, "max_s": 0.05}
    assert options.parse(["--type", "echo"]).args == {}
    assert options.parse(["--type", "echo", "--args", '{"a": 1}']).args == {"a": 1}


def test_a_client_that_waits_or_listens_needs_a_connection_for_each_job_up_to_a_bound() -> None:
    assert [options.Options(via=via).connections for via in ("head", "get", "batch")] == [1, 1, 1]
    assert [options.Options(via=via).connections for via in ("wait", "events")] == [4, 4]
    assert options.Options(via="wait", jobs=100).connections == 7


def test_more_connections_than_open_files_are_allowed_is_told_beforehand() -> None:
    with pytest.raises(OSError, match="use more --processes"):
        processes.raise_open_files(10**9)


async def test_a_process_of_the_fleet_that_is_killed_is_told_and_its_jobs_are_not_forgotten(
    stub: Stub, tmp_path: Path
) -> None:
    stub.ends_as = None
    path = tmp_path / "report.json"
    async with fleet(
        stub, "--duration-s", "2", "--grace-s", "0.1", "--processes", "2", "--report", str(path)
    ) as process:
        await stub.submitted(12)
        await asyncio.sleep(0.5)  # for its counts to be told
        children_with("spawn_main", of=psutil.Process(process.pid))[0].kill()
        out, _ = await process.communicate()

    report = figures(path)
    assert process.returncode == 1
    assert "1 of the fleet's processes died." in " ".join(out.decode().split())
    assert (report["accepted"], report["unseen"]) == (12, 12)
    assert (report["lost"]["queued"], report["lost"]["unknown"]) == (6, 6)
