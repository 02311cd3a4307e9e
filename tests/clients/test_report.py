"""The report of a fleet: consistent sums, across processes, and their presentation."""

from __future__ import annotations

import io
import pickle
from typing import Any

import pytest
from rich.console import Console

from clients.counters import Counters
from clients.options import Options
from clients.report import Report, render, report_of


def counters() -> Counters:
    seen = Counters()
    counts = seen.counts
    counts.clients, counts.created, counts.accepted, counts.ended, counts.answers = 2, 7, 5, 4, 20
    counts.given_up, counts.unknown_fate, counts.refused = 1, 1, 3
    seen.ended_by_state.update(succeeded=3, cancelled=1)
    seen.ended_by_error.update(shutdown=1)
    seen.shutdown.update(running=1)
    seen.unseen.update(queued=1)
    seen.error("submission: connection dropped")
    for millis in range(1, 101):
        seen.time("status 200", millis / 1000)
        seen.time("status 202", millis / 100)
    seen.time("submit 202", 0.25)
    seen.time("submit 503", 0.75)
    return seen


def report(seen: Counters, **changes: Any) -> Report:
    return report_of(Options(), seen, elapsed_s=2.0, cpu_s=0.5, **changes)


def test_a_report_has_consistent_sums_and_counts_by_state_and_status() -> None:
    figures = report(counters())

    assert figures.created == figures.accepted + figures.given_up + figures.unknown_fate + figures.invalid
    assert figures.accepted == figures.ended + figures.unseen
    assert sum(figures.lost.values()) == figures.unseen + figures.shutdown
    assert figures.lost == {"delayed": 0, "queued": 1, "running": 1}
    assert (figures.jobs_per_s, figures.requests_per_s, figures.cpu_share) == (2.0, 10.0, 0.25)
    assert figures.submissions_by_status == {"202": 1, "503": 1}
    assert figures.statuses_by_status == {"200": 100, "202": 100}


def test_latencies_are_in_milliseconds_with_three_digits() -> None:
    latency_ms = report(counters()).latency_ms

    over = latency_ms["status 200"]
    assert [over.p50, over.p95, over.p99, over.max] == pytest.approx([50, 95, 99, 100], rel=1e-3)
    assert latency_ms["status"].count == 200
    assert latency_ms["status"].max == pytest.approx(1000, rel=1e-3)
    assert latency_ms["submit"].count == 2


def test_counters_of_several_processes_add_up() -> None:
    total = Counters()
    for _ in range(3):
        total.add(pickle.loads(pickle.dumps(counters().dump())))

    figures = report(total)

    assert (figures.accepted, figures.unseen, figures.refused, figures.shutdown) == (15, 3, 9, 3)
    assert figures.latency_ms["status 200"].count == 300
    assert figures.latency_ms["status 200"].p50 == pytest.approx(50, rel=1e-2)


@pytest.mark.parametrize("name", ["created", "accepted"])
def test_inconsistent_counters_raise_an_error(name: str) -> None:
    seen = counters()
    seen.check()
    setattr(seen.counts, name, getattr(seen.counts, name) + 1)
    with pytest.raises(AssertionError, match="accounted for"):
        seen.check()


def test_the_exit_code_is_0_only_when_every_accepted_job_was_seen_to_end() -> None:
    good = Counters()
    good.counts.answers = 1

    assert report(good).exit_code == 0
    assert report(good, processes_died=1).exit_code == 1
    assert report(counters()).exit_code == 1
    assert report(Counters()).exit_code == 1  # without any response


def test_the_table_has_counts_latencies_and_the_verdict() -> None:
    file = io.StringIO()
    Console(width=120, file=file).print(render(report(counters())))
    text = " ".join(file.getvalue().split())

    for part in (
        "7 created by 500 clients in 2.0 s",
        "4 seen to end: 3 succeeded, 1 cancelled; by error: 1 shutdown",
        "1 accepted but never seen to end",
        "3 rejections of a submission: 1 503",
        "1 errors: 1 submission: connection dropped",
        "1 of unknown fate",
        "submission 2 250.",
        "lost by their last state: 1 queued, 1 running.",
    ):
        assert part in text
    assert "rejected" not in text  # there were none


def test_no_figure_is_cut_off_in_80_columns() -> None:
    seen = counters()
    seen.counts.refused = 123_456_789
    seen.error("submission: " + "[/not markup] " * 10)
    for _ in range(3):
        seen.time("life", 3000.0)
        seen.time("status-sent", 0.9995)
    file = io.StringIO()
    Console(width=80, file=file).print(render(report(seen)))
    text = file.getvalue()
    assert "…" not in text
    for figure in ("123,456,789", "999.93", "3,001,025"):
        assert any(figure in word for word in text.split()), text
    assert "[/not markup]" in " ".join(text.split())
    assert max(len(line) for line in text.splitlines()) <= 80
