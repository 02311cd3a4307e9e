"""The overload bench of the real server: its verdicts on given figures, and a short run from end to end."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.overload.live import Load, Sample, judge, main, table, under_load
from clients.counters import Counters
from clients.options import Options
from clients.report import report_of
from tests.children import children_with

ROOT = Path(__file__).parents[2]


def load(
    *,
    goodput_per_s: float = 300.0,
    refusal_ms: float = 5.0,
    head_ms: float = 5.0,
    late_ms: float = 1.0,
    offered: int = 32_000,
    accepted: int = 3_000,
    ended: int = 3_000,
    errors: int = 0,
) -> Load:
    """Return the figures of ten seconds at 3,200 submissions per second."""
    counters = Counters()
    counts = counters.counts
    counts.created, counts.accepted, counts.ended, counts.errors, counts.answers = offered, accepted, ended, errors, 1
    for _ in range(100):
        counters.time("submit 503", refusal_ms / 1e3)
        counters.time("status 202", head_ms / 1e3)
        counters.time("late", late_ms / 1e3)
    fleet = report_of(Options(duration_s=10.0, rate=3200.0), counters, elapsed_s=11.0, cpu_s=1.0)
    return Load(wanted_per_s=3200.0, goodput_per_s=goodput_per_s, server_share=0.5, machine_share=1.0, fleet=fleet)


def test_a_server_that_rejects_fast_and_keeps_its_goodput_meets_every_bound() -> None:
    assert all(bound.kept for bound in judge(load(goodput_per_s=310.0), load(goodput_per_s=300.0)))


@pytest.mark.parametrize(
    ("seen", "missed"),
    [
        ({"goodput_per_s": 239.0}, "goodput, of the peak"),
        ({"refusal_ms": 51.0}, "rejections, p99"),
        ({"head_ms": 201.0}, "HEAD, p99"),
        ({"ended": 2_999}, "accepted jobs not seen to end"),
        ({"errors": 1}, "requests that failed"),
        ({"offered": 30_000}, "the generator was not the limit"),
        ({"late_ms": 26.0}, "the generator was not the limit"),
    ],
)
def test_judge_reports_each_missed_bound(seen: dict[str, Any], missed: str) -> None:
    broken = [bound for bound in judge(load(), load(**seen)) if not bound.kept]

    (bound,) = broken
    assert bound.what.startswith(missed)


def test_the_table_has_one_column_per_load() -> None:
    head, *rows = table({"1.1x": load(), "10x": load(goodput_per_s=1234.5)}).splitlines()

    assert head.split() == ["1.1x", "10x"]
    assert any(row.split()[-2:] == ["300.0", "1,234.5"] for row in rows)


def test_only_the_time_under_full_load_counts() -> None:
    samples = [Sample(at, came=0 if at < 3 else 1, succeeded=int(at), cpu_s=0.0, machine_s=0.0) for at in range(20)]

    first, last = under_load(samples, 10.0)

    assert (first.at, last.at) == (5.0, 12.0)  # the load lasts from 3 to 13 s


def test_durations_below_3_s_are_rejected(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["--seconds", "2"])
    assert "both times are 3 s or more" in capsys.readouterr().err


def test_a_short_run_prints_a_table_writes_a_report_and_leaves_no_process(tmp_path: Path) -> None:
    report = tmp_path / "deep" / "live.json"
    times = ("--seconds", "4", "--peak-seconds", "4", "--workers", "4", "--report", str(report))

    run = subprocess.run(
        [sys.executable, "-m", "bench.overload.live", *times], cwd=ROOT, capture_output=True, text=True, timeout=90
    )

    assert "goodput, a second" in run.stdout, run.stderr
    figures = json.loads(report.read_text())
    assert figures["capacity_per_s"] == 80.0
    assert figures["over"]["fleet"]["refused"] > figures["over"]["fleet"]["accepted"] > 0
    assert run.returncode == (0 if all(bound["kept"] for bound in figures["bounds"]) else 1)
    assert children_with("jobqueue") == []
