"""The locust ramp: its shape, its verdict, and a short run from end to end."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from pathlib import Path

import pytest

from bench.ramp.__main__ import judge, latest_total, main, probe_verdict, progress_line
from bench.ramp.plot import ALL, Row, Sample, draw, read_history
from bench.ramp.probe import Measurement, read_measurements
from bench.ramp.shape import KNOWN_DURATION_S, Ramp, ramp_of
from tests.clients.stub import Stub

ROOT = Path(__file__).parents[2]


def test_the_ramp_adds_one_user_per_second_up_to_500() -> None:
    ramp = Ramp()
    assert [ramp.users_at(second) for second in (0, 1, 2, 100, 500)] == [1, 1, 2, 100, 500]


def test_the_ramp_accelerates_to_at_most_100_users_per_second() -> None:
    ramp = Ramp()
    steps = [(ramp.users_at(second + 1) or 0) - (ramp.users_at(second) or 0) for second in range(int(KNOWN_DURATION_S))]
    assert max(steps) == 100
    assert steps[500:620] == sorted(steps[500:620])


def test_the_ramp_ends_with_a_hold_of_15000_users() -> None:
    ramp = Ramp()
    assert ramp.users_at(KNOWN_DURATION_S - 30) == ramp.users_at(KNOWN_DURATION_S) == 15_000
    assert ramp.users_at(KNOWN_DURATION_S + 0.1) is None


def test_a_scaled_ramp_has_the_same_shape() -> None:
    whole, small = Ramp(), Ramp(users_max=1500, duration_s=KNOWN_DURATION_S / 10)
    for second in range(0, int(KNOWN_DURATION_S), 20):
        assert small.users_at(second / 10) == pytest.approx((whole.users_at(second) or 0) / 10, abs=1)


@pytest.mark.parametrize(
    ("generator", "server", "others", "limit"),
    [
        (0.97, 0.5, 0.0, "the generator;"),
        (0.5, 0.97, 0.0, "the server;"),
        (0.95, 0.95, 0.0, "the generator and the server;"),
        (0.3, 0.3, 0.0, "nothing;"),
        (0.9, 0.95, 0.4, "the generator and the server;"),
    ],
)
def test_the_verdict_names_the_saturated_side(
    generator: float, server: float, others: float, limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    idle = [Sample(at=0, generator=0, server=0, others=0)] * 5
    busy = [Sample(at=1, generator=generator, server=server, others=others)] * 15

    assert judge(idle + busy, processes=1).startswith(f"At its limit: {limit}")


def test_a_machine_without_idle_cores_is_named_as_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 1)

    verdict = judge([Sample(at=1, generator=0.4, server=0.3, others=0.3)] * 20, processes=1)

    assert verdict.startswith("At its limit: the machine;")


def test_a_run_beside_busy_programs_is_invalid() -> None:
    verdict = judge([Sample(at=1, generator=0.2, server=0.1, others=1.6)] * 20, processes=1)

    assert verdict.startswith("Not valid: other programs took 160% of a core;")


def test_the_verdict_reports_the_figures_of_the_probe() -> None:
    seen = [Measurement(at=0, kind="HEAD", ms=1.0, status=200)] * 19 + [Measurement(at=0, kind="HEAD")]
    seen += [Measurement(at=0, kind="POST", ms=2.5, status=202), Measurement(at=0, kind="lag", ms=4.0)]

    verdict = probe_verdict(seen)

    assert "HEAD p95 30,000.0 ms (1 of 20 unanswered), POST p95 2.5 ms, loop lag at most 4.0 ms" in verdict
    assert probe_verdict([]).endswith("no answer")


def test_a_progress_line_fits_an_80_column_terminal() -> None:
    total = Row(at=0, name=ALL, users=15_000, requests_per_s=22_500.0, p50_ms=9.0, p95_ms=123_456.0)
    line = progress_line(767, total, Sample(at=0, generator=1.0, server=0.97, others=0))

    assert line == "  767 s  15,000 users  22,500/s  p95 123,456 ms  locust 100%  server 97%"
    assert len(progress_line(0, None, Sample(at=0, generator=0, server=None, others=0))) < 80


def test_latest_total_returns_the_last_complete_total_of_a_growing_history(tmp_path: Path) -> None:
    history = tmp_path / "history.csv"
    assert latest_total(history) is None
    head = "Timestamp,User Count,Type,Name,Requests/s,50%,95%"
    history.write_text(f"{head}\n" + "1,5,GET,status 200,1.0,1,2\n" * 900)
    assert latest_total(history) is None
    history.write_text(f"{head}\n1,5,,{ALL},1.5,1,2\n2,6,,{ALL},2.5,1,3\n3,7,,{ALL},3")

    total = latest_total(history)

    assert total == Row(at=2.0, name=ALL, users=6, requests_per_s=2.5, p50_ms=1.0, p95_ms=3.0)


@pytest.mark.parametrize("form", ["steps", "linear"])
def test_every_shape_holds_all_users_at_its_end(form: str) -> None:
    ramp = ramp_of({"RAMP": form, "USERS": "100", "SECONDS": "60", "HOLD": "20"})

    assert [ramp.users_at(second) for second in (40, 50, 60)] == [100, 100, 100]
    assert (ramp.users_at(30) or 0) < 100
    assert ramp.users_at(61) is None


def test_steps_rise_ten_times_and_a_linear_ramp_continuously() -> None:
    steps = ramp_of({"RAMP": "steps", "USERS": "100", "SECONDS": "110", "HOLD": "10"})
    line = ramp_of({"RAMP": "linear", "USERS": "100", "SECONDS": "110", "HOLD": "10"})

    assert [steps.users_at(second) for second in (0, 9, 10, 19, 20, 99)] == [10, 10, 20, 20, 30, 100]
    assert [line.users_at(second) for second in (1, 10, 50)] == [1, 10, 50]


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"RAMP": "cliff"}, "RAMP must be one of known, steps, linear, not 'cliff'"),
        ({"VIA": "pigeon"}, "VIA must be one of head, wait, batch, not 'pigeon'"),
        ({"USERS": "many"}, "USERS must be a number, not 'many'"),
        ({"USERS": "0"}, "USERS must be 1 or more"),
        ({"USERS": "1.5"}, "USERS must be a whole number"),
        ({"SECONDS": "nan"}, "SECONDS must be a number from 0"),
        ({"SECONDS": "10", "HOLD": "10"}, "HOLD must be from 0 up to, not including, SECONDS"),
    ],
)
def test_invalid_settings_raise_an_error_that_names_them(variables: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ramp_of(variables)


def test_the_verdict_excludes_the_cpu_of_a_remote_server() -> None:
    assert "a server that runs elsewhere" in judge([Sample(at=0, generator=0.1, server=None, others=0)], processes=1)


def test_a_plot_is_drawn_despite_missing_latencies(tmp_path: Path) -> None:
    rows = [
        Row(at=second, name=name, users=second, requests_per_s=second * 3.0, p50_ms=None, p95_ms=p95)
        for second, p95 in ((0, None), (1, 12.0), (2, 15.0))
        for name in (ALL, "submit 202", "submit 503")
    ]

    probe = [Measurement(at=1, kind=kind, ms=ms) for kind in ("HEAD", "POST", "lag") for ms in (0.0, 1.5)]

    draw(rows, [], [*probe, Measurement(at=2, kind="POST")], title="t", verdict="v", path=tmp_path / "ramp.png")

    assert (tmp_path / "ramp.png").read_bytes().startswith(b"\x89PNG")


def test_drawing_an_empty_history_raises_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="locust's history is empty"):
        draw([], [], [], title="t", verdict="v", path=tmp_path / "ramp.png")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        (
            "http://127.0.0.1:{port}",
            "No server listens on http://127.0.0.1:{port} (Connection refused): start one with",
        ),
        ("127.0.0.1:{port}", "URL can't be '127.0.0.1:{port}': it doesn't look like http://127.0.0.1:8080"),
        ("http://127.0.0.1:port", "URL can't be 'http://127.0.0.1:port': "),
    ],
)
def test_a_ramp_without_a_reachable_server_exits_with_2_and_writes_nothing(
    url: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    monkeypatch.setenv("URL", url.format(port=port))
    assert main() == 2
    assert capsys.readouterr().err.startswith(message.format(port=port))
    assert not list(tmp_path.iterdir())


async def test_a_ramp_without_access_exits_with_2_and_names_the_variable_of_the_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JOBQUEUE_KEY", "jq_a_secret")
    async with Stub().serving() as stub:
        monkeypatch.setenv("URL", stub.url)
        stub.submissions.append("403")
        stub.problem = {"detail": "it needs the scope submit"}
        assert await asyncio.to_thread(main) == 2
    await asyncio.get_running_loop().shutdown_default_executor()
    denied = f"{stub.url} denies access: it needs the scope submit (the users' API key is that of JOBQUEUE_KEY)\n"
    assert capsys.readouterr().err == denied
    assert not (tmp_path / "tmp").exists()


async def test_a_short_ramp_counts_rejections_as_responses_and_writes_its_plot(tmp_path: Path) -> None:
    async with Stub().serving() as stub:
        stub.submissions.extend(["accept", "refuse"] * 100)  # the probe takes some of them
        environment = {**os.environ, "URL": stub.url, "USERS": "8", "SECONDS": "6", "PYTHONPATH": str(ROOT)}
        environment["JOBQUEUE_KEY"] = "jq_a_secret"
        command = (sys.executable, "-m", "bench.ramp")
        process = await asyncio.create_subprocess_exec(
            *command, cwd=tmp_path, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        output, _ = await process.communicate()

    folder = tmp_path / "tmp" / "locust"
    assert process.returncode == 0, output.decode()
    assert stub.authorizations == {"Bearer jq_a_secret"}  # of the users and the probe
    assert "secret" not in output.decode() + (folder / "ramp.html").read_text()
    assert "CPU at the busiest" in output.decode()
    assert "The probe beside it: HEAD p95" in output.decode()
    assert (folder / "ramp.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / "ramp.html").exists()
    rows = read_history(folder / "ramp_stats_history.csv")
    assert {"submit 202", "submit 503", "status 200", ALL} <= {row.name for row in rows}
    assert 1 < max(row.users for row in rows) <= 8
    assert " INFO" not in output.decode()
    kinds = {it.kind for it in read_measurements(folder / "probe.jsonl")}
    assert {"HEAD", "POST"} <= kinds


@pytest.mark.parametrize(
    ("via", "names"), [("wait", {"submit 202", "wait 200"}), ("batch", {"batch 207", "status 200"})]
)
async def test_users_can_long_poll_or_send_batches(tmp_path: Path, via: str, names: set[str]) -> None:
    async with Stub().serving() as stub:
        stub.submissions.extend(["accept", "refuse"] * 100)
        stub.finer_retry_after_s = 0.1
        settings = {"URL": stub.url, "USERS": "8", "SECONDS": "8", "VIA": via, "PYTHONPATH": str(ROOT)}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bench.ramp"),
            cwd=tmp_path,
            env={**os.environ, **settings},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()

    assert process.returncode == 0, output.decode()
    rows = read_history(tmp_path / "tmp" / "locust" / "ramp_stats_history.csv")
    asked = {row.name for row in rows} - {ALL}
    assert names <= asked <= {*names, "submit 503"}
