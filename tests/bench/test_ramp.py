"""The locust ramp: its form, its verdict, and a short run from end to end."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from bench.plot import ALL, Row, Sample, draw, read_history
from bench.ramp import judge
from bench.shape import OWN_DURATION_S, Ramp
from tests.clients.stub import Stub

ROOT = Path(__file__).parents[2]


def test_the_ramp_begins_with_one_user_a_second_up_to_500() -> None:
    ramp = Ramp()
    assert [ramp.users_at(second) for second in (0, 1, 2, 100, 500)] == [1, 1, 2, 100, 500]


def test_the_ramp_rises_to_100_users_a_second_and_never_faster() -> None:
    ramp = Ramp()
    steps = [(ramp.users_at(second + 1) or 0) - (ramp.users_at(second) or 0) for second in range(int(OWN_DURATION_S))]
    assert max(steps) == 100
    assert steps[500:620] == sorted(steps[500:620])


def test_the_ramp_holds_15000_users_at_its_end() -> None:
    ramp = Ramp()
    assert ramp.users_at(OWN_DURATION_S - 30) == ramp.users_at(OWN_DURATION_S) == 15_000
    assert ramp.users_at(OWN_DURATION_S + 0.1) is None


def test_a_shrunk_ramp_has_the_same_form() -> None:
    whole, small = Ramp(), Ramp(users_max=1500, duration_s=OWN_DURATION_S / 10)
    for second in range(0, int(OWN_DURATION_S), 20):
        assert small.users_at(second / 10) == pytest.approx((whole.users_at(second) or 0) / 10, abs=1)


@pytest.mark.parametrize(
    ("generator", "server", "others", "limit"),
    [
        (0.97, 0.5, 0.0, "the generator;"),
        (0.5, 0.97, 0.0, "the server;"),
        (0.95, 0.95, 0.0, "the generator and the server;"),
        (0.3, 0.3, 0.0, "nothing;"),
        (0.5, 0.4, 7.0, "the machine;"),
    ],
)
def test_the_verdict_names_what_was_at_its_limit(
    generator: float, server: float, others: float, limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    idle = [Sample(at=0, generator=0, server=0, others=0)] * 5
    busy = [Sample(at=1, generator=generator, server=server, others=others)] * 15

    assert judge(idle + busy, processes=1).startswith(f"At its limit: {limit}")


def test_a_server_on_another_machine_has_no_cpu_to_tell() -> None:
    assert "a server that runs elsewhere" in judge([Sample(at=0, generator=0.1, server=None, others=0)], processes=1)


def test_a_picture_is_drawn_even_where_latencies_are_missing(tmp_path: Path) -> None:
    rows = [
        Row(at=second, name=name, users=second, requests_per_s=second * 3.0, p50_ms=None, p95_ms=p95)
        for second, p95 in ((0, None), (1, 12.0), (2, 15.0))
        for name in (ALL, "submit 202", "submit 503")
    ]

    draw(rows, [], title="t", verdict="v", path=tmp_path / "ramp.png")

    assert (tmp_path / "ramp.png").read_bytes().startswith(b"\x89PNG")


def test_an_empty_history_can_not_be_drawn(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="locust's history is empty"):
        draw([], [], title="t", verdict="v", path=tmp_path / "ramp.png")


async def test_a_short_ramp_counts_refusals_as_answers_and_leaves_its_plot(tmp_path: Path) -> None:
    async with Stub().serving() as stub:
        stub.submissions.extend(["accept", "refuse", "accept", "refuse"])
        environment = {**os.environ, "URL": stub.url, "USERS": "8", "SECONDS": "6", "PYTHONPATH": str(ROOT)}
        command = (sys.executable, "-m", "bench.ramp")
        process = await asyncio.create_subprocess_exec(
            *command, cwd=tmp_path, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        output, _ = await process.communicate()

    folder = tmp_path / "tmp" / "locust"
    assert process.returncode == 0, output.decode()
    assert "At its limit" in output.decode()
    assert (folder / "ramp.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / "ramp.html").exists()
    rows = read_history(folder / "ramp_stats_history.csv")
    assert {"submit 202", "submit 503", "status 200", ALL} <= {row.name for row in rows}
    assert 1 < max(row.users for row in rows) <= 8


@pytest.mark.parametrize(
    ("via", "names"), [("wait", {"submit 202", "wait 200"}), ("batch", {"batch 207", "status 200"})]
)
async def test_users_may_wait_or_deal_in_batches(tmp_path: Path, via: str, names: set[str]) -> None:
    async with Stub().serving() as stub:
        stub.submissions.extend(["accept", "refuse"])
        stub.finer_retry_after_s = 0.1
        settings = {"URL": stub.url, "USERS": "8", "SECONDS": "5", "VIA": via, "PYTHONPATH": str(ROOT)}
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
